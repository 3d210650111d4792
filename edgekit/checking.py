# SPDX-License-Identifier: Apache-2.0
"""`edgekit.check`: a quantized .tflite is read where it lies, anything else is converted first."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Mapping

from edgekit.edgetpu import CheckReport
from edgekit.edgetpu.check import report_on
from edgekit.edgetpu.chip import LATEST_RUNTIME
from edgekit.edgetpu.findings import is_float
from edgekit.errors import InputError, MissingExtraError, UsageError
from edgekit.files import read_bytes
from edgekit.formats.tflite import read_model

_SOURCES = (".keras", ".h5", ".hdf5", ".pb", ".pbtxt")
# These choose something that is fixed in a converted model.
_OF_SOURCES = ("input_shape", "inputs", "outputs", "signature", "trust_source")
_HOST_PYTHON = (3, 10)


def check(
    model: Any,  # noqa: ANN401 - a path, bytes, or a Keras model of any version
    *,
    target: int = LATEST_RUNTIME,
    data: Any = None,  # noqa: ANN401 - whatever open_dataset takes
    **options: Any,  # noqa: ANN401 - the further arguments of convert
) -> CheckReport:
    """Say what the Edge TPU takes of a model, why not the rest, and what to change.

    Neither Google's compiler nor a device is needed. A float .tflite, a Keras file or object, a
    SavedModel's folder or a frozen graph is converted into a temporary file, which takes
    TensorFlow (the extra ``host``), and gets the verdict of that.

    Args:
        model: A path, the content of a .tflite, or a Keras model.
        target: Runtime version to compile for: 10, 12, 13 or 14.
        data: Calibration samples for such a conversion; random numbers by default.
        options: Further ones of the conversion, as for `convert`: ``preprocess``,
            ``input_shape``, ``batch_size``, ...

    Raises:
        InputError: The model cannot be read.
        UnsupportedModelError: It is compiled already, or does not convert.
        UsageError: There is no such ``target``, or the options contradict the model.
        ExternalToolError: TensorFlow is needed and missing, or failed.
    """
    content = _content(model)
    if content is None:
        return _convert_and_check(model, target=target, data=data, **options)
    where = str(model) if isinstance(model, (str, Path)) else "model"
    network = read_model(content, where=where)
    if is_float(network) and isinstance(model, (str, Path)):
        return _convert_and_check(model, target=target, data=data, **options)
    _refuse_unused(options, where)
    return report_on(network, content, target=target, name=where)


def _refuse_unused(options: Mapping[str, Any], where: str) -> None:
    given = [name for name in _OF_SOURCES if options.get(name)]
    if given:
        option = "--" + given[0].replace("_", "-")
        raise UsageError(
            f"{option} has no effect on a model that is already quantized",
            where=where,
            fix=f"leave {option} out, or give the network that the model was converted from",
        )


def _content(model: Any) -> bytes | None:  # noqa: ANN401
    """The bytes of a .tflite; None for what has to be converted before it is one."""
    if isinstance(model, (bytes, bytearray, memoryview)):
        return bytes(model)
    if not isinstance(model, (str, Path)):
        return None
    path = Path(model)
    if path.is_dir() or path.suffix.lower() in _SOURCES:
        return None
    return read_bytes(path, "model")


def _convert_and_check(model: Any, **options: Any) -> CheckReport:  # noqa: ANN401
    if sys.version_info < _HOST_PYTHON:
        raise MissingExtraError(
            "a float model has to be converted before it can be checked",
            where=str(model),
            why="conversion needs TensorFlow and Python 3.10 or later",
            fix="check the converted .tflite here, or check the source on a computer with "
            "edgekit[host]",
        )
    if isinstance(model, (str, Path)) and not Path(model).exists():
        raise InputError("the model does not exist", where=str(model), fix="check the path")
    from edgekit.host.check_source import check_source  # noqa: PLC0415 - Python 3.10, TensorFlow

    return check_source(model, **options)
