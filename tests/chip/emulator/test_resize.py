# SPDX-License-Identifier: Apache-2.0
"""Resizes on the tiles: MoveNet's bilinear ones and the lane detectors' nearest one."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable

import numpy as np
import pytest

from edgekit.chip.emulator import EdgeTpu
from edgekit.chip.emulator.layers import Recorder, compare_layers, find_layer
from edgekit.chip.isa import EmulationError, decode
from edgekit.formats.darwinn import read_packages
from edgekit.formats.tflite import read_model
from edgekit.formats.tflite.part import between

pytestmark = pytest.mark.corpus

_MOVENET = "google-coral__test_data/movenet_single_pose_lightning_ptq"
_LANES = "arth-simon__edge_tpu_lane_detection"


@pytest.fixture
def movenet_part(corpus: Path, load: Callable[..., Any]) -> Any:  # noqa: ANN401
    """Return the operators of MoveNet's source that its program contains."""
    source = read_model((corpus / "compiled" / f"{_MOVENET}.tflite").read_bytes())
    names = {tensor.name: index for index, tensor in enumerate(source.main.tensors)}
    executable = load(f"{_MOVENET}_edgetpu.tflite").inference
    inputs, outputs = executable.input_layers, executable.output_layers
    return between(
        source, [names[each.name] for each in inputs], [names[each.name] for each in outputs]
    )


@pytest.mark.slow
def test_every_bilinear_resize_and_the_layers_after_it_follow_the_documented_arithmetic(
    load: Callable[..., Any],
    random_inputs: Callable[..., Any],
    movenet_part: Any,  # noqa: ANN401
) -> None:
    chip = EdgeTpu(load(f"{_MOVENET}_edgetpu.tflite"))
    matches = compare_layers(chip, movenet_part, random_inputs(chip.executable))
    resizes = [each for each in matches if each.opcode == "RESIZE_BILINEAR"]
    assert [each.num_values for each in resizes] == [12 * 12 * 64, 24 * 24 * 32, 48 * 48 * 24]
    assert all(each.pc is not None for each in resizes)
    assert [each.pc for each in matches if each.index == 97] != [None]


@pytest.mark.parametrize("name", ["model_hyper_32", "model_cvat4tailorf32", "model_cvat5"])
def test_the_nearest_resize_repeats_every_pixel_of_the_sum_before_it(
    name: str, load: Callable[..., Any], random_inputs: Callable[..., Any]
) -> None:
    chip = EdgeTpu(load(f"{_LANES}/{name}_edgetpu.tflite"))
    recorder = Recorder()
    chip.state.observer = recorder
    outputs = chip.invoke(random_inputs(chip.executable))
    position = next(
        k for k, (pc, _) in enumerate(recorder.groups) if pc == _pc_of_resize(chip.executable)
    )
    del recorder.groups[position:]
    joined = outputs["AlphaLaneNet/concatenate/concat"].view(np.uint8) ^ np.uint8(0x80)
    small = joined[::2, ::2, :128]
    assert find_layer(recorder, 0, small[None])
    assert np.array_equal(joined[..., :128], small.repeat(2, axis=0).repeat(2, axis=1))


def _pc_of_resize(executable: Any) -> int:  # noqa: ANN401
    content = executable.instruction_bitstreams[0].bitstream.tobytes()
    return next(each.pc for each in decode(content) if each.layout.name == "op.resize")


@pytest.mark.parametrize("operator_index", [3, 5, 7])
def test_the_lane_heads_are_the_documented_arithmetic_on_the_layers_left_on_the_cpu(
    operator_index: int, corpus: Path, random_inputs: Callable[..., Any]
) -> None:
    """model_cvat5 is model_cvat4tailorf32, but the compiler left its last layers on the CPU."""
    folder = corpus / "compiled" / _LANES
    packages = read_packages(read_model(folder / "model_cvat4tailorf32_edgetpu.tflite"))
    chip = EdgeTpu(next(p.package for p in packages if p.operator_index == operator_index))
    source = read_model(folder / "model_cvat5_edgetpu.tflite")
    names = {tensor.name: index for index, tensor in enumerate(source.main.tensors)}
    (first,), (last,) = chip.executable.input_layers, chip.executable.output_layers
    part = between(source, [names[first.name]], [names[last.name]])
    assert part is not None
    values = {name: each[None] for name, each in random_inputs(chip.executable).items()}
    matches = compare_layers(chip, part, values)
    assert matches[-1].opcode == "ADD"
    assert matches[-1].pc is not None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("clamp_max", 0x30302),  # three quarters a pixel
        ("clamp_max", 0x20202),  # starting at half a pixel
        ("clamp_min", 0x20302),  # rows that move with the columns' loop
        ("mult", 0x3F800000),
        ("bias", 1),
        ("offset", 128),
        ("in_zp", 3),
    ],
)
def test_a_resize_of_another_kind_stops_at_its_field(
    name: str, value: int, load: Callable[..., Any], with_fields: Callable[..., Any]
) -> None:
    package = with_fields(
        load(f"{_MOVENET}_edgetpu.tflite"),
        lambda each: each.layout.name == "op.resize",
        **{name: value},
    )
    with pytest.raises(EmulationError, match="a resize") as caught:
        EdgeTpu(package)
    assert caught.value.where.startswith("pc 5721, op.resize, field ")
