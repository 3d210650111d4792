# SPDX-License-Identifier: Apache-2.0
"""Segments run one after the other give what the whole model gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekit.errors import UnsupportedModelError
from edgekit.formats.tflite import Model, SignatureDef, write_model
from edgekit.rewrite.segments import segment_models
from edgekit.runtime import Runner
from tests.rewrite.conftest import Graph


def _names(model: Model, which: str) -> list[str]:
    return [model.main.tensors[index].name for index in getattr(model.main, which)]


def _run(model: Model, known: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    with Runner(write_model(model), kernels="reference") as runner:
        outputs = runner.invoke(*(known[name] for name in _names(model, "inputs")))
    return dict(zip(_names(model, "outputs"), outputs))


def _two_ends() -> Model:
    """Four QUANTIZE in a row; the result of the first one is read by the last operator as well."""
    graph = Graph((1, 4, 4, 2))
    tensors = [graph.quantize(scale) for scale in (0.06, 0.05, 0.04, 0.06)]
    return graph.model(graph.add(tensors[0], tensors[3]), tensors[2])


def test_tensors_may_skip_a_segment_and_outputs_keep_their_order() -> None:
    model = _two_ends()
    names = [model.main.tensors[op.outputs[0]].name for op in model.main.operators]
    first, middle, last = segment_models(model, [{0, 1}, {2}, {3, 4}])
    assert _names(first, "outputs") == [names[0], names[1]]
    assert (_names(middle, "inputs"), _names(middle, "outputs")) == ([names[1]], [names[2]])
    assert set(_names(last, "inputs")) == {names[0], names[2]}
    assert _names(last, "outputs") == [names[4]]


def test_segments_in_sequence_compute_the_same(int8_model: Model) -> None:
    cases = ((int8_model, [{0, 1}, {2, 3}, {4, 5}]), (_two_ends(), [{0}, {1, 2}, {3, 4}]))
    for model, parts in cases:
        given = model.main.tensors[model.main.inputs[0]]
        values = np.random.default_rng(1).integers(0, 100, given.shape).astype(given.dtype.lower())
        known = {given.name: values}
        for segment in segment_models(model, parts):
            known.update(_run(segment, known))
        for name, expected in _run(model, {given.name: values}).items():
            np.testing.assert_array_equal(known[name], expected)


def test_constants_stay_with_their_segment_and_the_wholes_signatures_are_removed(
    int8_model: Model,
) -> None:
    signature = SignatureDef("s", {"x": int8_model.main.inputs[0]}, {})
    model = Model(int8_model.subgraphs, int8_model.buffers, signature_defs=(signature,))
    segments = segment_models(model, [{0, 1}, {2, 3, 4, 5}])
    assert not any(each.signature_defs for each in segments)
    stored = [sum(int(buffer.size) for buffer in each.buffers) for each in segments]
    assert sum(stored) == sum(int(buffer.size) for buffer in model.buffers)
    assert all(stored)


def test_segments_in_the_wrong_order_are_refused(int8_model: Model) -> None:
    with pytest.raises(UnsupportedModelError, match="one after the other") as caught:
        segment_models(int8_model, [{2, 3, 4, 5}, {0, 1}])
    assert caught.value.where == "segment 0, tensor conv/relu"
