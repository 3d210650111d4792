# SPDX-License-Identifier: Apache-2.0
"""Rewrite rules: functions from model to model, one file for each rule."""

from __future__ import annotations

from edgekit.rewrite.before_quantization import prepare
from edgekit.rewrite.channels_last import turn_inputs
from edgekit.rewrite.copied_scales import changes_scale, fix_copied_scales
from edgekit.rewrite.edit import is_editable
from edgekit.rewrite.io_types import IO_KINDS
from edgekit.rewrite.partial_split import slice_partial_splits
from edgekit.rewrite.registry import IO_RULE, apply_rule, rules
from edgekit.rewrite.rule import Rule

__all__ = [
    "IO_KINDS",
    "IO_RULE",
    "Rule",
    "apply_rule",
    "changes_scale",
    "fix_copied_scales",
    "is_editable",
    "prepare",
    "rules",
    "slice_partial_splits",
    "turn_inputs",
]
