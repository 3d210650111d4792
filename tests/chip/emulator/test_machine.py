# SPDX-License-Identifier: Apache-2.0
"""The emulator's results for programs of Google's compiler, compared with numpy and TFLite."""

from __future__ import annotations

import random
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable

import numpy as np
import pytest

from edgekit.chip.arithmetic.twin import run_twin
from edgekit.chip.emulator import EdgeTpu
from edgekit.chip.emulator.layers import compare_layers
from edgekit.chip.isa import EmulationError
from edgekit.errors import EdgeKitError
from edgekit.formats.darwinn import DataType, Package, read_packages
from edgekit.formats.tflite import read_model

pytestmark = pytest.mark.corpus

_DEEPLAB = "google-coral__test_data/deeplabv3_mnv2_dm05_pascal_quant"
_MOBILENET = "google-coral__edgetpu/mobilenet_v1_0.25_128_quant"
_MOBILENETS = [
    _MOBILENET,
    "google-coral__test_data/mobilenet_v1_0.25_128_quant",
    "google-coral__edgetpu/mobilenet_v2_1.0_224_inat_bird_quant",
]
_GABOR = "ricardodeazambuja__LibrEdgeTPU/gabor_64x64_7k_4o_2s"
_SPLIT = "google-coral__test_data/split_concat"
_SIMPLE = [
    _GABOR,
    _SPLIT,
    "ricardodeazambuja__LibrEdgeTPU/dense_512",
    "ricardodeazambuja__LibrEdgeTPU/looming_128x128_3x3",
    "HanChangHun__EdgeTPU-Compiler-Log-Parser/dummy",
]


@pytest.mark.slow
@pytest.mark.parametrize("name", _MOBILENETS)
def test_every_layer_of_a_mobilenet_is_the_documented_arithmetic(
    name: str, load: Callable[..., Any], random_inputs: Callable[..., Any], corpus: Path
) -> None:
    chip = EdgeTpu(load(f"{name}_edgetpu.tflite"))
    source = read_model((corpus / "compiled" / f"{name}.tflite").read_bytes())
    matches = compare_layers(chip, source, random_inputs(chip.executable))
    assert len(matches) > 28
    assert [each for each in matches if each.pc is None] == []


@pytest.mark.parametrize("name", _SIMPLE)
def test_outputs_are_the_documented_arithmetic(
    name: str, load: Callable[..., Any], random_inputs: Callable[..., Any], corpus: Path
) -> None:
    chip = EdgeTpu(load(f"{name}_edgetpu.tflite"))
    source = read_model((corpus / "compiled" / f"{name}.tflite").read_bytes())
    values = random_inputs(chip.executable)
    outputs = chip.invoke(values)
    shaped = {
        tensor.name: values[tensor.name].reshape(tensor.shape)
        for tensor in (source.main.tensors[index] for index in source.main.inputs)
    }
    computed = {
        source.main.tensors[index].name: result for _, index, result in run_twin(source, shaped)
    }
    assert outputs
    for name_, found in outputs.items():
        unsigned = found.view(np.uint8) ^ np.uint8(0x80 if found.dtype == np.int8 else 0)
        assert np.array_equal(unsigned.reshape(-1), computed[name_].reshape(-1))


def test_a_second_inference_does_not_depend_on_the_first(
    load: Callable[..., Any], random_inputs: Callable[..., Any]
) -> None:
    chip = EdgeTpu(load(f"{_MOBILENET}_edgetpu.tflite"))
    values = random_inputs(chip.executable)
    first = chip.invoke(values)
    chip.invoke({name: each[::-1] for name, each in values.items()})
    again = chip.invoke(values)
    for name, each in first.items():
        assert np.array_equal(each, again[name])


def test_the_error_for_an_unproven_field_names_instruction_counter_and_field(
    load: Callable[..., Any], with_fields: Callable[..., Any]
) -> None:
    package = with_fields(
        load(f"{_SPLIT}_edgetpu.tflite"), lambda each: each.layout.name == "op", cfg2=0x1F
    )
    with pytest.raises(EmulationError) as caught:
        EdgeTpu(package)
    assert re.fullmatch(r"pc \d+, op, field cfg2", caught.value.where)


def test_a_caching_program_of_another_compilation_is_refused(load: Callable[..., Any]) -> None:
    """Both run on wide memory of the same layout: only the token shows that weights are wrong."""
    package = load(f"{_MOBILENET}_edgetpu.tflite")
    other = load("google-coral__test_data/mobilenet_v1_0.25_128_quant_edgetpu.tflite")
    with pytest.raises(EmulationError, match="token"):
        EdgeTpu(replace(package, executables=(package.inference, other.caching)))


