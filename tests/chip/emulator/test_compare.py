# SPDX-License-Identifier: Apache-2.0
"""`find_layer` finds a layer in the blocks that ops store on the tiles, if all values match."""

from __future__ import annotations

from typing import Any, Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.chip.emulator import EdgeTpu
from edgekit.chip.emulator.layers import COMPUTED, Recorder, compare_layers, find_layer
from edgekit.formats.tflite import read_model
from edgekit.formats.tflite.part import between

_CHANNELS = 20  # three emissions of 8; the last one has four unused values
_PARTS = st.lists(st.integers(1, 3), min_size=1, max_size=4)


def _blocks(image: Any, rows: list[int], columns: list[int], *, outside: bool) -> dict[int, Any]:  # noqa: ANN401
    padded = np.pad(image, ((0, 0), (0, 0), (0, -image.shape[2] % 8)))
    blocks = {}
    for row, top in enumerate(np.cumsum([0, *rows[:-1]])):
        for column, left in enumerate(np.cumsum([0, *columns[:-1]])):
            part = padded[top : top + rows[row], left : left + columns[column]]
            part = part.reshape(rows[row] * columns[column], -1, 8)
            part = part if outside else part.transpose(1, 0, 2)
            blocks[4 * row + column] = part.reshape(-1, 8)
    return blocks


def _image(height: int, width: int) -> Any:  # noqa: ANN401
    random = np.random.default_rng(height * 100 + width)
    return random.integers(0, 256, (height, width, _CHANNELS)).astype(np.uint8)


@given(_PARTS, _PARTS, st.booleans())
def test_a_layer_on_any_grid_of_tiles_is_found(
    rows: list[int], columns: list[int], outside: bool
) -> None:
    image, recorder = _image(sum(rows), sum(columns)), Recorder()
    recorder.groups.append((7, _blocks(image, rows, columns, outside=outside)))
    assert find_layer(recorder, 0, image[None]) == [0]


def test_passes_that_overlap_make_up_a_layer() -> None:
    image, recorder = _image(9, 6), Recorder()
    for top, bottom in ((0, 5), (4, 9)):
        part = image[top:bottom]
        recorder.groups.append((top, _blocks(part, [3, 2], [3, 3], outside=False)))
        recorder.groups.append((top, _blocks(255 - part, [3, 2], [3, 3], outside=False)))
    assert find_layer(recorder, 0, image[None]) == [0, 2]
    assert find_layer(recorder, 1, image[None]) == []


@given(st.integers(0, 8 * 6 * _CHANNELS - 1))
def test_one_wrong_value_is_detected(place: int) -> None:
    image, recorder = _image(8, 6), Recorder()
    wrong = image.copy()
    wrong.reshape(-1)[place] ^= 1
    recorder.groups.append((0, _blocks(wrong, [4, 4], [3, 3], outside=True)))
    assert find_layer(recorder, 0, image[None]) == []


def test_a_vector_is_computed_tile_after_tile_in_several_passes() -> None:
    values, recorder = np.arange(150).astype(np.uint8), Recorder()
    for start in (0, 64, 128):
        part = np.pad(values[start : start + 64], (0, max(0, start + 64 - 150)))
        recorder.groups.append((start, {0: part[:32][None], 1: part[32:][None]}))
    assert find_layer(recorder, 0, values[None]) == []  # the last tile does not contain any of it
    recorder.groups[2][1].pop(1)
    assert find_layer(recorder, 0, values[None]) == [0, 1, 2]


@pytest.mark.corpus
@pytest.mark.parametrize(
    "name",
    ["google-coral__test_data/mobilenet_v1_0.75_192_quant",
     "google-coral__test_data/deeplabv3_mnv2_dm05_pascal_quant"],
)  # fmt: skip
def test_every_layer_is_found_if_compilers_differ_or_use_passes(
    name: str,
    load: Callable[..., Any],
    random_inputs: Callable[..., Any],
    corpus: Any,  # noqa: ANN401
) -> None:
    chip = EdgeTpu(load(f"{name}_edgetpu.tflite"))
    source = read_model((corpus / "compiled" / f"{name}.tflite").read_bytes())
    names = {tensor.name: index for index, tensor in enumerate(source.main.tensors)}
    inputs, outputs = chip.executable.input_layers, chip.executable.output_layers
    part = between(
        source, [names[each.name] for each in inputs], [names[each.name] for each in outputs]
    )
    assert part is not None
    matches = compare_layers(chip, part, random_inputs(chip.executable))
    assert matches
    assert [each for each in matches if each.pc is None] == []
    assert all(each.opcode in COMPUTED for each in matches)
