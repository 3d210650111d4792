# SPDX-License-Identifier: Apache-2.0
"""Whole reports: the first blocker, reasons to refuse a file, faults, memory, crossings."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edgekit.checking import check
from edgekit.edgetpu import CheckReport, NotMappedError, check_model
from edgekit.edgetpu.issues import ISSUE_CODES
from edgekit.edgetpu.report import require_mapped
from edgekit.errors import EdgeKitError, ModelFormatError, UnsupportedModelError, UsageError
from edgekit.formats.tflite import Model, Quantization, write_model

if TYPE_CHECKING:
    from pathlib import Path

    from tests.edgetpu.conftest import Graph, NewGraph


def report_on(model: Model, target: int = 14) -> CheckReport:
    return check_model(write_model(model), target=target)


def codes(report: CheckReport) -> list[str]:
    return [issue.code for issue in report.issues]


def blocked(graph: Graph) -> Model:
    """Convolution, LEAKY_RELU, and two convolutions after it; one more in parallel."""
    x = graph.feed((1, 8, 8, 4), dtype="UINT8")
    q = graph.add("QUANTIZE", (x,), (1, 8, 8, 4))
    a = graph.conv(q, 8)
    b = graph.add("LEAKY_RELU", (a,), (1, 8, 8, 8), 2, {"alpha": 0.1})
    c = graph.conv(b, 16)
    return graph.model(graph.conv(c, 4), graph.conv(a, 8))


def test_the_first_blocker_is_named_with_what_it_costs(graph: Graph) -> None:
    report = report_on(blocked(graph))
    assert [each.verdict for each in report.operators] == ["tpu", "tpu", "cpu", "cpu", "cpu", "tpu"]
    assert report.first_blocker == 2
    blocker = report.blocker
    assert blocker is not None
    assert (blocker.num_operators, blocker.num_regained) == (3, 3)
    assert blocker.macs == 64 * 9 * (8 * 16 + 16 * 4)
    assert codes(report) == ["map.first_blocker"]
    assert report.operators[3].blocker == 2


def test_shares_count_operators_and_multiply_accumulates(graph: Graph) -> None:
    report = report_on(blocked(graph))
    macs = [64 * 9 * each for each in (4 * 8, 8 * 16, 16 * 4, 8 * 8)]
    assert (report.num_mapped, report.num_operators) == (3, 6)
    assert report.macs == sum(macs)
    assert report.mapped_macs_share == pytest.approx((macs[0] + macs[3]) / sum(macs))
    document = report.to_dict()
    assert document["schema"] == "edgekit.check/1"
    assert document["mapped_macs_share"] == report.mapped_macs_share


def test_crossings_count_each_tensor_once_a_direction(graph: Graph) -> None:
    crossings = report_on(blocked(graph)).crossings
    assert (crossings.num_to_cpu, crossings.to_cpu_bytes) == (1, 8 * 8 * 8)
    assert (crossings.num_to_tpu, crossings.num, crossings.bytes) == (0, 1, 512)


def test_the_table_has_the_compilers_words(graph: Graph) -> None:
    table = {(row.opcode, row.status): row.count for row in report_on(blocked(graph)).table}
    assert table == {
        ("QUANTIZE", "Mapped to Edge TPU"): 1,
        ("CONV_2D", "Mapped to Edge TPU"): 2,
        ("LEAKY_RELU", "Operation not supported"): 1,
        ("CONV_2D", "More than one subgraph is not supported"): 2,
    }


def test_float_ends_do_not_block_and_are_reported(graph: Graph) -> None:
    q = graph.add("QUANTIZE", (graph.feed((1, 8, 8, 4), dtype="FLOAT32"),), (1, 8, 8, 4))
    y = graph.add("DEQUANTIZE", (graph.conv(q, 4),), (1, 8, 8, 4), 2, dtype="FLOAT32")
    report = report_on(graph.model(y))
    assert report.first_blocker is None
    assert report.num_mapped == 1
    assert set(codes(report)) == {"map.dtype", "io.float"}
    assert {issue.severity for issue in report.issues} == {"note"}


def test_an_unreadable_version_refuses_the_whole_file(graph: Graph) -> None:
    y = graph.conv(graph.conv(graph.feed((1, 8, 8, 4)), 8), 4)
    graph.operators[1] = replace(graph.operators[1], version=6)
    report = report_on(graph.model(y))
    assert report.refused
    assert (report.num_mapped, report.num_mapped_if_read, report.on_chip_bytes) == (0, 1, 0)
    assert "map.op_version" in codes(report)
    assert "refuses the whole file" in report.operators[0].reason


def test_a_size_computed_at_run_time_refuses_the_file(graph: Graph) -> None:
    x = graph.feed((1, 4, 4, 4), signature=(-1, 4, 4, 4))
    shape = graph.add("SHAPE", (x,), (4,), dtype="INT32")
    y = graph.add("RESHAPE", (x, shape), (1, 64), signature=(-1, 64))
    report = report_on(graph.model(y))
    assert report.refused
    assert codes(report).count("model.dynamic_shape") == 1


def test_an_input_that_is_only_declared_open_is_accepted(graph: Graph) -> None:
    """Eleven models that compiler 16 accepted have this form."""
    y = graph.conv(graph.feed((1, 8, 8, 4), signature=(-1, 8, 8, 4)), 4)
    report = report_on(graph.model(y))
    assert not report.refused
    assert report.num_mapped == 1
    assert [(i.code, i.severity) for i in report.issues] == [("model.dynamic_shape", "note")]


def test_more_than_one_subgraph_refuses_the_file(graph: Graph) -> None:
    model = graph.model(graph.add("WHILE", (graph.feed((1, 8)),), (1, 8)))
    report = report_on(replace(model, subgraphs=(model.main, model.main)))
    assert report.refused
    assert "model.subgraphs" in codes(report)


@pytest.mark.parametrize(("name", "refused"), [("FlexErf", True), ("Mine", True)])
def test_a_custom_operator_refuses_the_file(graph: Graph, name: str, refused: bool) -> None:
    y = graph.add("CUSTOM", (graph.conv(graph.feed((1, 8, 8, 4)), 4),), (1, 8), custom_code=name)
    report = report_on(graph.model(y))
    assert report.refused == refused
    assert "model.custom_op" in codes(report)


def test_detection_post_processing_is_left_to_the_cpu(graph: Graph) -> None:
    a = graph.conv(graph.feed((1, 8, 8, 4)), 4)
    code = "TFLite_Detection_PostProcess"
    y = graph.add("CUSTOM", (a,), (1, 8), dtype="FLOAT32", custom_code=code)
    report = report_on(graph.model(y))
    assert not report.refused
    assert report.num_mapped == 1
    assert ("CUSTOM", 1) in [(row.opcode, row.count) for row in report.table]


def test_real_numbers_around_the_post_processing_are_not_a_fault(graph: Graph) -> None:
    """Such detectors are built this way: nothing blocks, and nothing needs conversion."""
    boxes = graph.conv(graph.feed((1, 8, 8, 4)), 4)
    real = graph.add("DEQUANTIZE", (boxes,), (1, 8, 8, 4), dtype="FLOAT32")
    code = "TFLite_Detection_PostProcess"
    y = graph.add("CUSTOM", (real,), (1, 8), dtype="FLOAT32", custom_code=code)
    report = report_on(graph.model(y))
    assert report.first_blocker is None
    assert {issue.severity for issue in report.issues} == {"note"}
    assert "io.float" not in codes(report)
    assert "edgekit convert" not in "".join(issue.fix for issue in report.issues)
    # A separate float output is still reported.
    both = report_on(graph.model(y, real))
    assert "io.float" in codes(both)


def test_a_model_of_real_numbers_is_not_quantized(graph: Graph) -> None:
    x = graph.feed((1, 8), dtype="FLOAT32")
    report = report_on(graph.model(graph.add("LOGISTIC", (x,), (1, 8), dtype="FLOAT32")))
    assert report.refused
    assert "quant.not_quantized" in codes(report)


def test_boxes_and_scores_in_one_tensor_are_detected_before_the_requantization(
    graph: Graph,
) -> None:
    fine, coarse = Quantization((1 / 256,), (-128,)), Quantization((2.0,), (0,))
    boxes = graph.feed((1, 4), quantization=coarse)
    scores = graph.add("LOGISTIC", (graph.feed((1, 4)),), (1, 4), 2, quantization=fine)
    again = graph.add("QUANTIZE", (scores,), (1, 4), quantization=coarse)
    options = {"axis": 1, "fused_activation_function": "NONE"}
    y = graph.add("CONCATENATION", (boxes, again), (1, 8), 2, options, quantization=coarse)
    report = report_on(graph.model(y))
    assert codes(report) == ["quant.mixed_range_concat"]
    assert "a ratio of 512" in report.issues[0].message


@pytest.mark.parametrize("opcode", ["RESHAPE", "REVERSE_V2", "MAX_POOL_2D"])
def test_operators_that_keep_a_scale_do_not_hide_a_requantization(
    graph: Graph, opcode: str
) -> None:
    fine, coarse = Quantization((1 / 256,), (-128,)), Quantization((2.0,), (0,))
    boxes = graph.feed((1, 2, 2, 4), quantization=coarse)
    scores = graph.add("LOGISTIC", (graph.feed((1, 2, 2, 4)),), (1, 2, 2, 4), 2, quantization=fine)
    again = graph.add("QUANTIZE", (scores,), (1, 2, 2, 4), quantization=coarse)
    kept = graph.add(opcode, (again,), (1, 2, 2, 4), quantization=coarse)
    options = {"axis": 3, "fused_activation_function": "NONE"}
    y = graph.add("CONCATENATION", (boxes, kept), (1, 2, 2, 8), 2, options, quantization=coarse)
    assert "quant.mixed_range_concat" in codes(report_on(graph.model(y)))


def test_equal_ranges_in_one_tensor_are_not_reported(graph: Graph) -> None:
    options = {"axis": 1, "fused_activation_function": "NONE"}
    ends = (graph.feed((1, 4)), graph.feed((1, 4)))
    assert codes(report_on(graph.model(graph.add("CONCATENATION", ends, (1, 8), 2, options)))) == []


def test_biases_and_scales_that_the_compiler_refuses_are_found(new_graph: NewGraph) -> None:
    def dense(bias: int, bias_scale: float, out_scale: float, fused: str) -> CheckReport:
        graph = new_graph()
        values = np.full(4, bias, np.int32)
        number = graph.constant(values, Quantization((bias_scale,), (0,)))
        inputs = (graph.feed((1, 8)), graph.weights((4, 8)), number)
        scale = Quantization((out_scale,), (0,))
        options = {"fused_activation_function": fused}
        y = graph.add("FULLY_CONNECTED", inputs, (1, 4), 4, options, quantization=scale)
        return report_on(graph.model(y))

    assert codes(dense(5, 0.0005, 0.1, "RELU6")) == []
    assert "quant.bias_overflow" in codes(dense((1 << 31) - 1, 0.0005, 0.1, "NONE"))
    assert "quant.bias_scale" in codes(dense(5, 0.05, 0.1, "NONE"))
    overflow = dense(5, 0.0005, 1e-12, "RELU6")
    assert overflow.refused
    assert "quant.activation_overflow" in codes(overflow)


def test_dense_weights_with_many_scales_cause_a_warning(graph: Graph) -> None:
    inputs = (graph.feed((1, 8)), graph.weights((4, 8), 4), -1)
    report = report_on(graph.model(graph.add("FULLY_CONNECTED", inputs, (1, 4), 4)))
    assert codes(report) == ["quant.per_channel_dense"]
    assert report.num_mapped == 1


def test_flattening_odd_channels_causes_a_warning(graph: Graph) -> None:
    shape = graph.constant(np.array([1, 6 * 6 * 114], np.int32))
    y = graph.add("RESHAPE", (graph.feed((1, 6, 6, 114)), shape), (1, 6 * 6 * 114))
    report = report_on(graph.model(y))
    assert "params.flatten_explodes" in codes(report)
    assert report.on_chip_bytes > 2_000_000


def test_activations_that_do_not_fit_on_the_chip_cause_a_warning(graph: Graph) -> None:
    report = report_on(graph.model(graph.conv(graph.feed((1, 512, 512, 4)), 16)))
    assert report.activations.peak_bytes == 512 * 512 * (4 + 16)
    assert report.activations.largest_bytes == 512 * 512 * 16
    assert codes(report) == ["memory.activations"]


def test_a_compiled_model_is_refused_with_inspect_as_the_fix(graph: Graph) -> None:
    x = graph.feed((1, 8))
    model = graph.model(graph.add("CUSTOM", (x,), (1, 8), custom_code="edgetpu-custom-op"))
    with pytest.raises(UnsupportedModelError, match="compiled already") as caught:
        report_on(model)
    assert "edgekit inspect" in caught.value.fix


def test_an_unknown_target_is_refused(graph: Graph) -> None:
    with pytest.raises(UsageError, match="11"):
        report_on(graph.model(graph.conv(graph.feed((1, 8, 8, 4)), 4)), 11)


def test_a_damaged_file_is_one_clear_error(graph: Graph, tmp_path: Path) -> None:
    path = tmp_path / "half.tflite"
    content = write_model(graph.model(graph.conv(graph.feed((1, 8, 8, 4)), 4)))
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelFormatError) as caught:
        check_model(path)
    assert str(path) in caught.value.where


def test_the_gate_does_not_count_unknown_operators(graph: Graph) -> None:
    report = report_on(blocked(graph))
    require_mapped([report], 0.5)
    with pytest.raises(NotMappedError, match=r"3 of 6 operators map \(50.0%\)") as caught:
        require_mapped([report], 0.6)
    assert caught.value.exit_status == 4
    assert caught.value.to_dict()["result"]["num_mapped"] == 3


def test_every_issue_has_a_known_code(graph: Graph) -> None:
    report = report_on(blocked(graph))
    assert set(codes(report)) <= set(ISSUE_CODES)
    assert {each.code for each in report.operators if each.code} <= set(ISSUE_CODES)


@pytest.mark.corpus
def test_the_table_is_that_of_compiler_1_for_a_detector(corpus: Path) -> None:
    """Google's log of this model: 60 operators mapped, the post-processing on the CPU."""
    name = "coco_ssd_mobilenet_v1_1.0_quant_2018_06_29.tflite"
    report = check_model(corpus / "coral" / name, target=10)
    assert {(row.opcode, row.count, row.status) for row in report.table} == {
        ("CUSTOM", 1, "Operation is working on an unsupported data type"),
        ("CONCATENATION", 2, "Mapped to Edge TPU"),
        ("CONV_2D", 34, "Mapped to Edge TPU"),
        ("DEPTHWISE_CONV_2D", 13, "Mapped to Edge TPU"),
        ("RESHAPE", 13, "Mapped to Edge TPU"),
        ("LOGISTIC", 1, "Mapped to Edge TPU"),
    }


