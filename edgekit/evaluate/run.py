# SPDX-License-Identifier: Apache-2.0
"""Run a model on single inputs: its answers in numbers, in words and in pictures."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Iterator, Mapping, Sequence

import numpy as np

from edgekit.data import parse_preprocess, preprocess_for, preprocess_reason
from edgekit.errors import DataError, InputError, UnsupportedModelError, UsageError
from edgekit.evaluate.answers import Answer, Words, explain, summarize
from edgekit.evaluate.engine import as_pixels
from edgekit.evaluate.finite import bad_rows
from edgekit.evaluate.gallery import Gallery
from edgekit.evaluate.inputs import Item, Reading, each_sample, expand, read_item
from edgekit.evaluate.result import set_options
from edgekit.files import make_folder
from edgekit.runtime import Environment, MeasuredResult, Runner, RunnerOptions
from edgekit.tasks import (
    DecodeOptions,
    Decoder,
    choose_decoder,
    fit_labels,
    label_order_warning,
    model_labels,
    prepare,
    preprocess_warning,
    raw_decoder,
    values_if_unnamed,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgekit.data import Preprocess
    from edgekit.files import PathLike
    from edgekit.formats.model_file import ModelSource
    from edgekit.runtime import TensorInfo
    from edgekit.tasks import Meaning, Prepared

_SCORE_THRESHOLD = 0.25


@dataclass(frozen=True)
class RunResult(MeasuredResult):
    """The answers to a few inputs."""

    schema: ClassVar[str] = "edgekit.run/2"
    model: str
    sha256: str
    task: str
    decoder: str  # how the outputs were read
    recognized_by: str  # why this task
    preprocess: str
    score_threshold: float | None  # of objects and people; None uses the decoder's own
    answers: tuple[Answer, ...]
    failed: tuple[str, ...]  # files of a folder or pattern that could not be read, and why
    environment: Environment
    # The options that were set, as on the command line: option -> its value as text.
    asked: Mapping[str, str] = field(default_factory=dict)
    preprocess_reason: str = ""  # why this preprocessing
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class RunRequest:
    """How `run` reads inputs and outputs; the fields are its arguments."""

    task: str | None = None
    preprocess: str | Preprocess | None = None
    labels: PathLike | Sequence[str] | None = None
    top: int = 5
    score_threshold: float | None = None
    iou_threshold: float | None = None
    anchors: PathLike | None = None
    output: PathLike | None = None
    keep_state: bool | None = None

    def check(self, inputs: Sequence[PathLike | NDArray[Any]]) -> None:
        """Check the arguments before anything is loaded.

        Raises:
            UsageError: There is no input, ``top`` is below 1, or ``preprocess`` is not understood.
        """
        if not inputs:
            raise UsageError("no input is given", fix="name an image, an .npy or an .npz file")
        if self.top < 1:
            raise UsageError(f"--top is {self.top}", fix="give a number above zero")
        parse_preprocess(self.preprocess)

    def requested_options(self, options: RunnerOptions) -> dict[str, str]:
        """The fields that differ from their defaults, here and in ``options``."""
        given = {name: value for name, value in self.__dict__.items() if name != "preprocess"}
        defaults = {"top": 5, "kernels": "fast", "num_threads": 1}
        ran = {name: getattr(options, name) for name in ("runtime", "kernels", "num_threads")}
        return set_options(defaults, **given, **ran)


def run(  # noqa: PLR0913 - public: its options are keywords
    model: ModelSource,
    inputs: Sequence[PathLike | NDArray[Any]],
    *,
    task: str | None = None,
    preprocess: str | Preprocess | None = None,
    labels: PathLike | Sequence[str] | None = None,
    top: int = 5,
    score_threshold: float | None = None,
    iou_threshold: float | None = None,
    anchors: PathLike | None = None,
    output: PathLike | None = None,
    device: str = "cpu",
    runtime: str | None = None,
    kernels: str = "fast",
    num_threads: int = 1,
    keep_state: bool | None = None,
    fallback: bool = False,
    recover: bool = False,
    timeout_s: float | None = None,
    unproven: bool = False,
    options: RunnerOptions | None = None,
) -> RunResult:
    """Run ``model`` on each of ``inputs``.

    A model's inner state (variable tensors, as of an LSTM) is reset before each input, but kept
    between the frames of a video. A model with states as inputs (each has an output of the same
    shape and type) gets zeros first and then its own outputs, from one input to the next.

    Args:
        model: Path or content of a .tflite file or a bundle.
        inputs: Images (any format that Pillow reads), folders of images, patterns (``*.jpg``),
            videos, arrays or ``.npy`` files of one sample or several, or ``.npz`` files with an
            array for each of the model's inputs (for a single one also ``x`` or ``x_test``).
        task: One of `edgekit.tasks.TASKS`: ``classification``, ``multilabel``, ``detection``,
            ``segmentation``, ``pose``, ``regression`` or ``none``; None guesses it.
        preprocess: How pixels become the network's input; None uses what the model's file states,
            else what the input's quantization shows, else scales pixels to 0..1.
        labels: A text file with one class per line (Coral's ``index name`` form too), or the names;
            None uses those attached to the model.
        top: How many classes to return.
        score_threshold: Objects and people below it are left out; None is 0.25 for objects, and the
            model's own threshold for people.
        iou_threshold: For detectors whose non-maximum suppression is done here.
        anchors: For raw SSD: an .npy, or a .tflite that contains them.
        output: A folder for pictures of the answers; created if it is missing.
        device: See `Runner`.
        runtime: See `Runner`.
        kernels: See `Runner`.
        num_threads: The number of threads of one inference.
        keep_state: True keeps all states from one input to the next, as for a stream; False resets
            them before each input, also between frames and for states that are inputs; None is
            described above.
        fallback: See `Runner`.
        recover: See `Runner`.
        timeout_s: See `Runner`.
        unproven: See `Runner`.
        options: ``device`` to ``timeout_s`` as one value, instead of these keywords.

    Raises:
        DataError: An input cannot be read or does not fit, or ``labels`` do not fit the classes.
        OutputError: ``output`` cannot be written to.
        EdgeKitError: As for `Runner`.
    """
    request = RunRequest(
        task=task,
        preprocess=preprocess,
        labels=labels,
        top=top,
        score_threshold=score_threshold,
        iou_threshold=iou_threshold,
        anchors=anchors,
        output=output,
        keep_state=keep_state,
    )
    request.check(inputs)
    how = RunnerOptions.given(
        options,
        device=device,
        runtime=runtime,
        kernels=kernels,
        num_threads=num_threads,
        fallback=fallback,
        recover=recover,
        timeout_s=timeout_s,
        unproven=unproven,
    )
    prepared = prepare(model, how.device)
    with Runner(prepared.runnable, options=how) as runner:
        return run_request(prepared, runner, inputs, request)


def run_request(
    prepared: Prepared,
    runner: Runner,
    inputs: Sequence[PathLike | NDArray[Any]],
    request: RunRequest,
) -> RunResult:
    """Do what `run` does, with an open Runner.

    Args:
        prepared: The model.
        runner: A Runner of ``prepared.runnable``.
        inputs: See `run`.
        request: How to read inputs and outputs.
    """
    score_threshold = request.score_threshold
    decode = DecodeOptions(
        score_threshold, request.iou_threshold, request.anchors, _SCORE_THRESHOLD
    )
    decoder = choose_decoder(prepared, runner, request.task, decode)
    if score_threshold is None and decoder.task == "detection":
        score_threshold = decoder.score_threshold or _SCORE_THRESHOLD
    given = fit_labels(request.labels, decoder.num_classes)
    own = model_labels(prepared, decoder.num_classes)
    names = given or own
    if request.task is None and not names:
        decoder = values_if_unnamed(decoder, prepared, runner)
    real_range = runner.inputs[0].real_range if runner.inputs else None
    dtype = runner.inputs[0].dtype if runner.inputs else "float32"
    requested = request.preprocess
    how = preprocess_for(requested, prepared.notes.preprocess, real_range, dtype)
    session = _Session(runner, decoder, how, Words(names, request.top), request.keep_state)
    warnings = (preprocess_warning(requested, prepared), label_order_warning(given, own))
    answers, failed = _answer_all(session, inputs, request.output)
    decoder = session.decoder
    environment = runner.environment
    return RunResult(
        # The Runner has another file than the given one if the plain model runs instead.
        model=runner.source or prepared.source,
        sha256=runner.sha256 if runner.source else prepared.sha256,
        task=decoder.task,
        decoder=decoder.kind,
        recognized_by=decoder.why,
        preprocess=str(how),
        preprocess_reason=preprocess_reason(requested, prepared.preprocess_reason, real_range),
        score_threshold=score_threshold,
        answers=tuple(answers),
        failed=tuple(failed),
        environment=environment,
        asked=request.requested_options(runner.options),
        warnings=(*decoder.warnings, *filter(None, warnings), *session.warnings),
    )


def _answer_all(
    session: _Session, inputs: Sequence[PathLike | NDArray[Any]], output: PathLike | None
) -> tuple[list[Answer], list[str]]:
    answers: list[Answer] = []
    failed: list[str] = []
    with Gallery(None if output is None else make_folder(output), inputs) as gallery:
        for item in expand(inputs):
            try:
                for sample in session.samples(item):
                    answer, meaning, reading = session.answer(sample)
                    picture = gallery.add(sample, answer, meaning, reading)
                    answers.append(replace(answer, picture=picture))
            except (DataError, InputError) as error:  # noqa: PERF203 - others may be readable
                if not item.is_listed:
                    raise
                failed.append(f"{item.name}: {error.what}")
    if not answers:
        raise DataError(f"none of {len(failed)} inputs can be read", why=failed[0])
    return answers, failed


class _Session:
    """A loaded model, and the states that it keeps from one input to the next."""

    def __init__(
        self,
        runner: Runner,
        decoder: Decoder,
        how: Preprocess,
        words: Words,
        keep_state: bool | None,
    ) -> None:
        self._runner, self.decoder, self._how, self._words = runner, decoder, how, words
        self._keep_state = keep_state
        self._continued = _continued(runner.inputs, runner.outputs)
        self._states: dict[str, NDArray[Any]] = {}
        self.warnings: list[str] = []  # about single answers

    def samples(self, item: Item) -> Iterator[Item]:
        """Yield the samples in ``item``."""
        return each_sample(item, self._runner.inputs)

    def answer(self, item: Item) -> tuple[Answer, Meaning, Reading]:
        """Run on ``item``; errors contain its name."""
        self._begin(item)
        try:
            reading = read_item(item, self._runner.inputs, self._how)
            raw = [self._raw(info, reading) for info in self._runner.inputs]
        except DataError as error:
            where = item.name
            place = error.where if where in error.where else f"{where}, {error.where}"
            raise DataError(
                error.what, where=place.rstrip(", "), why=error.why, fix=error.fix
            ) from error
        if reading.is_first_of_several:
            self.warnings.append(
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
        self.warnings.append(f"the model answers {source} with NaN or infinity: not an answer")
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
