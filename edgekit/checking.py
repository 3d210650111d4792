# SPDX-License-Identifier: Apache-2.0
"""`edgekit.check`: read a quantized .tflite directly; convert anything else first."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Mapping

from edgekit.chip.codegen import partition
from edgekit.distribution import WHOLE
from edgekit.edgetpu import CheckReport, check_model
from edgekit.edgetpu.chip import LATEST_RUNTIME
from edgekit.edgetpu.findings import is_float
from edgekit.edgetpu.limits import CPU, TPU
from edgekit.edgetpu.report import refused_report
from edgekit.errors import InputError, MissingExtraError, UsageError
from edgekit.extras import HOST_PYTHON
from edgekit.formats.model_file import ModelFile, read_model_file
from edgekit.formats.tflite import Model, write_model

if TYPE_CHECKING:
    from typing import Sequence

    from typing_extensions import TypedDict, Unpack

    from edgekit.data import Preprocess
    from edgekit.files import PathLike
    from edgekit.host.convert import NotEdgeTpuModelError
    from edgekit.progress import Progress

    class ConvertKeywords(TypedDict, total=False):
        """The arguments of `edgekit.convert` that `check` passes on."""

        preprocess: str | Preprocess | None
        num_samples: int
        batch_size: int
        input_shape: str | Sequence[str] | Sequence[int] | None
        signature: str | None
        inputs: Sequence[str] | None
        outputs: Sequence[str] | None
        io: str
        mode: str
        converter_python: PathLike | None
        trust_source: bool
        timeout_s: float | None
        replace_activations: str | None
        labels: PathLike | Sequence[str] | None
        progress: Progress | None


_SOURCES = (".keras", ".h5", ".hdf5", ".pb", ".pbtxt")
# These options choose properties that are fixed in a converted model.
_OF_SOURCES = ("input_shape", "inputs", "outputs", "signature", "trust_source")
_RANDOM = "random"
_NUM_RANDOM = 4  # mapping depends on shapes and types; more samples only refine the ranges


def check(
    model: Any,  # noqa: ANN401 - a path, bytes, or a Keras model of any version
    *,
    target: int = LATEST_RUNTIME,
    data: Any = None,  # noqa: ANN401 - anything that open_dataset takes
    **options: Unpack[ConvertKeywords],
) -> CheckReport:
    """Report which operators map to the Edge TPU, why others do not, and what to change.

    It does not need Google's compiler or a device. A float .tflite, a Keras file or object, a
    SavedModel's folder or a frozen graph is converted into a temporary file, which needs
    TensorFlow (the extra ``host``); the report is about that file.

    Args:
        model: A path, the content of a .tflite, or a Keras model.
        target: Runtime version to compile for: 10, 12, 13 or 14.
        data: Calibration samples for the conversion; random numbers by default.
        options: More options of the conversion, as for `convert`: ``preprocess``,
            ``input_shape``, ``batch_size``, ...

    Raises:
        InputError: The model cannot be read.
        UnsupportedModelError: It is already compiled, or cannot be converted.
        UsageError: ``target`` does not exist, or the options contradict the model.
        ExternalToolError: TensorFlow is needed, but is missing or failed.
    """
    file = _file(model)
    if file is None:
        return _convert_and_check(model, target=target, data=data, **options)
    if is_float(file.model) and isinstance(model, (str, Path)):
        return _convert_and_check(model, target=target, data=data, **options)
    _refuse_unused(options, file.path or "model")
    return _with_own_compiler(check_model(file, target=target), file.model)


def _with_own_compiler(report: CheckReport, model: Model) -> CheckReport:
    """Add what edgekit's own compiler does with each operator."""
    if not report.operators or is_float(model):
        return report
    reasons = partition(model).reasons
    operators = tuple(
        replace(
            each,
            own_compiler=CPU if each.index in reasons else TPU,
            own_reason=reasons.get(each.index, ""),
        )
        for each in report.operators
    )
    return replace(report, operators=operators)


