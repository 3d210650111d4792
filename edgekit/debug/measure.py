# SPDX-License-Identifier: Apache-2.0
"""Measure the error of each operator of an integer model, alone and with all before it.

Alone means: an operator gets codes of the float network's values, and its result is compared with
that of its float twin on the same codes, plus what its weights change on the values themselves. So
each rounding counts once, at the operator that does it. All operators are measured in one
inference, of a model in which each reads inputs of its own. The effect on the network's outputs is
measured by adding such an error to the float network, one operator at a time.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Sequence

import numpy as np

from edgekit.debug.recorder import Recorder, computed_tensors, with_errors, with_given
from edgekit.debug.sums import Errors, TensorSums
from edgekit.debug.twin import is_stored, with_moved_weights
from edgekit.formats.tflite import NUMPY_DTYPES
from edgekit.progress import Progress
from edgekit.quant import QuantParams, dequantize, quantize

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgekit.debug.matching import Matches
    from edgekit.formats.tflite import Model, Tensor
    from edgekit.runtime.interpreters import InterpreterLibrary

    Values = NDArray[np.float32]

_EFFECT_S = 60.0  # for the effects on the outputs
_MOST_EFFECTS = 8  # samples; one inference for each operator and sample
_LEAST_NOISE = 1e-12  # of the variance: no error


@dataclass
class Measured:
    """All sums: of each tensor, and the effect of its error alone on the outputs."""

    tensors: dict[int, TensorSums]
    # The noise at the outputs by the tensor whose error causes it, as a share of their variance,
    # averaged over the outputs; on ``num_effects`` samples.
    effects: dict[int, float] = field(default_factory=dict)
    num_effects: int = 0


@dataclass(frozen=True)
class Seen:
    """What one sample shows, by the integer model's tensor."""

    values: dict[int, Values]  # of the float network
    errors: dict[int, Errors]


def params_of(tensor: Tensor) -> QuantParams | None:
    """Return how a tensor stores real values; None if as they are, or as plain integers."""
    if tensor.scale is None or tensor.zero_point is None or not tensor.scale > 0:
        return None
    return QuantParams(tensor.scale, tensor.zero_point, NUMPY_DTYPES[tensor.dtype])


