# SPDX-License-Identifier: Apache-2.0
"""Train a small network, convert it four ways, and build the integer one."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from edgekit import files
from edgekit.building.build import build
from edgekit.building.demo_picture import draw_answers
from edgekit.building.result import NOT_DONE, BuildResult, BuildStep
from edgekit.errors import DataError, MissingExtraError, UsageError
from edgekit.evaluate import EvaluateResult, benchmark, evaluate
from edgekit.extras import require
from edgekit.formats.tflite import read_model
from edgekit.host.convert.child import kept_converters
from edgekit.host.convert.conversion import convert
from edgekit.host.convert.enforce import broken_rules
from edgekit.host.worker.library import import_tensorflow
from edgekit.opencompiler.compilers import AUTO, EDGEKIT, chosen_compiler
from edgekit.progress import Progress, no_progress
from edgekit.report.page import report
from edgekit.result import Result
from edgekit.runtime import Runner
from edgekit.runtime.native_output import chatter_logged

Step = Callable[[str], None]
DATASETS = ("digits", "mnist")
# The four conversions of TensorFlow's post-training integer quantization tutorial, in its order.
MODES = ("float", "dynamic", "float-fallback", "int8")
_FLOAT, _INT8, _COMPILED = (f"digits{end}.tflite" for end in ("_float", "", "_edgetpu"))
_TEST_DATA, _RESULTS, _PAGE = "test.npz", "results.json", "report.html"
_SEED = 1
_HELD_OUT = 5  # every fifth digit is a test image
_SIDE = 28
_NUM_PICTURED = 24
_NUM_SHOWN = 100  # images that calibrate the conversion with a fallback to float
_NUM_EMULATED = 1000  # images: some milliseconds each
_NUM_CALIBRATION = 1000  # training images that convert may choose from
_STEPS_PER_EXECUTION = 16  # the same training steps, with less Python between them


@dataclass(frozen=True)
class DemoModel(Result):
    """One of the tutorial's four conversions."""

    mode: str
    path: str
    bytes: int
    ratio: float  # float model's bytes / this model's bytes
    input_dtype: str
    output_dtype: str
    edge_tpu: bool
    reason: str  # why an Edge TPU cannot take it; empty if it can


@dataclass(frozen=True)
class DemoResult(Result):
    """The files and results of `demo`."""

    schema: ClassVar[str] = "edgekit.demo/1"
    folder: str
    dataset: str
    num_train: int
    num_test: int
    epochs: int
    models: tuple[DemoModel, ...]
    accuracy: Mapping[str, Any]  # edgekit.evaluate/2 of the integer model, against the float one
    benchmarks: Mapping[str, Mapping[str, Any]]  # edgekit.benchmark/2 of both
    compiled: str | None
    not_compiled: str | None
    picture: str
    time_s: float
    build: BuildResult  # the steps from the trained network to the report
    report: str | None = None  # the HTML report, if there is one
    compiler: str | None = None  # google | edgekit
    emulated: EvaluateResult | None = None  # the compiled model in the emulator, against int8


@dataclass(frozen=True)
class Digits:
    """Grey images (N, 28, 28) uint8 and their labels (N,), for training and test."""

    x_train: NDArray[np.uint8]
    y_train: NDArray[np.int64]
    x_test: NDArray[np.uint8]
    y_test: NDArray[np.int64]


