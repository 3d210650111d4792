# SPDX-License-Identifier: Apache-2.0
"""An open model that answers one input after the other."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Iterator, Sequence

import numpy as np

from edgekit.data import preprocess_for, preprocess_reason
from edgekit.errors import DataError, UnsupportedModelError
from edgekit.evaluate.answers import Answer, Words, explain, summarize
from edgekit.evaluate.engine import as_pixels
from edgekit.evaluate.finite import bad_rows
from edgekit.evaluate.inputs import Item, Reading, each_sample, read_item
from edgekit.tasks import (
    DecodeOptions,
    Decoder,
    choose_decoder,
    fit_labels,
    label_order_warning,
    model_labels,
    preprocess_warning,
    raw_decoder,
    values_if_unnamed,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgekit.data import Preprocess
    from edgekit.files import PathLike
    from edgekit.runtime import Runner, TensorInfo
    from edgekit.tasks import Meaning, Prepared

_SCORE_THRESHOLD = 0.25


@dataclass(frozen=True)
class Asked:
    """How to read a model's inputs and outputs; None chooses by the model."""

    task: str | None = None
    preprocess: str | Preprocess | None = None
    labels: PathLike | Sequence[str] | None = None
    top: int = 5
    score_threshold: float | None = None
    iou_threshold: float | None = None
    anchors: PathLike | None = None
    keep_state: bool | None = None


