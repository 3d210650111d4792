# SPDX-License-Identifier: Apache-2.0
"""One input, one inference: what the model answers, in numbers and in words."""

from __future__ import annotations

import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Mapping, Sequence

import numpy as np

from edgekit.data import preprocess_or, read_labels
from edgekit.data.dataset import as_real
from edgekit.errors import DataError, InputError, UsageError
from edgekit.formats.tflite_metadata import Notes
from edgekit.result import Result
from edgekit.runtime import Runner, TensorInfo, Thermal

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgekit.data import Preprocess
    from edgekit.files import PathLike

_NPY, _NPZ = ".npy", ".npz"


@dataclass(frozen=True)
class ClassScore(Result):
    """One class of a classifier's answer."""

    index: int
    label: str  # "" where no labels were given
    score: float  # the output's real value


@dataclass(frozen=True)
class OutputSummary(Result):
    """One output tensor, dequantized."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    min: float
    max: float
    mean: float


@dataclass(frozen=True)
class Answer(Result):
    """What the model answers to one input."""

    source: str
    top: tuple[ClassScore, ...]  # best first; empty where the model is no classifier
    outputs: tuple[OutputSummary, ...]
    latency_ms: float


@dataclass(frozen=True)
class RunResult(Result):
    """The answers to a few inputs."""

    schema: ClassVar[str] = "edgekit.run/1"
    model: str
    sha256: str
    preprocess: str
    answers: tuple[Answer, ...]
    device: str
    runtime: str
    kernels: str
    kernels_note: str
    versions: Mapping[str, str]
    thermal: Thermal | None = None  # temperatures, and whether the clock was likely lowered


def run(
    model: bytes | PathLike,
    inputs: Sequence[PathLike | NDArray[Any]],
    *,
    preprocess: str | Preprocess | None = None,
    labels: PathLike | Sequence[str] | None = None,
    top: int = 5,
    device: str = "cpu",
    runtime: str | None = None,
    kernels: str = "fast",
    num_threads: int = 1,
    fallback: bool = False,
    recover: bool = False,
) -> RunResult:
    """Run ``model`` on each of ``inputs``.

    Args:
        model: Path or content of a .tflite file or a bundle.
        inputs: Images (any format that Pillow reads), ``.npy`` files or arrays with one sample
            each, or ``.npz`` files with an array for each of the model's inputs.
        preprocess: How pixels become the network's input; None takes what the model's file says.
        labels: A text file with one class a line (Coral's ``index name`` form too), or the names;
            None takes those in the model's file.
        top: How many classes to name.
        device: See `Runner`.
        runtime: See `Runner`.
        kernels: See `Runner`.
        num_threads: Threads of one inference.
        fallback: See `Runner`.
        recover: See `Runner`.

    Raises:
        DataError: An input cannot be read or does not fit, or ``labels`` do not fit the classes.
        EdgeKitError: As for `Runner`.
    """
    if not inputs:
        raise UsageError("no input is given", fix="name an image, an .npy or an .npz file")
    if top < 1:
        raise UsageError(f"--top is {top}", fix="give a number above zero")
    options: dict[str, Any] = {"runtime": runtime, "kernels": kernels, "num_threads": num_threads}
    with Runner(model, device, **options, fallback=fallback, recover=recover) as runner:
        notes = Notes() if preprocess is not None and labels is not None else runner.notes
        how = preprocess_or(preprocess, notes.preprocess)
        names = _label_names(labels, notes.labels, runner)
        answers = tuple(_answer(runner, each, how, names, top) for each in inputs)
        environment = runner.environment
        return RunResult(
            model=runner.source,
            sha256=runner.sha256,
            preprocess=str(how),
            answers=answers,
            device=environment.device,
            runtime=environment.runtime,
            kernels=environment.kernels,
            kernels_note=environment.kernels_note,
            versions=environment.versions,
            thermal=environment.thermal,
        )


def _label_names(
    labels: PathLike | Sequence[str] | None, noted: Sequence[str], runner: Runner
) -> list[str]:
    if labels is None:
        # Labels of something else than classes (of pixels, of boxes) are not for a class's index.
        return list(noted) if len(noted) == _num_classes(runner.outputs) else []
    is_path = isinstance(labels, (str, Path))
    names = read_labels(labels) if is_path else list(labels)  # type: ignore[arg-type] # decided by is_path
    classes = _num_classes(runner.outputs)
    if classes and len(names) != classes:
        raise DataError(
            f"{len(names)} labels for {classes} classes",
            where=str(labels) if is_path else "",
            why="the labels are not those of this model; a background class is the usual cause",
            fix="give the label file that came with the model",
        )
    return names


def _num_classes(outputs: Sequence[TensorInfo]) -> int:
    """How many classes a classifier knows; 0 for any other model."""
    shape = outputs[0].shape if len(outputs) == 1 else ()
    is_classifier = len(shape) > 1 and shape[-1] > 1 and all(size == 1 for size in shape[:-1])
    return shape[-1] if is_classifier else 0


def _answer(
    runner: Runner,
    source: PathLike | NDArray[Any],
    how: Preprocess,
    names: list[str],
    top: int,
) -> Answer:
    where = "array" if isinstance(source, np.ndarray) else str(source)
    try:
        raw = runner.to_raw(*_read(source, runner, how))
    except DataError as error:
        place = error.where if where in error.where else f"{where}, {error.where}".rstrip(", ")
        raise DataError(error.what, where=place, why=error.why, fix=error.fix) from error
    spent_s, start = runner.recovery_s, time.perf_counter()
    outputs = runner.invoke(*raw)
    latency_ms = (time.perf_counter() - start - (runner.recovery_s - spent_s)) * 1e3
    real = runner.to_real(*outputs)
    best = _best(real[0].ravel(), names, top) if _num_classes(runner.outputs) else ()
    summaries = tuple(map(_summary, runner.outputs, real))
    return Answer(where, best, summaries, latency_ms)


def _read(source: PathLike | NDArray[Any], runner: Runner, how: Preprocess) -> list[NDArray[Any]]:
    """One real array an input, the batch dimension included."""
    infos = runner.inputs
    if isinstance(source, np.ndarray):
        arrays = {infos[0].name: source}
    elif Path(source).suffix.lower() in (_NPY, _NPZ):
        arrays = _read_arrays(Path(source), infos)
    else:
        if not Path(source).is_file():
            raise InputError("the input does not exist or is no file", where=str(source))
        arrays = {infos[0].name: how.pixels(Path(source), infos[0].shape[1:])}
    missing = [info.name for info in infos if info.name not in arrays]
    if missing:
        raise DataError(
            f"nothing is given for the inputs {missing}",
            fix="save an .npz with one array for each input, under its name",
        )
    return [_fitted(arrays[info.name], info, how) for info in infos]


def _read_arrays(path: Path, infos: Sequence[TensorInfo]) -> dict[str, NDArray[Any]]:
    try:
        with path.open("rb") as stream:
            loaded = np.load(stream, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return {infos[0].name: loaded}
            arrays = {name: loaded[name] for name in loaded.files}
    except OSError as error:
        raise InputError(
            f"cannot read the input: {error.strerror or error}", where=str(path)
        ) from error
    except (ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"cannot read the arrays: {error}", where=str(path)) from error
    if len(infos) == len(arrays) == 1:
        return {infos[0].name: next(iter(arrays.values()))}
    return arrays


def _fitted(values: NDArray[Any], info: TensorInfo, how: Preprocess) -> NDArray[Any]:
    sample = as_real(values)
    if sample.ndim == len(info.shape) and sample.shape[:1] == (1,):
        sample = sample[0]
    fitted = how.array(sample, info.shape[1:])
    # A model with a larger batch gets the sample in every place.
    return np.repeat(fitted[None], info.shape[0], axis=0) if info.shape else fitted


def _best(scores: NDArray[Any], names: list[str], top: int) -> tuple[ClassScore, ...]:
    order = np.argsort(-scores.astype(np.float64), kind="stable")[:top]
    return tuple(ClassScore(int(i), names[i] if names else "", float(scores[i])) for i in order)


def _summary(info: TensorInfo, real: NDArray[Any]) -> OutputSummary:
    values = real.astype(np.float64)
    low, high, mean = (
        (float(values.min()), float(values.max()), float(values.mean()))
        if values.size
        else (0, 0, 0)
    )
    return OutputSummary(info.name, info.shape, info.dtype, low, high, mean)
