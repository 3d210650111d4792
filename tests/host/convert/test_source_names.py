# SPDX-License-Identifier: Apache-2.0
"""The ends of an imported network have the order and the names of its source."""

from __future__ import annotations

from dataclasses import replace

from edgekit.formats.tflite import Model
from edgekit.formats.tflite.model import SignatureDef
from edgekit.host.convert.source_names import with_source_names


def _with_signature(model: Model, outputs: dict[str, int]) -> Model:
    graph = model.main
    given = {"args_0": graph.inputs[0]}
    inner = graph.operators[0].outputs[0]
    graph = replace(graph, outputs=(inner, *graph.outputs))
    signature = SignatureDef("serving_default", given, {**outputs})
    return replace(model, subgraphs=(graph,), signature_defs=(signature,))


def test_numbered_ends_get_the_order_and_names_of_the_source(float_model: Model) -> None:
    """The file has its outputs in another order than the source."""
    last, inner = float_model.main.outputs[0], float_model.main.operators[0].outputs[0]
    model = _with_signature(float_model, {"output_0": last, "output_1": inner})
    named = with_source_names(model, ["image"], ["scores"])
    graph = named.main
    assert graph.outputs == (last, inner)
    assert [graph.tensors[index].name for index in graph.inputs] == ["image"]
    assert [graph.tensors[index].name for index in graph.outputs] == ["scores", "output_1"]
    assert named.signature_defs == ()


def test_names_that_the_source_gave_stay(float_model: Model) -> None:
    model = _with_signature(float_model, {"scores": float_model.main.outputs[0]})
    assert with_source_names(model, ["image"], ["other"]) is model
    plain = replace(float_model, signature_defs=())
    assert with_source_names(plain, ["image"], ["other"]) is plain
