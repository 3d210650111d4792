# SPDX-License-Identifier: Apache-2.0
"""Find for each tensor of an integer model the tensor of the float network with the same meaning.

Names are not used. The float twin of the integer model runs on samples. Each of its tensors is
compared with those of the float network that have as many values and depend on the right inputs, in
every order of the axes, and with a factor for each channel, as in an equalized network. After a
match the twin's later operators get the float network's values, so that the error of one operator
does not hide the next. An operator whose weights differ too much is matched by its place: the next
operator of its kind, with weights of its size, behind the same inputs.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Iterator, Mapping, Sequence, Tuple

import numpy as np

from edgekit.debug.recorder import Recorder, computed_tensors, with_given
from edgekit.debug.twin import is_stored
from edgekit.rewrite.edit import RESHAPES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgekit.formats.features import Features
    from edgekit.formats.tflite import Model, Operator
    from edgekit.runtime.interpreters import InterpreterLibrary

    Shape = Tuple[int, ...]

_MOST_POSITIONS = 4096  # of a tensor that are compared in each sample
_PER_CHANNEL = 8  # positions, at least
_SEED = 20210721
SAME = 0.1  # of the variance: a larger difference is not the same tensor
_CLEAN = 3e-3  # a smaller difference does not disturb the next operators
_FACTORS_WITHIN = 0.02  # of the variance: what is left with a factor for each channel
_FACTORS_GAIN = 5.0  # times smaller than without factors
_MOST_ROUNDS = 64
_BETTER, _MUCH_BETTER = 0.3, 0.05
_SAME_DIRECTION = 0.5  # the cosine of weights
WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", "CONV_3D")


@dataclass(frozen=True)
class Match:
    """A tensor of the float network, and how its values become those of the integer model's."""

    source: int  # tensor of the float network
    axes: tuple[int, ...] | None = None  # the order of its axes; None leaves them
    factors: NDArray[np.float32] | None = None  # of each channel (the last axis)
    difference: float = 0.0  # of the twin's values, as a share of the variance
    by_place: bool = False  # found by its place, because its values differ
    has_weights: bool = False  # found by its place, and its weights are similar
    features: Features | None = None  # how the integer model's input normalizes them

    def values(self, recorder: Recorder, shape: Shape) -> NDArray[np.float32]:
        """Return the float network's values in the integer model's order."""
        return self.ordered(recorder.value(self.source), shape)

    def ordered(self, values: NDArray[Any], shape: Shape) -> NDArray[np.float32]:
        """Return values of the source in the integer model's order and ``shape``."""
        turned = values if self.axes is None else values.transpose(self.axes)
        shaped = turned.reshape(shape)
        if self.features is not None:
            return self.features.normalized(shaped)
        return np.asarray(shaped if self.factors is None else shaped * self.factors, np.float32)


@dataclass
class Matches:
    """The matches by the integer model's tensors."""

    found: dict[int, Match] = field(default_factory=dict)
    # The sum of all differences, each 1 at most; an output or an operator with weights that
    # has no match counts 1.
    cost: float = 0.0
    num_bad: int = 0  # those that differ more than `SAME`, or have no match

    def explains_more(self, other: Matches) -> bool:
        """Whether these matches, with factors, fit better than ``other``, without.

        Factors of an equalized network leave hardly a difference anywhere, and without them two
        operators or more differ. A fault is in one operator; factors can hide it in part.
        """
        if other.num_bad > 1:
            return 2 * self.num_bad < other.num_bad and self.cost < _BETTER * other.cost
        return self.cost < _MUCH_BETTER * other.cost

    def scales(self, tensors: Sequence[int]) -> bool:
        """Whether any of ``tensors`` is scaled by channels."""
        found = (self.found.get(index) for index in tensors)
        return any(each is not None and each.factors is not None for each in found)


