# SPDX-License-Identifier: Apache-2.0
"""The result of every loader: named inputs, and how to trace one TensorFlow function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

# TensorFlow does not have type annotations; these names only document.
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
        self.loader = loader  # the library that read it: "keras 3.15.1"
        self.inputs, self.outputs = inputs, outputs  # shapes may have unknown dimensions
        self.trace = trace  # static specs, in the order of ``inputs`` -> concrete function
        self.layers = layers  # (name, class) of each layer, if the source has layers

    def describe(self) -> dict[str, Any]:
        """Return plain values for the parent; unknown ranks and dimensions are None."""
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
    """Return the first lines of an exception's message as one line."""
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else text[:297] + "..."
