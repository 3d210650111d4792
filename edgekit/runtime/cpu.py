# SPDX-License-Identifier: Apache-2.0
"""The CPU backend: TensorFlow Lite's interpreter with chosen kernels."""

from __future__ import annotations

import functools
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.errors import UnsupportedModelError, UsageError
from edgekit.runtime.base import Environment
from edgekit.runtime.devices import CPU
from edgekit.runtime.interpreters import InterpreterLibrary
from edgekit.runtime.session import XNNPACK_FAILED, Session, one_line, prepare
from edgekit.runtime.state import assigns_resources
from edgekit.runtime.thermal import SYSFS, ThermalMonitor

if TYPE_CHECKING:
    from edgekit.formats.model_file import ModelFile

# --kernels -> member of OpResolverType. AUTO is XNNPACK with TFLite's own optimized kernels for
# operators that XNNPACK does not support.
RESOLVERS = {"fast": "AUTO", "reference": "BUILTIN_REF"}
KERNELS = tuple(RESOLVERS)
_WITHOUT_XNNPACK = "BUILTIN_WITHOUT_DEFAULT_DELEGATES"
_UNKNOWN_CUSTOM_OP = "unresolved custom op: "
_NOT_XNNPACK_BUILT = "this build of the runtime runs no operator of this model with XNNPACK"


def open_cpu(
    file: ModelFile,
    library: InterpreterLibrary,
    kernels: str,
    num_threads: int,
    *,
    note: str = "",
) -> CpuBackend:
    """Return a `CpuBackend`; an unknown model is first run in a child, because it may crash.

    Raises:
        UnsupportedModelError: The model crashes (code ``model.crash``), or the runtime refuses it.
    """
    from edgekit.runtime.trial import require_sound  # noqa: PLC0415 - `import edgekit` is fast
    from edgekit.runtime.trial_child import Trial  # noqa: PLC0415

    check_kernels(kernels)
    resolvers = (RESOLVERS[kernels], *([_WITHOUT_XNNPACK] if kernels == "fast" else []))
    trial = Trial(file.content, library.runtime, resolvers, num_threads)
    refused = require_sound(trial, file.model, library)
    if refused:
        raise _refusal(RuntimeError(refused), library)
    return CpuBackend(
        file.content,
        library,
        kernels,
        num_threads,
        note=note,
        has_resources=assigns_resources(file.model),
    )


class CpuBackend(Session):
    """A model in TensorFlow Lite's interpreter on this machine's CPU."""

    def __init__(
        self,
        content: bytes,
        library: InterpreterLibrary,
        kernels: str,
        num_threads: int,
        *,
        note: str = "",
        has_resources: bool = False,
        sysfs: Path = SYSFS,
    ) -> None:
        """Load ``content``.

        Args:
            content: The model's file.
            library: The runtime to use.
            kernels: A key of `RESOLVERS`.
            num_threads: The number of threads of one inference.
            note: Why the CPU runs it, for `Environment`.
            has_resources: The model assigns resource variables, see `assigns_resources`.
            sysfs: The folder with the machine's sensors.
        """
        check_kernels(kernels)
        notes = [note] if note else []
        resolver = RESOLVERS[kernels]
        start = time.perf_counter()
        try:
            interpreter = prepare(content, library, resolver, num_threads)
        except (RuntimeError, ValueError) as error:
            if kernels != "fast" or XNNPACK_FAILED not in str(error):
                raise _refusal(error, library) from error
            notes.append(f"XNNPACK refused the model: {one_line(error)}")
            interpreter = _prepare_without_xnnpack(content, library, num_threads)
            resolver = _WITHOUT_XNNPACK
        load_ms = (time.perf_counter() - start) * 1e3
        ran = "reference" if kernels == "reference" else _fast_kernels(interpreter)
        if ran == "builtin" and len(notes) == bool(note):
            notes.append(_NOT_XNNPACK_BUILT)
        environment = Environment(
            CPU, library.runtime, ran, "; ".join(notes), num_threads, library.versions
        )
        super().__init__(interpreter, environment, ThermalMonitor(CPU, sysfs), load_ms)
        self._has_resources = has_resources
        self._renewed = functools.partial(prepare, content, library, resolver, num_threads)

    def reset(self) -> None:
        """Set variable tensors and resource variables to their initial values."""
        if self._has_resources:
            # No call of the interpreter resets them, not even allocate_tensors.
            self._bind(self._renewed())
        else:
            super().reset()


def check_kernels(kernels: str) -> None:
    """Check that ``kernels`` is a key of `RESOLVERS`.

    Raises:
        UsageError: It is not.
    """
    if kernels not in RESOLVERS:
        raise UsageError(f"no kernels {kernels!r}", fix=f"use one of {', '.join(KERNELS)}")


def _prepare_without_xnnpack(content: bytes, library: InterpreterLibrary, num_threads: int) -> Any:  # noqa: ANN401
    try:
        return prepare(content, library, _WITHOUT_XNNPACK, num_threads)
    except (RuntimeError, ValueError) as error:
        raise _refusal(error, library) from error


def _fast_kernels(interpreter: Any) -> str:  # noqa: ANN401
    """Return which kernels AUTO chose: each delegated part is a node DELEGATE after all others."""
    # Not public, but the same in every release since 2.5; without it the result is "builtin".
    # _get_ops_details also describes the tensors: it takes a quarter of the time to open a model.
    nodes: Any = getattr(interpreter, "_interpreter", None)
    if not hasattr(nodes, "NodeName") or not hasattr(nodes, "NumNodes"):
        return "builtin"
    names = map(nodes.NodeName, reversed(range(nodes.NumNodes())))
    return "xnnpack" if "DELEGATE" in names else "builtin"


def _refusal(error: Exception, library: InterpreterLibrary) -> UnsupportedModelError:
    text = one_line(error)
    if _UNKNOWN_CUSTOM_OP in text:
        name = text.split(_UNKNOWN_CUSTOM_OP)[1].split()[0].rstrip(".")
        return UnsupportedModelError(
            f"no CPU kernel for the custom operator {name}",
            why=text,
            fix="give a model without it; custom operators run only where their library is linked",
        )
    return UnsupportedModelError(
        f"{library.runtime} cannot load the model",
        why=text,
        fix="try --kernels reference, another --runtime, or convert the model again",
    )
