# SPDX-License-Identifier: Apache-2.0
"""Every dimension is known before conversion, or the error names it."""

from __future__ import annotations

from typing import Any

import pytest

from edgekit.errors import UnsupportedModelError, UsageError
from edgekit.host.convert.shapes import RawInput, parse_input_shapes, static_shapes

_IMAGE = RawInput("image", (None, None, None, 3), "float32")


def _static(*inputs: RawInput, words: tuple[str, ...] = (), batch: int = 1) -> list[Any]:
    return static_shapes(inputs, parse_input_shapes(words), batch, "model")


def test_an_open_batch_becomes_one() -> None:
    assert _static(RawInput("x", (None, 8), "float32")) == [(1, 8)]
    assert _static(RawInput("x", (None, 8), "float32"), batch=4) == [(4, 8)]


def test_given_dimensions_fill_the_unknown_ones() -> None:
    assert _static(_IMAGE, words=("1,224,224,3",)) == [(1, 224, 224, 3)]
    assert _static(_IMAGE, words=("image=1x96x96x3",)) == [(1, 96, 96, 3)]
    assert _static(RawInput("x", None, "float32"), words=("2,5",)) == [(2, 5)]


def test_the_error_for_unknown_dimensions_contains_the_option_to_set_them() -> None:
    with pytest.raises(UnsupportedModelError) as caught:
        _static(_IMAGE, RawInput("n", (None, 4), "float32"))
    assert caught.value.what == "dimensions are unknown: image (1, ?, ?, 3)"
    assert caught.value.fix == "give them: --input-shape image=1,N,N,3"


@pytest.mark.parametrize(
    ("inputs", "words", "batch"),
    [
        ((_IMAGE,), ("1,224,224,4",), 1),
        ((_IMAGE,), ("1,224",), 1),
        ((_IMAGE,), ("picture=1,2,2,3",), 1),
        ((_IMAGE, _IMAGE), ("1,2,2,3",), 1),
        ((RawInput("x", (2, 8), "float32"),), (), 3),
    ],
)
def test_contradictions_are_usage_errors(
    inputs: tuple[RawInput, ...], words: tuple[str, ...], batch: int
) -> None:
    with pytest.raises(UsageError):
        _static(*inputs, words=words, batch=batch)


@pytest.mark.parametrize("word", ["", "1,a", "0,3", "=1,2", "-1,3", "x="])
def test_words_that_are_not_a_shape_are_refused(word: str) -> None:
    with pytest.raises(UsageError, match="is not a shape"):
        parse_input_shapes((word,))


def test_an_input_of_gigabytes_is_refused_before_it_is_calibrated() -> None:
    with pytest.raises(UnsupportedModelError, match="the input x has 400,000,000 values"):
        _static(RawInput("x", (None, 20000, 20000, 1), "float32"))
