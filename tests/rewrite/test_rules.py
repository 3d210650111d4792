# SPDX-License-Identifier: Apache-2.0
"""The result of each rule on a graph that it changes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekit.formats.tflite import Model, Operator, Quantization, Tensor
from edgekit.rewrite import Rule, apply_rule, rules
from tests.rewrite.conftest import Graph, opcodes, random_inputs, run


def _rule(name: str, io: str = "auto") -> Rule:
    return next(each for each in rules(io) if each.name == name)


def _apply(name: str, model: Model, io: str = "auto") -> Model:
    changed = apply_rule(_rule(name, io), model)
    assert changed is not None
    assert apply_rule(_rule(name, io), changed) is None
    return changed


def _largest_step(before: Model, after: Model, count: int = 20) -> int:
    inputs = random_inputs(before, count)
    return max(
        int(np.abs(x.astype(int) - y.astype(int)).max())
        for xs, ys in zip(run(before, inputs), run(after, inputs))
        for x, y in zip(xs, ys)
    )


def test_every_rule_has_its_own_name_and_a_description() -> None:
    names = [each.name for each in rules()]
    assert len(set(names)) == len(names)
    assert all(each.description for each in rules())


@pytest.mark.parametrize("dtype", ["INT8", "UINT8"])
@pytest.mark.parametrize("alpha", [0.0, 0.1, 0.3, 1.0])
def test_leaky_relu_becomes_a_maximum_of_equal_outputs(dtype: str, alpha: float) -> None:
    graph = Graph((1, 4, 4, 8), dtype)
    graph.activation("LEAKY_RELU", alpha=alpha)
    model = graph.model()
    fixed = _apply("leaky-relu", model)
    assert opcodes(fixed) == ["QUANTIZE", "MUL", "MAXIMUM"]
    assert _largest_step(model, fixed) == 0


@pytest.mark.parametrize("slopes", [(0.0, 1.0), (-0.5, 1.5), (-2.0, -1.0)])
@pytest.mark.parametrize("shape", [(8,), (1, 1, 8), (4, 4, 8)])
def test_prelu_of_any_slopes_gives_equal_outputs(
    slopes: tuple[float, float], shape: tuple[int, ...]
) -> None:
    graph = Graph((1, 4, 4, 8))
    graph.prelu(graph.random.uniform(*slopes, shape))
    model = graph.model()
    fixed = _apply("prelu", model)
    assert "PRELU" not in opcodes(fixed)
    assert _largest_step(model, fixed) == 0


@pytest.mark.parametrize("dtype", ["INT8", "UINT8"])
@pytest.mark.parametrize("scale", [0.004, 0.05, 0.3])
def test_hard_swish_differs_by_a_step_at_most(dtype: str, scale: float) -> None:
    graph = Graph((1, 16, 16, 4), dtype)
    graph.quantize(scale)
    graph.apply("HARD_SWISH", [graph.x], graph.tensor(graph.shape(), scale / 2, -100), version=1)
    model = graph.model()
    fixed = _apply("hard-swish", model)
    assert sorted(opcodes(fixed)) == ["ADD", "MUL", "MUL", "QUANTIZE"]
    assert _largest_step(model, fixed) <= (1 if scale < 0.3 else 2)


def test_gelu_differs_by_the_error_of_its_approximation() -> None:
    """Compared with the formula: not every runtime has an integer kernel for GELU."""
    graph = Graph((1, 256))
    graph.activation("GELU", approximate=False)
    model = graph.model()
    fixed = _apply("gelu", model)
    assert opcodes(fixed) == ["MUL", "LOGISTIC", "MUL"]
    codes = np.arange(-128, 128, dtype=np.int8)[None]
    ((answer,),) = run(fixed, [codes])
    x = (codes.astype(float) - 3) * 0.05
    # The tanh form, which differs from the exact one by 0.0005 at most.
    exact = 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    step = 0.035
    real = (answer.astype(float) + 60) * step
    inside = exact < (127 + 60) * step
    assert np.abs(real - exact)[inside].max() < 0.021 + 1.5 * step


def test_silu_left_in_float_becomes_integer() -> None:
    graph = Graph((1, 4, 8))
    start = graph.dequantize()
    gate = graph.apply(
        "LOGISTIC", [start], graph.tensor(graph.shape(), None, dtype="FLOAT32"), version=1
    )
    out = graph.tensor(graph.shape(), None, dtype="FLOAT32")
    graph.apply(
        "MUL", [start, gate], out, {"fused_activation_function": "NONE"}, "MulOptions", version=1
    )
    graph.quantize(0.03, -110)
    model = graph.model()
    fixed = _apply("silu", model)
    assert opcodes(fixed) == ["LOGISTIC", "MUL"]
    assert _largest_step(model, fixed) <= 1


def test_a_float_island_with_an_unsupported_operator_is_not_changed() -> None:
    graph = Graph((1, 8))
    start = graph.dequantize()
    graph.apply("EXP", [start], graph.tensor((1, 8), None, dtype="FLOAT32"), version=1)
    graph.quantize(0.03)
    assert apply_rule(_rule("float-islands"), graph.model()) is None


def test_dense_weights_get_one_scale() -> None:
    graph = Graph((1, 32))
    graph.dense(10, per_channel=True)
    fixed = _apply("dense-per-tensor", graph.model())
    op = fixed.main.operators[0]
    weights = fixed.main.tensors[op.inputs[1]]
    assert weights.scale is not None
    codes = fixed.data(weights)
    assert codes is not None
    assert np.abs(codes.astype(int)).max() == 127
    bias = fixed.main.tensors[op.inputs[2]]
    assert bias.scale == pytest.approx(weights.scale * 0.05)


def test_the_real_weights_and_biases_stay_within_half_a_step() -> None:
    graph = Graph((1, 32))
    graph.dense(10, per_channel=True)
    model = graph.model()
    fixed = _apply("dense-per-tensor", model)

    def real(which: Model, number: int) -> np.ndarray:
        tensor = which.main.tensors[which.main.operators[0].inputs[number]]
        data = which.data(tensor)
        assert data is not None
        assert tensor.quantization is not None
        scale = np.array(tensor.quantization.scale)
        return np.asarray(data * (scale[:, None] if number == 1 and len(scale) > 1 else scale))

    for number in (1, 2):
        scale = fixed.main.tensors[fixed.main.operators[0].inputs[number]].scale
        assert scale is not None
        assert np.abs(real(model, number) - real(fixed, number)).max() <= scale * 0.501


def test_a_dense_layer_on_rank_3_gets_rank_2() -> None:
    graph = Graph((1, 1, 8))
    graph.dense(4, keep_num_dims=True)
    model = graph.model()
    fixed = _apply("dense-rank2", model)
    assert opcodes(fixed) == ["RESHAPE", "FULLY_CONNECTED", "RESHAPE"]
    assert fixed.main.operators[1].version == 4
    assert _largest_step(model, fixed) == 0


def test_a_dense_layer_on_several_rows_becomes_a_convolution() -> None:
    graph = Graph((1, 6, 8))
    graph.dense(4, keep_num_dims=True)
    model = graph.model()
    fixed = _apply("dense-rows", model)
    assert opcodes(fixed) == ["RESHAPE", "CONV_2D", "RESHAPE"]
    assert _largest_step(model, fixed) <= 1


def test_a_dense_layer_of_very_many_outputs_is_cut_into_blocks() -> None:
    graph = Graph((1, 4))
    graph.dense(40_000)
    model = graph.model()
    fixed = _apply("dense-split", model)
    assert opcodes(fixed) == ["FULLY_CONNECTED"] * 3 + ["CONCATENATION"]
    assert _largest_step(model, fixed, 3) == 0


def _convolution(
    graph: Graph, shape: tuple[int, ...], version: int, dilation: tuple[int, int] = (1, 1)
) -> tuple[NDArray[np.int8], NDArray[np.int32], NDArray[np.float32]]:
    """Add a CONV_2D with weights of this shape; return its weights, biases and scales."""
    count = shape[0]
    scales = graph.random.uniform(0.005, 0.02, count).astype(np.float32)
    weights = graph.random.integers(-127, 128, shape).astype(np.int8)
    kernel = graph.constant(weights, Quantization(tuple(scales.tolist()), (0,) * count))
    biases = graph.random.integers(-200, 200, count).astype(np.int32)
    products = tuple(float(each) for each in np.float32(0.05) * scales)
    bias = graph.constant(biases, Quantization(products, (0,) * count))
    options = {
        "padding": "SAME",
        "stride_w": 1,
        "stride_h": 1,
        "dilation_w_factor": dilation[1],
        "dilation_h_factor": dilation[0],
        "fused_activation_function": "NONE",
    }
    out = graph.tensor((*graph.shape()[:-1], count), 0.07, 4)
    graph.apply("CONV_2D", [graph.x, kernel, bias], out, options, "Conv2DOptions", version)
    return weights, biases, scales


@pytest.mark.parametrize(
    ("channels", "depth", "made"),
    [
        (4, 1, ["DEPTHWISE_CONV_2D"]),
        (4, 2, ["SPLIT", "CONV_2D", "CONV_2D", "CONCATENATION"]),
        (74, 2, ["CONV_2D"]),  # 37 groups: no parts of equal size
        (80, 2, ["SPLIT", *["CONV_2D"] * 20, "CONCATENATION"]),  # two groups in each
    ],
)
def test_a_grouped_convolution_becomes_ones_that_the_compiler_reads(
    channels: int, depth: int, made: list[str]
) -> None:
    """Compared with numpy: runtimes below 2.9 do not have a kernel for grouped convolutions."""
    graph = Graph((1, 3, 3, channels))
    weights, biases, scales = _convolution(graph, (2 * channels, 1, 1, depth), 6)
    model = graph.model()
    fixed = _apply("conv-groups", model)
    assert opcodes(fixed) == made
    assert max(op.version for op in fixed.main.operators) <= 3
    (x,) = random_inputs(model, 1)
    ((answer,),) = run(fixed, [x])
    groups = channels // depth
    rows = (x.astype(float) - 3).reshape(9, groups, depth)
    sums = np.einsum("rgd,gud->rgu", rows, weights.reshape(groups, -1, depth))
    real = (sums.reshape(9, -1) + biases) * scales * 0.05
    expected = np.clip(np.rint(real / 0.07) + 4, -128, 127).reshape(1, 3, 3, -1)
    assert np.abs(answer - expected).max() <= 1


@pytest.mark.parametrize("dilation", [(2, 1), (1, 3), (2, 3)])
def test_a_kernel_of_unequal_dilation_is_filled_with_zeros(dilation: tuple[int, int]) -> None:
    graph = Graph((1, 9, 8, 4))
    _convolution(graph, (6, 3, 3, 4), 3, dilation)
    model = graph.model()
    fixed = _apply("dilation", model)
    (op,) = fixed.main.operators
    assert op.options["dilation_h_factor"] == op.options["dilation_w_factor"] == 1
    assert _largest_step(model, fixed, 4) == 0


def test_a_mean_over_a_large_image_is_computed_in_bands() -> None:
    graph = Graph((1, 256, 128, 3))
    axes = graph.constant(np.array([1, 2], np.int32))
    out = graph.tensor((1, 3), 0.01, 5)
    graph.apply("MEAN", [graph.x, axes], out, {"keep_dims": False}, "ReducerOptions")
    model = graph.model()
    fixed = _apply("mean-split", model)
    assert opcodes(fixed) == ["SPLIT", *["MEAN"] * 4, "CONCATENATION", "MEAN"]
    assert _largest_step(model, fixed, 3) <= 3


def _detector(order: str = "scores last") -> Model:
    graph = Graph((1, 5, 4))
    start = graph.x
    boxes = graph.quantize(2.5)
    graph.x = start
    graph.logistic()
    scores = graph.quantize(2.5)
    graph.concatenate([boxes, scores] if order == "scores last" else [scores, boxes])
    graph.quantize(2.5, 0, "UINT8")
    return graph.model()


@pytest.mark.parametrize("order", ["scores last", "scores first"])
def test_boxes_and_scores_become_separate_outputs(order: str) -> None:
    model = _detector(order)
    rule = _rule("outputs")
    fixed = _apply("outputs", model)
    assert len(fixed.main.outputs) == 2
    assert all(fixed.main.tensors[i].dtype == "UINT8" for i in fixed.main.outputs)
    scales = [fixed.main.tensors[i].scale or 0 for i in fixed.main.outputs]
    assert min(scales) == 1 / 256
    inputs = random_inputs(model)
    assert rule.restore is not None
    for (whole,), parts in zip(run(model, inputs), run(fixed, inputs)):
        real = [
            (part.astype(np.float32) - (fixed.main.tensors[i].zero_point or 0))
            * np.float32(fixed.main.tensors[i].scale or 1)
            for i, part in zip(fixed.main.outputs, parts)
        ]
        (joined,) = rule.restore(model, fixed, real)
        assert joined.shape == whole.shape
        assert np.abs(joined - (whole.astype(np.float32) - 128) * 2.5).max() <= 2.5 * 0.51


def test_similar_ranges_stay_together() -> None:
    graph = Graph((1, 5, 4))
    start = graph.x
    left = graph.quantize(0.1)
    graph.x = start
    graph.concatenate([left, graph.quantize(0.1)])
    assert apply_rule(_rule("outputs"), graph.model()) is None


@pytest.mark.parametrize("wanted", ["uint8", "int8", "float32"])
@pytest.mark.parametrize("given", ["INT8", "UINT8"])
def test_inputs_and_outputs_get_the_requested_type(given: str, wanted: str) -> None:
    graph = Graph((1, 4), given)
    graph.activation("RELU")
    model = graph.model()
    rule = _rule("io", wanted)
    fixed = apply_rule(rule, model) or model
    ends = (*fixed.main.inputs, *fixed.main.outputs)
    assert {fixed.main.tensors[i].dtype for i in ends} == {wanted.upper()}
    assert apply_rule(rule, fixed) is None
    names = [model.main.tensors[i].name for i in (*model.main.inputs, *model.main.outputs)]
    assert [fixed.main.tensors[i].name for i in ends] == names


def test_types_changed_and_changed_back_give_the_same_model() -> None:
    graph = Graph((1, 4))
    graph.activation("RELU")
    model = graph.model()
    there = apply_rule(_rule("io", "float32"), model)
    assert there is not None
    assert opcodes(there) == ["QUANTIZE", "RELU", "DEQUANTIZE"]
    assert opcodes(_apply("io", there, "int8")) == ["RELU"]
    unsigned = _apply("io", model, "uint8")
    assert opcodes(_apply("io", unsigned, "int8")) == ["RELU"]


def test_versions_are_lowered_if_the_meaning_stays_the_same() -> None:
    graph = Graph((1, 4))
    graph.activation("RELU")
    graph.dense(3, keep_num_dims=True)
    model = graph.model()
    relu, dense = model.main.operators
    high = replace(model.main, operators=(replace(relu, version=3), dense))
    fixed = _apply("versions", replace(model, subgraphs=(high,)))
    assert [op.version for op in fixed.main.operators] == [2, 4]
    assert not fixed.main.operators[1].options["keep_num_dims"]


def _dynamic() -> Model:
    """X of unknown batch -> RESHAPE to (batch, 12), with the batch computed as in TensorFlow."""
    graph = Graph((1, 3, 4))
    graph.tensors[graph.input] = replace(graph.tensors[graph.input], shape_signature=(-1, 3, 4))
    shape = graph.tensor((3,), None, dtype="INT32")
    graph.apply("SHAPE", [graph.input], shape, {"out_type": 2}, "ShapeOptions", 1)
    begin, end, one = (graph.constant(np.array([n], np.int32)) for n in (0, 1, 1))
    batch = graph.tensor((), None, dtype="INT32")
    options = {"begin_mask": 0, "end_mask": 0, "shrink_axis_mask": 1}
    graph.apply("STRIDED_SLICE", [shape, begin, end, one], batch, options, "StridedSliceOptions", 1)
    twelve = graph.constant(np.array(12, np.int32))
    wanted = graph.tensor((2,), None, dtype="INT32")
    graph.apply("PACK", [batch, twelve], wanted, {"values_count": 2, "axis": 0}, "PackOptions", 1)
    flat = graph.like(graph.input, (1, 12))
    graph.tensors[flat] = replace(graph.tensors[flat], shape_signature=(-1, 12))
    graph.apply("RESHAPE", [graph.input, wanted], flat, {}, "NONE", 1)
    return graph.model()


def test_a_dynamic_batch_is_frozen_and_operators_that_depend_on_it_are_folded() -> None:
    model = _dynamic()
    fixed = _apply("freeze", model)
    assert opcodes(fixed) == ["RESHAPE"]
    assert not any(tensor.is_dynamic for tensor in fixed.main.tensors)
    assert _largest_step(model, fixed) == 0


def test_an_unknown_width_is_not_frozen() -> None:
    graph = Graph((1, 1, 4))
    graph.tensors[graph.input] = replace(graph.tensors[graph.input], shape_signature=(1, -1, 4))
    graph.activation("RELU")
    assert apply_rule(_rule("freeze"), graph.model()) is None


@pytest.mark.parametrize("opcode", ["RESHAPE", "TILE"])
def test_a_shape_that_depends_on_an_input_is_not_frozen(opcode: str) -> None:
    """The runtime computes it anew for each sample."""
    graph = Graph((1, 4))
    start = graph.input
    graph.tensors[start] = replace(graph.tensors[start], shape_signature=(-1, 4))
    sizes = graph.tensor((2,), None, dtype="INT32")
    out = graph.like(start)
    graph.tensors[out] = replace(graph.tensors[out], shape_signature=(-1, 4))
    graph.apply(opcode, [start, sizes], out, {}, "NONE", 1)
    model = graph.model()
    model = replace(model, subgraphs=(replace(model.main, inputs=(start, sizes)),))
    assert apply_rule(_rule("freeze"), model) is None


def test_around_an_operator_that_no_runtime_has_the_batch_is_frozen_too() -> None:
    graph = Graph((1, 4))
    for tensor in (graph.input, graph.activation("RELU"), graph.like(graph.input)):
        graph.tensors[tensor] = replace(graph.tensors[tensor], shape_signature=(-1, 4))
    last = len(graph.tensors) - 1
    graph.apply("CUSTOM", [graph.x], last, {}, "NONE", 1)
    graph.operators[-1] = replace(graph.operators[-1], custom_code="nobody-has-this")
    fixed = _apply("freeze", graph.model())
    assert opcodes(fixed) == ["RELU", "CUSTOM"]
    assert [tensor.shape for tensor in fixed.main.tensors] == [(1, 4)] * 3
    assert not any(tensor.is_dynamic for tensor in fixed.main.tensors)


def test_an_output_that_is_a_shape_is_still_computed() -> None:
    graph = Graph((1, 3, 4))
    shape = graph.tensor((3,), None, dtype="INT32")
    graph.apply("SHAPE", [graph.input], shape, {"out_type": 2}, "ShapeOptions", 1)
    assert apply_rule(_rule("freeze"), graph.model()) is None


def test_duplicate_operators_become_one() -> None:
    graph = Graph((1, 4))
    start = graph.x
    left = graph.logistic()
    graph.x = start
    graph.add(left, graph.logistic())
    model = graph.model()
    fixed = _apply("duplicates", model)
    assert opcodes(fixed) == ["LOGISTIC", "ADD"]
    assert _largest_step(model, fixed) == 0


def test_operators_that_no_output_needs_are_removed() -> None:
    graph = Graph((1, 4))
    start = graph.x
    graph.dense(8)
    graph.x = start
    graph.logistic()
    fixed = _apply("dead", graph.model())
    assert opcodes(fixed) == ["LOGISTIC"]
    assert len(fixed.buffers) == 1


def test_a_compiled_model_is_not_changed() -> None:
    graph = Graph((1, 4))
    graph.activation("LEAKY_RELU", alpha=0.1)
    model = graph.model()
    custom = Operator("CUSTOM", 1, (graph.x,), (graph.x,), custom_code="edgetpu-custom-op")
    compiled = replace(model.main, operators=(*model.main.operators, custom))
    for rule in rules():
        assert apply_rule(rule, replace(model, subgraphs=(compiled,))) is None


def test_signatures_follow_changed_inputs_and_outputs() -> None:
    from edgekit.formats.tflite import SignatureDef  # noqa: PLC0415

    graph = Graph((1, 4))
    graph.activation("RELU")
    model = graph.model()
    signature = SignatureDef("serving", {"x": graph.input}, {"y": graph.x})
    fixed = _apply("io", replace(model, signature_defs=(signature,)), "float32")
    (after,) = fixed.signature_defs
    assert after.inputs == {"x": fixed.main.inputs[0]}
    assert after.outputs == {"y": fixed.main.outputs[0]}


def test_a_tensor_name_is_never_used_twice() -> None:
    graph = Graph((1, 4, 4, 2))
    for _ in range(3):
        graph.activation("HARD_SWISH")
    fixed = _apply("hard-swish", graph.model())
    names = [tensor.name for tensor in fixed.main.tensors]
    assert len(set(names)) == len(names)
    assert isinstance(fixed.main.tensors[0], Tensor)
