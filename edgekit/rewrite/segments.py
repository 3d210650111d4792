# SPDX-License-Identifier: Apache-2.0
"""Cut a model into segments, which a pipeline runs one after the other."""

from __future__ import annotations

from dataclasses import replace
from typing import Collection, Sequence

from edgekit.errors import UnsupportedModelError
from edgekit.formats.features import FEATURES_NAME
from edgekit.formats.tflite import Model
from edgekit.formats.tflite.part import ends_of
from edgekit.rewrite.edit import Edit


def part_model(
    model: Model, operators: Collection[int], inputs: Sequence[int], outputs: Sequence[int]
) -> Model:
    """Return a model of some operators, whose ends are the tensors ``inputs`` and ``outputs``.

    It does not have signatures and metadata, because they describe the ends of the whole, besides
    how features are normalized. Inputs that no operator reads and that are not outputs are left
    out.
    """
    kept = {name: index for name, index in model.metadata.items() if name == FEATURES_NAME}
    edit = Edit(replace(model, signature_defs=(), metadata=kept))
    edit.operators = [model.main.operators[number] for number in sorted(operators)]
    read = {i for op in edit.operators for i in op.inputs}
    edit.inputs = [i for i in inputs if i in read or i in outputs]
    edit.outputs = list(outputs)
    return edit.build()


def segment_models(model: Model, segments: Sequence[Collection[int]]) -> tuple[Model, ...]:
    """Return one model for each segment; tensors keep their names, by which a pipeline joins them.

    A segment's outputs are the tensors that a later one reads, in the order in which they are
    computed, and then its outputs of the whole model, in their order there.

    Args:
        model: A model with one subgraph.
        segments: The indices of each segment's operators; each operator is in one of them.

    Raises:
        UnsupportedModelError: A segment reads a tensor that a later one computes.
    """
    graph = model.main
    known = set(graph.inputs)
    found = []
    for number, operators in enumerate(segments):
        read, made = ends_of(model, operators)
        missing = [index for index in read if index not in known]
        if missing:
            raise UnsupportedModelError(
                "the segments cannot run one after the other",
                where=f"segment {number}, tensor {graph.tensors[missing[0]].name}",
                why="it reads a tensor that a later segment computes",
            )
        given = [i for i in graph.inputs if i in read]
        inputs = given + [i for i in read if i not in given]
        ends = [i for i in graph.outputs if i in made]
        later = {i for each in segments[number + 1 :] for i in ends_of(model, each)[0]}
        crossing = [i for i in made if i in later and i not in ends]
        found.append(part_model(model, operators, inputs, crossing + ends))
        known.update(made)
    return tuple(found)
