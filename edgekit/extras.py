# SPDX-License-Identifier: Apache-2.0
"""Optional dependencies: one function imports them, so that broken is not reported as missing."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

from edgekit.errors import ExternalToolError, MissingExtraError

HOST_PYTHON = (3, 10)

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
    if version < HOST_PYTHON:
        raise MissingExtraError(
            f"edgekit {command} needs Python {HOST_PYTHON[0]}.{HOST_PYTHON[1]} or newer",
            where=sys.executable,
            why=f"this is Python {version[0]}.{version[1]}, which has the device's commands only",
            fix="run it on the computer on which the model is made",
        )


def require(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Import ``module``, which belongs to the optional dependencies of the extra ``extra``.

    Args:
        module: Dotted name.
        extra: The name of the extra in ``pyproject.toml`` that installs it.
        purpose: Completes "it is needed to ...".

    Raises:
        MissingExtraError: It is not installed.
        ExternalToolError: It is installed and broken (code ``tool.broken``).
    """
    try:
        return importlib.import_module(module)
    except BROKEN as error:
        name = error.name if isinstance(error, ModuleNotFoundError) else None
        if name is None or not (module == name or module.startswith(name + ".")):
            raise broken_library(module, error) from error
        from edgekit.distribution import install_command  # noqa: PLC0415 - seldom used

        raise MissingExtraError(
            f"{module} is not installed",
            why=f"it is needed to {purpose}",
            fix=install_command(extra),
        ) from error


# What the import of a library raises that was built for another one or lacks a part: numpy 2 below
# a tflite-runtime for numpy 1 gives ImportError or AttributeError, a missing .so OSError as well.
BROKEN = (ImportError, AttributeError, OSError, RuntimeError, SystemError)


def broken_library(module: str, error: BaseException) -> ExternalToolError:
    """The error for a library that is installed and cannot be imported."""
    cause = error.__cause__ or error
    return ExternalToolError(
        f"{module} is installed and cannot be loaded",
        where=sys.executable,
        why=f"{type(cause).__name__}: {' '.join(str(cause).split())[:300]}",
        fix="edgekit doctor says what does not fit together, and the command that repairs it",
        code="tool.broken",
    )


def require_part(name: str) -> ModuleType:
    """Import the module ``edgekit.name``, which the boards' wheel leaves out.

    Raises:
        MissingExtraError: It is not there.
    """
    module = f"edgekit.{name}"
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
        from edgekit.distribution import PART, WHOLE  # noqa: PLC0415 - seldom used

        raise MissingExtraError(
            f"{PART} has no {name.rpartition('.')[2]}",
            why="this wheel, for boards, holds only what runs and measures a model",
            fix=f"run it on a computer with {WHOLE}, which has every command",
        ) from error


def require_python(least: tuple[int, int], *, extra: str, purpose: str) -> None:
    """Find out that this Python is too old for the extra ``extra`` before its code is imported.

    Args:
        least: The oldest version that will do.
        extra: As for `require`.
        purpose: Completes "it is needed to ...".

    Raises:
        MissingExtraError: It is older.
    """
    if sys.version_info[:2] < least:
        found, wanted = (".".join(map(str, each)) for each in (sys.version_info[:2], least))
        from edgekit.distribution import WHOLE  # noqa: PLC0415 - seldom used

        raise MissingExtraError(
            f"this is Python {found}, expected {wanted} or later",
            where=sys.executable,
            why=f"it is needed to {purpose}",
            fix=f"copy the folder to a computer with {WHOLE}[{extra}] and run the command there",
        )
