# SPDX-License-Identifier: Apache-2.0
"""An Edge TPU with a loaded package: parameters are cached and plans made before inference."""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Mapping

import numpy as np

from edgekit.chip.emulator.kernels import compiled_kernels
from edgekit.chip.emulator.moves import joined
from edgekit.chip.emulator.plan import Plan
from edgekit.chip.emulator.program import make_plan
from edgekit.chip.emulator.state import State
from edgekit.chip.isa.decode import decode_executable
from edgekit.chip.isa.errors import EmulationError
from edgekit.chip.isa.layout import from_device, to_device
from edgekit.chip.isa.memories import NUM_TILES
from edgekit.formats.darwinn import Executable, Package

if TYPE_CHECKING:
    from numpy.typing import NDArray


class EdgeTpu:
    """An emulated chip with one package loaded; not thread-safe.

    Raises:
        EmulationError: The program does something that is not proven. This is raised when the
        package is loaded, before any inference.
    """

    def __init__(
        self, package: Package, *, strict_sync: bool = False, compiled: bool = True
    ) -> None:
        """Load ``package``.

        Args:
            package: One or two programs, with their parameters.
            strict_sync: Check that units wait for each other, see `make_plan`.
            compiled: Use compiled code where numba is installed; the results are the same.
        """
        self.package = package
        self.executable = package.inference
        self.state = State()
        self.cached_rows: tuple[frozenset[int], ...] = (frozenset(),) * NUM_TILES
        if package.caching is not None:
            caching = make_plan(package.caching, strict_sync=strict_sync)
            _check_caching(package.caching, self.executable, caching)
            self._cache(caching)
            self.cached_rows = caching.wide_rows
        known = [set(rows) for rows in self.cached_rows]
        plan = make_plan(self.executable, known_rows=known, strict_sync=strict_sync)
        self.state.kernels = compiled_kernels() if compiled else None
        self.plan = replace(plan, joined=joined(plan.steps)) if self.state.kernels else plan
        self.streams = self.plan.streams
        self._check_transfers()

    def clone(self) -> EdgeTpu:
        """Return another chip with the same package, for another thread; plans are shared."""
        other = copy.copy(self)
        other.state = self.state.clone()
        return other

    def _check_transfers(self) -> None:
        """Refuse transfers beyond an input: a program can compute any descriptor."""
        layers = self.executable.input_layers
        sizes = {each.name: each.size_bytes * each.execution_count_per_inference for each in layers}
        for span in self.streams.activations:
            end = span.offset + span.size
            if span.source == "input" and end > sizes.get(span.name, 0):
                raise EmulationError(
                    f"a transfer of bytes {span.offset} to {end} of {sizes.get(span.name, 0)}",
                    where=f"input {span.name!r}",
                )

    def _cache(self, plan: Plan) -> None:
        plan.run(self.state)
        self.state.rows = self.state.rows[: len(State().rows)].copy()

    @property
    def instructions(self) -> dict[str, int]:
        """The number of instructions of each name in the inference program."""
        return dict(Counter(each.layout.name for each in decode_executable(self.executable)))

    def invoke(self, inputs: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
        """Run once: take input tensors, return output tensors (y, x, z), both by layer name.

        Raises:
            EmulationError: An input is missing, or its type or size differs from the layer's.
        """
        missing = [e.name for e in self.executable.input_layers if e.name not in inputs]
        if missing:
            raise EmulationError("an input is missing", where=f"input {missing[0]!r}")
        device = {
            layer.name: to_device(layer, inputs[layer.name])
            for layer in self.executable.input_layers
        }
        parts = [
            device[span.name][span.offset : span.offset + span.size]
            for span in self.streams.activations
            if span.source == "input"
        ]
        self.state.input = np.concatenate(parts) if parts else np.zeros(0, np.uint8)
        self.plan.run(self.state)
        return {
            layer.name: from_device(layer, self._result(layer.name))
            for layer in self.executable.output_layers
        }

    def _result(self, name: str) -> NDArray[np.uint8]:
        """The bytes of one output, collected from their places in the results."""
        spans = [s for s in self.streams.results if s.source == "output" and s.name == name]
        out = np.zeros(max((span.offset + span.size for span in spans), default=0), np.uint8)
        for span in spans:
            out[span.offset : span.offset + span.size] = self.state.output[
                span.start : span.start + span.size
            ]
        return out


def _check_caching(caching: Executable, inference: Executable, plan: Plan) -> None:
    """Refuse a program that does not belong to this inference program or does more than cache."""
    tokens = caching.parameter_caching_token, inference.parameter_caching_token
    if tokens[0] != tokens[1]:
        raise EmulationError(
            f"parameters are cached under the token {tokens[0]:#x}, the program needs those "
            f"of {tokens[1]:#x}",
            where="executable PARAMETER_CACHING, field parameter_caching_token",
            why="the two were not compiled together: the weights belong to another program",
            fix="compile the model again",
        )
    if plan.streams.activations or plan.output_bytes:
        raise EmulationError(
            "the program that caches parameters transfers activations",
            where="executable PARAMETER_CACHING, field dma_hints",
            why="it runs once, before there is an input",
            fix="compile the model again",
        )