def demo(
    output: files.PathLike = "demo-out",
    *,
    dataset: str = "digits",
    mnist: files.PathLike | None = None,
    epochs: int | None = None,
    on_step: Step = lambda _text: None,
) -> DemoResult:
    """Train the TensorFlow tutorial's network on real digits, and go the whole way with `build`.

    For comparison the network is also converted as the tutorial's other three steps do it.

    Args:
        output: Folder for the models, a JSON of every result, a picture and the report; created if
            missing.
        dataset: ``digits`` (scikit-learn's 1,797 handwritten digits, scaled to 28x28; no download)
            or ``mnist`` (from Keras's cache, or downloaded).
        mnist: An ``mnist.npz`` in Keras's form, used instead of cache and download.
        epochs: Passes over the training images; None means 5 for MNIST and 30 for the few digits.
        on_step: Called with a sentence before each step.

    Raises:
        UsageError: An unknown data set.
        DataError: MNIST is not cached and cannot be downloaded.
        OutputError: The folder cannot be written.
        MissingExtraError: TensorFlow or scikit-learn is not installed.
    """
    start = time.monotonic()
    if dataset not in DATASETS:
        raise UsageError(
            f"there is no data set {dataset!r}", fix=f"use one of {', '.join(DATASETS)}"
        )
    folder = _make_folder(Path(output))
    name = "mnist" if mnist is not None else dataset
    on_step(f"loading {name}")
    digits = load_mnist(mnist) if name == "mnist" else load_digits()
    epochs = epochs or (5 if name == "mnist" else 30)
    on_step(f"training on {len(digits.x_train)} images, {epochs} epochs")
    source = train(digits, epochs, folder / "digits.keras")
    compiler = chosen_compiler(AUTO)
    with kept_converters():
        built = _built(source, digits, folder, compiler, on_step)
        models = _models(source, folder, _unit(digits.x_train[:_NUM_SHOWN]), on_step)
    compile_step = next(each for each in built.steps if each.name == "compile")
    is_compiled = compile_step.status != NOT_DONE
    emulated = None
    if is_compiled and compiler == EDGEKIT:
        on_step("running the compiled model in the emulator")
        emulated = evaluate(
            folder / _COMPILED,
            folder / _TEST_DATA,
            device="emulator",
            against=folder / _INT8,
            num_samples=min(_NUM_EMULATED, len(digits.x_test)),
        )
    of_float = benchmark(folder / _FLOAT)
    files.write_text(folder / "benchmark_float.json", of_float.to_json())
    result = DemoResult(
        folder=str(folder),
        dataset=name,
        num_train=len(digits.x_train),
        num_test=len(digits.x_test),
        epochs=epochs,
        models=models,
        accuracy=_document(folder / "evaluate.json"),
        benchmarks={
            "float": of_float.to_dict(),
            "int8": _document(folder / "benchmark.json"),
        },
        compiled=str(folder / _COMPILED) if is_compiled else None,
        not_compiled=None if is_compiled else compile_step.says,
        picture=str(_drawn(folder, digits)),
        time_s=time.monotonic() - start,
        build=built,
        report=str(folder / _PAGE),
        compiler=compiler if is_compiled else None,
        emulated=emulated,
    )
    on_step("writing the report")
    return _reported(result, folder)


def _built(source: Path, digits: Digits, folder: Path, compiler: str, on_step: Step) -> BuildResult:
    """Write the samples, and go from the trained network to the bundle."""
    data, test_data = folder / "calibration.npz", folder / _TEST_DATA
    _save(data, digits.x_train[:_NUM_CALIBRATION], digits.y_train[:_NUM_CALIBRATION])
    _save(test_data, digits.x_test, digits.y_test)

    def begin(step: str) -> Progress:
        on_step(f"building: {step}")
        return no_progress

    return build(
        source,
        data=data,
        eval_data=test_data,
        output=folder,
        options={"compile": {"compiler": compiler}},
        is_reported=False,
        on_start=begin,
    )


def _drawn(folder: Path, digits: Digits) -> Path:
    """Draw some test images with the answers of the float and the int8 model."""
    picture, images = folder / "answers.png", digits.x_test[:_NUM_PICTURED]
    answers = [_answers(folder / name, images) for name in (_FLOAT, _INT8)]
    draw_answers(picture, images, digits.y_test[:_NUM_PICTURED], answers)
    return picture


def _reported(result: DemoResult, folder: Path) -> DemoResult:
    """Write the result, and the report of all files in the folder if its libraries are there."""
    files.write_text(folder / _RESULTS, result.to_json())
    try:
        report(folder, folder / _PAGE)
    except MissingExtraError as error:
        step = BuildStep("report", NOT_DONE, error.what, 0.0, (), error.fix)
        built = replace(result.build, steps=(*result.build.steps, step))
        result = replace(result, build=built, report=None)
        files.write_text(folder / _RESULTS, result.to_json())
    return result


def load_digits() -> Digits:
    """Load scikit-learn's handwritten digits (8x8, 17 grey levels), enlarged bilinearly to 28x28.

    Every fifth image is held out.
    """
    datasets = require("sklearn.datasets", extra="host", purpose="load its handwritten digits")
    image_module = require("PIL.Image", extra="host", purpose="enlarge the digits")
    loaded = datasets.load_digits()
    pixels = np.round(loaded.images * (255 / 16)).astype(np.uint8)
    bilinear = 2
    images = np.stack(
        [
            np.asarray(image_module.fromarray(each).resize((_SIDE, _SIDE), bilinear))
            for each in pixels
        ]
    )
    labels = loaded.target.astype(np.int64)
    held_out = np.arange(len(images)) % _HELD_OUT == 0
    return Digits(images[~held_out], labels[~held_out], images[held_out], labels[held_out])


