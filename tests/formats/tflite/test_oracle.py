# SPDX-License-Identifier: Apache-2.0
"""The reader agrees with the schema classes that Google generates for its own tools."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgekit.formats.tflite import Model, read_model, write_model

schema = pytest.importorskip("ai_edge_litert.schema_py_generated")

# Fields of the interpreter's schema that PyPI's tflite 2.18 does not have.
_NEWER_FIELDS = {"quantSpec"}


def _oracle(content: bytes) -> Any:  # noqa: ANN401 - generated classes
    return schema.ModelT.InitFromPackedBuf(content, 0)


def _check(model: Model, oracle: Any) -> None:  # noqa: ANN401
    assert len(model.subgraphs) == len(oracle.subgraphs)
    for subgraph, expected in zip(model.subgraphs, oracle.subgraphs):
        assert len(subgraph.tensors) == len(expected.tensors)
        for tensor, other in zip(subgraph.tensors, expected.tensors):
            assert tensor.name.encode() == (other.name or b"")
            assert list(tensor.shape) == list([] if other.shape is None else other.shape)
            scale = other.quantization.scale if other.quantization else None
            assert list(tensor.quantization.scale if tensor.quantization else ()) == (
                [] if scale is None else scale.tolist()
            )
        assert len(subgraph.operators) == len(expected.operators)
        for operator, other in zip(subgraph.operators, expected.operators):
            code = oracle.operatorCodes[other.opcodeIndex]
            assert operator.version == code.version
            assert operator.builtin_code == max(code.builtinCode, code.deprecatedBuiltinCode)
            assert list(operator.inputs) == list([] if other.inputs is None else other.inputs)
            options = vars(other.builtinOptions) if other.builtinOptions else {}
            for field, value in options.items():
                if field in _NEWER_FIELDS:
                    continue
                mine = operator.options[_snake(field)]
                if isinstance(value, (int, float)) and not isinstance(mine, str):
                    assert mine == value


def _snake(name: str) -> str:
    return "".join("_" + c.lower() if c.isupper() else c for c in name)


@pytest.mark.corpus
@pytest.mark.parametrize(
    "name",
    [
        "compiled/google-coral__test_data/movenet_single_pose_lightning_ptq.tflite",
        "compiled/google-coral__test_data/keras_lstm_mnist_ptq.tflite",
        "compiled/google-coral__test_data/mobilenet_v1_0.25_128_quant_edgetpu.tflite",
        "coral/coco_ssd_mobilenet_v1_1.0_quant_2018_06_29.tflite",
    ],
)
def test_reading_and_writing_agree_with_the_generated_schema(corpus: Path, name: str) -> None:
    content = (corpus / name).read_bytes()
    model = read_model(content)
    _check(model, _oracle(content))
    _check(model, _oracle(write_model(model)))
