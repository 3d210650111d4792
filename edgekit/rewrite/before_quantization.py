# SPDX-License-Identifier: Apache-2.0
"""Rewrites of a float network that cannot wait until it is quantized; its values stay the same.

The quantizer leaves some operators in real numbers, and gives others scales that are of no use; and
compiler 16 does not have all that it writes.
"""

from __future__ import annotations

from typing import Callable

from edgekit.formats.tflite import Model
from edgekit.rewrite import (
    arithmetic,
    batch_norm,
    convolutions,
    dense,
    float_activations,
    fused,
    mean,
    pointwise,
    pool_padding,
    products,
    resampling,
    reshaped_heads,
    resizes,
    saturation,
    softmax_axis,
    softmax_rows,
    transposes,
    unstacked,
    versions,
)
from edgekit.rewrite.edit import is_editable
from edgekit.rewrite.registry import apply_rule

_RULES = (
    versions.RULE,
    pointwise.RULE,
    arithmetic.RULE,
    float_activations.RULE,
    pool_padding.RULE,
    saturation.RULE,
    fused.RULE,
    unstacked.RULE,
    transposes.RULE,  # products see how the rows of a matrix lie in memory
    products.RULE,
    dense.ROWS,
    convolutions.DILATED,
    mean.RULE,
    transposes.RULE,
    reshaped_heads.RULE,
    softmax_axis.RULE,
    softmax_rows.RULE,
    resampling.RULE,
    resizes.RULE,
    batch_norm.RULE,
)
_MOST_PASSES = 4
Watch = Callable[[str, Model, Model], None]


def prepare(model: Model, watch: Watch | None = None) -> Model:
    """Return the float ``model`` in a form that can be quantized well; itself if it is in one.

    Args:
        model: The network.
        watch: Called with the name of each rule that changes it, and the network before and after.
    """
    if not is_editable(model):
        return model
    current = model
    for _ in range(_MOST_PASSES):
        start = current
        for rule in _RULES:
            changed = apply_rule(rule, current)
            if changed is not None and watch is not None:
                watch(rule.name, current, changed)
            current = changed or current
        if current is start:
            break
    return current
