# SPDX-License-Identifier: Apache-2.0
"""The input of a recognizer: the model, the shapes of its outputs, and values if needed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Mapping, Sequence

import numpy as np

from edgekit.quant import dequantize
from edgekit.tasks.labels import ultralytics_metadata

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgekit.files import PathLike
    from edgekit.runtime import Runner, TensorInfo
    from edgekit.tasks.prepare import Prepared

Raw = Sequence["NDArray[Any]"]
_YOLO_THRESHOLD = 0.25
PROBABILITIES = ("SOFTMAX", "LOGISTIC")
_MOVING = ("QUANTIZE", "DEQUANTIZE", "RESHAPE", "SQUEEZE")
_PROBE_SEED = 0
_PROBE_CELL = 8  # side in pixels of a patch of one colour, large enough for the first convolutions


@dataclass(frozen=True)
class DecodeOptions:
    """Options of the user; None uses a decoder's own default."""

    score_threshold: float | None = None
    iou_threshold: float | None = None
    anchors: PathLike | None = None  # .npy, or a .tflite that contains them
    # For detectors, where score_threshold is None.
    detection_threshold: float | None = None

    @property
    def box_threshold(self) -> float | None:
        """The threshold of detectors."""
        return self.detection_threshold if self.score_threshold is None else self.score_threshold

    @property
    def yolo_score_threshold(self) -> float:
        """The threshold of a YOLO, which Ultralytics sets for all of its tasks."""
        least = self.box_threshold
        return _YOLO_THRESHOLD if least is None else least


@dataclass(frozen=True)
class Case:
    """Everything that a recognizer reads."""

    prepared: Prepared
    runner: Runner
    options: DecodeOptions
    task: str | None  # the requested task; None guesses
    _seen: list[tuple[NDArray[Any], ...]] = field(default_factory=list)

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        """The outputs of the loaded model."""
        return self.runner.outputs

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """The shapes of the outputs."""
        return [info.shape for info in self.outputs]

    @property
    def input_shape(self) -> tuple[int, int]:
        """(height, width) of the first image input; (0, 0) without one."""
        for info in self.runner.inputs:
            if len(info.shape) == 4 and info.shape[3] in (1, 3):
                return info.shape[1], info.shape[2]
            if len(info.shape) == 4 and info.shape[1] in (1, 3):  # channels first
                return info.shape[2], info.shape[3]
        return 0, 0

    @property
    def metadata(self) -> Mapping[str, Any]:
        """Ultralytics' metadata; empty without it."""
        return ultralytics_metadata(self.prepared.file)

    def opcode_before(self, index: int) -> str:
        """Return the operator that computes output ``index``; empty for the chip or if unknown."""
        graph = self.prepared.model.main
        made_by = {number: each for each in graph.operators for number in each.outputs}
        operator = made_by.get(self.outputs[index].index)
        while operator is not None and operator.opcode in _MOVING:
            operator = made_by.get(operator.inputs[0])
        return "" if operator is None else operator.opcode

    def step(self, index: int) -> float:
        """Return the step between two codes of output ``index``; 0 if it was never quantized."""
        info, graph = self.outputs[index], self.prepared.model.main
        if info.params is not None:
            return float(np.max(info.params.scale))
        made_by = {number: each for each in graph.operators for number in each.outputs}
        operator = made_by.get(info.index)
        if operator is None or operator.opcode != "DEQUANTIZE":
            return 0.0
        return float(graph.tensors[operator.inputs[0]].scale or 0.0)

    def is_probability(self, index: int) -> bool:
        """Whether output ``index`` contains probabilities, by its scale or its operator."""
        params = self.outputs[index].params
        if params is not None:
            return params.real_min >= -0.01 and 0.9 <= params.real_max <= 1.1
        return self.opcode_before(index) in PROBABILITIES

    def real(self, raw: Raw, index: int) -> NDArray[Any]:
        """Return output ``index`` in real values."""
        params = self.outputs[index].params
        return raw[index] if params is None else dequantize(raw[index], params)

    def probe(self) -> tuple[NDArray[Any], ...] | None:
        """Return the real outputs for one random image; None if the model has other inputs.

        The network runs once, at the first call.
        """
        if self.input_shape == (0, 0) or len(self.runner.inputs) != 1:
            return None
        if not self._seen:
            raw = self.runner.invoke(_random_image(self.runner.inputs[0]))
            self.runner.reset()
            first = [each[:1] if each.ndim else each for each in raw]
            self._seen.append(tuple(self.real(first, i) for i in range(len(first))))
        return self._seen[0]


def _random_image(info: TensorInfo) -> NDArray[Any]:
    """Return patches of random colours over the input's range; 0..1 if it is not quantized."""
    rng = np.random.default_rng(_PROBE_SEED)
    image = rng.random(tuple(-(-size // _PROBE_CELL) if size > 4 else size for size in info.shape))
    for axis, size in enumerate(info.shape):
        if size > 4:
            image = image.repeat(_PROBE_CELL, axis=axis).take(range(size), axis=axis)
    dtype = np.dtype(info.dtype)
    if dtype.kind == "f":
        return image.astype(dtype)
    low, high = (0, 255) if dtype.itemsize > 1 else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return np.floor(low + image * (high - low + 1)).clip(low, high).astype(dtype)
