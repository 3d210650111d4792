# SPDX-License-Identifier: Apache-2.0
"""The training itself: epochs of gradient steps, the best one kept, and a file to resume from."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit import files
from edgekit.data.numpy_files import NpzFile
from edgekit.errors import DataError, UnsupportedModelError
from edgekit.formats.damage import JSON_DAMAGE, NUMPY_DAMAGE, TooLargeError, reason_of
from edgekit.formats.json_text import parse_json
from edgekit.formats.tflite import Model
from edgekit.host.convert.improve.limits import LOGIT_LIMIT
from edgekit.host.records import record_of
from edgekit.host.train.network import Arrays, Student, answers, run_float
from edgekit.host.train.result import Epoch
from edgekit.host.train.samples import TrainingSamples
from edgekit.host.tune.score import Score
from edgekit.log import debug
from edgekit.progress import Progress

DISTILL, LABELS, BOTH = "distill", "labels", "both"
_SCHEMA = "edgekit.train-checkpoint/1"
_LEAST_SPREAD = 1e-3
_LOSS_SAMPLES = 128
# Names in the checkpoint -> the fields of `State`.
_PARTS = {"now": "now", "best": "best_arrays", "optimizer": "optimizer"}


@dataclass(frozen=True)
class TrainSettings:
    """How to train."""

    epochs: int = 10
    batch_size: int = 32
    learning_rate: float = 1e-3  # relative to the size of what it changes
    loss: str = DISTILL
    patience: int = 3  # epochs without a better one, after which training stops
    seed: int = 1

    def key(self) -> dict[str, Any]:
        """Return what must be equal for a training to be continued; it may be made longer."""
        return {**asdict(self), "epochs": None, "patience": None}


@dataclass
class State:
    """What a training has reached; all of it is in the checkpoint."""

    epochs: list[Epoch] = field(default_factory=list)
    now: Arrays = field(default_factory=dict)
    best_arrays: Arrays = field(default_factory=dict)
    optimizer: Arrays = field(default_factory=dict)

    @property
    def best(self) -> Epoch:
        """The epoch with the best score; the first of equal ones."""
        best = self.epochs[0]
        for each in self.epochs:
            if each.score.is_better_than(best.score):
                best = each
        return best

    @property
    def num_without_gain(self) -> int:
        """How many epochs came after the best one."""
        return self.epochs[-1].number - self.best.number


Judge = Callable[[Model], Score]  # of the int8 model of a trained network
OnEpoch = Callable[[Epoch, Epoch], None]  # called with an epoch and the best one so far


class Training:
    """Trains a student to answer like its teacher, or as the labels say."""

    def __init__(
        self,
        tf: Any,  # noqa: ANN401
        teacher: Model,
        starts: Sequence[Model],
        samples: TrainingSamples,
        settings: TrainSettings,
        limited: Collection[int] = (),
    ) -> None:
        """Prepare a training; it begins with the start whose median loss over the samples is least.

        Args:
            tf: The module.
            teacher: The float network as it was trained.
            starts: The network to train, with different ranges; other activations than the
                teacher's are possible.
            samples: What to train on.
            settings: How to train.
            limited: Outputs, counted from 0, of which only scores from -16 to 16 matter.
        """
        self._limited = frozenset(limited)
        self._diverged: int | None = None  # the epoch
        self._tf, self._samples, self._settings = tf, samples, settings
        self._teacher, self._asked = teacher, answers(teacher)
        self._spreads = self._output_spreads()
        self.student = min((Student(tf, each) for each in starts), key=self._median_loss)
        self._variables = list(self.student.variables.values())
        self._optimizer = tf.keras.optimizers.Adam(settings.learning_rate)
        self._optimizer.build(self._variables)
        self._step = tf.function(self._one_step)

    def _median_loss(self, student: Student) -> float:
        rows = slice(0, _LOSS_SAMPLES)
        inputs = [self._tf.constant(each[rows]) for each in self._samples.inputs]
        labels = None if self._samples.labels is None else self._samples.labels[rows]
        return float(np.median(self._losses(student, inputs, labels)))

    def run(
        self,
        state: State,
        judge: Judge,
        checkpoint: Checkpoint,
        progress: Progress,
        on_epoch: OnEpoch,
    ) -> None:
        """Train until ``settings`` say to stop; ``state`` and the checkpoint always agree."""
        settings = self._settings
        if not state.epochs:
            start = time.monotonic()
            state.now = state.best_arrays = self.student.arrays()
            score = judge(self.student.trained(state.now))
            state.epochs.append(Epoch(0, None, score, time.monotonic() - start))
            checkpoint.write(state)
            on_epoch(state.epochs[0], state.best)
        else:
            self._restore(state, checkpoint)
        while state.epochs[-1].number < settings.epochs:
            if state.num_without_gain >= settings.patience:
                return
            start = time.monotonic()
            number = state.epochs[-1].number + 1
            loss = self._epoch(number, progress)
            now = self.student.arrays()
            reached = self._score(loss, now, judge)
            if reached is None:
                self._diverged = number
                return
            state.now = now
            state.epochs.append(Epoch(number, loss, reached, time.monotonic() - start))
            if state.best.number == number:
                state.best_arrays = state.now
            state.optimizer = self._optimizer_arrays()
            checkpoint.write(state)
            on_epoch(state.epochs[-1], state.best)

    def _score(self, loss: float, arrays: Arrays, judge: Judge) -> Score | None:
        """Return the score of the int8 model; None if the training has diverged."""
        if not np.isfinite(loss) or not all(np.isfinite(each).all() for each in arrays.values()):
            return None
        try:
            return judge(self.student.trained(arrays))
        except UnsupportedModelError as error:  # the untrained model was judged before
            debug("train", f"the int8 model cannot be judged: {error.what}")
            return None

    def warnings(self) -> list[str]:
        """Remarks on the training."""
        if self._diverged is None:
            return []
        rate = self._settings.learning_rate
        return [
            f"the training diverged in epoch {self._diverged}, and was stopped: give a smaller "
            f"--learning-rate than {rate:g}"
        ]

    def _epoch(self, number: int, progress: Progress) -> float:
        settings, samples = self._settings, self._samples
        rate = settings.learning_rate * _cosine((number - 1) / max(1, settings.epochs))
        self._optimizer.learning_rate.assign(rate)
        losses = []
        total = -(-samples.count // settings.batch_size)
        for done, (inputs, labels) in enumerate(
            samples.batches(settings.batch_size, settings.seed + number), 1
        ):
            given = np.zeros(len(inputs[0]), np.int64) if labels is None else labels
            losses.append(float(self._step([*map(self._tf.constant, inputs)], given)))
            progress(total * (number - 1) + done, total * settings.epochs)
        return float(np.mean(losses))

    def _one_step(self, inputs: Any, labels: Any) -> Any:  # noqa: ANN401
        tf = self._tf
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(self._losses(self.student, inputs, labels))
        gradients = tape.gradient(loss, self._variables)
        pairs = zip(gradients, self._variables, strict=True)
        self._optimizer.apply_gradients(
            [
                (tf.zeros_like(variable) if each is None else each, variable)
                for each, variable in pairs
            ]
        )
        return loss

    def _losses(self, student: Student, inputs: Any, labels: Any) -> Any:  # noqa: ANN401
        """Return for each sample how far its answers are from the teacher's, and from its label."""
        tf, settings = self._tf, self._settings
        values = student.run(inputs)
        made = [values[index] for index in student.answers]
        losses = tf.zeros(tf.shape(inputs[0])[0])
        if settings.loss != LABELS:
            wanted = run_float(tf, self._teacher, inputs)
            targets = [tf.stop_gradient(wanted[index]) for index in self._asked]
            triples = zip(made, targets, self._spreads, strict=True)
            for place, (value, target, spread) in enumerate(triples):
                error = self._within(place, value) - self._within(place, target)
                losses += _distance(tf, error / spread)
        if settings.loss != DISTILL:
            scores = tf.reshape(made[0], (tf.shape(labels)[0], -1))
            losses += tf.nn.sparse_softmax_cross_entropy_with_logits(labels, scores)
        return losses

    def _output_spreads(self) -> list[float]:
        """Return how far each of the teacher's answers usually is from its median over samples."""
        inputs = [
            self._tf.constant(each[: self._settings.batch_size * 2])
            for each in self._samples.inputs
        ]
        values = run_float(self._tf, self._teacher, inputs)
        found = [
            np.asarray(self._within(place, values[index]))
            for place, index in enumerate(self._asked)
        ]
        spreads = [np.abs(each - np.median(each, axis=0)).mean() for each in found]
        return [max(float(each), _LEAST_SPREAD) for each in spreads]

    def _within(self, place: int, value: Any) -> Any:  # noqa: ANN401
        """Return the values of an output that matter."""
        if place not in self._limited:
            return value
        return self._tf.clip_by_value(value, -LOGIT_LIMIT, LOGIT_LIMIT)

    def _restore(self, state: State, checkpoint: Checkpoint) -> None:
        own, current = self.student.arrays(), self._optimizer_arrays()
        stored = state.optimizer or current  # none is stored before the first epoch
        pairs = ((state.now, own), (state.best_arrays, own), (stored, current))
        if not all(_is_like(given, wanted) for given, wanted in pairs):
            raise checkpoint.refused("the checkpoint cannot be read: its arrays are of others")
        for name, values in state.now.items():
            self.student.variables[name].assign(values)
        for place, variable in enumerate(self._optimizer.variables):
            variable.assign(stored[str(place)])

    def _optimizer_arrays(self) -> Arrays:
        return {str(i): np.asarray(each) for i, each in enumerate(self._optimizer.variables)}


