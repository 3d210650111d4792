# SPDX-License-Identifier: Apache-2.0
"""What is written is read again unchanged, and equals Google's bytes."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path
from typing import Callable, Iterator

import numpy as np
import pytest
from flatbuffers import flexbuffers
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgekit.formats.darwinn import (
    DataType,
    Description,
    Direction,
    DmaDescriptorHint,
    DmaHint,
    Executable,
    ExecutableType,
    FenceHint,
    FieldOffset,
    InstructionBitstream,
    InstructionHint,
    InterruptHint,
    Layer,
    Meta,
    OutputLayout,
    Package,
    Position,
    read_package,
    write_custom_options,
    write_package,
)
from edgekit.formats.darwinn.options import read_custom_options
from edgekit.formats.tflite import is_edgetpu_operator, read_model

Same = Callable[[object, object], bool]
_PAGE_BYTES = 4096
_COMPILER_16 = {"5": -1, "6": [18], "7": []}


def _bytes(count: int, seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, count, np.uint8)


def _meta(desc: Description, name: str = "", position: Position = Position.LOWER_32BIT) -> Meta:
    return Meta(desc, 0, name, position)


def _relocations(desc: Description, name: str = "", bit: int = 96) -> tuple[FieldOffset, ...]:
    return tuple(
        FieldOffset(_meta(desc, name, position), bit + 128 * int(position)) for position in Position
    )


def _caching(parameters: int = 192) -> Executable:
    parameter = Description.BASE_ADDRESS_PARAMETER
    return Executable(
        type=ExecutableType.PARAMETER_CACHING,
        instruction_bitstreams=(InstructionBitstream(_bytes(64, 1), _relocations(parameter)),),
        parameters=_bytes(parameters, 2),
        dma_hints=(
            DmaHint(InstructionHint(0), Direction.INFEED),
            DmaHint(DmaDescriptorHint(_meta(parameter), 64, 128), Direction.INFEED),
            DmaHint(InterruptHint(0), Direction.OUTFEED),
        ),
        input_layers=(),
        output_layers=(),
        parameter_caching_token=2**64 - 3,
        used_narrow_memory_bytes_per_tile=0,
        name="Unknown",
        chip="beagle",
        fully_deterministic=True,
    )


def _inference(kind: ExecutableType) -> Executable:
    """Two chunks, two inputs, an output in two tiles, scratch memory with a fence."""
    places = ([0, 0], [0, 1], [0, 32], [0, 0], [0, 1], [8, 8])
    layout = OutputLayout(*(np.array(each, np.int32) for each in places))
    image, state = (Layer(name, 16, 2, 2, 3, 128, 0.25, DataType.FIXED_POINT8) for name in "xs")
    scores = Layer(
        name="scores",
        size_bytes=64,
        y_dim=2,
        x_dim=2,
        z_dim=5,
        zero_point=0,
        dequantization_factor=1.0,
        data_type=DataType.SIGNED_FIXED_POINT8,
        execution_count_per_inference=3,
        cache_on_dram=True,
        shape=((0, 0), (0, 1), (0, 1), (0, 4)),
        layout=layout,
    )
    scratch = _meta(Description.BASE_ADDRESS_SCRATCH)
    taken = _meta(Description.BASE_ADDRESS_INPUT_ACTIVATION, "s")
    given_back = _meta(Description.BASE_ADDRESS_OUTPUT_ACTIVATION, "scores")
    return Executable(
        type=kind,
        instruction_bitstreams=(
            InstructionBitstream(
                _bytes(64, 3), _relocations(Description.BASE_ADDRESS_INPUT_ACTIVATION, "x")
            ),
            InstructionBitstream(
                _bytes(48, 4), _relocations(Description.BASE_ADDRESS_SCRATCH, bit=0)
            ),
        ),
        parameters=_bytes(0, 5),
        dma_hints=(
            DmaHint(InstructionHint(0), Direction.INFEED),
            DmaHint(InstructionHint(1), Direction.INFEED),
            DmaHint(DmaDescriptorHint(taken, 8, 8), Direction.INFEED),
            DmaHint(DmaDescriptorHint(scratch, 0, 640), Direction.OUTFEED),
            DmaHint(FenceHint(), Direction.INFEED),
            DmaHint(DmaDescriptorHint(scratch, 32, 608), Direction.INFEED),
            DmaHint(DmaDescriptorHint(given_back, 64, 128), Direction.OUTFEED),
            DmaHint(InterruptHint(2), Direction.OUTFEED),
        ),
        input_layers=(image, state),
        output_layers=(scores, replace(image, name="s_out", layout=None)),
        parameter_caching_token=7,
        used_narrow_memory_bytes_per_tile=4096,
        scratch_size_bytes=640,
        estimated_cycles=2**33,
        version=1,
        name="model",
        batch_size=2,
        chip="beagle",
        use_tpu_dram_for_parameters=True,
    )


def _pair() -> Package:
    parts = (_inference(ExecutableType.EXECUTION_ONLY), _caching())
    return Package(14, parts, "edgekit", 3, -1, "an identifier")


def test_every_field_of_a_pair_is_read_again(is_same: Same) -> None:
    package = _pair()
    assert is_same(read_package(write_package(package)), package)


def test_a_stand_alone_executable_is_read_again(is_same: Same) -> None:
    part = replace(_inference(ExecutableType.STAND_ALONE), parameters=_bytes(64, 6))
    package = Package(12, (part,))
    assert is_same(read_package(write_package(package)), package)


def test_a_layer_that_differs_is_not_read_as_equal(is_same: Same) -> None:
    package = _pair()
    part = package.executables[0]
    other = replace(part.output_layers[0], shape=((0, 0), (0, 1), (0, 1), (0, 3)))
    changed = replace(part, output_layers=(other, *part.output_layers[1:]))
    written = write_package(replace(package, executables=(changed, package.executables[1])))
    assert not is_same(read_package(written), package)


@given(
    sizes=st.lists(st.integers(1, 2000), min_size=1, max_size=3),
    num_parameters=st.integers(0, 9000),
    token=st.integers(0, 2**64 - 1),
    name=st.text(max_size=9),
    scale=st.floats(width=32, allow_nan=False),
)
def test_any_sizes_and_names_are_read_again(
    sizes: list[int], num_parameters: int, token: int, name: str, scale: float
) -> None:
    chunks = tuple(InstructionBitstream(_bytes(16 * each, each), ()) for each in sizes)
    layer = Layer(name, 2**31 - 1, 1, 1, 9, -(2**31), scale, DataType.SIGNED_FIXED_POINT16)
    part = replace(
        _caching(num_parameters),
        type=ExecutableType.STAND_ALONE,
        instruction_bitstreams=chunks,
        dma_hints=(),
        input_layers=(layer,),
        parameter_caching_token=token,
        name=name,
    )
    read = read_package(write_package(Package(14, (part,)))).executables[0]
    assert [each.bitstream.tobytes() for each in read.instruction_bitstreams] == [
        each.bitstream.tobytes() for each in chunks
    ]
    assert read.parameters.tobytes() == part.parameters.tobytes()
    assert read.input_layers == (layer,)
    assert (read.parameter_caching_token, read.name) == (token, name)


def test_parameters_and_executables_start_at_pages() -> None:
    package = _pair()
    written = write_package(package)
    assert len(written) % _PAGE_BYTES == 0
    place = written.index(package.executables[1].parameters.tobytes())
    assert place % _PAGE_BYTES == 0
    # In front of each executable and of their vector is its length, a multiple of a page as well.
    lengths = [
        struct.unpack_from("<I", written, page - 4)[0]
        for page in range(_PAGE_BYTES, len(written), _PAGE_BYTES)
    ]
    assert len([each for each in lengths if each and each % _PAGE_BYTES == 0]) == 3


def test_the_same_package_gives_the_same_bytes_from_other_arrays() -> None:
    package = _pair()
    part = package.executables[1]
    strided = np.repeat(part.parameters, 2)[::2]
    other = replace(
        package, executables=(package.executables[0], replace(part, parameters=strided))
    )
    assert write_package(other) == write_package(package)


@pytest.mark.parametrize("num_bytes", [1, 255, 256, 65535, 65536, 1 << 24])
def test_a_package_is_read_from_its_options_at_every_width_of_the_length(num_bytes: int) -> None:
    package = _bytes(num_bytes, 7).tobytes()
    assert read_custom_options(write_custom_options(package), "") == package


def _google(corpus: Path) -> Iterator[tuple[str, bytes, bytes]]:
    """Yield file name, options and package of every edgetpu-custom-op of the corpus."""
    for path in sorted((corpus / "compiled").glob("*/*.tflite")):
        for _, _, operator in read_model(path).operators():
            if is_edgetpu_operator(operator):
                options = operator.custom_options
                yield path.name, options, bytes(read_custom_options(options, ""))


@pytest.mark.corpus
def test_every_package_of_google_is_read_again(corpus: Path, is_same: Same) -> None:
    count = 0
    for name, _, content in _google(corpus):
        package = read_package(content)
        assert is_same(read_package(write_package(package)), package), name
        count += 1
    assert count > 60


@pytest.mark.corpus
def test_bytes_equal_those_of_googles_compiler(corpus: Path) -> None:
    """Compiler 1.0 stores the estimate of small programs in a field that was given up later."""
    count = 0
    for name, _, content in _google(corpus):
        package = read_package(content)
        cycles = package.inference.estimated_cycles
        if package.min_runtime_version > 10 or cycles is None:
            assert write_package(package) == content, name
            count += 1
    assert count > 55


@pytest.mark.corpus
def test_options_equal_those_of_googles_compiler(corpus: Path) -> None:
    count = 0
    for name, options, content in _google(corpus):
        entries = flexbuffers.GetRoot(options).AsMap
        keys = [key.AsKey for key in entries.Keys]
        if {key: entries[key].Value for key in keys if key > "4"} == _COMPILER_16:
            assert write_custom_options(content) == options, name
            count += 1
    assert count > 30
