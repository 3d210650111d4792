# SPDX-License-Identifier: Apache-2.0
"""The operators whose 8-bit kernels use one scale and zero point for their values and their output.

These kernels copy, move, compare or average integers and do not rescale them, so an integer must
stand for the same value on both sides. This is the one list; code that needs fewer or more of them
names these and the reason.

Source:
    The TensorFlow Lite 8-bit quantization specification, and the kernels in
    tensorflow/lite/kernels (pooling.cc, pad.cc, concatenation.cc, reshape.cc, ...).
"""

from __future__ import annotations

from typing import Mapping, Sequence

# Operator -> indices of the inputs with the scale; None for all of them. The others are shapes,
# axes and indices.
SAME_SCALE: Mapping[str, tuple[int, ...] | None] = {
    **dict.fromkeys(("CONCATENATION", "MAXIMUM", "MINIMUM", "PACK"), None),
    "SPLIT": (1,),
    "PADV2": (0, 2),
    **dict.fromkeys(
        (
            "AVERAGE_POOL_2D",
            "BATCH_TO_SPACE_ND",
            "BROADCAST_TO",
            "DEPTH_TO_SPACE",
            "EXPAND_DIMS",
            "GATHER",
            "GATHER_ND",
            "MAX_POOL_2D",
            "MIRROR_PAD",
            "PAD",
            "REDUCE_MAX",
            "REDUCE_MIN",
            "RESHAPE",
            "RESIZE_BILINEAR",
            "RESIZE_NEAREST_NEIGHBOR",
            "REVERSE_V2",
            "SLICE",
            "SPACE_TO_BATCH_ND",
            "SPACE_TO_DEPTH",
            "SPLIT_V",
            "SQUEEZE",
            "STRIDED_SLICE",
            "TILE",
            "TRANSPOSE",
            "UNPACK",
        ),
        (0,),
    ),
}
# With one such input: its range is the output's too.
FROM_ONE = frozenset(
    opcode for opcode, places in SAME_SCALE.items() if places is not None and len(places) == 1
)
# Their inputs may have values outside of the output's range, which other operators read.
COMPARING = ("MAXIMUM", "MINIMUM")
# An output value is computed from several input values, and is not one of them.
MIXING = frozenset(("AVERAGE_POOL_2D", "RESIZE_BILINEAR"))


def same_scale_inputs(opcode: str, inputs: Sequence[int]) -> tuple[int, ...]:
    """Return the tensor indices, out of ``inputs``, of those with the output's scale."""
    places = SAME_SCALE.get(opcode, ())
    return tuple(inputs) if places is None else tuple(inputs[place] for place in places)
