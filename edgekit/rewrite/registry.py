# SPDX-License-Identifier: Apache-2.0
"""Every rule, in the order in which they are applied."""

from __future__ import annotations

from edgekit.formats.tflite import Model
from edgekit.rewrite import (
    broadcast,
    channels_last,
    convolutions,
    dense,
    focus,
    freeze,
    fused,
    gelu,
    hard_swish,
    islands,
    leaky_relu,
    mean,
    mediapipe,
    outputs,
    pool_padding,
    prelu,
    resampling,
    rescaled,
    reshaped_heads,
    saturation,
    softmax_axis,
    softmax_rows,
    sparse,
    tidy,
    transpose_conv,
    transposes,
    turns,
    unstacked,
    versions,
)
from edgekit.rewrite.edit import is_editable
from edgekit.rewrite.io_types import io_rule
from edgekit.rewrite.rule import Rule

IO_RULE = "io"


def rules(io: str = "auto") -> tuple[Rule, ...]:
    """Return all rules in order; ``io`` is the type that inputs and outputs are changed to."""
    return (
        sparse.RULE,
        mediapipe.RULE,
        versions.RULE,
        freeze.RULE,
        tidy.DEAD,
        io_rule(io),
        islands.PAIRS,
        islands.SILU,
        islands.ISLANDS,
        hard_swish.RULE,
        leaky_relu.RULE,
        prelu.RULE,
        gelu.RULE,
        unstacked.RULE,
        saturation.RULE,
        pool_padding.RULE,
        fused.RULE,
        convolutions.DILATED,
        convolutions.GROUPS,
        convolutions.TRANSPOSED,
        transpose_conv.RULE,
        dense.ROWS,
        dense.PER_TENSOR,
        dense.RANK_2,
        dense.SPLIT,
        mean.RULE,
        channels_last.RULE,
        transposes.RULE,
        softmax_axis.RULE,
        softmax_rows.RULE,
        reshaped_heads.RULE,
        focus.RULE,  # before the slices that it joins are changed
        rescaled.RULE,
        resampling.RULE,
        broadcast.RULE,
        turns.RULE,
        outputs.RULE,
        tidy.IDLE,
        tidy.DUPLICATES,
    )


def apply_rule(rule: Rule, model: Model) -> Model | None:
    """Return ``model`` changed by ``rule``; None if there is nothing to change or it may not."""
    if not is_editable(model):
        return None
    # Other rules copy the bytes of constants, so sparse ones are made dense first.
    is_sparse = any(tensor.is_sparse for tensor in model.main.tensors)
    return rule.apply(model) if rule is sparse.RULE or not is_sparse else None
