# SPDX-License-Identifier: Apache-2.0
"""Model to model, each rule a file."""

from __future__ import annotations

from edgekit.rewrite.batch import with_batch
from edgekit.rewrite.copied_scales import changes_scale, mend_copied_scales
from edgekit.rewrite.partial_split import slice_partial_splits

__all__ = ["changes_scale", "mend_copied_scales", "slice_partial_splits", "with_batch"]
