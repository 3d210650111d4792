# SPDX-License-Identifier: Apache-2.0
"""A Runner for a model that another process has loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, Tuple

from edgekit.runtime.base import Backend, Environment, TensorInfo
from edgekit.runtime.runner import Runner

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgekit.formats.model_file import ModelSource
    from edgekit.runtime.options import RunnerOptions


@dataclass(frozen=True)
class Description:
    """A loaded model, as another process describes it."""

    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    environment: Environment

    @classmethod
    def of(cls, runner: Runner) -> Description:
        """Describe the model of ``runner``."""
        return cls(runner.inputs, runner.outputs, runner.environment)


# Runs the model in the other process: its inputs -> its outputs.
Invoke = Callable[[Tuple["NDArray[Any]", ...]], Tuple["NDArray[Any]", ...]]


class DescribedRunner(Runner):
    """A Runner that loads nothing: another process has loaded the model, and runs it."""

    def __init__(
        self, model: ModelSource, options: RunnerOptions, description: Description, invoke: Invoke
    ) -> None:
        """Read ``model``; its inputs and outputs are those of ``description``."""
        self._described = _Described(description, invoke)
        super().__init__(model, options=options)

    def _open_backend(self, like: Backend | None = None) -> Backend:
        del like
        return self._described


class _Described:
    """The backend of a `DescribedRunner`; each inference starts without a state."""

    load_ms = 0.0

    def __init__(self, description: Description, invoke: Invoke) -> None:
        self.inputs, self.outputs = description.inputs, description.outputs
        self.environment = description.environment
        self._invoke = invoke
        self._last: tuple[NDArray[Any], ...] = ()

    def invoke(self, raw: tuple[NDArray[Any], ...]) -> tuple[NDArray[Any], ...]:
        """Run in the other process."""
        self._last = raw
        return self._invoke(raw)

    def reinvoke(self) -> None:
        """Run again on the inputs of the last call."""
        self._invoke(self._last)

    def reset(self) -> None:
        """Do nothing: no state is kept."""

    def close(self) -> None:
        """Do nothing: nothing is loaded here."""
