# SPDX-License-Identifier: Apache-2.0
"""Model to model, each rule a file."""

from __future__ import annotations

from edgekit.rewrite.batch import with_batch
from edgekit.rewrite.part import between, with_operators

__all__ = ["between", "with_batch", "with_operators"]
