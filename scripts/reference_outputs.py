# SPDX-License-Identifier: Apache-2.0
"""Hash an integer model's outputs with the reference kernels: equal on every machine.

``reference_outputs.py MODEL`` prints ``SHA256 NUM_INPUTS``; ``--write FILE`` creates a small model
with random weights. It needs only edgekit's device side.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import EdgeKitError
from edgekit.files import write_bytes
from edgekit.formats.tflite import Model, Operator, Quantization, Subgraph, Tensor, write_model
from edgekit.runtime import Runner

_NUM_INPUTS = 4
_SEED = 1
_CONVOLUTION: dict[str, Any] = {
    "stride_w": 1,
    "stride_h": 1,
    "dilation_w_factor": 1,
    "dilation_h_factor": 1,
    "fused_activation_function": "NONE",
}
_POOL: dict[str, Any] = {
    "padding": "VALID",
    "stride_w": 2,
    "stride_h": 2,
    "filter_width": 2,
    "filter_height": 2,
    "fused_activation_function": "NONE",
}


def main() -> int:
    """Print the hash, or write the model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", type=Path)
    parser.add_argument("--write", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    try:
        if arguments.write is not None:
            write_bytes(arguments.write, small_model())
        if arguments.model is not None:
            print(hash_outputs(arguments.model), _NUM_INPUTS)
    except EdgeKitError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_status
    return 0


def hash_outputs(model: Path) -> str:
    """Return the SHA-256 of all outputs for random inputs over the whole range of their types."""
    random, digest = np.random.default_rng(_SEED), hashlib.sha256()
    with Runner(model, kernels="reference") as runner:
        for _ in range(_NUM_INPUTS):
            raw = [
                _random_input(each.shape, np.dtype(each.dtype), random) for each in runner.inputs
            ]
            for output in runner.invoke(*raw):
                digest.update(output.tobytes())
    return digest.hexdigest()


def _random_input(shape: tuple[int, ...], dtype: Any, random: np.random.Generator) -> Any:  # noqa: ANN401
    if dtype.kind == "f":
        return random.random(shape).astype(dtype)
    return random.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, shape).astype(dtype)


class _Network:
    """A network built layer by layer: int8 activations, weights with one scale per channel."""

    def __init__(self) -> None:
        self.random = np.random.default_rng(_SEED)
        self.tensors: list[Tensor] = []
        self.buffers = [np.empty(0, np.uint8)]
        self.operators: list[Operator] = []

    def activation(self, shape: tuple[int, ...], scale: float, zero_point: int) -> int:
        """Add a computed tensor; return its index."""
        how = Quantization((scale,), (zero_point,))
        self.tensors.append(Tensor(f"t{len(self.tensors)}", shape, "INT8", 0, how))
        return len(self.tensors) - 1

    def constant(self, data: NDArray[Any], how: Quantization) -> int:
        """Add a stored tensor; return its index."""
        self.buffers.append(np.ascontiguousarray(data).view(np.uint8).ravel())
        name, dtype = f"t{len(self.tensors)}", data.dtype.name.upper()
        self.tensors.append(Tensor(name, data.shape, dtype, len(self.buffers) - 1, how))
        return len(self.tensors) - 1

    def convolution(
        self, source: int, kernel: tuple[int, ...], shape: tuple[int, ...], padding: str
    ) -> int:
        """Add a convolution (depthwise if the kernel's first size is 1); return its output."""
        depthwise = kernel[0] == 1
        axis = 3 if depthwise else 0
        channels, options = kernel[axis], {**_CONVOLUTION, "padding": padding}
        taps = int(np.prod(kernel)) // channels
        # With this scale most values are within the range of the output.
        scales = (self.random.uniform(0.01, 0.03, channels) / np.sqrt(taps)).astype(np.float32)
        weights = self.random.integers(-127, 128, kernel).astype(np.int8)
        bias = self.random.integers(-2000, 2000, channels).astype(np.int32)
        known = self.tensors[source].scale or 1.0
        zeros = (0,) * channels
        inputs = (
            source,
            self.constant(weights, Quantization(tuple(scales.tolist()), zeros, axis)),
            self.constant(bias, Quantization(tuple((scales * np.float32(known)).tolist()), zeros)),
        )
        output = self.activation(shape, 0.05, -7)
        opcode, options_type = "CONV_2D", "Conv2DOptions"
        if depthwise:
            opcode, options_type = "DEPTHWISE_CONV_2D", "DepthwiseConv2DOptions"
            options["depth_multiplier"] = 1
        self.operators.append(Operator(opcode, 3, inputs, (output,), options, options_type))
        return output


def small_model() -> bytes:
    """Return a model with both kinds of convolution and a pooling, for 16 x 16 pixels."""
    network = _Network()
    image = network.activation((1, 16, 16, 3), 1 / 128, 0)
    at = network.convolution(image, (8, 3, 3, 3), (1, 16, 16, 8), "SAME")
    at = network.convolution(at, (1, 3, 3, 8), (1, 16, 16, 8), "SAME")
    pooled = network.activation((1, 8, 8, 8), 0.05, -7)
    network.operators.append(
        Operator("AVERAGE_POOL_2D", 2, (at,), (pooled,), _POOL, "Pool2DOptions")
    )
    scores = network.convolution(pooled, (10, 8, 8, 8), (1, 1, 1, 10), "VALID")
    graph = Subgraph(tuple(network.tensors), (image,), (scores,), tuple(network.operators))
    return write_model(Model((graph,), tuple(network.buffers)))


if __name__ == "__main__":
    sys.exit(main())
