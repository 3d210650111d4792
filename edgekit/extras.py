# SPDX-License-Identifier: Apache-2.0
"""Import optional dependencies; distinguish missing packages from broken ones."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

from edgekit.errors import ExternalToolError, MissingExtraError

HOST_PYTHON = (3, 10)

# The packages with TensorFlow Lite's interpreter, in order of preference:
# runtime -> (package, module with Interpreter, distribution).
RUNTIME_PACKAGES = {
    "litert": ("ai_edge_litert", "ai_edge_litert.interpreter", "ai-edge-litert"),
    "tflite-runtime": ("tflite_runtime", "tflite_runtime.interpreter", "tflite-runtime"),
    "tensorflow": ("tensorflow", "tensorflow.lite.python.interpreter", "tensorflow"),
}


def require_host_python(command: str) -> None:
    """Refuse a command that needs a host's Python, before its import fails.

    Raises:
        MissingExtraError: This Python is older than 3.10.
    """
    version = sys.version_info[:2]
    if version < HOST_PYTHON:
        raise MissingExtraError(
            f"edgekit {command} needs Python {HOST_PYTHON[0]}.{HOST_PYTHON[1]} or newer",
            where=sys.executable,
            why=f"this is Python {version[0]}.{version[1]}, which has only the device's commands",
            fix="run it on the computer that makes the model",
        )


def require(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Import ``module``, which belongs to the optional dependencies of the extra ``extra``.

    Args:
        module: Dotted name.
        extra: The name of the extra in ``pyproject.toml`` that installs it.
        purpose: Completes "it is needed to ...".

    Raises:
        MissingExtraError: It is not installed.
        ExternalToolError: It is installed but broken (code ``tool.broken``).
    """
    try:
        return importlib.import_module(module)
    except BROKEN as error:
        name = error.name if isinstance(error, ModuleNotFoundError) else None
        if name is None or not (module == name or module.startswith(name + ".")):
            raise broken_library(module, error) from error
        from edgekit.distribution import install_command  # noqa: PLC0415 - rarely used

        raise MissingExtraError(
            f"{module} is not installed",
            why=f"it is needed to {purpose}",
            fix=install_command(extra),
        ) from error


# What importing a library raises if it was built for another one or lacks a part: with numpy 2, a
# tflite-runtime for numpy 1 raises ImportError or AttributeError; a missing .so also OSError.
BROKEN = (ImportError, AttributeError, OSError, RuntimeError, SystemError)


def broken_library(module: str, error: BaseException) -> ExternalToolError:
    """Return the error for a library that is installed but cannot be imported."""
    cause = error.__cause__ or error
    return ExternalToolError(
        f"{module} is installed but cannot be loaded",
        where=sys.executable,
        why=f"{type(cause).__name__}: {' '.join(str(cause).split())[:300]}",
        fix="edgekit doctor shows which versions do not work together, and a command that helps",
        code="tool.broken",
    )


def require_part(name: str) -> ModuleType:
    """Import the module ``edgekit.name``, which the boards' wheel does not contain.

    Raises:
        MissingExtraError: The module is not installed.
    """
    module = f"edgekit.{name}"
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
        from edgekit.distribution import PART, WHOLE  # noqa: PLC0415 - rarely used

        raise MissingExtraError(
            f"{PART} does not have {name.rpartition('.')[2]}",
            why="this wheel, for boards, contains only what runs and measures a model",
            fix=f"run it on a computer with {WHOLE}, which has every command",
        ) from error


def require_python(least: tuple[int, int], *, extra: str, purpose: str) -> None:
    """Refuse a Python that is too old for the extra ``extra``, before its code is imported.

    Args:
        least: The oldest sufficient version.
        extra: As for `require`.
        purpose: Completes "it is needed to ...".

    Raises:
        MissingExtraError: It is older.
    """
    if sys.version_info[:2] < least:
        found, wanted = (".".join(map(str, each)) for each in (sys.version_info[:2], least))
        from edgekit.distribution import WHOLE  # noqa: PLC0415 - rarely used

        raise MissingExtraError(
            f"this is Python {found}, expected {wanted} or later",
            where=sys.executable,
            why=f"it is needed to {purpose}",
            fix=f"copy the folder to a computer with {WHOLE}[{extra}] and run the command there",
        )
