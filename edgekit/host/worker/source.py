# SPDX-License-Identifier: Apache-2.0
"""What every loader gives: named inputs, and a way to one frozen TensorFlow function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

# TensorFlow has no types; the names say what is meant.
Function = Any
TensorSpec = Any


class Source:
    """A loaded model, not yet traced."""

    def __init__(
        self,
        loader: str,
        inputs: list[TensorSpec],
        outputs: list[str],
        trace: Callable[[list[TensorSpec]], Function],
        layers: list[tuple[str, str]],
    ) -> None:
        self.loader = loader  # what read it: "keras 3.15.1"
        self.inputs, self.outputs = inputs, outputs  # shapes may hold unknown dimensions
        self.trace = trace  # static specs, in the order of ``inputs`` -> concrete function
        self.layers = layers  # (name, class) of each layer, where the source has layers

    def describe(self) -> dict[str, Any]:
        """Plain values for the parent; an unknown rank is None, an unknown dimension is None."""
        return {
            "loader": self.loader,
            "inputs": [
                {
                    "name": spec.name,
                    "shape": None if spec.shape.rank is None else spec.shape.as_list(),
                    "dtype": spec.dtype.name,
                }
                for spec in self.inputs
            ],
            "outputs": self.outputs,
            "layers": self.layers,
        }


def short(error: BaseException) -> str:
    """The first lines of an exception's message, fit for one line of an error."""
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else text[:297] + "..."