class Matcher:
    """Matches one float network with twins of one integer model."""

    def __init__(
        self,
        network: Model,
        recorder: Recorder,
        samples: Sequence[Sequence[NDArray[Any]]],
        library: InterpreterLibrary,
    ) -> None:
        """Run the float network on the samples.

        Args:
            network: The float network.
            recorder: The float network in an interpreter.
            samples: Inputs of the float network, in its order, shapes and types.
            library: The runtime.
        """
        self._network, self._library, self._samples = network, library, samples
        graph = network.main
        made = computed_tensors(network)
        self._candidates: dict[int, list[int]] = {}
        values: dict[int, list[NDArray[Any]]] = {}
        for sample in samples:
            recorder.run(sample)
            for index in (*graph.inputs, *made):
                value = recorder.value(index)
                # Inputs are given to the twin, also those that are integers (indices of words).
                if value.dtype == np.float32 or index in graph.inputs:
                    values.setdefault(index, []).append(value)
        self._values = {index: np.stack(each) for index, each in values.items()}
        for index, each in self._values.items():
            if each.dtype == np.float32:
                self._candidates.setdefault(each[0].size, []).append(index)
        self._before = _dependencies(network)
        self._readers: dict[int, list[Operator]] = {}
        for op in graph.operators:
            for index in op.inputs:
                self._readers.setdefault(index, []).append(op)
        self._positions: dict[tuple[Any, ...], NDArray[np.int64]] = {}

    def match(self, twin: Model, inputs: Mapping[int, Match], *, factors: bool) -> Matches:
        """Match the tensors of a twin.

        Args:
            twin: The float twin.
            inputs: The matches of its inputs.
            factors: Whether channels may be scaled.
        """
        matches = Matches(dict(inputs))
        tried: set[int] = set()
        for _ in range(_MOST_ROUNDS):
            if not self._round(twin, matches, tried, factors=factors):
                break
        weighted = {op.outputs[0] for op in twin.main.operators if op.opcode in WEIGHTED}
        needed = weighted.union(twin.main.outputs)
        missing = sum(1 for index in needed if index not in matches.found)
        matches.cost += missing
        matches.num_bad += missing
        return matches

    def size_of(self, index: int) -> int:
        """Return the number of values of a tensor of the float network; 0 if unknown."""
        return int(self._values[index][0].size) if index in self._values else 0

    def _round(self, twin: Model, matches: Matches, tried: set[int], *, factors: bool) -> bool:
        """Match as far as the values are clean; return whether there is more to match."""
        graph = twin.main
        given_model, given = with_given(twin, matches.found)
        recorder = Recorder(given_model, self._library, "its float twin")
        made = [i for i in computed_tensors(twin) if is_stored(graph.tensors[i])]
        todo = [index for index in made if index not in tried]
        shapes = [tensor.shape for tensor in graph.tensors]
        sampled: dict[int, list[NDArray[Any]]] = {index: [] for index in todo}
        for number in range(len(self._samples)):
            self._run_given(recorder, graph.inputs, given, matches, shapes, number)
            for index in todo:
                values = recorder.value(index).reshape(-1)
                sampled[index].append(values[self._chosen(shapes[index])])
        unclean: set[int] = set()
        for op in graph.operators:
            if not unclean.isdisjoint(op.inputs):
                unclean.update(op.outputs)
                continue
            for index in op.outputs:
                if index in tried or index not in sampled:
                    continue
                tried.add(index)
                match = self._find(twin, op, index, np.stack(sampled[index]), matches, factors)
                if match is None:
                    continue
                matches.found[index] = match
                matches.cost += min(match.difference, 1.0)
                matches.num_bad += match.difference > SAME
                if match.difference > _CLEAN or match.factors is not None:
                    unclean.add(index)
        return bool(unclean) and len(tried) < len(made)

    def _run_given(
        self,
        recorder: Recorder,
        inputs: Sequence[int],
        given: Sequence[int],
        matches: Matches,
        shapes: Sequence[Shape],
        number: int,
    ) -> None:
        recorder.run(
            [
                self._given(matches.found[index], shapes[index], number)
                for index in (*inputs, *given)
            ]
        )

    def _given(self, match: Match, shape: Shape, number: int) -> NDArray[np.float32]:
        return match.ordered(self._values[match.source][number], shape)

    def _find(
        self,
        twin: Model,
        op: Operator,
        index: int,
        sampled: NDArray[np.float32],
        matches: Matches,
        factors: bool,
    ) -> Match | None:
        """Return the match of one tensor; ``sampled`` are its values (samples, positions)."""
        shape = twin.main.tensors[index].shape
        # In a twin, RESHAPE stands for QUANTIZE too.
        first = matches.found.get(op.inputs[0]) if op.opcode in RESHAPES else None
        if first is not None and first.features is not None:
            before = twin.main.tensors[op.inputs[0]].shape
            # The float network has no such tensor: it computes from the real values.
            return first if shape[-1:] == before[-1:] else None
        sources = {matches.found[i].source for i in op.inputs if i in matches.found}
        if not np.isfinite(sampled).all():
            return None
        best: Match | None = None
        for source in self._possible(shape, sources):
            for match in self._compared(source, sampled, shape, factors=factors):
                if best is None or _rank(match) < _rank(best) * (1 - 1e-6):
                    best = match
            if best is not None and best.difference < 1e-9:
                break
        if best is not None and best.difference < SAME:
            return best
        if op.opcode not in WEIGHTED:
            return None
        taken = {each.source for each in matches.found.values()}
        return self._by_place(twin, op, sampled, shape, sources, taken)

    def _possible(self, shape: Shape, sources: set[int]) -> Iterator[int]:
        """Yield tensors of the right size that depend on one of ``sources``."""
        size = int(np.prod(shape))
        for index in self._candidates.get(size, ()):
            if not sources or index in sources or not sources.isdisjoint(self._before[index]):
                yield index

    def _compared(
        self, source: int, sampled: NDArray[np.float32], shape: Shape, *, factors: bool
    ) -> Iterator[Match]:
        """Compare with a tensor in each order of its axes."""
        whole = self._values[source]
        for axes in _orders(whole.shape[1:]):
            expected = self._sampled(whole, shape, axes)
            spread = _spread(expected)
            if spread <= 0:
                return
            difference = float(np.square(sampled - expected).mean()) / spread
            yield Match(source, axes, None, difference)
            if factors and difference > _CLEAN and len(shape) > 1:
                yield from self._scaled(source, axes, sampled, expected, shape)

    def _scaled(
        self,
        source: int,
        axes: tuple[int, ...] | None,
        sampled: NDArray[np.float32],
        expected: NDArray[np.float32],
        shape: Shape,
    ) -> Iterator[Match]:
        """Compare with a positive factor for each channel."""
        channel = self._chosen(shape) % shape[-1]
        products = np.bincount(channel, (sampled * expected).sum(0, np.float64), shape[-1])
        powers = np.bincount(channel, np.square(expected).sum(0, np.float64), shape[-1])
        ratios = np.where(powers > 0, products / np.maximum(powers, 1e-30), 1.0)
        ratios = np.where(ratios > 0, ratios, 1.0)
        fitted = expected * ratios[channel].astype(np.float32)
        spread = _spread(fitted)
        if spread > 0:
            difference = float(np.square(sampled - fitted).mean()) / spread
            if difference < _FACTORS_WITHIN:
                yield Match(source, axes, ratios.astype(np.float32), difference)

    def _by_place(
        self,
        twin: Model,
        op: Operator,
        sampled: NDArray[np.float32],
        shape: Shape,
        sources: set[int],
        taken: set[int],
    ) -> Match | None:
        """Find the next operator of the same kind and weights, and what follows right behind it."""
        size = twin.main.tensors[op.inputs[1]].num_elements
        for place in self._next_alike(op.opcode, size, sources):
            found = [
                match
                for source in self._behind(place)
                if source not in taken and self.size_of(source) == sampled_size(shape)
                for match in self._compared(source, sampled, shape, factors=False)
            ]
            if found:
                best = min(found, key=lambda match: (match.axes is not None, match.difference))
                return replace(best, by_place=True, has_weights=self._same_weights(twin, op, place))
        return None

    def _same_weights(self, twin: Model, op: Operator, other: Operator) -> bool:
        """Whether the weights of most outputs point in about the same direction."""
        ours = twin.data(twin.main.tensors[op.inputs[1]])
        theirs = self._network.data(self._network.main.tensors[other.inputs[1]])
        if ours is None or theirs is None or ours.dtype != theirs.dtype:
            return False
        axis = 3 if op.opcode == "DEPTHWISE_CONV_2D" else 0
        rows = [np.moveaxis(each, axis, 0).reshape(each.shape[axis], -1) for each in (ours, theirs)]
        if rows[0].shape != rows[1].shape:
            return False
        products = (rows[0] * rows[1]).sum(1)
        lengths = np.linalg.norm(rows[0], axis=1) * np.linalg.norm(rows[1], axis=1)
        return float(np.median(products / np.maximum(lengths, 1e-30))) > _SAME_DIRECTION

    def _next_alike(self, opcode: str, size: int, sources: set[int]) -> Iterator[Operator]:
        """Yield the operators behind ``sources``, past others without weights."""
        todo, seen = list(sources), set(sources)
        while todo:
            index = todo.pop(0)
            for op in self._readers.get(index, ()):
                if op.opcode in WEIGHTED:
                    weights = self._network.main.tensors[op.inputs[1]]
                    alike = {opcode, op.opcode} <= {"CONV_2D", "FULLY_CONNECTED"}
                    if (op.opcode == opcode or alike) and weights.num_elements == size:
                        yield op
                    continue
                for output in op.outputs:
                    if output not in seen:
                        seen.add(output)
                        todo.append(output)

    def _behind(self, op: Operator) -> Iterator[int]:
        """Yield an operator's output and those computed from it alone, without weights."""
        index = op.outputs[0]
        while True:
            if index in self._values:
                yield index
            readers = self._readers.get(index, [])
            if len(readers) != 1 or readers[0].opcode in WEIGHTED:
                return
            others = [i for i in readers[0].inputs if i in self._values and i != index]
            if others or not readers[0].outputs:
                return
            index = readers[0].outputs[0]

    def _chosen(self, shape: Shape) -> NDArray[np.int64]:
        """Return the positions of a tensor of ``shape`` that are compared."""
        size = sampled_size(shape)
        wanted = max(_MOST_POSITIONS, _PER_CHANNEL * (shape[-1] if shape else 1))
        key: tuple[Any, ...] = (size, wanted)
        if key not in self._positions:
            generator = np.random.default_rng(_SEED)
            everything = np.arange(size)
            self._positions[key] = (
                everything
                if size <= wanted
                else np.sort(generator.choice(size, wanted, replace=False))
            )
        return self._positions[key]

    def _sampled(
        self, whole: NDArray[Any], shape: Shape, axes: tuple[int, ...] | None
    ) -> NDArray[np.float32]:
        """Return the values (samples, positions) of a tensor of the float network."""
        chosen = self._chosen(shape)
        flat = whole.reshape(len(whole), -1)
        if axes is None:
            return np.asarray(flat[:, chosen])
        key = (whole.shape[1:], axes, len(chosen), chosen.size and int(chosen[-1]))
        if key not in self._positions:
            order = np.arange(flat.shape[1]).reshape(whole.shape[1:]).transpose(axes)
            self._positions[key] = order.reshape(-1)[chosen]
        return np.asarray(flat[:, self._positions[key]])