def test_damage_is_an_error_or_a_result_and_never_a_crash(graph: Graph) -> None:
    x = graph.feed((1, 8, 8, 4))
    shape = graph.constant(np.array([1, 256], np.int32))
    flat = graph.add("RESHAPE", (graph.conv(x, 4), shape), (1, 256))
    dense = graph.add("FULLY_CONNECTED", (flat, graph.weights((4, 256)), graph.bias(4)), (1, 4), 4)
    content = write_model(graph.model(graph.add("SOFTMAX", (dense,), (1, 4), 2)))
    random = np.random.default_rng(5)
    for _ in range(300):
        damaged = bytearray(content)
        for place in random.integers(0, len(content), 3):
            damaged[place] = random.integers(0, 256)
        with contextlib.suppress(EdgeKitError):
            check_model(bytes(damaged)).to_json()


def test_options_of_a_conversion_are_errors_for_a_converted_model(graph: Graph) -> None:
    content = write_model(graph.model(graph.add("RELU", (graph.feed((1, 4)),), (1, 4))))
    cases: list[dict[str, Any]] = [{"outputs": ["t1"]}, {"signature": "x"}, {"trust_source": True}]
    for options in cases:
        with pytest.raises(UsageError, match="has no effect"):
            check(content, **options)
    assert check(content).num_operators == 1


