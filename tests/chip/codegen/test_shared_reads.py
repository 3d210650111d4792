# SPDX-License-Identifier: Apache-2.0
"""Two consumers of one tensor: the second one's padding waits for the end of the first one's op."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Callable, Iterator

import numpy as np
import pytest

from edgekit.chip.codegen import Partition, make_program, partition
from edgekit.chip.emulator import EdgeTpu
from edgekit.chip.emulator.units.fences import UNITS
from edgekit.chip.isa import Instruction, SyncError, decode, encode
from edgekit.confirm.networks import NetworkBuilder
from edgekit.formats.darwinn import Package
from edgekit.formats.tflite import Model

Compare = Callable[..., Partition]


def _branches() -> Model:
    """A 3x3 convolution and a 3x3 maximum of one tensor, whose paddings differ."""
    network = NetworkBuilder("branches", (9, 10, 8))
    network.convolution(8, (1, 1))
    network.keep("trunk")
    network.convolution(8, (3, 3))
    network.keep("left")
    network.back_to("trunk")
    network.pool("MAX_POOL_2D", 3, 1, "SAME")
    network.concatenation("left", same_scale=False)
    return network.model()


def _package(model: Model) -> Package:
    part, tensors = partition(model), model.main.tensors
    ends = {i: tensors[i] for i in (*part.network.inputs, *part.network.outputs)}
    return make_program(part.network, ends).package


def _with_no_wait(package: Package, position: int) -> Package:
    """The package whose fence at ``position`` waits for no unit."""
    (chunk,) = package.inference.instruction_bitstreams
    instructions = list(decode(chunk.bitstream.tobytes()))
    old = instructions[position]
    instructions[position] = replace(old, fields={**old.fields, "units": 0})
    code = np.frombuffer(encode(instructions), np.uint8)
    executable = replace(
        package.inference, instruction_bitstreams=(replace(chunk, bitstream=code),)
    )
    others = [e for e in package.executables if e.type is not package.inference.type]
    return replace(package, executables=(executable, *others))


def _fences(package: Package) -> Iterator[tuple[int, Instruction]]:
    (chunk,) = package.inference.instruction_bitstreams
    instructions = decode(chunk.bitstream.tobytes())
    for position, (first, second) in enumerate(zip(instructions, instructions[1:])):
        if first.layout.name == "fence" and second.layout.name.startswith("mesh"):
            yield position, first


def test_branches_pass_strict_mode_and_are_right(compare: Compare) -> None:
    model = _branches()
    generator = np.random.default_rng(1)
    values: Any = generator.integers(-128, 128, (1, 9, 10, 8)).astype(np.int8)
    name = model.main.tensors[model.main.inputs[0]].name
    compare(model, {name: values})


def test_without_the_fence_strict_mode_stops() -> None:
    package = _package(_branches())
    stopped = []
    for position, fence in _fences(package):
        if fence["counters"]:
            continue  # one that also resets
        with pytest.raises(SyncError, match=r"may still read|from the mesh") as caught:
            EdgeTpu(_with_no_wait(package, position), strict_sync=True)
        stopped.append(caught.value.what)
    assert any("which op may still read" in what for what in stopped)


def test_an_op_that_overwrites_what_narrow_to_wide_reads_needs_a_fence() -> None:
    """A softmax on a tile writes its second table's results where the first ones were."""
    network = NetworkBuilder("classes", (64,))
    network.dense(10)
    network.unary("SOFTMAX")
    package = _package(network.model())
    EdgeTpu(package, strict_sync=True)
    (chunk,) = package.inference.instruction_bitstreams
    instructions = decode(chunk.bitstream.tobytes())
    position = next(
        k
        for k, (before, fence) in enumerate(zip(instructions, instructions[1:]), 1)
        if before.layout.name == "n2w"
        and fence.layout.name == "fence"
        and fence["units"] == 1 << UNITS.index("n2w")
    )
    with pytest.raises(SyncError, match="which n2w may still read"):
        EdgeTpu(_with_no_wait(package, position), strict_sync=True)
