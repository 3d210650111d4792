# SPDX-License-Identifier: Apache-2.0
"""Optional dependencies: one function imports them, so that broken is not reported as missing."""

from __future__ import annotations

import importlib
from types import ModuleType

from edgekit.errors import MissingExtraError

# The packages that hold TensorFlow Lite's interpreter, in order of preference:
# runtime -> (package, module with Interpreter, distribution).
RUNTIME_PACKAGES = {
    "litert": ("ai_edge_litert", "ai_edge_litert.interpreter", "ai-edge-litert"),
    "tflite-runtime": ("tflite_runtime", "tflite_runtime.interpreter", "tflite-runtime"),
    "tensorflow": ("tensorflow", "tensorflow.lite.python.interpreter", "tensorflow"),
}


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
