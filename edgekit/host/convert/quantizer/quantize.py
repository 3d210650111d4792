# SPDX-License-Identifier: Apache-2.0
"""Build the integer network of a float network with ranges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from edgekit.errors import UnsupportedModelError
from edgekit.formats.tflite import Model, Operator, Quantization, Tensor
from edgekit.host.convert.quantizer.fuse import fuse_activations
from edgekit.host.convert.quantizer.params import Params, quantized
from edgekit.host.convert.quantizer.propagate import Chosen, Propagation, Value
from edgekit.host.convert.quantizer.rules import RULES, refuse_unknown
from edgekit.rewrite import pieces
from edgekit.rewrite.edit import Edit
from edgekit.rewrite.io_types import exchange_io
from edgekit.rewrite.versions import needed_version


def quantize(calibrated: Model, *, io: str = "uint8") -> Model:
    """Return the integer network of ``calibrated``.

    Args:
        calibrated: A float network with static shapes and one subgraph, whose activations have
            ranges (see `edgekit.host.convert.improve.ranges`).
        io: ``uint8``, ``int8`` or ``float32``: type of the network's inputs and outputs.

    Raises:
        UnsupportedModelError: It has an operator without a rule, or no range reaches a tensor.
    """
    refuse_unknown(calibrated)
    model = fuse_activations(calibrated)
    made = _Network(model, Propagation(model).run()).build()
    return made if io == "int8" else exchange_io(made, io) or made


class _Network:
    """The integer network while it is built; activations keep their tensors' indices."""

    def __init__(self, model: Model, chosen: Chosen) -> None:
        self._model, self._chosen = model, chosen
        self._edit = Edit(model)
        # Constants as integers, and activations with other parameters.
        self._made: dict[tuple[int, Params], int] = {}

    def build(self) -> Model:
        edit, graph = self._edit, self._model.main
        for index in {*graph.inputs, *(each for op in graph.operators for each in op.outputs)}:
            if graph.tensors[index].dtype == "FLOAT32":
                edit.tensors[index] = _typed(graph.tensors[index], self._params_of(index))
        operators = [each for index in graph.inputs for each in self._conversions(index, index)]
        for number, op in enumerate(graph.operators):
            operators += self._operator(number, op)
        edit.operators = [replace(op, version=_version(op, edit.tensors)) for op in operators]
        return edit.build()

    def _operator(self, number: int, op: Operator) -> list[Operator]:
        """Return the integer operator, and the conversions of its outputs."""
        edit, chosen = self._edit, self._chosen
        inputs = [self._input(number, place, index) for place, index in enumerate(op.inputs)]
        outputs, after = list(op.outputs), []
        for place, index in enumerate(op.outputs):
            if index in chosen.written:
                tensor = _typed(edit.tensors[index], chosen.written[index])
                outputs[place] = edit.activation(tensor, f"{tensor.name}/written")
                after.append(pieces.quantize(edit, outputs[place], index))
            after += self._conversions(index, outputs[place])
        return [replace(op, inputs=tuple(inputs), outputs=tuple(outputs)), *after]

    def _conversions(self, index: int, written: int) -> list[Operator]:
        """Return a QUANTIZE from ``written`` for each other parameters that readers need."""
        operators = []
        for (number, place), params in self._chosen.converted.items():
            source = self._model.main.operators[number].inputs[place]
            if source == index and (index, params) not in self._made:
                tensor = _typed(self._edit.tensors[index], params)
                made = self._edit.activation(tensor, f"{tensor.name}/converted")
                self._made[index, params] = made
                operators.append(pieces.quantize(self._edit, written, made))
        return operators

    def _input(self, number: int, place: int, index: int) -> int:
        """Return the tensor that the integer operator reads instead of tensor ``index``."""
        if index < 0 or self._model.main.tensors[index].dtype != "FLOAT32":
            return index
        tensor = self._model.main.tensors[index]
        values = self._model.data(tensor)
        if values is None:
            params = self._chosen.converted.get((number, place))
            return index if params is None else self._made[index, params]
        params = self._params_of((number, place))
        if (index, params) not in self._made:
            made = self._edit.constant(
                tensor.name, quantized(values, params), _quantization(params)
            )
            self._made[index, params] = made
        return self._made[index, params]

    def _params_of(self, value: Value) -> Params:
        params = self._chosen.params.get(value)
        if params is None:
            graph = self._model.main
            index = value if isinstance(value, int) else graph.operators[value[0]].inputs[value[1]]
            raise UnsupportedModelError(
                "no range reaches this tensor", where=graph.tensors[index].name
            )
        return params


def _version(op: Operator, tensors: Sequence[Tensor]) -> int:
    rule = RULES.get(op.opcode)
    return needed_version(op, tensors) or (rule.version if rule else op.version)


def _typed(tensor: Tensor, params: Params) -> Tensor:
    return replace(tensor, dtype=params.dtype.upper(), quantization=_quantization(params))


def _quantization(params: Params) -> Quantization:
    zero_points = (params.zero_point,) * len(params.scales)
    scales = tuple(float(np.float32(each)) for each in params.scales)
    return Quantization(scales, zero_points, params.axis)
