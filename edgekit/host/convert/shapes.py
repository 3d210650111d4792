# SPDX-License-Identifier: Apache-2.0
"""Static shapes: every dimension of an Edge TPU model is fixed before it runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgekit.errors import UnsupportedModelError, UsageError

Shape = tuple[int, ...]
_MOST_VALUES = 32 << 20  # in one input; an image of 3,200 x 3,200 pixels has 31 million


@dataclass(frozen=True)
class RawInput:
    """An input as its source declares it; an unknown dimension, or an unknown rank, is None."""

    name: str
    shape: tuple[int | None, ...] | None
    dtype: str


def parse_input_shapes(words: Sequence[str]) -> dict[str, Shape]:
    """Parse ``--input-shape`` words: ``1,224,224,3``, or ``NAME=1,224,224,3`` for each input.

    Raises:
        UsageError: A word is not a list of whole numbers greater than zero.
    """
    shapes = {}
    for word in words:
        name, separator, text = word.rpartition("=")
        try:
            shape = tuple(int(part) for part in text.replace("x", ",").split(","))
        except ValueError:
            shape = ()
        if not shape or min(shape) < 1 or (separator and not name):
            raise UsageError(
                f"--input-shape {word!r} is not a shape",
                fix="write the dimensions with the batch first: 1,224,224,3, or NAME=1,224,224,3",
            )
        shapes[name] = shape
    return shapes


def static_shapes(
    inputs: Sequence[RawInput], given: Mapping[str, Shape], batch_size: int, where: str
) -> list[Shape]:
    """Return the shape of each input with every dimension known.

    An unknown first dimension is the batch. Other unknown dimensions come from ``given``, by the
    input's name, or by "" if there is one input.

    Raises:
        UsageError: ``given`` names no input or contradicts the source.
        UnsupportedModelError: Dimensions are still unknown (the message names them), or an input
            is far too large.
    """
    names = [each.name for each in inputs]
    for name in given:
        if (name or len(inputs) > 1) and name not in names:
            raise UsageError(
                f"--input-shape has a name that is not an input: {name!r}"
                if name
                else "--input-shape does not name an input",
                where=where,
                why=f"the inputs are {names}",
                fix=f"--input-shape {names[0]}=1,...",
            )
    shapes = [
        _static(each, given.get(each.name, given.get("") if len(inputs) == 1 else None), batch_size)
        for each in inputs
    ]
    unknown = [
        f"{each.name} {_text(shape)}"
        for each, shape in zip(inputs, shapes, strict=True)
        if shape is None or None in shape
    ]
    if unknown:
        prefix = f"{names[0]}=" if len(inputs) > 1 else ""
        raise UnsupportedModelError(
            f"dimensions are unknown: {'; '.join(unknown)}",
            where=where,
            why="an Edge TPU model has fixed shapes",
            fix=f"give them: --input-shape {prefix}{_example(shapes[0])}",
        )
    known = [tuple(size for size in shape or () if size is not None) for shape in shapes]
    for each, shape in zip(inputs, known, strict=True):
        if math.prod(shape) > _MOST_VALUES:
            raise UnsupportedModelError(
                f"the input {each.name} has {math.prod(shape):,} values",
                where=where,
                why=f"more than {_MOST_VALUES:,} need gigabytes of memory to calibrate",
                fix="build the model with a smaller input, or give --input-shape where its "
                "dimensions are unknown",
            )
    return known


def _static(each: RawInput, given: Shape | None, batch_size: int) -> tuple[int | None, ...] | None:
    if each.shape is None:
        return given
    declared = each.shape
    if given is not None:
        fits = len(given) == len(declared) and all(
            wanted is None or wanted == size for wanted, size in zip(declared, given, strict=True)
        )
        if not fits:
            raise UsageError(
                f"--input-shape {_text(given)} does not fit {each.name} {_text(declared)}",
                fix="keep the known dimensions (? is an unknown one)",
            )
        return given
    if declared and declared[0] is None:
        return (batch_size, *declared[1:])
    if declared and batch_size not in (1, declared[0]):
        raise UsageError(
            f"--batch-size {batch_size} does not fit the input {each.name} {_text(declared)}",
            why="the model was saved with a fixed batch",
            fix=f"--batch-size {declared[0]}, or save the model with an unknown batch",
        )
    return declared


def _text(shape: Sequence[int | None] | None) -> str:
    if shape is None:
        return "of unknown rank"
    return "(" + ", ".join("?" if size is None else str(size) for size in shape) + ")"


def _example(shape: Sequence[int | None] | None) -> str:
    return "1,..." if shape is None else ",".join(str(size or "N") for size in shape)
