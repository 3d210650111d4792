# SPDX-License-Identifier: Apache-2.0
"""Run a model on single inputs: its answers in numbers, in words and in pictures."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Mapping, Sequence

from edgekit.data import parse_preprocess
from edgekit.errors import DataError, InputError, UsageError
from edgekit.evaluate.answers import Answer
from edgekit.evaluate.gallery import Gallery, require_folder_name
from edgekit.evaluate.inputs import expand
from edgekit.evaluate.result import set_options
from edgekit.evaluate.session import Asked, Session
from edgekit.files import make_folder
from edgekit.runtime import Environment, MeasuredResult, Runner, RunnerOptions
from edgekit.tasks import prepare

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgekit.data import Preprocess
    from edgekit.files import PathLike
    from edgekit.formats.model_file import ModelSource
    from edgekit.tasks import Prepared


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
class RunRequest(Asked):
    """How `run` reads inputs and outputs, and where it draws; the fields are its arguments."""

    output: PathLike | None = None

    def check(self, inputs: Sequence[PathLike | NDArray[Any]]) -> None:
        """Check the arguments before anything is loaded.

        Raises:
            UsageError: There is no input, ``top`` is below 1, ``preprocess`` is not understood, or
                the output ends like a picture or a video.
        """
        if not inputs:
            raise UsageError("no input is given", fix="name an image, an .npy or an .npz file")
        if self.top < 1:
            raise UsageError(f"--top is {self.top}", fix="give a number above zero")
        parse_preprocess(self.preprocess)
        require_folder_name(self.output)

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
    session = Session(prepared, runner, request)
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
        preprocess=str(session.preprocess),
        preprocess_reason=session.preprocess_reason,
        score_threshold=session.score_threshold,
        answers=tuple(answers),
        failed=tuple(failed),
        environment=environment,
        asked=request.requested_options(runner.options),
        warnings=session.warnings,
    )


def _answer_all(
    session: Session, inputs: Sequence[PathLike | NDArray[Any]], output: PathLike | None
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
