# SPDX-License-Identifier: Apache-2.0
"""A custom operator stands where its operators were, and everything else stays."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Iterator, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.edgetpu.limits import CPU, TPU
from edgekit.edgetpu.partition import partition
from edgekit.errors import UnsupportedModelError
from edgekit.formats.darwinn import read_packages
from edgekit.formats.tflite import (
    Model,
    Operator,
    SignatureDef,
    Subgraph,
    Tensor,
    is_edgetpu_operator,
    read_model,
    write_model,
)
from edgekit.inspect.source import place_source
from edgekit.rewrite.custom_operator import EdgeTpuPart, part_of, with_custom_operators

_Edges = Sequence[Sequence[int]]
_OPTIONS = b"the program"


def _graph(edges: _Edges, outputs: Sequence[int] | None = None) -> Model:
    """Tensor 0 is the input; operator i adds the tensors ``edges[i]`` to tensor i + 1."""
    tensors = [Tensor(f"t{i}", (1, 4), "INT8", 0) for i in range(len(edges) + 1)]
    operators = [Operator("ADD_N", 1, tuple(each), (i + 1,)) for i, each in enumerate(edges)]
    read = {index for each in edges for index in each}
    ends = [i for i in range(1, len(tensors)) if i not in read] if outputs is None else outputs
    graph = Subgraph(tuple(tensors), (0,), tuple(ends), tuple(operators))
    return Model((graph,), (np.empty(0, np.uint8),))


def _compiled(model: Model, *parts: set[int]) -> Model:
    return with_custom_operators(
        model, [replace(part_of(model, each), options=_OPTIONS) for each in parts]
    )


def _shown(model: Model) -> list[str]:
    """Each operator as its outputs, with ``*`` in front of a custom one."""
    return [
        ("*" if is_edgetpu_operator(op) else "")
        + " ".join(model.main.tensors[i].name for i in op.outputs)
        for op in model.main.operators
    ]


def test_operators_before_and_after_the_part_stay_around_it() -> None:
    compiled = _compiled(_graph([[0], [1], [2], [3]]), {1, 2})
    assert _shown(compiled) == ["t1", "*t3", "t4"]
    custom = compiled.main.operators[1]
    assert custom.custom_options == _OPTIONS
    assert [compiled.main.tensors[i].name for i in custom.inputs] == ["t1"]


def test_an_operator_that_the_part_reads_is_moved_before_it() -> None:
    """Operator 2 comes after the mapped operator 0 in the file, and the part needs it."""
    compiled = _compiled(_graph([[0], [1], [0], [1, 3]]), {0, 3})
    assert _shown(compiled) == ["t3", "*t1 t4", "t2"]


def test_one_model_can_have_several_parts() -> None:
    compiled = _compiled(_graph([[0], [1], [2], [3], [4]]), {0, 1}, {3, 4})
    assert _shown(compiled) == ["*t2", "t3", "*t5"]


def test_a_tensor_that_is_read_inside_and_outside_is_an_output_of_the_part() -> None:
    part = part_of(_graph([[0], [1], [1, 2]], outputs=[3, 2]), {0, 1})
    assert (part.inputs, part.outputs) == ((0,), (1, 2))


def test_a_part_that_needs_its_own_result_over_the_cpu_is_refused() -> None:
    with pytest.raises(UnsupportedModelError, match="cannot run as one part") as caught:
        _compiled(_graph([[0], [1], [2]]), {0, 2})
    assert caught.value.where == "operator 0, edgetpu-custom-op"


def test_a_part_without_a_needed_output_is_refused() -> None:
    model = _graph([[0], [1], [2]])
    with pytest.raises(UnsupportedModelError, match="cannot run as one part") as caught:
        with_custom_operators(model, [EdgeTpuPart(frozenset({0, 1}), (0,), (1,))])
    assert caught.value.where == "operator 2, ADD_N"


def test_a_compiled_model_is_not_compiled_again() -> None:
    compiled = _compiled(_graph([[0], [1]]), {0})
    with pytest.raises(UnsupportedModelError, match="cannot be compiled"):
        _compiled(compiled, {1})


def test_operators_with_effects_keep_their_order() -> None:
    """The writer of the variable is moved up for the part; the reader before it goes with it."""
    model = _graph([[0], [1], [0], [0], [4, 1]])
    names = ("ADD_N", "ADD_N", "READ_VARIABLE", "ASSIGN_VARIABLE", "ADD_N")
    operators = tuple(replace(op, opcode=name) for op, name in zip(model.main.operators, names))
    model = replace(model, subgraphs=(replace(model.main, operators=operators),))
    assert _shown(_compiled(model, {0, 4})) == ["t3", "t4", "*t1 t5", "t2"]


def test_constants_of_the_part_are_removed_and_metadata_and_signatures_kept(
    int8_model: Model,
) -> None:
    note = np.frombuffer(b"labels", np.uint8)
    signature = SignatureDef("serving_default", {"x": 0}, {"y": int8_model.main.outputs[0]})
    model = replace(
        int8_model,
        buffers=(*int8_model.buffers, note),
        metadata={"TFLITE_METADATA": len(int8_model.buffers)},
        signature_defs=(signature,),
    )
    compiled = read_model(write_model(_compiled(model, {1, 2, 3})))
    graph = compiled.main
    assert [op.label for op in graph.operators] == [
        "QUANTIZE",
        "edgetpu-custom-op",
        "FULLY_CONNECTED",
        "QUANTIZE",
    ]
    dense = [t for t in model.main.tensors if t.name.startswith("dense/") and t.buffer]
    assert [each.tobytes() for each in compiled.buffers if each.size] == [
        *(model.buffers[tensor.buffer].tobytes() for tensor in dense),
        b"labels",
    ]
    assert compiled.buffers[compiled.metadata["TFLITE_METADATA"]].tobytes() == b"labels"
    (kept,) = compiled.signature_defs
    assert kept.inputs == {"x": graph.inputs[0]}
    assert kept.outputs == {"y": graph.outputs[0]}
    assert graph.tensors[graph.outputs[0]].name == "scores"


@st.composite
def _graphs(draw: st.DrawFn) -> tuple[list[tuple[int, ...]], list[str]]:
    size = draw(st.integers(1, 10))
    edges = [
        tuple(sorted(draw(st.sets(st.integers(0, index), min_size=1, max_size=3))))
        for index in range(size)
    ]
    return edges, [draw(st.sampled_from((TPU, CPU))) for _ in range(size)]


def _meaning(model: Model, inner: Model) -> tuple[str, ...]:
    """Run ``model`` on text; a custom operator runs its operators of ``inner``, of equal names."""
    known = {model.main.tensors[i].name: "x" for i in model.main.inputs}
    names = [tensor.name for tensor in model.main.tensors]
    for op in model.main.operators:
        taken = {names[i]: known[names[i]] for i in op.inputs}
        if is_edgetpu_operator(op):
            taken = _inside(taken, inner)
            known.update({names[i]: taken[names[i]] for i in op.outputs})
        else:
            known[names[op.outputs[0]]] = f"({'+'.join(taken.values())})"
    return tuple(known[names[i]] for i in model.main.outputs)


def _inside(known: dict[str, str], inner: Model) -> dict[str, str]:
    known = dict(known)
    for op in inner.main.operators:
        taken = [f"t{i}" for i in op.inputs]
        if all(name in known for name in taken):
            known.setdefault(f"t{op.outputs[0]}", f"({'+'.join(known[each] for each in taken)})")
    return known


@given(_graphs())
def test_any_graph_computes_the_same_from_tensors_that_exist(
    case: tuple[list[tuple[int, ...]], list[str]],
) -> None:
    edges, own = case
    model = _graph(edges)
    places = partition(model.main, own)
    mapped = {index for index, place in enumerate(places) if place.verdict == TPU}
    parts = [mapped] if mapped else []
    compiled = _compiled(model, *parts)
    assert _meaning(compiled, model) == _meaning(model, model)
    left = [op for op in compiled.main.operators if not is_edgetpu_operator(op)]
    assert len(left) == len(edges) - len(mapped)


def _pairs(corpus: Path) -> Iterator[tuple[Model, Model]]:
    for record in json.loads((corpus / "compiled" / "truth.json").read_text()):
        if record["source"]:
            source, compiled = (corpus / record[kind] for kind in ("source", "compiled"))
            yield read_model(source), read_model(compiled)


def _ends(model: Model, operator: Operator) -> tuple[str, list[str], list[str]]:
    graph = model.main
    read = [
        graph.tensors[i].name
        for i in operator.inputs
        if i >= 0 and not model.buffers[graph.tensors[i].buffer].size
    ]
    return operator.label, read, [graph.tensors[i].name for i in operator.outputs]


@pytest.mark.corpus
def test_the_graph_is_the_one_that_googles_compiler_writes(corpus: Path) -> None:
    count = 0
    for source, compiled in _pairs(corpus):
        numbers = {tensor.name: index for index, tensor in enumerate(source.main.tensors)}
        customs = [op for op in compiled.main.operators if is_edgetpu_operator(op)]
        _, inside = place_source(compiled, read_packages(compiled), source, "")
        parts = []
        for indices, custom in zip(inside, customs):
            _, read, made = _ends(compiled, custom)
            found = part_of(source, indices)
            assert {source.main.tensors[i].name for i in found.outputs} == set(made)
            ends = [tuple(numbers[name] for name in names) for names in (read, made)]
            assert set(found.inputs) <= set(ends[0])
            parts.append(EdgeTpuPart(found.operators, ends[0], ends[1], custom.custom_options))
        ours = with_custom_operators(source, parts)
        assert [_ends(ours, op) for op in ours.main.operators] == [
            _ends(compiled, op) for op in compiled.main.operators
        ]
        count += 1
    assert count > 40
