# SPDX-License-Identifier: Apache-2.0
"""What Frigate's detector ``edgetpu`` needs of a model.

Source:
    Frigate 0.17, frigate/detectors/plugins/edgetpu_tfl.py and frigate/util/builtin.py
    (load_labels). Older versions read SSDs only.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Iterator, Sequence

import numpy as np

from edgekit.quant import QuantParams

if TYPE_CHECKING:
    from edgekit.data import Preprocess
    from edgekit.formats.tflite import Model, Tensor

SSD, YOLO = "ssd", "yolo-generic"
_POST_PROCESS = "TFLite_Detection_PostProcess"
_BOX_CHANNELS = 64  # 4 sides, each a distribution over 16 distances
_STRIDES = (8, 16, 32)
_LARGEST_ERROR = 0.5  # steps of the input


@dataclass(frozen=True)
class Misfit:
    """Something that Frigate does not accept."""

    what: str
    fix: str


def model_type(model: Model) -> str:
    """Return Frigate's name for the kind of model by its outputs; empty for another kind."""
    graph = model.main
    outputs = [graph.tensors[index] for index in graph.outputs]
    makers = [op for op in graph.operators if set(op.outputs) & set(graph.outputs)]
    if len(outputs) == 4 and [op.custom_code for op in makers] == [_POST_PROCESS]:
        return SSD
    if len(outputs) in (2, 3) and any(_is_boxes(each) for each in outputs):
        return YOLO
    return ""


def num_classes(model: Model) -> int:
    """Return the number of classes of a YOLO; 0 if the outputs do not show it."""
    graph = model.main
    scores = [graph.tensors[i] for i in graph.outputs if not _is_boxes(graph.tensors[i])]
    found = [each.shape[2] for each in scores if len(each.shape) == 3 and each.shape[2] > 1]
    return found[0] if found and model_type(model) == YOLO else 0


def misfits(model: Model, how: Preprocess, where: str, *, is_compiled: bool) -> Iterator[Misfit]:
    """Yield everything that keeps Frigate from using ``model``.

    Args:
        model: The model, as Frigate would load it.
        how: The preprocessing that the model needs.
        where: Its file.
        is_compiled: Whether it is compiled for the Edge TPU.
    """
    graph = model.main
    if not is_compiled:
        yield Misfit(
            "it is not compiled: Frigate's detector edgetpu would run it on the CPU",
            f"compile it: edgekit compile {shlex.quote(where)}",
        )
    yield from _input_misfits([graph.tensors[index] for index in graph.inputs], how)
    kind = model_type(model)
    outputs = [graph.tensors[index] for index in graph.outputs]
    if not kind:
        shapes = ", ".join("x".join(map(str, each.shape)) or "?" for each in outputs)
        yield Misfit(
            f"its outputs ({shapes}) are none that Frigate reads",
            f"use an SSD that ends in {_POST_PROCESS}, or a YOLO (v8, v9, 11) with class scores "
            f"(1, N, classes) as logits and boxes (1, N, {_BOX_CHANNELS}) as distributions, in "
            "outputs of their own; for others use Frigate's detector deepstack with `edgekit "
            "serve`",
        )
    elif kind == YOLO:
        yield from _yolo_misfits(outputs, graph.tensors[graph.inputs[0]])


def _input_misfits(inputs: Sequence[Tensor], how: Preprocess) -> Iterator[Misfit]:
    if len(inputs) != 1:
        yield Misfit(f"it has {len(inputs)} inputs", "Frigate gives one image")
        return
    tensor = inputs[0]
    shape = tensor.shape
    if len(shape) != 4 or shape[0] != 1 or shape[3] != 3:
        text = "x".join(map(str, shape))
        yield Misfit(f"its input is {text}", "Frigate gives one image of 1 x height x width x 3")
        return
    if tensor.dtype not in ("UINT8", "INT8"):
        yield Misfit(
            f"its input is {tensor.dtype}",
            "convert it again with --io uint8: Frigate gives pixels from 0 to 255",
        )
        return
    params = params_of(tensor)
    error = 0.0 if params is None else _pixel_error(params, how)
    if error > _LARGEST_ERROR:
        yield Misfit(
            f"its input needs other numbers than pixels ({error:.0f} of 255 steps apart)",
            "convert it again with samples that cover the whole range of pixels: Frigate gives "
            "them as they are",
        )


def params_of(tensor: Tensor) -> QuantParams | None:
    """Return how a tensor stores real values; None if it does not store them as integers."""
    found = tensor.quantization
    if found is None or len(found.scale) != 1 or tensor.dtype not in ("UINT8", "INT8"):
        return None
    return QuantParams(found.scale[0], found.zero_point[0], tensor.dtype.lower())


def _pixel_error(params: QuantParams, how: Preprocess) -> float:
    """Return how many steps the preprocessed pixels are from the pixels' own codes, at most."""
    pixels = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    wanted = how.scale_pixels(pixels).astype(np.float64)
    codes = pixels.astype(np.int64) - (128 if params.dtype == "int8" else 0)
    given: Any = params.scale * (codes - params.zero_point)
    return float(np.abs(wanted - given).max() / params.scale)


def _yolo_misfits(outputs: Sequence[Tensor], image: Tensor) -> Iterator[Misfit]:
    height, width = image.shape[1:3]
    places = sum((height // stride) * (width // stride) for stride in _STRIDES)
    for each in outputs:
        if len(each.shape) == 3 and each.shape[1] != places:
            yield Misfit(
                f"the output {each.name} has {each.shape[1]} places",
                f"Frigate expects {places} for {width} x {height}: three levels with the strides "
                "8, 16 and 32",
            )
        if each.dtype != "INT8":
            yield Misfit(
                f"the output {each.name} is {each.dtype}",
                "convert it again with --io int8: Frigate subtracts the zero point in 8 bits",
            )
    if not any(len(t.shape) == 3 and t.shape[2] > 1 and not _is_boxes(t) for t in outputs):
        yield Misfit(
            "no output has the scores of two classes or more",
            f"Frigate recognizes scores and boxes by their size, which is not {_BOX_CHANNELS}",
        )


def _is_boxes(tensor: Tensor) -> bool:
    return len(tensor.shape) == 3 and tensor.shape[2] == _BOX_CHANNELS
