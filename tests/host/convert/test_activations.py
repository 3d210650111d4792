# SPDX-License-Identifier: Apache-2.0
"""``--replace-activations``: the requested activations are replaced before calibration."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgekit.errors import UsageError
from edgekit.formats.tflite import Model, Operator, Subgraph, Tensor, read_model, write_model
from edgekit.host.convert.activations import parse_replacements, with_replacements
from edgekit.rewrite.float_activations import MAPPABLE_FORMS
from edgekit.runtime import Runner

_EMPTY = np.empty(0, np.uint8)


def _float_model(opcode: str, **options: object) -> bytes:
    tensors = [Tensor("x", (1, 4, 4, 8), "FLOAT32", 0), Tensor("y", (1, 4, 4, 8), "FLOAT32", 0)]
    inputs, kind = (0,), "NONE"
    buffers = [_EMPTY]
    if opcode == "PRELU":
        slopes = np.linspace(-1, 2, 8, dtype=np.float32)
        buffers.append(np.frombuffer(slopes.tobytes(), np.uint8))
        tensors.append(Tensor("slopes", (1, 1, 8), "FLOAT32", 1))
        inputs = (0, 2)  # type: ignore[assignment] # two of them
    if opcode == "LEAKY_RELU":
        kind = "LeakyReluOptions"
    if opcode == "GELU":
        kind = "GeluOptions"
    operator = Operator(opcode, 1, inputs, (1,), options, kind)
    graph = Subgraph(tuple(tensors), (0,), (1,), (operator,))
    return write_model(Model((graph,), tuple(buffers)))


def _swish() -> bytes:
    tensors = tuple(Tensor(name, (1, 4), "FLOAT32", 0) for name in ("x", "gate", "y"))
    operators = (
        Operator("LOGISTIC", 1, (0,), (1,)),
        Operator("MUL", 1, (0, 1), (2,), {"fused_activation_function": "NONE"}, "MulOptions"),
    )
    return write_model(Model((Subgraph(tensors, (0,), (2,), operators),), (_EMPTY,)))


def _mish() -> bytes:
    names = ("x", "exp", "one_more", "softplus", "tanh", "y")
    tensors = tuple(Tensor(name, (1, 128), "FLOAT32", 0) for name in names)
    one = np.frombuffer(np.float32(1).tobytes(), np.uint8)
    fused = {"fused_activation_function": "NONE"}
    operators = (
        Operator("EXP", 1, (0,), (1,)),
        Operator("ADD", 1, (1, 6), (2,), fused, "AddOptions"),
        Operator("LOG", 1, (2,), (3,)),
        Operator("TANH", 1, (3,), (4,)),
        Operator("MUL", 1, (0, 4), (5,), fused, "MulOptions"),
    )
    graph = Subgraph((*tensors, Tensor("1", (), "FLOAT32", 1)), (0,), (5,), operators)
    return write_model(Model((graph,), (_EMPTY, one)))


def _answer(content: bytes, x: np.ndarray) -> np.ndarray:
    with Runner(content) as runner:
        return np.asarray(runner.predict(x.astype(np.float32))[0])


@pytest.mark.parametrize(
    ("opcode", "kind", "tolerance", "options"),
    [
        ("HARD_SWISH", "hard_swish", 1e-5, {}),
        ("LEAKY_RELU", "leaky_relu", 1e-5, {"alpha": 0.3}),
        ("LEAKY_RELU", "leaky_relu", 1e-5, {"alpha": -0.5}),
        ("PRELU", "prelu", 1e-5, {}),
        ("GELU", "gelu", 0.021, {"approximate": False}),
        ("ELU", "elu", 0.031, {}),
    ],
)
def test_the_mappable_form_is_within_the_stated_error(
    opcode: str, kind: str, tolerance: float, options: dict[str, object]
) -> None:
    content = _float_model(opcode, **options)
    model, notes = with_replacements(read_model(content), {kind: "mappable"})
    replaced = write_model(model)
    assert opcode not in [op.opcode for op in model.main.operators]
    assert len(notes) == 1
    x = np.linspace(-8, 8, 128).reshape(1, 4, 4, 8)
    assert np.abs(_answer(content, x) - _answer(replaced, x)).max() <= tolerance


def test_mish_is_found_in_its_parts() -> None:
    content = _mish()
    model, _ = with_replacements(read_model(content), {"mish": "mappable"})
    assert [op.opcode for op in model.main.operators] == ["MUL", "ADD", "LOGISTIC", "MUL"]
    x = np.linspace(-8, 8, 128)[None]
    assert np.abs(_answer(content, x) - _answer(write_model(model), x)).max() <= 0.032


@pytest.mark.parametrize("opcode", ["ELU", "GELU", "HARD_SWISH", "LEAKY_RELU", "PRELU"])
@pytest.mark.parametrize("form", ["relu", "relu6"])
def test_any_activation_becomes_relu_on_request(opcode: str, form: str) -> None:
    model = read_model(_float_model(opcode))
    replaced, _ = with_replacements(model, parse_replacements(form))
    assert [op.opcode for op in replaced.main.operators] == [form.upper()]


def test_swish_is_found_although_it_is_two_operators() -> None:
    model = read_model(_swish())
    replaced, notes = with_replacements(model, {"swish": "relu"})
    assert [op.opcode for op in replaced.main.operators] == ["RELU"]
    assert notes == ["1 swish replaced by relu"]
    same, _ = with_replacements(model, {"swish": "mappable"})
    assert same is model


def test_kinds_and_forms_are_parsed() -> None:
    assert parse_replacements(None) == {}
    assert parse_replacements("relu6") == dict.fromkeys(MAPPABLE_FORMS, "relu6")
    assert parse_replacements("silu=relu, gelu=mappable") == {"swish": "relu", "gelu": "mappable"}
    for wrong in ("gelu=tanh", "softmax=relu", "faster"):
        with pytest.raises(UsageError, match="replace-activations"):
            parse_replacements(wrong)


@pytest.mark.host
@pytest.mark.usefixtures("kept_converter")
def test_a_network_that_the_compiler_could_not_read_converts(tmp_path: Path) -> None:
    import keras  # noqa: PLC0415
    from keras import layers  # noqa: PLC0415

    from edgekit.host.convert import convert  # noqa: PLC0415

    keras.utils.set_random_seed(1)
    x = given = layers.Input((6, 6, 3))
    for activation in ("gelu", "elu", "hard_swish", "silu"):
        x = layers.Activation(activation)(layers.Conv2D(6, 3, padding="same")(x))
    model = keras.Model(given, layers.Dense(4)(layers.Flatten()(x)))
    data = np.random.default_rng(0).normal(0, 1, (20, 6, 6, 3)).astype(np.float32)
    result = convert(
        model,
        data=list(data),
        output=tmp_path / "out.tflite",
        num_samples=20,
        replace_activations="mappable",
    )
    assert not {"GELU", "ELU", "HARD_SWISH"} & set(result.operators)
    assert any("gelu replaced" in warning for warning in result.warnings)
    assert result.agreement is not None
    (snr_db,) = result.agreement.snr_db
    assert snr_db is not None
    assert snr_db > 15