def test_constants_that_never_stay_on_the_chip_are_distinguished_from_a_lack_of_room(
    graph: Graph,
) -> None:
    x = graph.feed((1, 4, 4, 8))
    slopes = graph.constant(np.ones((1, 1, 8), np.int8), Quantization((0.01,), (0,)))
    report = report_on(graph.model(graph.add("PRELU", (x, slopes), (1, 4, 4, 8))))
    (issue,) = [each for each in report.issues if each.code == "params.streamed"]
    assert report.streamed_bytes == 16 * 8  # each tile gets all channels
    assert "never stay on the chip" in issue.message
    assert "smaller" not in issue.fix


def test_batch_normalization_after_an_activation_says_what_it_streams(graph: Graph) -> None:
    x = graph.feed((1, 8, 8, 32))
    for channels in (32, 64):
        x = graph.conv(x, channels)
        for opcode in ("MUL", "ADD"):
            numbers = graph.constant(np.ones(channels, np.int8), Quantization((0.01,), (0,)))
            x = graph.add(opcode, (x, numbers), (1, 8, 8, channels))
    report = report_on(graph.model(x))
    (issue,) = [each for each in report.issues if each.code == "params.streamed"]
    assert report.streamed_bytes == 3072  # as in a compiled file with constants of these sizes
    assert "BatchNormalization before the activation" in issue.fix


