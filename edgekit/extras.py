# SPDX-License-Identifier: Apache-2.0
"""Optional dependencies: one function imports them, so that broken is not reported as missing."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

from edgekit.errors import MissingExtraError

_HOST_PYTHON = (3, 10)

# The packages that hold TensorFlow Lite's interpreter, in order of preference:
# runtime -> (package, module with Interpreter, distribution).
RUNTIME_PACKAGES = {
    "litert": ("ai_edge_litert", "ai_edge_litert.interpreter", "ai-edge-litert"),
    "tflite-runtime": ("tflite_runtime", "tflite_runtime.interpreter", "tflite-runtime"),
    "tensorflow": ("tensorflow", "tensorflow.lite.python.interpreter", "tensorflow"),
}


def require_host_python(command: str) -> None:
    """Find out that a device's Python runs what only a host's can, before it fails to import.

    Raises:
        MissingExtraError: This Python is older than 3.10.
    """
    version = sys.version_info[:2]
    if version < _HOST_PYTHON:
        raise MissingExtraError(
            f"edgekit {command} needs Python {_HOST_PYTHON[0]}.{_HOST_PYTHON[1]} or newer",
            where=sys.executable,
            why=f"this is Python {version[0]}.{version[1]}, which has the device's commands only",
            fix="run it on the computer on which the model is made",
        )


def require(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Import ``module``, which belongs to the optional dependencies ``edgekit[extra]``.

    Args:
        module: Dotted name.
        extra: The name of the extra in ``pyproject.toml`` that installs it.
        purpose: Completes "it is needed to ...".

    Raises:
        MissingExtraError: It is not installed. One that is installed and broken raises its own.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not (module == error.name or module.startswith(error.name + ".")):
            raise
        raise MissingExtraError(
            f"{module} is not installed",
            why=f"it is needed to {purpose}",
            fix=f"pip install 'edgekit[{extra}]'",
        ) from error


def require_part(name: str) -> ModuleType:
    """Import the module ``edgekit.name``, which edgekit-device, the boards' wheel, leaves out.

    Raises:
        MissingExtraError: It is not there.
    """
    module = f"edgekit.{name}"
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        raise MissingExtraError(
            f"edgekit-device has no {name.rpartition('.')[2]}",
            why="this wheel, for boards, holds only what runs and measures a model",
            fix="run it on the host; or: pip uninstall edgekit-device && pip install edgekit",
        ) from error


def require_python(least: tuple[int, int], *, extra: str, purpose: str) -> None:
    """Find out that this Python is too old for ``edgekit[extra]`` before its code is imported.

    Args:
        least: The oldest version that will do.
        extra: As for `require`.
        purpose: Completes "it is needed to ...".

    Raises:
        MissingExtraError: It is older.
    """
    if sys.version_info[:2] < least:
        found, wanted = (".".join(map(str, each)) for each in (sys.version_info[:2], least))
        raise MissingExtraError(
            f"this is Python {found}, expected {wanted} or later",
            where=sys.executable,
            why=f"it is needed to {purpose}",
            fix=f"copy the folder to a computer with edgekit[{extra}] and run the command there",
        )
