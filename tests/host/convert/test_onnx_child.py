# SPDX-License-Identifier: Apache-2.0
"""The child that reads ONNX, with the packages onnx and onnxruntime themselves.

A stand-in takes the place of onnx2tf, which needs a newer Python: it writes a .tflite that was
prepared, and the record of its tensors.
"""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgekit.errors import EdgeKitError, ModelFormatError, UnsafeModelError, UnsupportedModelError
from edgekit.formats.tflite import Model, Tensor, write_model
from edgekit.host.convert.importer import ImporterChild
from edgekit.host.convert.source_check import source_inputs
from edgekit.host.convert.sources import find_source
from tests.host.convert.foreign import ONNX, wrong_operation
from tests.rewrite.conftest import Graph

pytestmark = [
    pytest.mark.host,
    pytest.mark.skipif(
        any(importlib.util.find_spec(each) is None for each in ("onnx", "onnxruntime")),
        reason="needs onnx and onnxruntime",
    ),
]
_STAND_IN = """
import json, os, shutil
def convert(*, input_onnx_file_path, output_folder_path, **options):
    os.makedirs(output_folder_path)
    with open(os.path.join(os.path.dirname(__file__), "kept.json"), "w") as stream:
        json.dump(options["keep_shape_absolutely_input_names"], stream)
    for name in ("net_float32.tflite", "net_tensor_correspondence_report.json"):
        shutil.copy(os.path.join(os.path.dirname(__file__), name), output_folder_path)
"""
_IMAGE = (1, 6, 5, 3)
_WIDTHS = (3, 4, 2)


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a package onnx2tf, which child processes import."""
    place = tmp_path / "packages"
    (place / "onnx2tf").mkdir(parents=True)
    (place / "onnx2tf-0.0.dist-info").mkdir()
    (place / "onnx2tf-0.0.dist-info" / "METADATA").write_text("Name: onnx2tf\nVersion: 0.0\n")
    (place / "onnx2tf" / "__init__.py").write_text(_STAND_IN)
    monkeypatch.setenv("PYTHONPATH", str(place))
    monkeypatch.syspath_prepend(str(place))
    return place / "onnx2tf"


def _weights() -> list[tuple[np.ndarray, np.ndarray]]:
    """Kernels (outputs, inputs) and biases of two convolutions at each pixel."""
    random = np.random.default_rng(0)
    ends = zip(_WIDTHS[1:], _WIDTHS[:-1], strict=True)
    return [
        (random.normal(0, 1, shape).astype(np.float32), random.normal(0, 1, shape[0]))
        for shape in ends
    ]


def _tflite() -> Model:
    """The network in NHWC."""
    graph = Graph(_IMAGE, "FLOAT32")
    graph.tensors[graph.x] = Tensor("images", _IMAGE, "FLOAT32", 0)
    options = {"stride_h": 1, "stride_w": 1, "dilation_h_factor": 1, "dilation_w_factor": 1}
    for number, (kernel, bias) in enumerate(_weights()):
        out = graph.tensor((*_IMAGE[:3], len(kernel)), None, dtype="FLOAT32")
        graph.tensors[out] = replace(graph.tensors[out], name=f"layer{number}")
        constants = [
            graph.constant(kernel[:, None, None, :]),
            graph.constant(bias.astype(np.float32)),
        ]
        fused = {"padding": "VALID", "fused_activation_function": "NONE" if number else "RELU"}
        inputs = [graph.x, *constants]
        graph.apply("CONV_2D", inputs, out, {**options, **fused}, "Conv2DOptions", 1)
    return graph.model()


def _write_onnx(path: Path) -> Path:
    """Write the network in NCHW, with open sizes."""
    import onnx  # noqa: PLC0415
    from onnx import TensorProto, helper, numpy_helper  # noqa: PLC0415

    nodes, stored, x = [], [], "images"
    for number, (kernel, bias) in enumerate(_weights()):
        name = f"conv{number}"
        for values, kind in ((kernel[:, :, None, None], "w"), (bias, "b")):
            stored.append(numpy_helper.from_array(values.astype(np.float32), f"{name}.{kind}"))
        nodes.append(
            helper.make_node("Conv", [x, f"{name}.w", f"{name}.b"], [name], name=f"/{name}")
        )
        x = name
        if not number:
            nodes.append(helper.make_node("Relu", [x], ["relu"], name="/relu"))
            x = "relu"
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "net",
        [info("images", TensorProto.FLOAT, ["N", 3, "H", "W"])],
        [info(x, TensorProto.FLOAT, ["N", 2, "H", "W"])],
        stored,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(path))
    return path


def test_the_networks_are_compared_and_a_wrong_operation_is_named(
    stand_in: Path, tmp_path: Path
) -> None:
    (stand_in / "net_float32.tflite").write_bytes(write_model(_tflite()))
    operations = (("relu", "Relu", "/relu", "layer0"), ("conv1", "Conv", "/conv1", "layer1"))
    keys = ("onnx_output_name", "onnx_op_type", "onnx_op_name", "resolved_tflite_tensor_name")
    records = [
        {**dict(zip(keys, each, strict=True)), "exists_in_final_model": True}
        for each in (*operations, ("simplified", "Add", "/added", "layer1"))
    ]
    report = stand_in / "net_tensor_correspondence_report.json"
    report.write_text(json.dumps({"records": records}))
    image = np.random.default_rng(1).random(_IMAGE, np.float32)
    sample = (source_inputs([image], [(1, 3, 6, 5)]), [image])
    source = _write_onnx(tmp_path / "net.onnx")
    assert "/relu" in wrong_operation(source, None, sample, ("CONV_2D", 0)).where
    assert "/conv1" in wrong_operation(source, None, sample, ("CONV_2D", 1)).where


@pytest.mark.parametrize(
    ("shape", "is_kept"),
    [
        ((1, 3, 6, 5), False),
        ((1, 64, 6, 5), False),
        ((1, 6, 5, 3), True),
        ((1, 3, 3, 3), True),
        ((1, 10, 6), True),
        ((1, 8), True),
    ],
)
def test_only_images_with_channels_first_are_turned(
    shape: tuple[int, ...], is_kept: bool, stand_in: Path, tmp_path: Path
) -> None:
    """The converter turns the axes of every input that is not named."""
    import onnx  # noqa: PLC0415
    from onnx import TensorProto, helper  # noqa: PLC0415

    info = helper.make_tensor_value_info
    ends = [info(name, TensorProto.FLOAT, shape) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "net", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path / "net.onnx"
    onnx.save(model, str(path))
    for name in ("net_float32.tflite", "net_tensor_correspondence_report.json"):
        (stand_in / name).write_text('{"records": []}')
    with ImporterChild(find_source(path), None, 300, "net.onnx") as child:
        child.open()
        child.to_float([shape])
    assert json.loads((stand_in / "kept.json").read_text()) == (["x"] if is_kept else None)


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize(
    ("variant", "note"),
    [
        ("dynamic", ""),
        ("float16", "float16"),
        ("external", ""),
        ("qdq", "ranges of 2 tensors"),
        ("qlinear", "ranges of 2 tensors"),
    ],
)
def test_a_source_is_described(variant: str, note: str, tmp_path: Path) -> None:
    source = find_source(ONNX.made(variant, tmp_path / "net.onnx"))
    with ImporterChild(source, None, 300, "net.onnx") as child:
        opened = child.open()
    (given,) = opened.inputs
    assert (given.name, given.shape, given.dtype) == ("images", (None, 3, 32, 32), "float32")
    assert opened.outputs == ("logits",)
    assert note in " ".join(opened.notes)


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize(
    ("variant", "kind", "text"),
    [
        ("custom", UnsupportedModelError, "Magic of my.org"),
        ("elsewhere", UnsafeModelError, "outside of its folder"),
        ("damaged", ModelFormatError, "ONNX file cannot be read"),
        ("missing", ModelFormatError, "weights is missing"),
    ],
)
def test_a_source_is_refused(
    variant: str, kind: type[EdgeKitError], text: str, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    kept = {"damaged": "dynamic", "missing": "external"}.get(variant, variant)
    path = ONNX.made(kept, folder / "net.onnx")
    if variant == "damaged":
        path.write_bytes(path.read_bytes()[:2000])
    if variant == "missing":
        (folder / "net.data").unlink()
    if variant == "elsewhere":
        (folder / "net.data").rename(tmp_path / "net.data")
    source = find_source(path)
    with (
        ImporterChild(source, None, 300, "net.onnx") as child,
        pytest.raises(kind) as caught,
    ):
        child.open()
    assert text in caught.value.what
