# SPDX-License-Identifier: Apache-2.0
"""Compiled models of Google's compiler belong to their sources and to no other model."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from edgekit.errors import BundleError
from edgekit.formats.darwinn.belongs import check_belongs
from edgekit.formats.tflite import Model, read_model

pytestmark = pytest.mark.corpus
_GOOGLE = "compiled/google-coral__test_data"
_WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


def _pairs(corpus: Path) -> list[tuple[Path, Path]]:
    records = json.loads((corpus / "compiled" / "truth.json").read_text())
    return [
        (corpus / each["source"], corpus / each["compiled"]) for each in records if each["source"]
    ]


def _trained_again(model: Model, share: float) -> Model:
    """The same network with a share of its weights moved by one."""
    graph, random = model.main, np.random.default_rng(1)
    indices = {
        graph.tensors[op.inputs[1]].buffer for op in graph.operators if op.opcode in _WEIGHTED
    }
    buffers = list(model.buffers)
    for index in indices:
        moved = random.random(buffers[index].size) < share
        buffers[index] = buffers[index] + moved.astype(np.uint8)
    return dataclasses.replace(model, buffers=tuple(buffers))


def test_every_compiled_model_belongs_to_its_source(corpus: Path) -> None:
    pairs = _pairs(corpus)
    for source, compiled in pairs:
        check_belongs(read_model(source), read_model(compiled), str(compiled))
    assert len(pairs) > 40


def test_the_same_network_with_other_weights_is_distinguished(corpus: Path) -> None:
    for name in ("mobilenet_v1_0.75_192_quant", "movenet_single_pose_lightning_ptq"):
        plain = read_model(corpus / _GOOGLE / f"{name}.tflite")
        compiled = read_model(corpus / _GOOGLE / f"{name}_edgetpu.tflite")
        with pytest.raises(BundleError, match="does not belong") as caught:
            check_belongs(_trained_again(plain, 0.3), compiled)
        assert "weights of the mapped layers" in caught.value.why or "differ" in caught.value.why


def test_another_network_differs_in_its_inputs(corpus: Path) -> None:
    plain = read_model(corpus / _GOOGLE / "mobilenet_v1_0.75_192_quant.tflite")
    compiled = read_model(corpus / _GOOGLE / "mobilenet_v1_0.25_128_quant_edgetpu.tflite")
    with pytest.raises(BundleError) as caught:
        check_belongs(plain, compiled)
    assert "its inputs are" in caught.value.why


def test_a_segment_is_not_the_whole(corpus: Path) -> None:
    name = "ssd_mobilenet_v1_coco_quant_postprocess_segment_{}_of_2_edgetpu.tflite"
    plain = read_model(corpus / _GOOGLE / "mobilenet_v1_0.75_192_quant.tflite")
    with pytest.raises(BundleError):
        check_belongs(plain, read_model(corpus / _GOOGLE / name.format(0)))
