# SPDX-License-Identifier: Apache-2.0
"""Estimates, compared with published latencies."""

from __future__ import annotations

import math
import statistics
from pathlib import Path

import numpy as np
import pytest

from edgekit.edgetpu.calibration import FITTED, read_calibration
from edgekit.errors import InputError, ModelFormatError, UnsupportedModelError, UsageError
from edgekit.formats.tflite import (
    Model,
    Operator,
    Quantization,
    Subgraph,
    Tensor,
    read_model,
    write_model,
)
from edgekit.opencompiler import compile_program
from edgekit.opencompiler.estimate import estimate
from edgekit.opencompiler.plan import plan

_TEST_DATA = "compiled/google-coral__test_data"
_EDGETPU = "compiled/google-coral__edgetpu"
_EMPTY = np.empty(0, np.uint8)


def _write(path: Path, dtype: str, shape_signature: tuple[int, ...] = ()) -> Path:
    scale = Quantization((0.1,), (0,)) if dtype == "INT8" else None
    tensors = tuple(
        Tensor(name, (1, 8, 8, 4), dtype, 0, scale, shape_signature=shape_signature)
        for name in "ab"
    )
    graph = Subgraph(tensors, (0,), (1,), (Operator("RELU", 1, (0,), (1,)),))
    path.write_bytes(write_model(Model((graph,), (_EMPTY,))))
    return path


def test_the_parts_add_up_to_the_middle_of_the_interval(tmp_path: Path) -> None:
    result = estimate(_write(tmp_path / "m.tflite", "INT8"))
    assert sum(result.parts_ms.values()) == pytest.approx(result.latency_ms.mid)
    assert result.latency_ms.low < result.latency_ms.mid < result.latency_ms.high
    assert result.kind == "plain"
    assert result.num_cpu_operators == 0


def test_a_model_of_real_numbers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModelError, match="real numbers") as caught:
        estimate(_write(tmp_path / "m.tflite", "FLOAT32"))
    assert "edgekit convert" in caught.value.fix


def test_an_open_batch_is_estimated_as_one(tmp_path: Path) -> None:
    """Compiler 16 compiled files with 1 in the shape and -1 in the signature."""
    open_batch = estimate(_write(tmp_path / "m.tflite", "INT8", (-1, 8, 8, 4)))
    fixed = estimate(_write(tmp_path / "n.tflite", "INT8", (1, 8, 8, 4)))
    assert open_batch.latency_ms == fixed.latency_ms


def test_missing_and_damaged_files_are_input_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        estimate(tmp_path / "none.tflite")
    damaged = tmp_path / "damaged.tflite"
    damaged.write_bytes(b"\x1c\x00\x00\x00TFL3" + bytes(40))
    with pytest.raises(ModelFormatError):
        estimate(damaged)


@pytest.mark.corpus
@pytest.mark.parametrize(
    ("model", "device", "published_ms"),
    [
        (f"{_TEST_DATA}/mobilenet_v1_0.25_128_quant_edgetpu", "usb3", 0.9),
        (f"{_EDGETPU}/mobilenet_v2_1.0_224_inat_bird_quant_edgetpu", "usb3", 2.6),
        (f"{_EDGETPU}/mobilenet_v2_1.0_224_inat_bird_quant", "usb3", 2.6),
        (f"{_EDGETPU}/mobilenet_v2_1.0_224_inat_bird_quant_edgetpu", "dev-board", 2.6),
        (f"{_EDGETPU}/mobilenet_v2_1.0_224_inat_bird_quant_edgetpu", "usb2", 10.7),
        (f"{_EDGETPU}/mobilenet_v2_1.0_224_inat_bird_quant_edgetpu", "dev-board-mini", 18.6),
        (f"{_TEST_DATA}/movenet_single_pose_lightning_ptq_edgetpu", "usb3", 7.1),
        (f"{_TEST_DATA}/posenet_mobilenet_v1_075_353_481_16_quant_decoder_edgetpu", "usb3", 5.8),
    ],
)
def test_a_published_latency_is_in_the_interval(
    corpus: Path, model: str, device: str, published_ms: float
) -> None:
    latency = estimate(corpus / f"{model}.tflite", device=device).latency_ms
    assert latency.low <= published_ms <= latency.high


@pytest.mark.corpus
def test_a_compiled_file_and_its_source_get_similar_estimates(corpus: Path) -> None:
    """For compilers from 1.0 to 16.0; 1.0 writes shorter programs for small networks."""
    for path in corpus.glob("compiled/*/*_edgetpu.tflite"):
        source = path.with_name(path.name.replace("_edgetpu", ""))
        compiled = estimate(path)
        if source.is_file() and compiled.tile_cycles > 100_000:
            mid = estimate(source).latency_ms.mid
            assert mid == pytest.approx(compiled.latency_ms.mid, rel=0.2), path.name


@pytest.mark.corpus
def test_a_plain_model_is_counted_in_the_program_that_edgekit_compiles(corpus: Path) -> None:
    path = corpus / _TEST_DATA / "mobilenet_v1_0.25_128_quant.tflite"
    result = estimate(path)
    program = compile_program(read_model(path), verified=False)
    moved = program.package.inference.transfer_bytes()
    assert result.cost_from == "program"
    assert result.tile_cycles == program.predicted_cycles
    assert result.bus_bytes == sum(moved.values())
    assert result.on_chip_bytes == len(program.program.parameters.cached_bytes)
    assert result.beyond_calibration == ()


