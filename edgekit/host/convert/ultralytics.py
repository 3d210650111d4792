# SPDX-License-Identifier: Apache-2.0
"""What Ultralytics' exporter notes in an .onnx: the network, its task, stride and classes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgekit.tasks.labels import ULTRALYTICS_FILE, parse_ultralytics, ultralytics_names
from edgekit.tasks.prepare import ULTRALYTICS_PREPROCESS
from edgekit.tasks.yolo_raw import RAW_KEY, RawHead

_NOTED = ("task", "stride", "names")  # in every export
_SHOWN_NAMES = 3
# What a decoder needs; the rest (paths, dates, training arguments) stays out of the model.
_KEPT = ("description", "version", "task", "stride", "names", "imgsz", "kpt_shape", "end2end")


@dataclass(frozen=True)
class UltralyticsNotes:
    """The notes of one export."""

    values: Mapping[str, Any]

    @property
    def preprocess(self) -> str:
        """The ``--preprocess`` text that the network was trained with; empty if unknown."""
        return ULTRALYTICS_PREPROCESS.get(str(self.values["task"]), "")

    def files(self, raw: RawHead | None = None) -> dict[str, bytes]:
        """Return what to attach to the .tflite, by file name; ``raw`` if it does not decode."""
        values = dict(self.values)
        if raw is not None:
            values[RAW_KEY] = raw.to_metadata()
        return {ULTRALYTICS_FILE: json.dumps(values, sort_keys=True).encode()}

    def __str__(self) -> str:
        values, names = self.values, ultralytics_names(self.values)
        classes = f"{len(names)} class{'' if len(names) == 1 else 'es'}"
        shown = ", ".join(names[:_SHOWN_NAMES])
        more = ", ..." if len(names) > _SHOWN_NAMES else ""
        title = str(values.get("description", "")).strip() or "exported by Ultralytics"
        return (
            f"{title}: task {values['task']}, stride {values['stride']}, {classes} ({shown}{more})"
        )


def ultralytics_notes(properties: Mapping[str, str]) -> UltralyticsNotes | None:
    """Return Ultralytics' notes in the metadata of an ONNX file; None without them."""
    if not all(name in properties for name in _NOTED):
        return None
    values = {
        name: _value(properties[name]) if name != "description" else properties[name]
        for name in _KEPT
        if name in properties
    }
    return UltralyticsNotes(values) if ultralytics_names(values) else None


def _value(text: str) -> Any:  # noqa: ANN401 - of Python text
    """Return the value that Ultralytics wrote as text."""
    return parse_ultralytics(f"{{'value': {text}}}".encode()).get("value", text)
