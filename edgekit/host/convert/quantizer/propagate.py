# SPDX-License-Identifier: Apache-2.0
"""Choose the parameters of every tensor: from ranges, from weights, and from operators' rules.

Ranges decide where an operator allows any scale. Operators that need equal scales pass them on,
from the input to the output if they have one real input, else from the output to the inputs.
Where two operators require different parameters of a tensor, one of them gets a QUANTIZE.

Source:
    tensorflow/compiler/mlir/lite/quantization/common/quantization_lib/quantization_utils.cc
    (RemoveRedundantStatsOps) and tfl_quantization_driver.cc (QuantizationDriver).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from edgekit.formats.tflite import Model, Operator
from edgekit.host.convert.improve.ranges import range_of
from edgekit.host.convert.quantizer.params import (
    Params,
    fit_bias,
    params_of_bias,
    params_of_constant,
    params_of_range,
    params_of_weights,
)
from edgekit.host.convert.quantizer.rules import RULES, Rule
from edgekit.quant.same_scale import COMPARING

Use = tuple[int, int]  # index of an operator, and of one of its inputs
# What has parameters: an activation, by the tensor's index; or a constant, by its use, because two
# operators may need different integers of it.
Value = int | Use


@dataclass
class Chosen:
    """The parameters of a network's tensors."""

    params: dict[Value, Params] = field(default_factory=dict)
    # Inputs of operators that need other parameters than the tensor has.
    converted: dict[Use, Params] = field(default_factory=dict)
    # Outputs of operators with fixed parameters, whose readers need those in ``params``.
    written: dict[int, Params] = field(default_factory=dict)


