# SPDX-License-Identifier: Apache-2.0
"""End the head of an Ultralytics network before its decoding, which the host does in real numbers.

The decoding multiplies little, but it keeps large softmaxes and TRANSPOSEs in the graph that do not
map, and one int8 scale for boxes in pixels has steps of input size / 256. A part of the graph is
only cut off if it computes what `edgekit.tasks.yolo_raw` does, on random numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.debug.recorder import Recorder
from edgekit.formats.tflite import Model
from edgekit.formats.tflite.part import between
from edgekit.rewrite import pieces
from edgekit.rewrite.edit import Edit
from edgekit.runtime.interpreters import load_library
from edgekit.tasks.yolo_columns import BOX, POSE, SEGMENT, Stated, read_stated
from edgekit.tasks.yolo_head import grid_centres, yolo_heads
from edgekit.tasks.yolo_raw import KEYPOINT_FORMS, RawHead, decode_boxes, decode_keypoints

_TASKS = ("detect", POSE, SEGMENT)
_VALUES_AXIS, _RANK = 1, 3
_TOLERANCE = 1e-4
_NAMES = {POSE: "keypoints", SEGMENT: "masks"}
_Decoding = Callable[[NDArray[Any]], "NDArray[Any] | None"]


@dataclass(frozen=True)
class CutHead:
    """A network whose head ends before its decoding."""

    model: Model
    raw: RawHead
    decoding: Model  # what was cut off, in real numbers


def cut_head(model: Model, metadata: Mapping[str, Any]) -> CutHead | None:
    """Return ``model`` without the decoding of boxes and key points; None if there is none.

    The first output becomes (1, places, 4 * bins), (1, places, classes) and, for the tasks pose and
    segment, (1, places, values).

    Args:
        model: The whole float network, with static shapes, images in NHWC or NCHW.
        metadata: Ultralytics' notes.
    """
    stated = read_stated(metadata)
    if stated.task not in _TASKS or not stated.num_classes:
        return None
    return _Head(model, stated).cut()


class _Head:
    """The head of one network."""

    def __init__(self, model: Model, stated: Stated) -> None:
        self._model, self._stated = model, stated
        self._graph = model.main
        self._makers = {index: op for op in self._graph.operators for index in op.outputs}
        self._output = self._graph.outputs[0]
        self._cells: NDArray[Any] = np.zeros((0, 2))
        self._strides: NDArray[Any] = np.zeros((0, 1))

    def cut(self) -> CutHead | None:
        parts = self._parts()
        if parts is None:
            return None
        boxes, scores, *others = parts
        raw_boxes = next(self._sources(boxes, self._box_decoding), None)
        if raw_boxes is None:
            return None
        head = RawHead(self._shape(raw_boxes)[_VALUES_AXIS] // BOX)
        ends = [raw_boxes, scores, *others]
        if self._stated.task == POSE and self._stated.keypoints is not None:
            each = self._stated.keypoints[1]
            for form in KEYPOINT_FORMS:
                found = next(self._sources(others[0], self._point_decoding(form, each)), None)
                if found is not None:
                    head, ends[-1] = RawHead(head.bins, form, each), found
                    break
        decoding = between(self._model, tuple(dict.fromkeys(ends)), (self._output,))
        return None if decoding is None else CutHead(self._with_ends(ends), head, decoding)

    def _parts(self) -> list[int] | None:
        """Return what the output joins: boxes, scores and values of the task; None if unclear."""
        op, shape = self._makers.get(self._output), self._shape(self._output)
        is_join = op is not None and op.opcode == "CONCATENATION" and len(shape) == _RANK
        if op is None or not is_join or int(op.options["axis"]) % _RANK != _VALUES_AXIS:
            return None
        counts = [self._shape(index)[_VALUES_AXIS] for index in op.inputs]
        has_values = self._stated.task in _NAMES
        if counts[:2] != [BOX, self._stated.num_classes] or len(counts) != 2 + has_values:
            return None
        images = [self._shape(index) for index in self._graph.inputs]
        if len(images) != 1 or len(images[0]) != 4:
            return None
        size = images[0][1:3] if images[0][3] in (1, 3) else images[0][2:4]
        grids = [each for each in yolo_heads([shape], size) if each.anchors == 1]
        for grid in grids:
            if grid.is_transposed and not grid.is_finished:
                self._cells, self._strides = grid_centres(grid.strides, 1, size)
                return list(op.inputs)
        return None

    def _sources(self, index: int, decoding: _Decoding) -> Iterator[int]:
        """Yield tensors of which ``index`` is the decoding, the first in the graph first.

        Each joins the grids: (1, values, places).
        """
        places = self._shape(index)[-1]
        for op in self._graph.operators:
            source = op.outputs[0]
            shape = self._shape(source)
            is_join = op.opcode == "CONCATENATION" and len(shape) == _RANK
            if not is_join or shape[-1] != places:
                continue
            part = between(self._model, (source,), (index,))
            if part is not None and part.main.operators and self._computes(part, decoding):
                yield source

    def _computes(self, part: Model, decoding: _Decoding) -> bool:
        """Whether ``part`` decodes as ``decoding`` does."""
        shape = self._shape(part.main.inputs[0])
        values = np.random.default_rng(0).normal(0, 2, shape).astype(np.float32)
        alone = Edit(part).build()
        recorder = Recorder(alone, load_library(), "the head of the network")
        recorder.run([values])
        actual = recorder.value(alone.main.outputs[0])[0].T
        expected = decoding(values[0].T)
        if expected is None or actual.shape != expected.shape:
            return False
        return bool(np.abs(actual - expected).max() <= _TOLERANCE * np.abs(expected).max())

    def _box_decoding(self, raw: NDArray[Any]) -> NDArray[Any] | None:
        if raw.shape[1] % BOX:
            return None
        return decode_boxes(raw, self._cells, self._strides)

    def _point_decoding(self, form: str, each: int) -> _Decoding:
        def decoded(raw: NDArray[Any]) -> NDArray[Any] | None:
            if raw.shape[1] % each:
                return None
            return decode_keypoints(raw, form, each, self._cells, self._strides)

        return decoded

    def _with_ends(self, ends: list[int]) -> Model:
        """Return the model with ``ends``, places first, in place of its first output."""
        edit = Edit(self._model)
        name = edit.tensors[self._output].name
        names = ("boxes", "scores", _NAMES.get(self._stated.task, ""))[: len(ends)]
        fresh: list[int] = []
        for index, what in zip(ends, names, strict=True):
            values, places = edit.tensors[index].shape[1:]
            out = edit.activation(edit.tensors[index], f"{name}/{what}", shape=(1, places, values))
            edit.operators.append(pieces.transpose(edit, index, (0, 2, 1), out))
            fresh.append(out)
        edit.outputs[0:1] = fresh
        edit.signatures = [
            replace(each, outputs=self._named(each.outputs, fresh, edit))
            for each in edit.signatures
        ]
        return edit.build()

    def _named(self, outputs: Mapping[str, int], fresh: list[int], edit: Edit) -> dict[str, int]:
        named: dict[str, int] = {}
        for name, index in outputs.items():
            if index == self._output:
                named.update({edit.tensors[each].name: each for each in fresh})
            else:
                named[name] = index
        return named

    def _shape(self, index: int) -> tuple[int, ...]:
        return self._graph.tensors[index].shape
