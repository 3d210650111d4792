# SPDX-License-Identifier: Apache-2.0
"""Find the operator at which TensorFlow's quantizer fails: by its message, or by bisection."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.edgetpu.advice import advice_for
from edgekit.edgetpu.structure import layer_of, place_of
from edgekit.errors import EdgeKitError, UnsupportedModelError
from edgekit.formats.tflite import Model, read_model, write_model
from edgekit.formats.tflite.part import with_operators

# A step starts a process that imports TensorFlow: about 5 s; 250 operators take eight steps.
_MOST_S = 75.0

_NODE = re.compile(r"Node number (\d+) \((\w+)\)")

Batches = Callable[[], Iterator[list[NDArray[Any]]]]
Quantize = Callable[[bytes, Batches, float], object]


def with_suspect(error: EdgeKitError, content: bytes, quantize: Quantize) -> EdgeKitError:
    """Return ``error`` with the operator at which the quantizer fails, or ``error`` itself.

    Args:
        error: The failure of the whole network.
        content: The float model that could not be quantized.
        quantize: (model, batches, seconds) -> anything; raises `EdgeKitError` if it fails.
    """
    model = read_model(content)
    graph = model.main
    first = last = _named(model, f"{error.what} {error.why}")
    if first is None:
        first, last = _bisect(model, quantize)
    if first is None:
        return error
    named = place_of(graph, first)
    if last != first:
        named = f"one of the operators {first} to {last}, from {named} on"
    operator = graph.operators[first]
    return UnsupportedModelError(
        f"TensorFlow's quantizer fails at {named}",
        where=error.where,
        why=error.why or error.what,
        fix=advice_for(operator.label, layer_of(graph, operator), at_source=True),
    )


def _named(model: Model, text: str) -> int | None:
    """Return the operator that the quantizer's interpreter names in ``text``; None if none."""
    found = _NODE.search(text)
    number = int(found.group(1)) if found else -1
    operators = model.main.operators
    is_one = found and number < len(operators) and operators[number].opcode == found.group(2)
    return number if is_one else None


def _bisect(model: Model, quantize: Quantize) -> tuple[int | None, int | None]:
    """Return the first and last operator that may fail; None if random inputs do not fail."""
    end = time.monotonic() + _MOST_S
    good, bad = 0, len(model.main.operators)  # how many operators pass, and how many fail
    if not _fails(model, bad, quantize, end):
        return None, None
    while bad - good > 1 and time.monotonic() < end:
        middle = (good + bad) // 2
        failed = _fails(model, middle, quantize, end)
        if failed and time.monotonic() >= end:
            break  # out of time: the result of this step is not known
        good, bad = (good, middle) if failed else (middle, bad)
    return good, bad - 1


def _fails(model: Model, count: int, quantize: Quantize, end: float) -> bool:
    part = with_operators(model, 0, count)
    fed = tuple(i for i in part.main.inputs if not part.main.tensors[i].is_variable)
    part = replace(part, subgraphs=(replace(part.main, inputs=fed), *part.subgraphs[1:]))
    tensors = [part.main.tensors[index] for index in part.main.inputs]

    def batches() -> Iterator[list[NDArray[Any]]]:
        random = np.random.default_rng(0)
        yield [random.random(each.shape).astype(each.dtype.lower()) for each in tensors]

    try:
        quantize(write_model(part), batches, max(end - time.monotonic(), 1.0))
    except EdgeKitError:
        return True
    return False
