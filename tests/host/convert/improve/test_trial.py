# SPDX-License-Identifier: Apache-2.0
"""How far a model is from the float network on some samples."""

from __future__ import annotations

import math

import numpy as np

from edgekit.formats.model_file import ModelFile
from edgekit.host.convert.improve.trial import try_model
from tests.host.convert.improve.float_graph import FloatGraph

SHAPE = (1, 4, 4, 3)
NEGATIVE = [[-np.arange(1, 49, dtype=np.float32).reshape(SHAPE)]]


def _network(opcode: str) -> ModelFile:
    g = FloatGraph(SHAPE)
    return ModelFile.of(g.model(g.simple(opcode, g.input)))


def test_equal_outputs_have_no_ratio() -> None:
    assert try_model(_network("RELU"), _network("RELU"), NEGATIVE).snr_db == (None,)


def test_a_difference_from_an_output_of_zeros_is_not_equality() -> None:
    assert try_model(_network("RELU"), _network("NEG"), NEGATIVE).snr_db == (-math.inf,)
