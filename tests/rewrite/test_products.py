# SPDX-License-Identifier: Apache-2.0
"""BATCH_MATMULs of the float network as operators that map."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgekit.fix.mapping import mapped_operators
from edgekit.formats.tflite import Model, Quantization, Tensor
from edgekit.rewrite import products
from edgekit.rewrite.before_quantization import prepare
from edgekit.rewrite.registry import apply_rule
from tests.rewrite.conftest import Graph, opcodes, run


def _graph(shape: tuple[int, ...]) -> Graph:
    graph = Graph(shape, "FLOAT32")
    graph.tensors[graph.x] = Tensor("x", shape, "FLOAT32", 0)
    return graph


def _tensor(graph: Graph, shape: tuple[int, ...]) -> int:
    graph.tensors.append(Tensor(f"t{len(graph.tensors)}", shape, "FLOAT32", 0))
    return len(graph.tensors) - 1


def _matmul(
    graph: Graph, left: int, right: int, *, adj_x: bool = False, adj_y: bool = False
) -> int:
    a, b = graph.tensors[left].shape, graph.tensors[right].shape
    rows, columns = a[-1 if adj_x else -2], b[-2 if adj_y else -1]
    options = {"adj_x": adj_x, "adj_y": adj_y, "asymmetric_quantize_inputs": False}
    out = _tensor(graph, (*a[:-2], rows, columns))
    return graph.apply("BATCH_MATMUL", [left, right], out, options, "BatchMatMulOptions", 1)


def _moved(graph: Graph, source: int, order: tuple[int, ...]) -> int:
    shape = tuple(graph.tensors[source].shape[axis] for axis in order)
    values = graph.constant(np.array(order, np.int32))
    return graph.apply(
        "TRANSPOSE", [source, values], _tensor(graph, shape), {}, "TransposeOptions", 1
    )


def _assert_same(model: Model, changed: Model) -> None:
    random = np.random.default_rng(2)
    shape = model.main.tensors[model.main.inputs[0]].shape
    images = [random.normal(size=shape).astype(np.float32) for _ in range(3)]
    for (expected,), (actual,) in zip(run(model, images), run(changed, images)):
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)


def _assert_multiplied(
    shape: tuple[int, ...],
    orders: tuple[tuple[int, ...], tuple[int, ...]],
    adj_x: bool,
    adj_y: bool,
) -> Model:
    """Check the operators of a product of an input, turned in two ways, and return the product."""
    graph = _graph(shape)
    start = graph.x
    a, b = (_moved(graph, start, order) for order in orders)
    _matmul(graph, a, b, adj_x=adj_x, adj_y=adj_y)
    model = graph.model()
    changed = apply_rule(products.RULE, model)
    assert changed is not None
    assert "BATCH_MATMUL" not in opcodes(changed)
    _assert_same(model, changed)
    return model


@pytest.mark.parametrize(
    ("left", "right", "adj_x", "adj_y"),
    [
        ((0, 2, 1, 3), (0, 2, 1, 3), False, True),
        ((0, 2, 1, 3), (0, 2, 3, 1), False, False),
        ((0, 2, 3, 1), (0, 2, 3, 1), True, False),
        ((0, 2, 3, 1), (0, 2, 1, 3), True, True),
        ((0, 2, 3, 1), (0, 2, 1, 3), False, False),
    ],
)
def test_heads_of_attention_become_products_and_sums(
    left: tuple[int, ...], right: tuple[int, ...], adj_x: bool, adj_y: bool
) -> None:
    """Queries times keys, with the axes in any order that exporters write."""
    _assert_multiplied((1, 6, 3, 8), (left, right), adj_x, adj_y)


@pytest.mark.parametrize("shape", [(1, 2, 6, 8), (2, 6, 8), (6, 8)])
@pytest.mark.parametrize("adj_x", [False, True])
def test_operands_without_transpose_too(shape: tuple[int, ...], adj_x: bool) -> None:
    graph = _graph(shape)
    _matmul(graph, graph.x, graph.x, adj_x=adj_x, adj_y=not adj_x)
    model = graph.model()
    changed = apply_rule(products.RULE, model)
    assert changed is not None
    _assert_same(model, changed)


def test_weights_and_values_of_attention_map_and_meet_the_transpose_behind() -> None:
    graph = _graph((1, 6, 2, 8))
    heads = _moved(graph, graph.x, (0, 2, 1, 3))
    scores = _matmul(graph, heads, heads, adj_y=True)
    shape = graph.tensors[scores].shape
    weights = graph.apply(
        "SOFTMAX", [scores], _tensor(graph, shape), {"beta": 1.0}, "SoftmaxOptions", 1
    )
    out = _matmul(graph, weights, heads)
    _moved(graph, out, (0, 2, 1, 3))
    model = graph.model()
    changed = prepare(model)
    names = opcodes(changed)
    assert not {"BATCH_MATMUL", "TRANSPOSE"} & set(names)
    _assert_same(model, changed)
    assert all(mapped_operators(_as_8bit(changed)))


def _as_8bit(model: Model) -> Model:
    """Give every activation 8 bits and one scale: for what maps, values do not matter."""
    one = Quantization((0.1,), (0,))
    tensors = tuple(
        replace(each, dtype="INT8", quantization=one)
        if each.dtype == "FLOAT32" and not model.buffers[each.buffer].size
        else each
        for each in model.main.tensors
    )
    return replace(model, subgraphs=(replace(model.main, tensors=tensors),))


def test_a_constant_right_operand_is_a_dense_layer() -> None:
    graph = _graph((1, 5, 8))
    weights = graph.constant(np.random.default_rng(1).normal(size=(8, 4)).astype(np.float32))
    _matmul(graph, graph.x, weights)
    model = graph.model()
    changed = apply_rule(products.RULE, model)
    assert changed is not None
    assert opcodes(changed) == ["FULLY_CONNECTED"]
    _assert_same(model, changed)


@pytest.mark.parametrize(
    ("left", "right", "adj_x", "adj_y"),
    [
        ((0, 2, 1, 3), (0, 2, 1, 3), False, True),
        ((0, 2, 1, 3), (0, 2, 3, 1), False, False),
        ((0, 2, 3, 1), (0, 2, 1, 3), True, True),
        ((0, 2, 3, 1), (0, 2, 1, 3), False, False),
        ((0, 2, 3, 1), (0, 2, 3, 1), False, True),
    ],
)
def test_large_matrices_are_multiplied_in_blocks(
    left: tuple[int, ...], right: tuple[int, ...], adj_x: bool, adj_y: bool
) -> None:
    """Products of 74 tokens, of channels or of tokens, each in several blocks of odd sizes."""
    model = _assert_multiplied((1, 74, 2, 20), (left, right), adj_x, adj_y)
    assert all(mapped_operators(_as_8bit(prepare(model))))


def _reshaped(graph: Graph, source: int, shape: tuple[int, ...]) -> int:
    values = graph.constant(np.array(shape, np.int32))
    options = {"new_shape": shape}
    out = _tensor(graph, shape)
    return graph.apply("RESHAPE", [source, values], out, options, "ReshapeOptions", 1)


def _attention(side: int, heads: int, depth: int) -> Model:
    """Attention between the pixels of an image, as a YOLO exports it: in NCHW."""
    tokens = side * side
    graph = _graph((1, side, side, heads * 4 * depth))
    turned = _moved(graph, graph.x, (0, 3, 1, 2))
    whole = _reshaped(graph, turned, (1, heads, 4 * depth, tokens))
    parts = []
    for begin, size in ((0, depth), (depth, depth), (2 * depth, 2 * depth)):
        bounds = ((0, 0, begin, 0), (1, heads, size, tokens))
        inputs = [whole, *(graph.constant(np.array(each, np.int32)) for each in bounds)]
        parts.append(graph.apply("SLICE", inputs, _tensor(graph, bounds[1]), {}, "SliceOptions", 1))
    query, key, value = parts
    scores = _matmul(graph, query, key, adj_x=True)
    out = _tensor(graph, graph.tensors[scores].shape)
    weights = graph.apply("SOFTMAX", [scores], out, {"beta": 1.0}, "SoftmaxOptions", 1)
    answer = _matmul(graph, value, weights, adj_y=True)
    image = _reshaped(graph, answer, (1, heads * 2 * depth, side, side))
    _moved(graph, image, (0, 2, 3, 1))
    return graph.model()


def test_attention_between_many_pixels_does_not_turn_the_image() -> None:
    """A TRANSPOSE of all its values is too large to map; the rows lie in memory already."""
    model = _attention(18, 2, 8)
    changed = prepare(model)
    _assert_same(model, changed)
    tensors = changed.main.tensors
    turned = [op for op in changed.main.operators if op.opcode == "TRANSPOSE"]
    assert all(tensors[op.outputs[0]].num_elements < 18 * 18 * 8 for op in turned)
    assert all(mapped_operators(_as_8bit(changed)))


def test_attention_of_a_yolo_at_640_maps() -> None:
    """20 x 20 pixels of 256 channels: more values than a RESHAPE was seen to map with."""
    changed = prepare(_attention(20, 2, 32))
    assert all(mapped_operators(_as_8bit(changed)))


def test_matrices_that_need_too_many_operators_stay() -> None:
    """6,400 tokens: 41 million weights of attention."""
    graph = _graph((1, 6400, 32))
    _matmul(graph, graph.x, graph.x, adj_y=True)
    assert apply_rule(products.RULE, graph.model()) is None


def test_large_products_all_become_operators_or_none_does() -> None:
    """What is left on the CPU behind the first of them stays there, so a part is of no use."""
    graph = _graph((1, 400, 32))
    x = graph.x
    for _ in range(24):
        scores = _matmul(graph, x, x, adj_y=True)
        x = _matmul(graph, scores, x)
    assert apply_rule(products.RULE, graph.model()) is None


def test_an_integer_product_stays() -> None:
    graph = Graph((1, 4, 8))
    graph.apply(
        "BATCH_MATMUL",
        [graph.x, graph.x],
        graph.like(graph.x, (1, 4, 4)),
        {"adj_x": False, "adj_y": True},
        "BatchMatMulOptions",
        2,
    )
    assert apply_rule(products.RULE, graph.model()) is None
