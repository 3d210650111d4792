# SPDX-License-Identifier: Apache-2.0
"""The notes of Ultralytics' exporter: shown, and kept in the .tflite for the decoder."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekit.formats.model_file import ModelFile
from edgekit.host.convert.ultralytics import ultralytics_notes
from edgekit.host.convert.use import with_use
from edgekit.tasks.labels import attached_labels, ultralytics_metadata
from edgekit.tasks.prepare import prepare

pytestmark = pytest.mark.host
_PROPERTIES = {
    "description": "Ultralytics YOLO11n-pose model ",
    "author": "Ultralytics",
    "args": "{'data': '/home/somebody/data.yaml'}",
    "stride": "32",
    "task": "pose",
    "imgsz": "[192, 320]",
    "names": "{0: 'person', 1: \"dog's\"}",
    "kpt_shape": "[17, 3]",
}


def test_the_network_is_described_in_one_line() -> None:
    notes = ultralytics_notes(_PROPERTIES)
    assert str(notes) == (
        "Ultralytics YOLO11n-pose model: task pose, stride 32, 2 classes (person, dog's)"
    )


@pytest.mark.parametrize(
    "changed", [{"names": "nothing"}, {"names": "__import__('os')"}, {"names": ""}]
)
def test_damaged_notes_are_left_out(changed: dict[str, str]) -> None:
    assert ultralytics_notes({**_PROPERTIES, **changed}) is None
    assert ultralytics_notes({"task": "detect"}) is None


def test_what_a_decoder_needs_travels_with_the_model(int8_path: Path, tmp_path: Path) -> None:
    content = int8_path.read_bytes()
    notes = ultralytics_notes(_PROPERTIES)
    assert notes is not None
    written = with_use(content, notes.files(), notes.preprocess, (), lambda _text: None)
    path = tmp_path / "m.tflite"
    path.write_bytes(written)
    prepared = prepare(path)
    assert ultralytics_metadata(prepared.file)["kpt_shape"] == [17, 3]
    assert attached_labels(prepared.file, 2) == ["person", "dog's"]
    assert prepared.notes.preprocess.startswith("unit,resize=letterbox")
    assert b"somebody" not in written
    assert ModelFile(written).model.main.operators
