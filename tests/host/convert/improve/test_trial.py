# SPDX-License-Identifier: Apache-2.0
"""How far a model is from the float network on some samples."""

from __future__ import annotations

import math

import numpy as np

from edgekit.formats.model_file import ModelFile
from edgekit.host.convert.improve.trial import Trial, try_model
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


def test_what_is_good_already_is_changed_for_a_clear_gain_only() -> None:
    assert Trial((), (12.3,)).is_better_than(Trial((), (12.0,)))
    assert not Trial((), (36.3,)).is_better_than(Trial((), (36.0,)))
    assert Trial((), (36.0,)).is_better_than(Trial((), (32.0,)))
    assert not Trial((), (20.0, 11.0)).is_better_than(Trial((), (12.0, 12.0)))


def test_an_output_that_becomes_clearly_worse_is_not_outweighed_by_others() -> None:
    assert not Trial((), (-3.8, -5.6)).is_better_than(Trial((), (-6.4, -4.6)))
    assert not Trial((), (28.0, 29.0)).is_better_than(Trial((), (8.0, 33.0)))
    assert Trial((), (28.0, 31.0)).is_better_than(Trial((), (8.0, 33.0)))  # still good
    assert Trial((), (-3.8, -4.9)).is_better_than(Trial((), (-6.4, -4.6)))


def test_a_better_ratio_does_not_outweigh_objects_that_are_lost() -> None:
    few, many = Trial((), (9.0,), (0.3,)), Trial((), (5.0,), (0.6,))
    assert not few.is_better_than(many)
    assert Trial((), (9.0,), (0.55,)).is_better_than(many)
    assert Trial((), (9.0,), (None,)).is_better_than(many)
