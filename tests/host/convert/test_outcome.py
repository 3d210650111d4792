# SPDX-License-Identifier: Apache-2.0
"""`convert` ends with the most that maps, and says what it is and what keeps the rest away."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.errors import UsageError
from edgekit.fix import fix
from edgekit.fix.certificate import Certificate
from edgekit.fix.mapping import num_mapped
from edgekit.formats.model_file import ModelFile, read_model_file
from edgekit.formats.tflite import Model, read_model
from edgekit.host.convert import ConvertResult, convert
from edgekit.host.convert.as_integers import as_integers
from edgekit.host.convert.outcome import Mapped, Outcome, Unmapped, outcome_of
from edgekit.host.convert.outcome_lines import render_outcome
from edgekit.host.convert.rewriting import apply_rewrites
from edgekit.rewrite import Rule
from edgekit.rewrite.edit import Edit
from edgekit.runtime import Runner

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("kept_converter")]
_SHAPE = (16, 16, 8)


def _convert(network: Any, output: Path, **options: Any) -> ConvertResult:  # noqa: ANN401
    random = np.random.default_rng(5)
    samples = list(random.random((20, *network.input_shape[1:])).astype(np.float32))
    return convert(network, data=samples, output=output, **options)


def _network(keras: Any, *middle: Any) -> Any:  # noqa: ANN401
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input(_SHAPE),
            layers.Conv2D(8, 3, padding="same"),
            *middle,
            layers.Conv2D(8, 3, padding="same", activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(4, activation="softmax"),
        ]
    )


@pytest.fixture(scope="module")
def leaky(keras: Any) -> Any:  # noqa: ANN401
    """LEAKY_RELU, which maps only as operators that take its place."""
    return _network(keras, keras.layers.LeakyReLU(0.1))


@pytest.fixture(scope="module")
def mapped(keras: Any) -> Any:  # noqa: ANN401
    """A network that maps as the quantizer makes it."""
    return _network(keras)


def test_bit_identical_rewrites_are_made_and_counted(
    leaky: Any,  # noqa: ANN401
    tmp_path: Path,
) -> None:
    result = _convert(leaky, tmp_path / "m.tflite")
    outcome = result.outcome
    assert outcome is not None
    now, was = outcome.now, outcome.was
    assert (now.num_mapped, now.macs_share) == (now.num_operators, 1.0)
    assert was.num_mapped < was.num_operators
    network = outcome.network
    assert network is not None
    assert network.num_mapped < network.num_operators
    assert "leaky-relu" in [each.rule for each in outcome.rewrites]
    assert all(each.identical for each in outcome.rewrites)
    label, text = render_outcome(outcome, result.output)[0]
    assert (label, text) == (
        "maps",
        f"{now.num_mapped} of {now.num_operators} operators, 100 % of the work; "
        f"was {network.num_mapped} of {network.num_operators}",
    )
    assert all(each.estimated_ms_before and each.estimated_ms_after for each in outcome.rewrites)


def test_what_was_is_the_network_before_every_rewrite_and_a_slower_result_is_a_warning(
    keras: Any,  # noqa: ANN401
    tmp_path: Path,
) -> None:
    """The UNPACK of an unrolled LSTM is rewritten before quantization."""
    network = keras.Sequential(
        [keras.Input((12, 8)), keras.layers.LSTM(8), keras.layers.Dense(4, activation="softmax")]
    )
    result = _convert(network, tmp_path / "m.tflite")
    outcome = result.outcome
    assert outcome is not None
    assert outcome.now.num_mapped == outcome.now.num_operators
    assert outcome.network is not None
    assert outcome.network.num_mapped == 2
    assert "parts" in [each.rule for each in outcome.prepared]
    lines = dict(render_outcome(outcome, result.output))
    assert f"; was 2 of {outcome.network.num_operators}" in lines["maps"]
    assert "parts (" in lines["prepared"]
    assert outcome.now.estimated_ms > outcome.network.estimated_ms
    assert any("probably slower" in each for each in result.warnings)


def test_a_network_in_integers_has_the_operators_that_the_quantizer_writes(
    mapped: Any,  # noqa: ANN401
    tmp_path: Path,
) -> None:
    convert(mapped, output=tmp_path / "float.tflite", mode="float")
    judged = as_integers(read_model((tmp_path / "float.tflite").read_bytes()), "uint8")
    quantized = _model(mapped, tmp_path)
    opcodes = [[op.opcode for op in model.main.operators] for model in (judged, quantized)]
    assert opcodes[0] == opcodes[1]
    assert num_mapped(judged) == num_mapped(quantized)


def test_no_fix_leaves_the_file_as_the_quantizer_made_it(
    leaky: Any,  # noqa: ANN401
    tmp_path: Path,
) -> None:
    fixed = _convert(leaky, tmp_path / "fixed.tflite")
    plain = _convert(leaky, tmp_path / "plain.tflite", fix=False)
    assert "LEAKY_RELU" in plain.operators
    assert plain.outcome is not None
    assert plain.outcome.rewrites == ()
    assert plain.asked == {"--no-fix": ""}
    samples = np.random.default_rng(6).random((3, *_SHAPE)).astype(np.float32)
    answers = []
    for result in (fixed, plain):
        with Runner(result.output, kernels="reference") as runner:
            answers.append(runner.predict(samples[:1])[0])
    assert np.array_equal(answers[0], answers[1])


def test_no_fix_is_for_int8_only(leaky: Any, tmp_path: Path) -> None:  # noqa: ANN401
    with pytest.raises(UsageError, match="--no-fix has no effect"):
        _convert(leaky, tmp_path / "m.tflite", mode="float", fix=False)


def test_a_prelu_that_maps_stays(keras: Any, tmp_path: Path) -> None:  # noqa: ANN401
    layer = keras.layers.PReLU(shared_axes=[1, 2], alpha_initializer="random_normal")
    result = _convert(_network(keras, layer), tmp_path / "m.tflite")
    assert result.operators["PRELU"] == 1
    assert result.outcome is not None
    assert result.outcome.now == result.outcome.was


def test_what_does_not_map_is_named_with_its_cost_and_a_way_that_works(
    keras: Any,  # noqa: ANN401
    tmp_path: Path,
) -> None:
    network = _network(keras, keras.layers.Activation("hard_silu"), keras.layers.LeakyReLU())
    made = _convert(network, tmp_path / "m.tflite", fix=False).output
    # As a quantizer leaves a network whose activations are not replaced before it.
    file = read_model_file(Path(made))
    rewritten = apply_rewrites(file.model)
    outcome = outcome_of(file, ModelFile.of(rewritten.model), rewritten)
    assert [each.opcode for each in outcome.unmapped] == ["HARD_SWISH", "LEAKY_RELU"]
    assert "--replace-activations hard_swish=mappable" in outcome.unmapped[0].options[0]
    lines = render_outcome(outcome, "m.tflite")
    texts = [text for _, text in lines if text.startswith("to change:")]
    ways = "hard_swish=mappable,leaky_relu=mappable"
    command = f"edgekit convert ... --replace-activations {ways} replaces them"
    assert texts[0].startswith(f"to change: HARD_SWISH, LEAKY_RELU: {command}")
    assert texts[1:] == ["to change: as above"]
    assert [label for label, _ in lines if label] == [
        "maps",
        "estimated",
        "blocked by",
        "not mapped",
        "together",
        "with fix",
    ]
    assert " ms instead of " in dict(lines)["with fix"]
    fixed = fix(tmp_path / "m.tflite", tmp_path / "fixed.tflite")
    assert outcome.with_fix is not None
    assert outcome.with_fix.num_mapped == fixed.mapped_after > outcome.now.num_mapped
    followed = _convert(network, tmp_path / "f.tflite", replace_activations=ways).outcome
    assert followed is not None
    assert followed.now.num_mapped == followed.now.num_operators
    assert followed.unmapped == ()
    assert outcome.freed_ms is not None
    least = min(outcome.now.estimated_ms - each.costs_ms for each in outcome.unmapped)
    assert outcome.freed_ms < least  # two in a row: one of them alone saves less than both


def test_the_cost_of_a_blocker_is_what_the_estimate_falls_by(
    keras: Any,  # noqa: ANN401
    tmp_path: Path,
) -> None:
    layers = keras.layers
    network = keras.Sequential(
        [
            keras.Input((64, 64, 3)),
            layers.Conv2D(16, 3, padding="same"),
            layers.LeakyReLU(),
            layers.Conv2D(16, 3, padding="same"),
        ]
    )
    blocked = _convert(network, tmp_path / "m.tflite", fix=False).outcome
    ways = "leaky_relu=relu6"
    free = _convert(network, tmp_path / "f.tflite", replace_activations=ways).outcome
    assert blocked is not None
    assert free is not None
    fall = blocked.now.estimated_ms - free.now.estimated_ms
    assert blocked.unmapped[0].costs_ms == pytest.approx(fall, rel=0.1)
    assert fall > 0.1 * blocked.now.estimated_ms


def _model(mapped: Any, tmp_path: Path) -> Model:  # noqa: ANN401
    return read_model(_convert(mapped, tmp_path / "m.tflite").output)


def test_hard_swish_maps_without_an_option(keras: Any, tmp_path: Path) -> None:  # noqa: ANN401
    network = _network(keras, keras.layers.Activation("hard_silu"))
    result = _convert(network, tmp_path / "m.tflite")
    assert result.outcome is not None
    assert result.outcome.now.num_mapped == result.outcome.now.num_operators
    assert "HARD_SWISH" not in result.operators
    assert result.agreement is not None
    assert (result.agreement.snr_db[0] or 0) > 20
    assert "hard-swish" in [each.rule for each in result.outcome.prepared]
    kept = _convert(network, tmp_path / "n.tflite", fix=False)
    assert "HARD_SWISH" in kept.operators


def test_a_rule_that_is_not_exact_is_found_out(
    mapped: Any,  # noqa: ANN401
    tmp_path: Path,
) -> None:
    def without_softmax(model: Model) -> Model | None:
        edit = Edit(model)
        kept = [op for op in edit.operators if op.opcode != "SOFTMAX"]
        if len(kept) == len(edit.operators):
            return None
        gone = next(op for op in edit.operators if op.opcode == "SOFTMAX")
        edit.operators = [
            replace(op, inputs=tuple(gone.inputs[0] if i in gone.outputs else i for i in op.inputs))
            for op in kept
        ]
        return edit.build()

    model = _model(mapped, tmp_path)
    rewritten = apply_rewrites(
        model, [Rule("wrong", "a false promise", exact=True, apply=without_softmax)]
    )
    assert rewritten.model is model
    assert rewritten.certificates == ()
    assert "wrong must give equal outputs" in rewritten.notes[0]


def test_a_rewrite_that_makes_the_model_slower_is_left_out(
    mapped: Any,  # noqa: ANN401
    tmp_path: Path,
) -> None:
    def detour(model: Model) -> Model | None:
        """Take the first convolution's output through 40 maxima of a tensor and itself."""
        edit = Edit(model)
        if any(op.opcode == "MAXIMUM" for op in edit.operators):
            return None
        place = next(n for n, op in enumerate(edit.operators) if op.opcode == "CONV_2D")
        out = edit.operators[place].outputs[0]
        names = [edit.activation(edit.tensors[out], f"way{number}") for number in range(40)]
        edit.operators[place] = replace(edit.operators[place], outputs=(names[0],))
        pairs = zip(names, [*names[1:], out], strict=True)
        edit.operators[place + 1 : place + 1] = [
            edit.operator("MAXIMUM", (source, source), (target,), {}, "MaximumMinimumOptions")
            for source, target in pairs
        ]
        return edit.build()

    model = _model(mapped, tmp_path)
    rewritten = apply_rewrites(
        model, [Rule("detour", "the same values, later", exact=True, apply=detour)]
    )
    assert rewritten.model is model
    assert rewritten.notes == ("the rewrite detour would make the model slower: left out",)