def _refuse_unused(options: Mapping[str, object], where: str) -> None:
    given = [name for name in _OF_SOURCES if options.get(name)]
    if given:
        option = "--" + given[0].replace("_", "-")
        raise UsageError(
            f"{option} has no effect on a model that is already quantized",
            where=where,
            fix=f"leave {option} out, or give the network that the model was converted from",
        )


def _file(model: Any) -> ModelFile | None:  # noqa: ANN401
    """Return the .tflite; None if the model must be converted first."""
    if isinstance(model, (str, Path)):
        path = Path(model)
        if path.is_dir() or path.suffix.lower() in _SOURCES:
            return None
    elif not isinstance(model, (bytes, bytearray, memoryview, ModelFile)):
        return None
    return read_model_file(model)


def _convert_and_check(
    model: Any,  # noqa: ANN401 - a path, or a Keras model of any version
    *,
    target: int,
    data: Any,  # noqa: ANN401 - anything that open_dataset takes
    **options: Unpack[ConvertKeywords],
) -> CheckReport:
    if sys.version_info < HOST_PYTHON:
        raise MissingExtraError(
            "a float model must be converted before it can be checked",
            where=str(model),
            why="conversion needs TensorFlow and Python 3.10 or later",
            fix="check the converted .tflite here, or check the source on a computer with "
            f"{WHOLE}[host]",
        )
    if isinstance(model, (str, Path)) and not Path(model).exists():
        raise InputError("the model does not exist", where=str(model), fix="check the path")
    return _check_source(model, target=target, data=data, **options)


def _check_source(
    source: Any,  # noqa: ANN401 - a path, or a Keras model of any version
    *,
    target: int,
    data: Any,  # noqa: ANN401 - anything that open_dataset takes
    **options: Unpack[ConvertKeywords],
) -> CheckReport:
    """Convert ``source`` into a temporary file and check that.

    If `convert` refuses the network, check its last intermediate model, which may contain real
    numbers, or report only the reasons.
    """
    # Not possible on a device: needs Python 3.10 and TensorFlow.
    from edgekit.host.convert import NotEdgeTpuModelError, convert  # noqa: PLC0415

    name = str(source) if isinstance(source, (str, Path)) else f"Keras model {source.name}"
    notes = _notes(data)
    if data is None:
        data, options = _RANDOM, {"num_samples": _NUM_RANDOM, **options}
    with tempfile.TemporaryDirectory(prefix="edgekit-") as folder:
        output = Path(folder, "model.tflite")
        try:
            convert(
                source,
                data=data,
                output=output,
                stop_early=False,
                **options,
            )
        except NotEdgeTpuModelError as error:
            count = len(error.issues)
            rules = f"{count} broken rule{'s' if count > 1 else ''}"
            notes = (*notes, f"edgekit convert refuses this network: {rules}")
            return replace(_refused(error, name, target), converted_from=name, notes=notes)
        file = read_model_file(output)
        report = check_model(file, target=target, name=name)
        report = _with_own_compiler(report, file.model)
    return replace(report, converted_from=name, notes=notes)


def _notes(data: Any) -> tuple[str, ...]:  # noqa: ANN401
    if data is not None:
        return ("this is the verdict on its conversion with the given data",)
    return (
        "this is the verdict on its conversion, calibrated with random numbers: mapping depends "
        "on shapes and types, not on ranges; findings on scales (codes quant.*_overflow and "
        "quant.mixed_range_concat) need --data",
    )


def _refused(error: NotEdgeTpuModelError, name: str, target: int) -> CheckReport:
    """Return a report on a network that edgekit convert refuses."""
    if error.model is None:
        return refused_report(name, target, tuple(error.issues))
    report = check_model(write_model(error.model), target=target, name=name)
    known = {(issue.code, issue.where) for issue in report.issues}
    more = [issue for issue in error.issues if (issue.code, issue.where) not in known]
    return replace(report, issues=(*more, *report.issues))
