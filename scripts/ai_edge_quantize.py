# SPDX-License-Identifier: Apache-2.0
"""Quantize a float .tflite with ai-edge-quantizer's defaults, in a Python that has it.

    PYTHON scripts/ai_edge_quantize.py FLOAT.tflite SAMPLES.npz OUTPUT.tflite

FLOAT.tflite has a signature; SAMPLES.npz has the arrays (samples, ...) of its inputs, by name.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np


def main(network: str, samples: str, output: str) -> None:
    """Quantize weights and activations to int8 (``static_wi8_ai8``)."""
    from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415 - of the other Python
    from ai_edge_quantizer import quantizer, recipe  # noqa: PLC0415

    (name,) = Interpreter(network).get_signature_list()
    made = quantizer.Quantizer(network, recipe.static_wi8_ai8())
    with np.load(samples) as stored:
        arrays = {each: stored[each] for each in stored.files}
    count = min(map(len, arrays.values()))
    rows = [{key: each[row : row + 1] for key, each in arrays.items()} for row in range(count)]
    found = made.quantize(made.calibrate({name: rows}))
    Path(output).write_bytes(found.quantized_model)


if __name__ == "__main__":
    main(*sys.argv[1:])