class Meter:
    """Measures sample by sample."""

    def __init__(
        self,
        network: Recorder,
        model: Model,
        twin: Model,
        matches: Matches,
        library: InterpreterLibrary,
    ) -> None:
        """Load the models.

        Args:
            network: The float network.
            model: The integer model.
            twin: Its float twin.
            matches: How the tensors of the two correspond.
            library: The runtime.
        """
        graph = model.main
        self._network, self._graph, self._matches = network, graph, matches
        self._made = [i for i in computed_tensors(model) if is_stored(graph.tensors[i])]
        self._params = {i: params_of(graph.tensors[i]) for i in (*graph.inputs, *self._made)}
        where = "the integer model"
        twin_where = "its float twin"
        self._whole = Recorder(model, library, where)
        forced, self._forced = with_given(twin, [i for i in self._made if i in matches.found])
        self._twin = Recorder(forced, library, twin_where)
        moved, _ = with_given(with_moved_weights(twin, model), self._forced)
        self._moved = Recorder(moved, library, twin_where)
        alone, self._given = with_given(model, self._made)
        self._alone = Recorder(alone, library, where)
        alone_twin, _ = with_given(twin, self._made)
        self._alone_twin = Recorder(alone_twin, library, twin_where)
        self._targets = [*graph.inputs, *self._made]
        disturbed = with_errors(twin, self._targets)
        # An output may also be a constant, which has no error.
        self._outputs = [
            place
            for place, i in enumerate(graph.outputs)
            if i in self._targets and is_stored(graph.tensors[i])
        ]
        self._disturbed_outputs = disturbed.main.outputs
        self._disturbed = Recorder(disturbed, library, twin_where)
        self.measured = Measured(
            {i: TensorSums(graph.tensors[i].shape, self._params[i]) for i in self._targets}
        )

    def look(self, sample: Sequence[NDArray[Any]]) -> Seen:
        """Run all models on one sample, the float network's inputs in its order.

        Values and errors are float32, in the shapes and order of the integer model's tensors.
        """
        graph, found = self._graph, self._matches.found
        self._network.run(sample)
        shape = {i: graph.tensors[i].shape for i in self._targets}
        known = {i: found[i].values(self._network, shape[i]) for i in found if i in shape}
        given = [known[i] for i in (*graph.inputs, *self._forced)]
        self._twin.run(given)
        self._moved.run(given)
        from_twin = {i: np.asarray(self._twin.value(i), np.float32) for i in self._made}
        values = {**from_twin, **known}
        codes = {i: self._coded(i, each) for i, each in values.items()}
        stored = {i: self._real(i, each) for i, each in codes.items()}
        self._whole.run([codes[i] for i in graph.inputs])
        self._alone.run([codes[i] for i in (*graph.inputs, *self._given)])
        self._alone_twin.run([stored[i] for i in (*graph.inputs, *self._given)])
        errors = {}
        for i in graph.inputs:
            rounding = stored[i] - values[i]
            nothing = np.zeros_like(rounding)
            errors[i] = Errors(rounding, rounding, nothing, nothing)
        for i in self._made:
            errors[i] = Errors(
                accumulated=self._real(i, self._whole.value(i)) - values[i],
                rounding=self._real(i, self._alone.value(i)) - self._alone_twin.value(i),
                weights=from_twin[i] - values[i],
                expected=np.asarray(self._moved.value(i), np.float32) - from_twin[i],
            )
        return Seen(values, errors)

    def add(self, sample: Sequence[NDArray[Any]]) -> None:
        """Add one sample to the sums."""
        seen = self.look(sample)
        for i, sums in self.measured.tensors.items():
            sums.add(seen.values[i], seen.errors[i])

    def add_effects(self, seen: Seen, tensors: Sequence[int]) -> float:
        """Add the effects of the errors of ``tensors``; return the seconds of one inference."""
        graph = self._graph
        place = {i: len(graph.inputs) + number for number, i in enumerate(self._targets)}
        for number, i in enumerate(graph.inputs):
            self._disturbed.give(number, seen.values[i])
        for i in self._targets:
            self._disturbed.give(place[i], -seen.errors[i].weights)
        self._disturbed.again()
        base = self._read()
        start = time.monotonic()
        for i in tensors:
            self._disturbed.give(place[i], seen.errors[i].rounding)
            self._disturbed.again()
            self._disturbed.give(place[i], -seen.errors[i].weights)
            noise = self._share(self._read(), base)
            self.measured.effects[i] = self.measured.effects.get(i, 0.0) + noise
        seconds = (time.monotonic() - start) / max(len(tensors), 1)
        self.measured.num_effects += 1
        return seconds

    def _read(self) -> list[NDArray[Any]]:
        return [self._disturbed.value(self._disturbed_outputs[each]) for each in self._outputs]

    def _share(self, outputs: Sequence[NDArray[Any]], base: Sequence[NDArray[Any]]) -> float:
        """The noise as a share of the outputs' variance, averaged over the outputs."""
        shares = []
        for place, values, expected in zip(self._outputs, outputs, base):
            variance = self.measured.tensors[self._graph.outputs[place]].variance
            noise = np.square(np.asarray(values, np.float64) - expected).sum()
            if variance > 0:
                shares.append(float(noise) / variance)
        return float(np.mean(shares)) if shares else 0.0

    def _coded(self, index: int, real: Values) -> NDArray[Any]:
        params = self._params[index]
        return real if params is None else quantize(real, params)

    def _real(self, index: int, raw: NDArray[Any]) -> Values:
        params = self._params[index]
        return np.asarray(raw, np.float32) if params is None else dequantize(raw, params)


def measure(
    meter: Meter, samples: Sequence[Sequence[NDArray[Any]]], progress: Progress
) -> Measured:
    """Measure all samples; the effects on as many as time allows.

    Args:
        meter: The models.
        samples: Inputs of the float network.
        progress: Called with (samples done, samples in all).
    """
    chosen = samples[:: max(len(samples) // _MOST_EFFECTS, 1)][:_MOST_EFFECTS]
    total = len(samples) + len(chosen)
    for number, sample in enumerate(samples):
        meter.add(sample)
        progress(number + 1, total)
    measured = meter.measured
    tensors = [i for i, sums in measured.tensors.items() if _has_noise(sums)]
    tensors.sort(key=lambda i: -_local(measured.tensors[i]))
    left, seconds = _EFFECT_S, 0.0
    for number, sample in enumerate(chosen):
        seen = meter.look(sample)
        if number == 0:
            seconds = meter.add_effects(seen, tensors[:3])
            measured.effects.clear()
            measured.num_effects = 0
            tensors = tensors[: max(int(left / max(seconds, 1e-9)), 10)]
        elif left < seconds * len(tensors):
            break
        start = time.monotonic()
        seconds = meter.add_effects(seen, tensors)
        left -= time.monotonic() - start
        progress(len(samples) + number + 1, total)
    for i in measured.effects:
        measured.effects[i] /= measured.num_effects
    if not any(measured.effects.values()):  # the outputs do not vary: see each error where it is
        measured.effects = {i: _local(measured.tensors[i]) for i in tensors}
    progress(total, total)
    return measured


def _has_noise(sums: TensorSums) -> bool:
    return sums.noise("own") > _LEAST_NOISE * max(sums.variance, 1e-30)


def _local(sums: TensorSums) -> float:
    return sums.noise("own") / sums.variance if sums.variance > 0 else 0.0
