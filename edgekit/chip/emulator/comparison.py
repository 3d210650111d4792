# SPDX-License-Identifier: Apache-2.0
"""Compare a whole program with the part of its source that it was compiled from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Mapping, Sequence

import numpy as np

from edgekit.chip.arithmetic.scales import multiplier_of
from edgekit.chip.arithmetic.twin import run_twin
from edgekit.chip.emulator.layers import LayerFinder, LayerMatch, multipliers_of, recorded
from edgekit.chip.emulator.machine import EdgeTpu
from edgekit.formats.darwinn import Executable, Layer
from edgekit.formats.tflite import Model
from edgekit.formats.tflite.part import between

if TYPE_CHECKING:
    from numpy.typing import NDArray

STATE_OUTPUT = "_variable_output"  # appended to an input layer's name: the program writes it too
_BYTES = {"UINT8": 1, "INT8": 1, "INT16": 2}  # of a value that programs exchange
_WEIGHTED = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"})


@dataclass(frozen=True)
class Comparison:
    """A program against its source on one set of inputs, value for value."""

    layers: tuple[LayerMatch, ...]  # those that the chip's ops compute, in the source's order
    num_outputs: int  # of the program
    num_compared: int  # outputs for which the arithmetic is documented
    num_values: int  # of the compared outputs
    num_different: int  # of these values
    largest_difference: int  # in steps of the output's scale
    rescaled: tuple[str, ...]  # layers that differ because the program quantizes them differently

    @property
    def exact(self) -> tuple[LayerMatch, ...]:
        """The layers that are equal in every value."""
        return tuple(each for each in self.layers if each.pc is not None)

    @property
    def is_exact(self) -> bool:
        """Whether every compared output is equal in every value, and there is one."""
        return self.num_compared > 0 and self.num_different == 0

    @property
    def is_proof(self) -> bool:
        """Whether all differences come from the source's conversion, not from the program."""
        explained = len(self.exact) + len(self.rescaled) == len(self.layers)
        return self.is_exact or (explained and bool(self.rescaled))


def part_of(source: Model, executable: Executable) -> Model | None:
    """Return the part of ``source`` between the program's inputs and outputs.

    They are found by name. Where some have other names in the source, they are the ends of what a
    chip computes (inputs of the model; outputs, and what a custom operator reads) of the same shape
    and width, in their order, if there are as many; the part has the program's names.
    New states are not among its outputs: the source writes them to variables.

    None if ``source`` has no such tensors, or the outputs need more than the inputs.
    """
    graph = source.main
    inputs = _paired(source, executable.input_layers, graph.inputs)
    read = [i for each in graph.operators if each.opcode == "CUSTOM" for i in each.inputs]
    states = {layer.name + STATE_OUTPUT for layer in executable.input_layers}
    written = [layer for layer in executable.output_layers if layer.name not in states]
    outputs = _paired(source, written, (*graph.outputs, *read))
    if inputs is None or outputs is None:
        return None
    names = {**inputs, **outputs}
    tensors = tuple(
        replace(tensor, name=names.get(index, tensor.name))
        for index, tensor in enumerate(graph.tensors)
    )
    subgraphs = (replace(graph, tensors=tensors), *source.subgraphs[1:])
    return between(replace(source, subgraphs=subgraphs), list(inputs), list(outputs))


def _paired(source: Model, layers: Sequence[Layer], ends: Sequence[int]) -> dict[int, str] | None:
    """Return the layers' names by tensor of ``source``, in the layers' order; None if one has none.

    ``ends`` are tensors that may have another name in the program.
    """
    tensors = source.main.tensors
    by_name = {tensor.name: index for index, tensor in enumerate(tensors)}
    named = {layer.name: by_name[layer.name] for layer in layers if layer.name in by_name}
    left = [layer for layer in layers if layer.name not in named]
    free = [
        index
        for index in dict.fromkeys(ends)
        if index not in named.values() and tensors[index].dtype in _BYTES
    ]
    for kind in {_kind(layer) for layer in left}:
        alike = [layer for layer in left if _kind(layer) == kind]
        there = [i for i in free if (tensors[i].num_elements, _BYTES[tensors[i].dtype]) == kind]
        if len(alike) != len(there):
            return None
        named.update((layer.name, index) for layer, index in zip(alike, there))
    return {named[layer.name]: layer.name for layer in layers}


def _kind(layer: Layer) -> tuple[int, int]:
    return layer.y_dim * layer.x_dim * layer.z_dim, layer.data_type.item_bytes


def random_inputs(executable: Executable, seed: int = 0) -> dict[str, NDArray[np.generic]]:
    """Return values of every input over its whole type: shape (y, x, z), by the layer's name."""
    random = np.random.default_rng(seed)
    values: dict[str, NDArray[np.generic]] = {}
    for layer in executable.input_layers:
        shape = (layer.y_dim, layer.x_dim, layer.z_dim)
        if layer.data_type.item_bytes == 2:
            values[layer.name] = random.integers(-(1 << 15), 1 << 15, shape).astype(np.int16)
            continue
        raw = random.integers(0, 256, shape).astype(np.uint8)
        signed = layer.data_type.name.startswith("SIGNED")
        values[layer.name] = raw.view(np.int8) if signed else raw
    return values


def compare(chip: EdgeTpu, part: Model, inputs: Mapping[str, NDArray[np.generic]]) -> Comparison:
    """Run the program once, and compare its layers and outputs with the documented arithmetic.

    Args:
        chip: The program, loaded.
        part: What it was compiled from, see `part_of`. A layer whose multipliers are not in the
            program shows that it was compiled from another conversion of the network.
        inputs: See `EdgeTpu.invoke`.
    """
    recorder, outputs = recorded(chip, inputs)
    finder = LayerFinder(recorder, part)
    compared = values = different = largest = 0
    for number, index, result in run_twin(part, inputs, multipliers_of(chip)):
        finder.find(number, index, result)
        raw = outputs.get(part.main.tensors[index].name)
        if raw is None or raw.dtype.itemsize != 1:
            continue
        wanted = result.reshape(-1).astype(np.int64)
        got = raw.reshape(-1).astype(np.int64) + 128 * (raw.dtype == np.int8)
        distance = np.abs(got - wanted)
        compared += 1
        values += got.size
        different += int((distance > 0).sum())
        largest = max(largest, int(distance.max(initial=0)))
    layers = tuple(finder.matches)
    rescaled = _rescaled(chip, part, layers)
    return Comparison(layers, len(outputs), compared, values, different, largest, rescaled)


def _rescaled(chip: EdgeTpu, part: Model, layers: Sequence[LayerMatch]) -> tuple[str, ...]:
    """The layers that were not found and whose multipliers the program does not contain, by name.

    Multipliers of channels are in the parameters, others in the ops.
    """
    held = b"".join(np.asarray(each.parameters).tobytes() for each in chip.package.executables)
    tensors, multipliers = part.main.tensors, multipliers_of(chip)
    names = []
    for layer in layers:
        operator = part.main.operators[layer.index]
        if layer.pc is not None or operator.opcode not in _WEIGHTED:
            continue
        made = multiplier_of(
            *(tensors[index] for index in (*operator.inputs[:2], operator.outputs[0]))
        )
        multiplier = np.asarray(made, np.float32)
        is_held = multiplier.tobytes() in held if multiplier.ndim else made in multipliers
        if not is_held:
            names.append(layer.name)
    return tuple(names)
