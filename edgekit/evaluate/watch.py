# SPDX-License-Identifier: Apache-2.0
"""Compares the outputs of two models while an evaluation runs."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Sequence

import numpy as np

from edgekit.data.dataset import labels_of
from edgekit.errors import UnsupportedModelError
from edgekit.evaluate.causes import Making
from edgekit.evaluate.outputs import MOST_SAMPLES, Agreement, OutputPair
from edgekit.tasks import CLASSIFICATION, NONE

if TYPE_CHECKING:
    from edgekit.data import Dataset
    from edgekit.evaluate.engine import Engine, Rows
    from edgekit.tasks import Decoder


class OutputWatch:
    """Compares the outputs of two engines on samples spread over the run; thread-safe."""

    def __init__(
        self, engines: Sequence[Engine], decoders: Sequence[Decoder], total: int | None
    ) -> None:
        """Compare the first engine with the second, the reference; a float model is the reference.

        Args:
            engines: The two engines.
            decoders: Their decoders; may be empty.
            total: How many samples there will be; if None, the first ones are compared.
        """
        judged = judged_place(engines)
        self._places = (1 - judged, judged)  # reference, model
        reference, model = (engines[place] for place in self._places)
        self._model = model
        self._name = "the float model" if _is_float(reference) else "the other model"
        chosen = [decoders[place] for place in self._places] if decoders else []
        self._pair = OutputPair(reference.single, model.single, chosen)
        self._stride = max(1, -(-(total or 1) // MOST_SAMPLES))
        self._lock = threading.Lock()

    @property
    def stride(self) -> int:
        """Every so many samples are compared."""
        return self._stride

    def is_due(self, start: int, count: int) -> bool:
        """Whether a sample of a chunk is compared."""
        return -start % self._stride < count and self._pair.count < MOST_SAMPLES

    def due(self, start: int, rows: Rows) -> Rows:
        """The samples to compare, of those that begin with number ``start``."""
        return [each[-start % self._stride :: self._stride] for each in rows]

    def take(
        self, start: int, inputs: Rows, outputs: Sequence[Rows], *, every: bool = False
    ) -> None:
        """Add the samples that are due.

        Args:
            start: The number of the first sample.
            inputs: Real values.
            outputs: The raw outputs of each engine.
            every: Whether all of these are due.
        """
        if not every:
            if not self.is_due(start, len(outputs[0][0])):
                return
            inputs, outputs = self.due(start, inputs), [self.due(start, each) for each in outputs]
        real = [np.asarray(each[:]) for each in inputs]
        expected, actual = (outputs[place] for place in self._places)
        with self._lock:
            self._pair.add(real, expected, actual)

    def agreement(self) -> Agreement:
        """The verdict over the samples compared so far."""
        prepared = self._model.prepared
        with self._lock:
            return self._pair.agreement(Making(prepared.model, prepared.source), self._name)


def judged_place(engines: Sequence[Engine]) -> int:
    """Return the place of the model that is judged by the other one: a float model is not."""
    return int(_is_float(engines[0]) and not _is_float(engines[1]))


def watch_outputs(
    engines: Sequence[Engine],
    decoders: Sequence[Decoder],
    task: str,
    dataset: Dataset,
    total: int | None,
) -> OutputWatch | None:
    """Return a watch for two engines; None for one.

    Return None too if the outputs differ in number or shape, but the task can judge the answers.

    Raises:
        UnsupportedModelError: The outputs differ, and there is nothing else to compare.
    """
    if len(engines) < 2:
        return None
    if task == NONE:
        return OutputWatch(engines, decoders, total)
    fitting = [each for each in decoders if each.task == task]
    is_certain = task != CLASSIFICATION or labels_of(dataset) is not None
    chosen = [replace(each, is_guess=False) for each in fitting] if is_certain else fitting
    try:
        return OutputWatch(engines, chosen if len(chosen) > 1 else (), total)
    except UnsupportedModelError:
        return None


def _is_float(engine: Engine) -> bool:
    return all(info.params is None for info in engine.single.outputs)
