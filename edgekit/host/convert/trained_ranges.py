# SPDX-License-Identifier: Apache-2.0
"""Quantize with the ranges of quantization-aware training in place of those of calibration."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from edgekit.errors import ModelFormatError
from edgekit.formats.tflite import Model
from edgekit.formats.tflite.reader import FLATBUFFER_DAMAGE
from edgekit.host.convert.improve.range_rules import MIN_MAX
from edgekit.host.convert.improve.ranges import Range, range_of, read_calibrated, with_ranges
from edgekit.host.convert.options import CALIBRATED, ConvertOptions
from edgekit.quant.same_scale import FROM_ONE, same_scale_inputs


def stored_ranges(content: bytes) -> dict[str, Range]:
    """Return the ranges that a float .tflite contains for its activations, by tensor name.

    Raises:
        ModelFormatError: They are damaged.
    """
    try:
        model = read_calibrated(content)
    except FLATBUFFER_DAMAGE as error:
        raise ModelFormatError("the ranges of the model's tensors are damaged") from error
    found = {}
    for tensor in model.main.tensors:
        ends = range_of(tensor)
        if (
            ends is not None
            and model.data(tensor) is None
            and -math.inf < ends[0] < ends[1] < math.inf
        ):
            found[tensor.name] = ends
    return found


def trained_notes(count: int, options: ConvertOptions) -> Iterator[str]:
    """Yield the notes on a network with ``count`` ranges that training stored."""
    if options.mode not in CALIBRATED:
        yield (
            f"the ranges of {count} tensors from quantization-aware training are left "
            f"out: --mode {options.mode} does not use them"
        )
        return
    yield (
        f"the ranges of {count} tensors are those of quantization-aware training, not "
        "of the calibration samples"
    )
    if options.clip_logits:
        yield (
            "--clip-logits limits only the float answers that the int8 model is compared with: the "
            "network keeps the ranges of its training"
        )
    if options.ranges != MIN_MAX:
        yield (
            f"--ranges {options.ranges} has no effect: the network keeps the ranges of its training"
        )


def with_trained_ranges(model: Model, ranges: Mapping[str, Range]) -> Model:
    """Return a calibrated float model with other ranges for some tensors.

    Args:
        model: The model with the range of each tensor.
        ranges: Tensor name -> lowest and highest value, as training stored them.
    """
    if not ranges:
        return model
    tensors = model.main.tensors
    found = {i: ranges[each.name] for i, each in enumerate(tensors) if each.name in ranges}
    # One scale on both sides: training stores a range for one of the two only.
    pairs = [
        (same_scale_inputs(op.opcode, op.inputs)[0], op.outputs)
        for op in model.main.operators
        if op.opcode in FROM_ONE
    ]
    for source, targets in pairs:
        if source in found:
            for target in targets:
                found.setdefault(target, found[source])
    for source, targets in reversed(pairs):
        if len(targets) == 1 and targets[0] in found:
            found.setdefault(source, found[targets[0]])
    return with_ranges(model, found)
