# SPDX-License-Identifier: Apache-2.0
"""Compare the float .tflite of a source with the source in its own runtime, on real samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.debug.recorder import Recorder
from edgekit.errors import UnsupportedModelError
from edgekit.formats.tflite import Model
from edgekit.host.convert.importer import ImporterChild, Operation
from edgekit.result import Result
from edgekit.runtime.interpreters import load_library

# Float32 in another order of additions differs by about 1e-6; 1e-3 is a wrong operation.
MOST_RELATIVE = 1e-3
_NHWC = (0, 2, 3, 1)


@dataclass(frozen=True)
class SourceAgreement(Result):
    """How the float .tflite differs from the source, over all outputs and samples.

    ``relative`` is the largest difference divided by the largest absolute value of that output.
    """

    num_samples: int
    max_difference: float
    relative: float
    cosine: float  # the lowest of all outputs


@dataclass(frozen=True)
class Difference:
    """The difference of two arrays of the same shape."""

    largest: float
    relative: float
    cosine: float


def difference(expected: NDArray[Any], actual: NDArray[Any]) -> Difference:
    """Return how ``actual`` differs from ``expected``; the latter may be in NCHW.

    Not comparable shapes, and values that are not finite in one of the two only, differ by
    infinity.
    """
    candidates = [expected]
    if expected.ndim == 4:
        candidates.append(expected.transpose(_NHWC))
    if expected.ndim == 3:
        candidates.append(expected.transpose(0, 2, 1))
    found = [_same_layout(each, actual) for each in candidates if each.shape == actual.shape]
    return min(found, key=lambda each: each.relative, default=Difference(math.inf, math.inf, 0.0))


def _same_layout(expected: NDArray[Any], actual: NDArray[Any]) -> Difference:
    first, second = expected.astype(np.float64).ravel(), actual.astype(np.float64).ravel()
    finite = np.isfinite(first)
    if not np.array_equal(finite, np.isfinite(second)):
        return Difference(math.inf, math.inf, 0.0)
    first, second = first[finite], second[finite]
    if not first.size:
        return Difference(0.0, 0.0, 1.0)
    largest = float(np.abs(first - second).max())
    size = float(np.abs(first).max())
    norms = float(np.linalg.norm(first) * np.linalg.norm(second))
    cosine = float(first @ second) / norms if norms else float(largest == 0)
    return Difference(largest, largest / size if size else largest, cosine)


def source_inputs(
    arrays: Sequence[NDArray[Any]], shapes: Sequence[Sequence[int]]
) -> list[NDArray[Any]]:
    """Return a sample, whose channels are last, in the layout of the source's inputs.

    Args:
        arrays: The arrays for the .tflite's inputs: images, series, states.
        shapes: The shapes of the source's inputs.
    """
    return [_in_layout(*pair) for pair in zip(arrays, shapes, strict=True)]


def _in_layout(array: NDArray[Any], shape: Sequence[int]) -> NDArray[Any]:
    """Return ``array`` with ``shape``: as it is, or with its channels first."""
    if array.shape == tuple(shape):
        return array
    if array.ndim > 2:
        turned = np.moveaxis(array, -1, 1)
        if turned.shape == tuple(shape):
            return np.ascontiguousarray(turned)
    raise UnsupportedModelError(
        f"a sample has the shape {array.shape}, the source's input {tuple(shape)}",
        why="onnx2tf may have changed the order of its dimensions",
        fix="give samples in the shape that the network has there, or convert without samples: "
        "--mode float",
    )


def compare_with_source(
    child: ImporterChild,
    model: Model,
    operations: Sequence[Operation],
    samples: Sequence[tuple[list[NDArray[Any]], list[NDArray[Any]]]],
    where: str,
) -> SourceAgreement:
    """Run both on each sample.

    Args:
        child: The source.
        model: The whole float .tflite.
        operations: Where the results of the source's operations are in ``model``.
        samples: The inputs of the source, and those of ``model``.
        where: The source, for errors.

    Raises:
        UnsupportedModelError: An output differs by more than `MOST_RELATIVE`; the message names
            the operation where the difference begins.
    """
    recorder = Recorder(model, load_library(), where)
    found: list[Difference] = []
    for given, converted in samples:
        recorder.run(converted)
        answers = [recorder.value(index) for index in model.main.outputs]
        expected = child.answer(given)
        each = [difference(*pair) for pair in zip(expected, answers, strict=True)]
        worst = max(each, key=lambda one: one.relative)
        if not worst.relative <= MOST_RELATIVE:
            place = _beginning(child, model, recorder, operations, given)
            how = f"differs by {worst.relative:.1%} of its largest value"
            if math.isinf(worst.relative):
                how = "has another shape, or other values that are not finite"
            raise UnsupportedModelError(
                f"{child.library} converted the network wrongly: an output {how}",
                where=f"{where}{place and f', {place}'}",
                why=f"cosine {worst.cosine:.4f}; the source in its own runtime and the float "
                f".tflite may differ by {MOST_RELATIVE:.1%}",
                fix=f"replace {place or 'the operation'} by an equal one and export again, or "
                "end the network before it: --outputs",
            )
        found.extend(each)
    return SourceAgreement(
        len(samples),
        max((each.largest for each in found), default=0.0),
        max((each.relative for each in found), default=0.0),
        min((each.cosine for each in found), default=1.0),
    )


def _beginning(
    child: ImporterChild,
    model: Model,
    recorder: Recorder,
    operations: Sequence[Operation],
    given: Sequence[NDArray[Any]],
) -> str:
    """Return the first operation of the source whose result differs; empty if it is unknown."""
    if any(not each.in_tflite for each in operations):
        return _beginning_by_values(child, model, recorder, operations, given)
    computed = {
        model.main.tensors[index].name: index for op in model.main.operators for index in op.outputs
    }
    # A fused operator has the result of the last of its operations.
    last = {each.in_tflite: each for each in operations if each.in_tflite in computed}
    known = [each for each in operations if last.get(each.in_tflite) is each]
    values = child.trace([each.tensor for each in known], given) if known else []
    for operation, expected in zip(known, values, strict=True):
        actual = recorder.value(computed[operation.in_tflite])
        if not difference(expected, actual).relative <= MOST_RELATIVE:
            return operation.name
    return ""


def _beginning_by_values(
    child: ImporterChild,
    model: Model,
    recorder: Recorder,
    operations: Sequence[Operation],
    given: Sequence[NDArray[Any]],
) -> str:
    """As `_beginning`, for a converter that does not say which tensor is which.

    A result that some tensor of the .tflite has is right. So are those that it was computed from:
    they have no tensor if they were fused.
    """
    by_size: dict[int, list[NDArray[Any]]] = {}
    for op in model.main.operators:
        for index in op.outputs:
            value = recorder.value(index)
            by_size.setdefault(value.size, []).append(value)
    values = child.trace([each.tensor for each in operations], given)
    right: set[str] = set()
    for operation, expected in zip(reversed(operations), reversed(values), strict=True):
        if operation.tensor in right or any(
            difference(expected, actual).relative <= MOST_RELATIVE
            for actual in by_size.get(expected.size, ())
        ):
            right |= {operation.tensor, *operation.inputs}
    return next((each.name for each in operations if each.tensor not in right), "")
