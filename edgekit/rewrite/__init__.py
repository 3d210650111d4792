# SPDX-License-Identifier: Apache-2.0
"""Model to model, each rule a file."""

from __future__ import annotations

from edgekit.rewrite.batch import with_batch
from edgekit.rewrite.edit import is_editable
from edgekit.rewrite.io_types import IO_KINDS
from edgekit.rewrite.registry import IO_RULE, apply_rule, rules
from edgekit.rewrite.rule import Rule

__all__ = ["IO_KINDS", "IO_RULE", "Rule", "apply_rule", "is_editable", "rules", "with_batch"]
