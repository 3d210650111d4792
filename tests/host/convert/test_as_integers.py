# SPDX-License-Identifier: Apache-2.0
"""A float network in integers, to judge what maps of it."""

from __future__ import annotations

import numpy as np

from edgekit.edgetpu.check import check_model
from edgekit.formats.model_file import ModelFile
from edgekit.host.convert.as_integers import as_integers
from tests.host.convert.improve.float_graph import FloatGraph


def test_weights_that_are_stored_as_float16_are_constants() -> None:
    """MediaPipe's networks have a DEQUANTIZE for each constant, which the quantizer folds."""
    g = FloatGraph((1, 4, 4, 3))
    g.conv(g.input, 5)
    conv = g.operators.pop()
    half = g.constant(np.ones((5, 1, 1, 3), np.float32))
    stored = np.ones((5, 1, 1, 3), np.float16)
    g.buffers[g.tensors[half].buffer] = np.frombuffer(stored.tobytes(), np.uint8)
    g.tensors[half] = type(g.tensors[half])("half", (5, 1, 1, 3), "FLOAT16", g.tensors[half].buffer)
    real = g.tensor((5, 1, 1, 3))
    g.place("DEQUANTIZE", (half,), [real])
    g.place(
        "CONV_2D",
        (conv.inputs[0], real, conv.inputs[2]),
        conv.outputs,
        dict(conv.options),
        "Conv2DOptions",
    )
    made = as_integers(g.model(conv.outputs[0]), "uint8")
    assert [op.opcode for op in made.main.operators] == ["QUANTIZE", "CONV_2D", "QUANTIZE"]
    values = made.data(made.main.tensors[made.main.operators[1].inputs[1]])
    assert values is not None
    assert values.dtype == np.int8
    assert values.shape == (5, 1, 1, 3)
    assert check_model(ModelFile.of(made)).num_mapped == 3


def test_a_factor_maps_as_after_quantization() -> None:
    g = FloatGraph((1, 4, 4, 3))
    out = g.tensor((1, 4, 4, 3))
    factor = g.constant(np.array([2 / 255], np.float32))
    g.place("MUL", (g.input, factor), [out], {"fused_activation_function": "NONE"}, "MulOptions")
    made = as_integers(g.model(out), "uint8")
    assert check_model(ModelFile.of(made)).num_mapped == 3