@pytest.mark.corpus
def test_a_model_that_the_compiler_refuses_is_estimated_by_formulas(corpus: Path) -> None:
    result = estimate(corpus / _TEST_DATA / "keras_lstm_mnist_ptq.tflite")
    assert result.cost_from == "formulas"
    assert "UNIDIRECTIONAL_SEQUENCE_LSTM" in result.cost_note


@pytest.mark.corpus
def test_operators_that_google_leaves_to_the_cpu_are_counted_there(corpus: Path) -> None:
    """Edgekit's compiler maps the resizes of this network, too."""
    path = corpus / _TEST_DATA / "deeplabv3_mnv2_dm05_pascal_quant.tflite"
    result = estimate(path)
    compiled = estimate(path.with_name(f"{path.stem}_edgetpu.tflite"))
    assert result.cost_from == "program"
    assert sorted(result.cpu_operators) == sorted(compiled.cpu_operators)
    assert result.bus_bytes == pytest.approx(compiled.bus_bytes, rel=0.05)


@pytest.mark.corpus
def test_spilled_activations_and_several_parts_are_reported_as_outside_the_calibration(
    corpus: Path,
) -> None:
    slim = "deeplab_mobilenet_edgetpu_slim_cityscapes_quant_edgetpu.tflite"
    said = estimate(corpus / _TEST_DATA / slim).beyond_calibration
    assert any("spilled" in sentence for sentence in said)
    folder = corpus / "compiled/arth-simon__edge_tpu_lane_detection"
    said = estimate(folder / "model_hyper_32_edgetpu.tflite").beyond_calibration
    assert any("5 Edge TPU parts" in sentence for sentence in said)


@pytest.mark.corpus
def test_the_layer_that_exceeds_the_cache_is_named(corpus: Path, tmp_path: Path) -> None:
    """Eight of the widest convolutions of the corpus do not fit on the chip."""
    name = "N600-nMACs13337395200_quant.tflite"
    source = read_model(corpus / "compiled/Jorgitou98__EdgeTPU-QuantRL-Evaluation" / name)
    graph = source.main
    wide = max(
        (op for op in graph.operators if op.opcode == "CONV_2D"),
        key=lambda op: graph.tensors[op.inputs[1]].num_elements,
    )
    tensors = list(graph.tensors)
    operators = []
    current = wide.inputs[0]
    for number in range(8):
        tensors.append(Tensor(f"y{number}", *_like(graph.tensors[wide.outputs[0]])))
        inputs = (current, *wide.inputs[1:])
        current = len(tensors) - 1
        operators.append(
            Operator("CONV_2D", 1, inputs, (current,), wide.options, wide.options_type)
        )
    deep = Subgraph(tuple(tensors), (wide.inputs[0],), (current,), tuple(operators))
    path = tmp_path / "deep.tflite"
    path.write_bytes(write_model(Model((deep,), source.buffers)))
    result = estimate(path)
    assert result.streamed_bytes > 0
    assert result.crossing_layer.endswith("CONV_2D")
    rates = [each.throughput_hz for each in result.pipeline]
    assert rates == sorted(rates)
    assert result.pipeline[-1].streamed_bytes < result.streamed_bytes


def _like(tensor: Tensor) -> tuple[tuple[int, ...], str, int, Quantization | None]:
    return tensor.shape, tensor.dtype, 0, tensor.quantization


@pytest.mark.parametrize("device", FITTED)
def test_the_stated_error_of_networks_on_the_edge_tpu_is_at_most_8_percent(device: str) -> None:
    """And 90 % of the rows that were left out are in the interval, but for rounding."""
    found = read_calibration(device).mapped
    assert found.median_error <= 0.08
    assert found.coverage >= 0.9


@pytest.mark.corpus
@pytest.mark.parametrize(
    ("model", "device", "published_ms"),
    [
        (f"{_TEST_DATA}/mobilenet_v1_1.0_224_quant_embedding_extractor", "usb3", (2.17, 2.2, 2.4)),
        (f"{_TEST_DATA}/mobilenet_v1_1.0_224_quant_embedding_extractor", "usb2", (9.0, 9.22)),
        (f"{_EDGETPU}/mobilenet_v2_1.0_224_inat_bird_quant", "usb3", (2.29, 2.3, 2.6)),
        (f"{_EDGETPU}/mobilenet_v2_1.0_224_inat_bird_quant", "dev-board", (2.5, 2.56, 2.6)),
        (f"{_TEST_DATA}/movenet_single_pose_lightning_ptq", "usb3", (7.1,)),
    ],
)
def test_a_plain_model_is_estimated_within_8_percent(
    corpus: Path, model: str, device: str, published_ms: tuple[float, ...]
) -> None:
    """Of the median of what several sources published."""
    latency = estimate(corpus / f"{model}.tflite", device=device).latency_ms
    assert latency.mid == pytest.approx(statistics.median(published_ms), rel=0.08)


def test_for_the_dev_board_micro_only_a_bound_and_what_was_published_are_stated(
    int8_path: Path,
) -> None:
    found = estimate(int8_path, device="dev-board-micro")
    assert 0 < found.latency_ms.low < estimate(int8_path, device="dev-board-mini").latency_ms.low
    assert (math.isnan(found.latency_ms.mid), math.isinf(found.latency_ms.high)) == (True, True)
    assert (found.calibration.rows, found.pipeline) == (0, ())
    assert [each.latency_ms for each in found.published] == [83.0]
    assert found.to_dict()["latency_ms"]["mid"] is None
    with pytest.raises(UsageError, match="no pipeline"):
        plan(int8_path, device="dev-board-micro")