def test_a_caching_program_that_reads_an_input_is_refused(load: Callable[..., Any]) -> None:
    package = load(f"{_MOBILENET}_edgetpu.tflite")
    caching, inference = package.caching, package.inference
    swapped = (replace(inference, type=caching.type), replace(caching, type=inference.type))
    with pytest.raises(EmulationError, match="transfers activations"):
        EdgeTpu(replace(package, executables=swapped))


@pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.float64])
def test_values_of_another_type_with_as_many_bytes_are_refused(
    dtype: type, load: Callable[..., Any], random_inputs: Callable[..., Any]
) -> None:
    chip = EdgeTpu(load(f"{_SPLIT}_edgetpu.tflite"))
    values = random_inputs(chip.executable)
    name, array = next(iter(values.items()))
    assert array.dtype == np.uint8
    with pytest.raises(EmulationError, match="for an input of uint8") as caught:
        chip.invoke({**values, name: array.reshape(-1).view(dtype)})
    assert name in caught.value.where


def test_a_missing_input_is_named(
    load: Callable[..., Any], random_inputs: Callable[..., Any]
) -> None:
    chip = EdgeTpu(load(f"{_SPLIT}_edgetpu.tflite"))
    values = random_inputs(chip.executable)
    name = next(iter(values))
    del values[name]
    with pytest.raises(EmulationError, match="missing") as caught:
        chip.invoke(values)
    assert name in caught.value.where


def _stop(package: Package) -> EdgeKitError | None:
    try:
        chip = EdgeTpu(package)
        layers = chip.executable.input_layers
        dtypes: dict[DataType, type] = {
            DataType.SIGNED_FIXED_POINT8: np.int8,
            DataType.SIGNED_FIXED_POINT16: np.int16,
        }
        chip.invoke(
            {
                layer.name: np.zeros(
                    (layer.y_dim, layer.x_dim, layer.z_dim), dtypes.get(layer.data_type, np.uint8)
                )
                for layer in layers
            }
        )
    except EdgeKitError as error:
        return error
    return None


def test_every_program_of_the_corpus_runs_or_stops_with_a_place(corpus: Path) -> None:
    small = [
        path
        for path in sorted(corpus.glob("compiled/**/*_edgetpu.tflite"))
        if path.stat().st_size < 700_000
    ]
    assert small
    for path in small:
        for each in read_packages(read_model(path.read_bytes())):
            error = _stop(each.package)
            assert error is None or re.match(r"pc \d+, [a-z0-9.]+, field \w+", error.where)


@pytest.mark.parametrize("seed", range(40))
def test_a_damaged_program_ends_with_values_or_an_error(
    seed: int,
    load: Callable[..., Any],
    with_bytes: Callable[..., Any],
) -> None:
    package = load(f"{_GABOR if seed % 2 else _SPLIT}_edgetpu.tflite")
    draw = random.Random(seed)
    content = bytearray(package.inference.instruction_bitstreams[0].bitstream.tobytes())
    if seed % 4 == 0:
        del content[draw.randrange(len(content)) :]
    for _ in range(draw.choice((1, 3, 10))):
        if content:
            content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    error = _stop(with_bytes(package, bytes(content)))
    assert error is None or error.what


def test_weight_rows_below_their_own_address_are_not_streams(
    load: Callable[..., Any], with_fields: Callable[..., Any]
) -> None:
    package = with_fields(
        load(f"{_DEEPLAB}_edgetpu.tflite"),
        lambda each: (
            each.layout.name == "op" and each["bias"] and each["par_cnt2"] and not each["par_rows"]
        ),
        par_inc2=-147,
    )
    error = _stop(package)
    assert error is not None
    assert error.where.endswith("op, field par_base")


@pytest.mark.parametrize("operator_index", [3, 5, 7])
def test_pixels_that_are_not_whole_words_are_copied_unchanged(
    operator_index: int, corpus: Path, random_inputs: Callable[..., Any]
) -> None:
    path = corpus / "compiled/arth-simon__edge_tpu_lane_detection/model_hyper_32_edgetpu.tflite"
    packages = {each.operator_index: each for each in read_packages(read_model(path))}
    chip = EdgeTpu(packages[operator_index].package)
    (image,) = random_inputs(chip.executable).values()
    (layer,) = chip.executable.input_layers
    copied = 0
    pixels = {each.tobytes() for each in (image.view(np.uint8) ^ 0x80).reshape(-1, layer.z_dim)}

    def see(step: Any, tiles: list[int], stored: Any) -> None:  # noqa: ANN401
        nonlocal copied
        if step.pc in (52, 148):  # the two copies at the beginning
            order = step.shape.emissions.reshape(-1)
            for block in stored.reshape(len(tiles), len(order), 4):
                words = np.empty_like(block)
                words[order] = block
                rows = words.reshape(-1, -(-layer.z_dim // 4) * 4)[:, : layer.z_dim]
                copied += sum(row.tobytes() in pixels for row in rows)

    chip.state.observer = see
    chip.invoke({layer.name: image})
    assert copied == 32 * 32