def load_mnist(path: files.PathLike | None = None) -> Digits:
    """Load MNIST in Keras's form from ``path``, Keras's cache or (the first time) a download.

    Raises:
        DataError: The file is missing or has another form, or the download failed.
    """
    if path is None:
        path = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras"), "datasets", "mnist.npz")
        if not path.is_file():
            _download_mnist(path)
    elif not Path(path).is_file():
        raise DataError("the MNIST file does not exist", where=str(path), fix="check the path")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return Digits(*(arrays[name] for name in ("x_train", "y_train", "x_test", "y_test")))
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise DataError(
            f"this is not MNIST in Keras's form: {error}",
            where=str(path),
            fix="give an .npz with x_train, y_train, x_test, y_test",
        ) from error


def _download_mnist(path: Path) -> None:
    keras = _tensorflow().keras
    try:
        with contextlib.redirect_stdout(sys.stderr):  # Keras prints its downloads to stdout
            keras.datasets.mnist.load_data(path=path.name)
    except Exception as error:
        raise DataError(
            "MNIST is not in Keras's cache and could not be downloaded",
            where=str(path),
            why=str(error),
            fix="give the file: edgekit demo --mnist mnist.npz",
        ) from error


def train(digits: Digits, epochs: int, path: Path) -> Path:
    """Train the tutorial's network (Reshape, Conv2D 12 3x3 ReLU, MaxPooling2D, Flatten, Dense 10).

    Images go in as (28, 28) floats in 0..1. The trained model is saved at ``path``.
    """
    keras = _tensorflow().keras
    keras.utils.set_random_seed(_SEED)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((_SIDE, _SIDE)),
            layers.Reshape((_SIDE, _SIDE, 1)),
            layers.Conv2D(12, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(10),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(
        optimizer="adam",
        loss=loss,
        metrics=["accuracy"],
        steps_per_execution=_STEPS_PER_EXECUTION,
    )
    model.fit(_unit(digits.x_train), digits.y_train, epochs=epochs, verbose=0)
    with files.replacing(path) as temporary:
        # Keras chooses the format by the suffix; the temporary name has another one.
        saved = temporary.with_suffix(".keras")
        try:
            model.save(saved)
            saved.replace(temporary)
        finally:
            saved.unlink(missing_ok=True)  # a partial file, if the disk is full
    return path


def _tensorflow() -> Any:  # noqa: ANN401 - tensorflow has no types
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # TensorFlow prints some lines before it reads that variable.
    with chatter_logged(), contextlib.suppress(ModuleNotFoundError):
        import_tensorflow()
    return require("tensorflow", extra="host", purpose="train the demo's network")


def _unit(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    return pixels.astype(np.float32) / np.float32(255)


def _make_folder(folder: Path) -> Path:
    files.make_folder(folder)
    # Report it before the training, not after.
    files.check_writable(folder / _RESULTS)
    return folder


def _save(path: Path, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> None:
    with files.replacing(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, x=images, y=labels)


def _models(
    source: Path, folder: Path, samples: NDArray[np.float32], on_step: Step
) -> tuple[DemoModel, ...]:
    """Return the four conversions; those that `build` does not make are made here."""
    files_of = {"float": "float.json", "int8": "convert.json"}
    found = {mode: _document(folder / name) for mode, name in files_of.items()}
    for mode in MODES:
        if mode not in found:
            on_step(f"converting: {mode}")
            path = folder / f"digits_{mode}.tflite"
            made = convert(source, data=samples, output=path, mode=mode)
            files.write_text(folder / f"convert_{mode}.json", made.to_json())
            found[mode] = made.to_dict()
    return tuple(_describe(mode, found[mode], found["float"]) for mode in MODES)


def _describe(mode: str, result: Mapping[str, Any], of_float: Mapping[str, Any]) -> DemoModel:
    reason = _why_not(Path(result["output"]))
    return DemoModel(
        mode=mode,
        path=result["output"],
        bytes=result["bytes"],
        ratio=of_float["bytes"] / result["bytes"],
        input_dtype=result["inputs"][0]["dtype"],
        output_dtype=result["outputs"][0]["dtype"],
        edge_tpu=not reason,
        reason=reason,
    )


def _document(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_bytes())
    return document


def _why_not(path: Path) -> str:
    """Return why the Edge TPU compiler cannot compile the model; empty if it can."""
    issues = broken_rules(read_model(path), "uint8")
    rest = f" (and {len(issues) - 1} more)" if len(issues) > 1 else ""
    return f"{issues[0].message}{rest}" if issues else ""


def _answers(path: Path, images: NDArray[np.uint8]) -> list[int]:
    with Runner(path) as runner:
        return [int(runner.predict(image[None])[0].argmax()) for image in _unit(images)]