class Propagation:
    """Finds the parameters of one network."""

    def __init__(self, model: Model) -> None:
        self._model, self._graph = model, model.main
        self._operators = self._graph.operators
        self._rules = [RULES[each.opcode] for each in self._operators]
        self._producer = {t: i for i, op in enumerate(self._operators) for t in op.outputs}
        self._users: dict[int, list[int]] = {}
        for index, op in enumerate(self._operators):
            for tensor in op.inputs:
                self._users.setdefault(tensor, []).append(index)
        self.chosen = Chosen()
        self._immutable: set[Value] = set()
        self._waiting: list[int] = []
        self._done: set[int] = set()

    def run(self) -> Chosen:
        """Return the parameters."""
        self._take_ranges()
        self._take_constants()
        self._waiting = list(range(len(self._operators)))
        while self._waiting:
            index = self._waiting.pop()
            if index not in self._done:
                self._done.add(index)
                self._visit(index)
        return self.chosen

    # -- what is known at first

    def _take_ranges(self) -> None:
        ranges = {i: range_of(each) for i, each in enumerate(self._graph.tensors)}
        known = {i for i, each in ranges.items() if each is not None and self._is_activation(i)}
        for index in known - self._redundant(known):
            low, high = ranges[index] or (0.0, 0.0)
            self.chosen.params[index] = params_of_range(low, high)
            self._immutable.add(index)

    def _redundant(self, known: set[int]) -> set[int]:
        """Return the tensors whose parameters come from others, although they have a range."""
        found: set[int] = set()
        waiting = sorted(known)
        while waiting:
            index = waiting.pop()
            producer = self._producer.get(index)
            if producer is not None and self._rules[producer].fixed:
                found.add(index)
            for user in self._users.get(index, ()):
                if self._rules[user].same_scale and len(list(self._real_inputs(user))) == 1:
                    new = [i for i in self._operators[user].outputs if i in known - found]
                    found.update(new)
                    waiting.extend(new)
        waiting = sorted(known - found)
        while waiting:
            producer = self._producer.get(waiting.pop())
            if producer is not None and self._rules[producer].same_scale:
                inputs = set(self._operators[producer].inputs) & known
                inputs = {each for each in inputs if not self._needs_own_range(each, producer)}
                waiting.extend(inputs - found)
                found |= inputs
        return found

    def _needs_own_range(self, tensor: int, user: int) -> bool:
        """Whether another operator reads values of ``tensor`` that the output of ``user`` lacks.

        TensorFlow gives it the output's range all the same, and clips what the others read.
        """
        is_shared = len(set(self._users[tensor])) > 1 or tensor in self._graph.outputs
        return is_shared and self._operators[user].opcode in COMPARING

    def _take_constants(self) -> None:
        """Choose parameters of constants by their values, if the operator does not decide."""
        known: dict[tuple[int, int | None], Params] = {}  # weights, by tensor and channel axis
        for index, rule in enumerate(self._rules):
            for place, tensor in self._real_inputs(index):
                values = self._model.data(self._graph.tensors[tensor])
                if values is None or rule.same_scale or place == rule.bias:
                    continue
                if place != rule.weights:
                    self.chosen.params[index, place] = params_of_constant(values)
                    continue
                key = tensor, rule.channel_axis
                if key not in known:
                    known[key] = params_of_weights(values, rule.channel_axis)
                self.chosen.params[index, place] = known[key]

    # -- one operator

    def _visit(self, index: int) -> None:
        op, rule = self._operators[index], self._rules[index]
        if rule.same_scale:
            params = self._common(index)
            if params is None:
                self._done.discard(index)
                return
            for place, _ in self._real_inputs(index):
                self._require_input(index, place, params)
            for tensor in op.outputs:
                self._require_output(tensor, params)
        if rule.fixed:
            scale, zero_point = rule.fixed
            for tensor in op.outputs:
                self._require_output(tensor, Params((scale,), zero_point))
        if rule.bias is not None and _has(op, rule.bias):
            self._require_bias(index, op, rule)

    def _common(self, index: int) -> Params | None:
        """Return the parameters for all tensors of an operator that needs equal ones."""
        inputs = [self._value(index, place) for place, _ in self._real_inputs(index)]
        outputs: list[Value] = list(self._operators[index].outputs)
        for is_immutable in (True, False):
            of_inputs, of_outputs = (
                [
                    self.chosen.params[each]
                    for each in values
                    if each in self.chosen.params and (each in self._immutable) == is_immutable
                ]
                for values in (inputs, outputs)
            )
            num_inputs = sum(1 for each in self._operators[index].inputs if each >= 0)
            if num_inputs == 1 and of_inputs:
                return of_inputs[0]
            if len(outputs) == 1 and of_outputs:
                return of_outputs[0]
            if of_inputs or of_outputs:
                return (of_inputs or of_outputs)[0]
        return None

    def _require_input(self, index: int, place: int, params: Params) -> None:
        value = self._value(index, place)
        known = self.chosen.params.get(value)
        if known is None:
            self.chosen.params[value] = params
            tensor = self._operators[index].inputs[place]
            # Visit the other readers too; TensorFlow does not, and leaves them in real numbers.
            self._waiting[:0] = self._users.get(tensor, [])
            producer = self._producer.get(tensor)
            if producer is not None:
                self._waiting.append(producer)
        elif known != params:
            self.chosen.converted[index, place] = params

    def _require_output(self, tensor: int, params: Params) -> None:
        known = self.chosen.params.get(tensor)
        if known is None:
            self.chosen.params[tensor] = params
            self._waiting.extend(reversed(self._users.get(tensor, [])))
        elif known != params:
            self.chosen.written[tensor] = params

    def _require_bias(self, index: int, op: Operator, rule: Rule) -> None:
        weights = rule.weights or 0
        data = 2 if op.opcode == "TRANSPOSE_CONV" else 0
        of_input = self.chosen.params.get(self._value(index, data))
        of_weights = self.chosen.params.get(self._value(index, weights))
        if of_input is None or of_weights is None:
            self._done.discard(index)
            return
        bias = op.inputs[rule.bias or 0]
        tensor = self._graph.tensors[bias]
        of_bias = params_of_bias(of_input, of_weights, len(tensor.shape))
        values = self._model.data(tensor)
        if values is not None and self._is_constant(op.inputs[weights]):
            of_bias, of_weights = fit_bias(values, of_bias, of_input, of_weights)
            self.chosen.params[index, weights] = of_weights
        self._require_input(index, rule.bias or 0, of_bias)

    # -- tensors

    def _value(self, index: int, place: int) -> Value:
        """Return what has the parameters of an operator's input."""
        tensor = self._operators[index].inputs[place]
        return (index, place) if self._is_constant(tensor) else tensor

    def _real_inputs(self, index: int) -> Iterator[tuple[int, int]]:
        """Yield the place and the tensor of each input of real numbers."""
        for place, tensor in enumerate(self._operators[index].inputs):
            if tensor >= 0 and self._graph.tensors[tensor].dtype == "FLOAT32":
                yield place, tensor

    def _is_constant(self, tensor: int) -> bool:
        return bool(self._model.buffers[self._graph.tensors[tensor].buffer].size)

    def _is_activation(self, tensor: int) -> bool:
        return self._graph.tensors[tensor].dtype == "FLOAT32" and not self._is_constant(tensor)


def _has(op: Operator, place: int) -> bool:
    return len(op.inputs) > place and op.inputs[place] >= 0
