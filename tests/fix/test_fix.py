# SPDX-License-Identifier: Apache-2.0
"""Apply rewrites to files: certificates, refusals, and no partly written files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgekit.cli.main import main
from edgekit.errors import InputError, ModelFormatError, UnsupportedModelError, UsageError
from edgekit.fix import fix
from edgekit.fix.certificate import Certificate, warnings_of
from edgekit.fix.interpreter import Interpreter
from edgekit.formats.tflite import (
    Model,
    Operator,
    Quantization,
    Subgraph,
    Tensor,
    read_model,
    write_model,
)
from edgekit.runtime import TensorInfo
from edgekit.runtime.agreement import DifferenceSums

_EMPTY = np.empty(0, np.uint8)


def _model(opcode: str = "LEAKY_RELU", **options: object) -> Model:
    """Float input and output around one operator on int8."""
    x, y = Quantization((0.05,), (3,)), Quantization((0.03,), (-90,))
    shape = (1, 4, 4, 3)
    tensors = (
        Tensor("in", shape, "FLOAT32", 0),
        Tensor("x", shape, "INT8", 0, x),
        Tensor("y", shape, "INT8", 0, y),
        Tensor("out", shape, "FLOAT32", 0),
    )
    kind = "LeakyReluOptions" if opcode == "LEAKY_RELU" else "NONE"
    operators = (
        Operator("QUANTIZE", 1, (0,), (1,), {}, "QuantizeOptions"),
        Operator(opcode, 1, (1,), (2,), options, kind),
        Operator("DEQUANTIZE", 2, (2,), (3,), {}, "DequantizeOptions"),
    )
    return Model((Subgraph(tensors, (0,), (3,), operators),), (_EMPTY,))


@pytest.fixture
def leaky(tmp_path: Path) -> Path:
    path = tmp_path / "leaky.tflite"
    path.write_bytes(write_model(_model(alpha=0.2)))
    return path


def test_each_rewrite_has_a_certificate(leaky: Path, tmp_path: Path) -> None:
    result = fix(leaky, tmp_path / "out.tflite")
    assert [each.rule for each in result.certificates] == ["io", "leaky-relu"]
    assert all(each.identical for each in result.certificates)
    assert all(each.kernels == "reference" for each in result.certificates)
    assert result.whole is not None
    assert result.whole.identical
    assert result.whole.num_random == 8
    assert (result.mapped_before, result.mapped_after) == (0, 3)


def test_a_measured_rewrite_reports_its_error(tmp_path: Path) -> None:
    result = fix(write_model(_model("HARD_SWISH")), tmp_path / "out.tflite", io="keep")
    (certificate,) = result.certificates
    assert not certificate.exact_by_construction
    (output,) = certificate.outputs
    assert output.largest_difference <= 0.0301
    assert certificate.identical or (output.snr_db or 0) > 30


def test_fixing_twice_changes_nothing(leaky: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first.tflite", tmp_path / "second.tflite"
    fix(leaky, first)
    result = fix(first, second)
    assert not result.changed
    assert second.read_bytes() == first.read_bytes()


def test_samples_of_the_data_are_compared_too(leaky: Path, tmp_path: Path) -> None:
    data = tmp_path / "data.npy"
    np.save(data, np.random.default_rng(0).normal(0, 1, (5, 4, 4, 3)).astype(np.float32))
    result = fix(leaky, tmp_path / "out.tflite", data=str(data), num_random=2)
    assert result.whole is not None
    assert (result.whole.num_random, result.whole.num_data) == (2, 5)


def test_rules_can_be_chosen_and_left_out(leaky: Path, tmp_path: Path) -> None:
    chosen = fix(leaky, tmp_path / "a.tflite", rule=["leaky-relu"])
    assert [each.rule for each in chosen.certificates] == ["leaky-relu"]
    left = fix(leaky, tmp_path / "b.tflite", skip=["leaky-relu"])
    assert [each.rule for each in left.certificates] == ["io"]


def test_an_unknown_rule_is_a_usage_error(leaky: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no rule 'faster'"):
        fix(leaky, tmp_path / "out.tflite", rule=["faster"])


def test_the_model_is_not_overwritten(leaky: Path) -> None:
    before = leaky.read_bytes()
    with pytest.raises(UsageError, match="overwrite"):
        fix(leaky, leaky)
    assert leaky.read_bytes() == before


def test_a_damaged_or_missing_file_writes_nothing(leaky: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.tflite"
    leaky.write_bytes(leaky.read_bytes()[:200])
    with pytest.raises(ModelFormatError) as caught:
        fix(leaky, output)
    assert str(leaky) in caught.value.where
    with pytest.raises(InputError):
        fix(tmp_path / "none.tflite", output)
    assert not output.exists()


def test_a_compiled_model_is_refused(tmp_path: Path) -> None:
    tensors = (Tensor("a", (1,), "UINT8", 0), Tensor("b", (1,), "UINT8", 0))
    operator = Operator("CUSTOM", 1, (0,), (1,), custom_code="edgetpu-custom-op")
    model = Model((Subgraph(tensors, (0,), (1,), (operator,)),), (_EMPTY,))
    with pytest.raises(UnsupportedModelError, match="already compiled for the Edge TPU"):
        fix(write_model(model), tmp_path / "out.tflite")


def test_a_model_that_cannot_run_is_rewritten_only_with_unproved(tmp_path: Path) -> None:
    model = _model(alpha=0.2)
    wrong = Operator("LEAKY_RELU", 99, (1,), (2,), {"alpha": 0.2}, "LeakyReluOptions")
    operators = (model.main.operators[0], wrong, model.main.operators[2])
    graph = Subgraph(model.main.tensors, (0,), (3,), operators)
    content = write_model(Model((graph,), (_EMPTY,)))
    output = tmp_path / "out.tflite"
    with pytest.raises(UnsupportedModelError, match="cannot be run here"):
        fix(content, output)
    assert not output.exists()
    result = fix(content, output, unproved=True)
    assert result.certificates[0].identical is None
    assert result.certificates[0].note.startswith("not measured")


def test_custom_operators_at_the_end_do_not_prevent_the_proof_of_the_rest(tmp_path: Path) -> None:
    model = _model(alpha=0.2)
    boxes = Tensor("boxes", (1, 4), "FLOAT32", 0)
    custom = Operator("CUSTOM", 1, (3,), (4,), custom_code="Mine", builtin_code=32)
    graph = Subgraph(
        (*model.main.tensors, boxes), (0,), (4,), (*model.main.operators, custom), "main"
    )
    result = fix(write_model(Model((graph,), (_EMPTY,))), tmp_path / "out.tflite")
    assert result.whole is not None
    assert result.whole.identical
    assert "CUSTOM" in [op.opcode for op in read_model(tmp_path / "out.tflite").main.operators]


def test_an_interpreter_that_crashes_is_an_error_and_the_next_one_starts(tmp_path: Path) -> None:
    """The reference kernel of SOFTMAX aborts its process on a scale of 8e-9."""
    model = _model("SOFTMAX")
    tensors = list(model.main.tensors)
    tensors[1] = replace(tensors[1], quantization=Quantization((7.8e-9,), (0,)))
    tensors[2] = replace(tensors[2], quantization=Quantization((1 / 256,), (-128,)))
    operators = list(model.main.operators)
    operators[1] = Operator("SOFTMAX", 2, (1,), (2,), {"beta": 1.0}, "SoftmaxOptions")
    graph = replace(model.main, tensors=tuple(tensors), operators=tuple(operators))
    fatal = replace(model, subgraphs=(graph,))
    sample = [np.zeros((1, 4, 4, 3), np.float32)]
    with Interpreter(None) as interpreter:
        with pytest.raises(UnsupportedModelError, match="crashed on the model"):
            interpreter.run(fatal, [sample], "reference")
        assert interpreter.run(_model(alpha=0.2), [sample], "reference").kernels == "reference"
    result = fix(write_model(fatal), tmp_path / "out.tflite")
    assert result.whole is not None
    assert result.whole.kernels != "reference"
    assert "reference" in result.whole.note


def _status(*words: object) -> int:
    with pytest.raises(SystemExit) as caught:
        main([str(word) for word in words])
    return int(caught.value.code or 0)


@pytest.mark.parametrize(
    ("num_data", "said"), [(0, "measure it on real samples with --data"), (5, "--against OLD")]
)
def test_the_warning_for_changed_outputs_contains_a_way_to_check_them(
    num_data: int, said: str
) -> None:
    info = TensorInfo("out", (1, 4), "int8", 0.1, 0, 0)
    sums = DifferenceSums(info)
    sums.add(np.ones((1, 4)), np.full((1, 4), 1.5))
    far = Certificate("whole", False, False, (sums.record(),), {}, 8, num_data, "reference")
    (text,) = warnings_of(far)
    assert "SNR 6.0 dB" in text
    assert said in text
    sums = DifferenceSums(info)
    sums.add(np.ones((1, 4)), np.full((1, 4), 1.01))
    close = replace(far, outputs=(sums.record(),))
    assert list(warnings_of(close)) == []


def test_the_command_prints_json_and_nothing_else(
    leaky: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _status("fix", leaky, "-o", tmp_path / "out.tflite", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "edgekit.fix/1"
    assert document["whole"]["identical"] is True
    steps = document["certificates"]
    assert all(each["estimated_ms_before"] and each["estimated_ms_after"] for each in steps)
    assert steps[-1]["estimated_ms_after"] == document["estimated_ms_after"]


def test_the_command_lists_its_rules(capsys: pytest.CaptureFixture[str]) -> None:
    assert _status("fix", "--list") == 0
    assert "dense-per-tensor" in capsys.readouterr().out


def test_the_command_describes_in_words_what_it_did(
    leaky: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _status("fix", leaky, "-o", tmp_path / "out.tflite") == 0
    out = capsys.readouterr()
    assert "bit-identical" in out.out
    assert "its inputs are now int8" in out.err


def test_without_an_output_the_command_is_a_usage_error(leaky: Path) -> None:
    assert _status("fix", leaky) == 2


def test_a_folder_that_does_not_exist_is_an_error_before_the_work(leaky: Path) -> None:
    assert _status("fix", leaky, "-o", leaky.parent / "none" / "out.tflite") == 3


def _prelu(slopes: np.ndarray) -> Model:
    """PRELU on 8x8 pixels of int8 with 16 channels."""
    shape = (1, 8, 8, 16)
    tensors = (
        Tensor("x", shape, "INT8", 0, Quantization((0.05,), (3,))),
        Tensor("slopes", slopes.shape, "INT8", 1, Quantization((0.01,), (0,))),
        Tensor("y", shape, "INT8", 0, Quantization((0.04,), (-20,))),
    )
    operators = (Operator("PRELU", 1, (0, 1), (2,)),)
    buffers = (_EMPTY, np.frombuffer(slopes.astype(np.int8).tobytes(), np.uint8))
    return Model((Subgraph(tensors, (0,), (2,), operators),), buffers)


def test_a_prelu_that_maps_is_not_changed_unless_the_rule_is_named(tmp_path: Path) -> None:
    """The operators that replace it also map, but take longer."""
    content = write_model(_prelu(np.arange(16).reshape(1, 1, 16) - 8))
    result = fix(content, tmp_path / "same.tflite")
    assert not result.changed
    assert result.estimated_ms_after == result.estimated_ms_before
    named = fix(content, tmp_path / "named.tflite", rule=["prelu"])
    assert "PRELU" not in named.operators_after
    assert named.estimated_ms_before is not None
    assert named.estimated_ms_after is not None
    slower = named.estimated_ms_after > named.estimated_ms_before * 1.02
    assert any("slower" in each for each in named.warnings) == slower


def test_a_prelu_with_a_slope_per_position_is_replaced(tmp_path: Path) -> None:
    slopes = np.arange(8 * 8 * 16).reshape(1, 8, 8, 16) % 100
    result = fix(write_model(_prelu(slopes)), tmp_path / "out.tflite")
    assert [each.rule for each in result.certificates] == ["prelu"]
    assert (result.mapped_before, result.mapped_after) == (0, sum(result.operators_after.values()))


def test_the_warning_for_a_float_model_names_convert(tmp_path: Path) -> None:
    tensors = tuple(Tensor(name, (1, 8), "FLOAT32", 0) for name in ("x", "y"))
    graph = Subgraph(tensors, (0,), (1,), (Operator("GELU", 1, (0,), (1,), {}, "GeluOptions"),))
    result = fix(write_model(Model((graph,), (_EMPTY,))), tmp_path / "out.tflite")
    assert not result.changed
    assert "edgekit convert" in result.warnings[0]
    assert "--replace-activations" in result.warnings[0]
