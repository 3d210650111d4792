# SPDX-License-Identifier: Apache-2.0
"""The list of operators with one scale on both sides, against models of other people."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from edgekit.formats.tflite import read_model
from edgekit.quant.same_scale import FROM_ONE, MIXING, SAME_SCALE, same_scale_inputs

_MOST_BYTES = 10_000_000


def test_inputs_that_are_shapes_axes_and_indices_have_no_scale() -> None:
    assert same_scale_inputs("SPLIT", (7, 3)) == (3,)
    assert same_scale_inputs("RESHAPE", (3, 7)) == (3,)
    assert same_scale_inputs("CONCATENATION", (3, 7)) == (3, 7)
    assert same_scale_inputs("PADV2", (3, 7, 4)) == (3, 4)
    assert same_scale_inputs("CONV_2D", (3, 7, 4)) == ()
    assert "CONCATENATION" not in FROM_ONE
    assert set(SAME_SCALE) > MIXING


@pytest.mark.corpus
def test_converted_models_have_one_scale_at_these_operators(corpus: Path) -> None:
    """TensorFlow's quantizer gives REVERSE_V2 another one, which is its error."""
    seen: Counter[str] = Counter()
    for path in sorted(corpus.rglob("*.tflite")):
        if path.stat().st_size > _MOST_BYTES:
            continue
        graph = read_model(path.read_bytes()).main
        for op in graph.operators:
            sources = same_scale_inputs(op.opcode, op.inputs)
            tensors = [graph.tensors[index] for index in (*sources, *op.outputs)]
            if not sources or {each.dtype for each in tensors} != {"INT8"}:
                continue
            scales = {(each.scale, each.zero_point) for each in tensors}
            assert len(scales) == 1, (path.name, op.label, scales)
            seen[op.opcode] += 1
    assert len(seen) >= 8, seen
