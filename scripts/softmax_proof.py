# SPDX-License-Identifier: Apache-2.0
"""The softmaxes of a program without a source, compared with the documented arithmetic.

A program holds all that its softmax needs: the scale of the input is the multiplier of the
exponentials, and the output's is 1/256, as for every softmax of TensorFlow Lite. So the values that
go into it and those that come out can be compared, although the rest of the network is not known.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgekit.chip.arithmetic.twin import run_twin
from edgekit.chip.emulator import EdgeTpu
from edgekit.chip.emulator.comparison import random_inputs
from edgekit.chip.emulator.layers import Recorder, recorded
from edgekit.chip.emulator.steps.base import OpStep
from edgekit.chip.isa.decode import Instruction
from edgekit.chip.vocabulary.aspects import aspects_of
from edgekit.formats.tflite import Model, Operator, Quantization, Subgraph, Tensor

_EXPONENTIALS = 5  # the table of an op (nlu)
_WIDE_BYTES = 2  # of an exponential
_REACH = 8  # groups of ops before and behind the exponentials


@dataclass(frozen=True)
class SoftmaxProof:
    """A softmax whose values are all equal to the documented arithmetic."""

    num_values: int
    first: int  # pc of the first op behind the input's
    last: int  # pc of the op that stores the result

    def aspects(self, instructions: Sequence[Instruction]) -> Iterator[str]:
        """Yield the aspects of its instructions."""
        for index, aspect in aspects_of(instructions):
            if self.first <= instructions[index].pc <= self.last:
                yield aspect


def softmax_proofs(chip: EdgeTpu) -> Iterator[SoftmaxProof]:
    """Run once on random inputs; yield the softmaxes that are equal in every value."""
    recorder, _ = recorded(chip, random_inputs(chip.executable))
    done: set[int] = set()
    for step in chip.plan.steps:
        if not isinstance(step, OpStep) or step.pc in done or not _is_exponential(step):
            continue
        done.add(step.pc)
        scales = chip.state.rows[step.headers[0, 0]].view(np.float32)
        channels = int((np.cumsum(scales != scales[0]) == 0).sum())
        found = _found(recorder, step.pc, float(scales[0]), channels)
        if found is not None:
            yield found


def _is_exponential(step: OpStep) -> bool:
    is_wide = step.requantization.value_bytes == _WIDE_BYTES
    return is_wide and step.requantization.nlu == _EXPONENTIALS and step.headers.size > 0


def _found(recorder: Recorder, pc: int, scale: float, channels: int) -> SoftmaxProof | None:
    middle = sum(at < pc for at, _ in recorder.groups)
    near = recorder.groups[max(0, middle - _REACH) : middle + _REACH]
    groups = [(at, pixels) for at, blocks in near for pixels in _pixels(blocks)]
    behind = [each for each in groups if each[0] >= pc]
    for before, given in reversed(groups[: len(groups) - len(behind)]):
        if channels > given.shape[1]:
            continue
        expected = _softmax(np.ascontiguousarray(given[:, :channels]), scale)
        for at, made in behind:
            if len(made) == len(given) and np.array_equal(made[:, :channels], expected):
                return SoftmaxProof(expected.size, before + 1, at)
    return None


def _pixels(blocks: dict[int, NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
    """Yield what a group of ops stores, tile by tile: (pixels, channels)."""
    if len({block.shape[1] for block in blocks.values()}) == 1:
        yield np.concatenate([blocks[tile] for tile in sorted(blocks)])


def _softmax(values: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    """The documented arithmetic of a softmax over the last axis."""
    tensors = tuple(
        Tensor(name, values.shape, "UINT8", 0, Quantization((each,), (0,)))
        for name, each in (("input", scale), ("output", 1 / 256))
    )
    operator = Operator("SOFTMAX", 1, (0,), (1,), {"beta": 1.0})
    graph = Subgraph(tensors, (0,), (1,), (operator,))
    model = Model((graph,), (np.empty(0, np.uint8),))
    ((_, _, made),) = run_twin(model, {0: values})
    return made