def sampled_size(shape: Shape) -> int:
    """Return the number of values of a tensor."""
    return int(np.prod(shape, dtype=np.int64))


def _rank(match: Match) -> float:
    """The difference; a match with factors must be much better than one without."""
    return match.difference if match.factors is None else _FACTORS_GAIN * match.difference


def _spread(values: NDArray[Any]) -> float:
    """The variance about the mean of each position; over all positions for a single sample."""
    axis = 0 if len(values) > 1 else None
    return float(np.var(values, axis=axis, dtype=np.float64).mean())


def _orders(source: Shape) -> Iterator[tuple[int, ...] | None]:
    """Yield the orders of a tensor's axes to compare: first as it is."""
    yield None
    wide = [axis for axis, size in enumerate(source) if size > 1]
    if len(wide) < 2 or len(wide) > 3:
        return
    narrow = tuple(axis for axis, size in enumerate(source) if size == 1)
    for order in itertools.permutations(wide):
        if list(order) != wide:
            yield (*narrow, *order)


def _dependencies(model: Model) -> dict[int, set[int]]:
    """Return for each computed tensor all that it is computed from."""
    graph = model.main
    found: dict[int, set[int]] = {index: set() for index in graph.inputs}
    for op in graph.operators:
        before: set[int] = set()
        for index in op.inputs:
            if index in found:
                before.add(index)
                before |= found[index]
        for index in op.outputs:
            found[index] = before
    return found
