# SPDX-License-Identifier: Apache-2.0
"""The three packages with TensorFlow Lite's interpreter; the first installed one is used."""

from __future__ import annotations

import importlib
import importlib.util
import platform
import sys
import warnings
from dataclasses import dataclass
from typing import Any, Mapping

import numpy as np

from edgekit.errors import MissingExtraError, UsageError
from edgekit.extras import RUNTIME_PACKAGES, broken_library, require
from edgekit.runtime.native_output import chatter_logged

RUNTIMES = tuple(RUNTIME_PACKAGES)


@dataclass(frozen=True)
class InterpreterLibrary:
    """One of the packages, imported; all have the same interface."""

    runtime: str
    module: Any  # none of them has type hints
    versions: Mapping[str, str]

    def resolver(self, name: str) -> Any:  # noqa: ANN401 - an enumeration of the module
        """The member ``name`` of OpResolverType."""
        return getattr(self.module.OpResolverType, name)

    def interpreter(self, content: bytes, **options: Any) -> Any:  # noqa: ANN401 - no types there
        """Return an interpreter for the model in ``content``; its tensors are not yet allocated.

        Raises:
            ExternalToolError: The runtime does not work with another installed package.
        """
        with warnings.catch_warnings():
            # TensorFlow announces here that its interpreter has moved to ai_edge_litert.
            warnings.simplefilter("ignore")
            try:
                return self.module.Interpreter(model_content=content, **options)
            except (SystemError, ImportError, AttributeError) as error:
                # A runtime built for numpy 1 fails with numpy 2 only here, not in its import.
                raise broken_library(self.module.__name__, error) from error


def load_library(runtime: str | None = None) -> InterpreterLibrary:
    """Import the interpreter of ``runtime``; None uses the first that is installed.

    Raises:
        UsageError: There is no such runtime.
        MissingExtraError: It is not installed, or no runtime is.
        ExternalToolError: It is installed but broken.
    """
    if runtime is not None and runtime not in RUNTIME_PACKAGES:
        raise UsageError(f"no runtime {runtime!r}", fix=f"use one of {', '.join(RUNTIMES)}")
    name = runtime or next(
        (each for each in RUNTIMES if importlib.util.find_spec(RUNTIME_PACKAGES[each][0])), None
    )
    if name is None:
        from edgekit.distribution import install_command  # noqa: PLC0415 - seldom used

        raise MissingExtraError(
            "no TensorFlow Lite runtime is installed",
            why=f"none of {', '.join(RUNTIMES)} can be imported",
            fix=install_command("device"),
        )
    package, module, distribution = RUNTIME_PACKAGES[name]
    extra = "host" if name == "tensorflow" else "device"
    interpreter = sys.modules.get(module)
    if interpreter is None:
        # numpy 2 prints a traceback for a module of numpy 1
        with chatter_logged(lose_on_error=True):
            interpreter = require(module, extra=extra, purpose="run a model")
    version = str(getattr(importlib.import_module(package), "__version__", "unknown"))
    return InterpreterLibrary(
        name,
        interpreter,
        {
            distribution: version,
            "numpy": np.__version__,
            "python": platform.python_version(),
            "kernel": f"{platform.system()} {platform.release()}",
        },
    )