def _is_like(given: Arrays, own: Arrays) -> bool:
    """Whether the arrays have the same names, shapes and types."""
    return {name: (each.shape, each.dtype) for name, each in given.items()} == {
        name: (each.shape, each.dtype) for name, each in own.items()
    }


def _distance(tf: Any, error: Any) -> Any:  # noqa: ANN401
    """Return for each sample half the mean square of small errors; at most 1, for a lost sample.

    A few odd samples, whose answers cannot be reached, then do not outweigh all others.
    """
    rows = tf.reshape(error, (tf.shape(error)[0], -1))
    size = tf.abs(rows)
    mean = tf.reduce_mean(tf.where(size < 1.0, 0.5 * tf.square(rows), size - 0.5), axis=1)
    return mean / (1.0 + mean)


def _cosine(share: float) -> float:
    """The learning rate's factor after a share of the training: from 1 to 0, half a cosine."""
    return float(0.5 * (1 + np.cos(np.pi * share)))


START_AGAIN = "remove the file to start again, or name another output"


class Checkpoint:
    """A file with the state of a training; written whole or not at all."""

    def __init__(self, path: Path, key: Mapping[str, Any]) -> None:
        """Use ``path`` for the training that ``key`` describes."""
        self.path = path
        self._key = json.loads(json.dumps(key))

    def read(self) -> State:
        """Return the state of the training.

        Raises:
            DataError: The file is damaged, or is that of another training.
        """
        try:
            with NpzFile(self.path) as stored:
                arrays: dict[str, NDArray[Any]] = {name: stored[name] for name in stored.names}
            head = parse_json(str(arrays["head"]).encode())
            key = {} if not isinstance(head.get("key"), dict) else head["key"]
            wanted = {"schema": _SCHEMA, **self._key}
            differing = [name for name in wanted if wanted[name] != key.get(name)]
            epochs = [record_of(Epoch, each) for each in head["epochs"] if not differing]
        except (DataError, TooLargeError, *NUMPY_DAMAGE, *JSON_DAMAGE) as error:
            raise self.refused(f"the checkpoint cannot be read: {reason_of(error)}") from error
        if differing:
            raise self.refused(
                f"the checkpoint is that of another training: {', '.join(differing)} differ"
            )
        if not epochs:
            raise self.refused("the checkpoint cannot be read: it has no epoch")
        state = State(epochs)
        for name, target in _PARTS.items():
            prefix = f"{name}/"
            found = {key[len(prefix) :]: arrays[key] for key in arrays if key.startswith(prefix)}
            setattr(state, target, found)
        return state

    def refused(self, what: str) -> DataError:
        """Return the error for a file that this training cannot continue."""
        return DataError(what, where=str(self.path), fix=START_AGAIN)

    def write(self, state: State) -> None:
        """Store ``state``.

        Raises:
            OutputError: The file cannot be written.
        """
        head = {
            "key": {"schema": _SCHEMA, **self._key},
            "epochs": [asdict(each) for each in state.epochs],
        }
        arrays = {
            f"{name}/{key}": values
            for name, target in _PARTS.items()
            for key, values in getattr(state, target).items()
        }
        with files.replacing(self.path) as temporary, temporary.open("wb") as stream:
            np.savez(stream, head=np.array(json.dumps(head)), **arrays)