def test_activations_of_16_bits_are_not_called_indices(graph: Graph) -> None:
    x = graph.feed((1, 4, 4, 8), dtype="INT16")
    report = report_on(graph.model(graph.add("LOGISTIC", (x,), (1, 4, 4, 8), dtype="INT16")))
    assert report.blocker is not None
    assert "16 bits" in report.blocker.fix
    assert "int8 activations" in report.blocker.fix
    assert not any("indices" in issue.fix for issue in report.issues)


@pytest.mark.parametrize(
    ("rows", "verdict", "reason"), [(16, "cpu", "16 vectors"), (1, "unknown", "")]
)
def test_a_dense_layer_that_keeps_dimensions_is_named_as_such(
    graph: Graph, rows: int, verdict: str, reason: str
) -> None:
    x = graph.feed((1, rows, 8))
    options = {"keep_num_dims": True, "weights_format": 0}
    inputs = (x, graph.weights((4, 8)), graph.bias(4))
    y = graph.add("FULLY_CONNECTED", inputs, (1, rows, 4), version=5, options=options)
    (found,) = report_on(graph.model(y)).operators
    assert found.verdict == verdict
    assert reason in found.reason
    assert "keep_num_dims" in found.reason
    assert "edgekit fix" in found.fix
    assert "one scale" not in found.fix