def _outcome(total_ms: float, costs_ms: float, *rewrites: Certificate) -> Outcome:
    now = Mapped(9, 8, 0, 0.5, total_ms)
    option = "edgekit fix MODEL -o OUT.tflite makes them dense"
    blocker = Unmapped(3, "CONV_2D", "", 1, "cpu", "sparse", costs_ms, (option,))
    return Outcome(now, now, (blocker,), rewrites=rewrites)


def _certificate(rule: str, num_random: int, *, identical: bool, kernels: str) -> Certificate:
    note = "" if kernels == "reference" else "reference kernels cannot run the model"
    return Certificate(rule, True, identical, (), {}, num_random, 0, kernels, note)


@pytest.mark.parametrize(
    ("total_ms", "costs_ms", "shown"),
    [(1234.5, 123.4, "costs about 123 of 1,234 ms"), (9.97, 0.314, "costs about 0.31 of 10 ms")],
)
def test_costs_are_printed_without_exponents(total_ms: float, costs_ms: float, shown: str) -> None:
    text = dict(render_outcome(_outcome(total_ms, costs_ms), "m.tflite"))["not mapped"]
    assert text == f"operator 3 CONV_2D: {shown} (estimated for a USB Accelerator)"


def test_a_printed_fix_does_not_write_over_the_model() -> None:
    texts = [text for _, text in render_outcome(_outcome(1.0, 0.5), "OUT.tflite")]
    assert "to change: edgekit fix OUT.tflite -o FIXED.tflite makes them dense" in texts


def test_rewrites_are_called_bit_identical_only_if_all_of_them_are() -> None:
    proved = _certificate("pads", 8, identical=True, kernels="reference")
    other = _certificate("relu", 4, identical=True, kernels="reference")
    unproved = _certificate("slices", 8, identical=False, kernels="xnnpack")
    lines = dict(render_outcome(_outcome(1.0, 0.5, proved, other), "m.tflite"))
    assert (
        lines["rewritten"] == "by pads, relu: bit-identical on 4 random inputs, reference kernels"
    )
    lines = dict(render_outcome(_outcome(1.0, 0.5, unproved, proved), "m.tflite"))
    assert lines["rewritten"] == (
        "by slices, pads: exact by construction; not confirmed: reference kernels cannot run the "
        "model"
    )