class Session:
    """A loaded model, and the states that it keeps from one input to the next.

    Attributes:
        decoder: How the outputs are read; ``none`` from the first answer on that contradicts it.
        preprocess: How pixels become the input.
        preprocess_reason: Why.
        names: The names of the classes; empty if they are unknown.
        score_threshold: Objects and people below it are left out; None: the decoder's own.
        warnings: Remarks on the model and on single answers.
    """

    def __init__(self, prepared: Prepared, runner: Runner, asked: Asked) -> None:
        """Decide how to read the inputs and outputs of an open model.

        Args:
            prepared: The model.
            runner: A Runner of ``prepared.runnable``.
            asked: The user's options.

        Raises:
            DataError: The labels do not fit the classes.
            EdgeKitError: As for `choose_decoder`.
        """
        self._runner, self._keep_state = runner, asked.keep_state
        threshold = asked.score_threshold
        decode = DecodeOptions(threshold, asked.iou_threshold, asked.anchors, _SCORE_THRESHOLD)
        decoder = choose_decoder(prepared, runner, asked.task, decode)
        if threshold is None and decoder.task == "detection":
            threshold = decoder.score_threshold or _SCORE_THRESHOLD
        self.score_threshold = threshold
        given = fit_labels(asked.labels, decoder.num_classes)
        own = model_labels(prepared, decoder.num_classes)
        self.names: Sequence[str] = given or own
        if asked.task is None and not self.names:
            decoder = values_if_unnamed(decoder, prepared, runner)
        self.decoder: Decoder = decoder
        real_range = runner.inputs[0].real_range if runner.inputs else None
        dtype = runner.inputs[0].dtype if runner.inputs else "float32"
        self.preprocess = preprocess_for(
            asked.preprocess, prepared.notes.preprocess, real_range, dtype
        )
        self.preprocess_reason = preprocess_reason(
            asked.preprocess, prepared.preprocess_reason, real_range
        )
        self._words = Words(self.names, asked.top)
        self._remarks = [
            each
            for each in (
                preprocess_warning(asked.preprocess, prepared),
                label_order_warning(given, own),
            )
            if each
        ]
        self._said: list[str] = []  # about single answers
        self._continued = _continued(runner.inputs, runner.outputs)
        self._states: dict[str, NDArray[Any]] = {}

    @property
    def warnings(self) -> tuple[str, ...]:
        """Remarks on the model, then on single answers."""
        return (*self.decoder.warnings, *self._remarks, *self._said)

    def take_remarks(self) -> tuple[str, ...]:
        """Return the remarks on single answers since the last call, and forget them.

        What answers without end calls it, so that they do not fill the memory.
        """
        said, self._said = tuple(self._said), []
        return said

    def samples(self, item: Item) -> Iterator[Item]:
        """Yield the samples in ``item``."""
        return each_sample(item, self._runner.inputs)

    def answer(self, item: Item) -> tuple[Answer, Meaning, Reading]:
        """Run on ``item``; errors contain its name."""
        self._begin(item)
        try:
            reading = read_item(item, self._runner.inputs, self.preprocess)
            raw = [self._raw(info, reading) for info in self._runner.inputs]
        except DataError as error:
            where = item.name
            place = error.where if where in error.where else f"{where}, {error.where}"
            raise DataError(
                error.what, where=place.rstrip(", "), why=error.why, fix=error.fix
            ) from error
        if reading.is_first_of_several:
            self._said.append(
                f"{item.name} has several frames: only the first one is run; to run all, give "
                "a video or a folder of images"
            )
        spent_s, start = self._runner.recovery_s, time.perf_counter()
        outputs = self._runner.invoke(*raw, keep_state=True)
        taken_s = time.perf_counter() - start - (self._runner.recovery_s - spent_s)
        latency_ms = taken_s * 1e3
        for name, index in self._continued.items():
            self._states[name] = outputs[index]
        first = [_first(each) for each in outputs]
        meaning = self._meaning(first, item.name)
        if bad_rows([each.reshape(1, -1) for each in first if each.size]).any():
            meaning = self._no_answer(first, meaning, item.name)
        real = self._runner.to_real(*outputs)
        counted = real if self.decoder.counted is None else self.decoder.counted(real)
        answer = Answer(
            source=item.name,
            outputs=tuple(map(summarize, self._runner.outputs, real, counted)),
            latency_ms=latency_ms,
            **explain(meaning, reading.placement, self._words),
        )
        return answer, meaning, reading

    def _begin(self, item: Item) -> None:
        """Reset the state from the previous input that ``item`` must not use."""
        if not (item.goes_on if self._keep_state is None else self._keep_state):
            self._runner.reset()
        if self._keep_state is False:
            self._states.clear()

    def _meaning(self, raw: Sequence[NDArray[Any]], source: str) -> Meaning:
        """Decode ``raw``; None, also for later inputs, if the values contradict a guessed task."""
        try:
            return self.decoder.decode(raw)
        except UnsupportedModelError as error:
            guess = self.decoder
            if not guess.is_guess:
                raise UnsupportedModelError(
                    error.what, where=source, why=error.why, fix=error.fix
                ) from error
            why = f"it looks like {guess.kind}, but {error.what}"
            warning = f"{source}: not read as {guess.task}, {guess.kind}: {error.what}; {error.why}"
            self.decoder = replace(
                raw_decoder(why, guess.input_shape), warnings=(*guess.warnings, warning)
            )
            return None

    def _no_answer(self, raw: Sequence[NDArray[Any]], meaning: Meaning, source: str) -> Meaning:
        """Return ``meaning``, or None if values that matter are NaN or infinite."""
        counted = self.decoder.counted
        used = raw if counted is None else counted(raw)
        if all(np.isfinite(each).all() for each in used):
            return meaning
        self._said.append(f"the model answers {source} with NaN or infinity: not an answer")
        return None

    def _raw(self, info: TensorInfo, reading: Reading) -> NDArray[Any]:
        position = self._runner.inputs.index(info)
        if info.name in reading.arrays:
            return self._runner.to_raw_at(position, as_pixels(reading.arrays[info.name], info))
        if info.name in self._states:
            return self._states[info.name]
        if info.name not in self._continued:
            names = [each.name for each in self._runner.inputs if each.name not in reading.arrays]
            raise DataError(
                f"nothing is given for the inputs {names}",
                fix="save an .npz with one array for each input, under its name",
            )
        zero_point = 0 if info.zero_point is None else info.zero_point
        return np.full(info.shape, zero_point, info.dtype)


def _continued(inputs: Sequence[TensorInfo], outputs: Sequence[TensorInfo]) -> dict[str, int]:
    """Map input name -> index of the output that continues it, for a model with states.

    The first input is the sample. Each other input must have such an output, of the same shape and
    type; of several, the one whose name has the longest common end.
    """
    found: dict[str, int] = {}
    for info in inputs[1:]:
        alike = [
            (_common_end(info.name, each.name), -index)
            for index, each in enumerate(outputs)
            if (each.shape, each.dtype) == (info.shape, info.dtype) and index not in found.values()
        ]
        if alike:
            found[info.name] = -max(alike)[1]
    return found if len(found) == len(inputs) - 1 else {}


def _common_end(first: str, second: str) -> int:
    count = 0
    for a, b in zip(reversed(first), reversed(second)):
        if a != b:
            break
        count += 1
    return count


def _first(array: NDArray[Any]) -> NDArray[Any]:
    return array[:1] if array.ndim else array
