# SPDX-License-Identifier: Apache-2.0
"""What Frigate accepts, and the files that are written for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Sequence

import numpy as np
import pytest

from edgekit.data.describe import with_notes
from edgekit.errors import UnsupportedModelError, UsageError
from edgekit.formats.tflite import Model, Operator, Quantization, Subgraph, Tensor, write_model
from edgekit.formats.tflite_metadata import Notes
from edgekit.integrations import frigate

_PIXELS = Quantization((1 / 255,), (0,))
_SIDE, _PLACES = 320, 2100  # 40^2 + 20^2 + 10^2
_OTHER = Quantization((0.1,), (0,))
Output = Sequence[Any]  # shape, type


def _model(
    outputs: Sequence[Output],
    *,
    compiled: bool = True,
    last: str = "",
    dtype: str = "UINT8",
    pixels: Quantization = _PIXELS,
    shape: Sequence[int] = (1, _SIDE, _SIDE, 3),
) -> bytes:
    """A model of one custom operator, and of ``last`` behind it."""
    tensors = [Tensor("image", tuple(shape), dtype, 0, quantization=pixels)]
    for number, (sizes, kind) in enumerate(outputs):
        found = None if kind == "FLOAT32" else _OTHER
        tensors.append(Tensor(f"out{number}", tuple(sizes), kind, 0, quantization=found))
    ends = tuple(range(1, len(tensors)))
    code = "edgetpu-custom-op" if compiled else "Other"
    operators = [Operator("CUSTOM", 1, (0,), ends, custom_code=code, builtin_code=32)]
    if last:
        tensors.append(Tensor("inner", (1, 10, 4), "FLOAT32", 0))
        inner = (len(tensors) - 1,)
        operators = [
            Operator("CUSTOM", 1, (0,), inner, custom_code=code, builtin_code=32),
            Operator("CUSTOM", 1, inner, ends, custom_code=last, builtin_code=32),
        ]
    graph = Subgraph(tuple(tensors), (0,), ends, tuple(operators))
    return write_model(Model((graph,), (np.empty(0, np.uint8),)))


def _yolo(num_classes: int = 2, dtype: str = "INT8", places: int = _PLACES) -> list[Output]:
    return [((1, places, 64), dtype), ((1, places, num_classes), dtype)]


_SSD: list[Output] = [
    ((1, 20, 4), "FLOAT32"),
    ((1, 20), "FLOAT32"),
    ((1, 20), "FLOAT32"),
    ((1,), "FLOAT32"),
]
_LAST = "TFLite_Detection_PostProcess"


def _save(folder: Path, content: bytes) -> Path:
    path = folder / "mine_edgetpu.tflite"
    path.write_bytes(content)
    return path


def test_a_yolo_with_its_labels_is_written(tmp_path: Path) -> None:
    content = with_notes(_model(_yolo()), Notes(labels=("person", "red car")))
    result = frigate(_save(tmp_path, content), output=tmp_path / "out", device="pci")
    assert (result.model_type, result.width, result.height) == ("yolo-generic", 320, 320)
    assert Path(result.labels).read_text() == "0 person\n1 red car\n"
    assert Path(result.model).read_bytes() == content
    assert result.warnings == ()
    text = Path(result.config).read_text()
    assert "model_type: yolo-generic" in text
    assert '/config/model_cache/mine_edgetpu.tflite"' in text
    assert "device: pci" in text


def test_an_ssd_with_a_label_file_is_written(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("cat\ndog\n")
    path = _save(tmp_path, _model(_SSD, last=_LAST))
    result = frigate(path, output=tmp_path / "out", labels=tmp_path / "labels.txt")
    assert result.model_type == "ssd"
    assert "track" in result.warnings[0]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (_model(_yolo(), compiled=False), "not compiled"),
        (_model(_yolo(places=525)), "525 places"),
        (_model(_yolo(dtype="UINT8")), "UINT8"),
        (_model(_yolo(num_classes=1)), "two classes"),
        (_model([((1, 84, 2100), "INT8")]), "none that Frigate reads"),
        (_model(_SSD), "none that Frigate reads"),
        (_model(_yolo(), shape=(1, 3, 320, 320)), "1x3x320x320"),
        (_model(_yolo(), dtype="FLOAT32"), "FLOAT32"),
        (
            with_notes(
                _model(_yolo(), pixels=Quantization((0.5 / 255,), (0,))), Notes(preprocess="unit")
            ),
            "other numbers than pixels",
        ),
    ],
)
def test_what_does_not_fit_is_said_and_nothing_is_written(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    with pytest.raises(UnsupportedModelError) as caught:
        frigate(_save(tmp_path, content), output=tmp_path / "out", labels=["a", "b"])
    assert reason in caught.value.why
    assert caught.value.fix
    assert not (tmp_path / "out").exists()


def test_every_reason_is_named_at_once(tmp_path: Path) -> None:
    content = _model(_yolo(dtype="UINT8", places=525), compiled=False)
    with pytest.raises(UnsupportedModelError) as caught:
        frigate(_save(tmp_path, content), output=tmp_path / "out")
    assert all(each in caught.value.why for each in ("compiled", "525", "UINT8"))


def test_labels_and_devices_are_needed(tmp_path: Path) -> None:
    path = _save(tmp_path, _model(_yolo()))
    with pytest.raises(UsageError, match="names of the classes"):
        frigate(path, output=tmp_path / "out")
    with pytest.raises(UsageError, match="no device cpu"):
        frigate(path, output=tmp_path / "out", labels=["a", "b"], device="cpu")


def test_the_model_itself_is_not_overwritten(tmp_path: Path) -> None:
    path = _save(tmp_path, _model(_yolo()))
    with pytest.raises(UsageError):
        frigate(path, output=tmp_path, labels=["a", "b"])
    assert path.read_bytes() == _model(_yolo())


def test_googles_ssd_lacks_only_the_compiler(corpus: Path, tmp_path: Path) -> None:
    path = corpus / "coral" / "coco_ssd_mobilenet_v1_1.0_quant_2018_06_29.tflite"
    with pytest.raises(UnsupportedModelError) as caught:
        frigate(path, output=tmp_path / "out", labels=corpus / "coral" / "coco_labels.txt")
    assert caught.value.what.endswith("this model")
    assert "not compiled" in caught.value.why
