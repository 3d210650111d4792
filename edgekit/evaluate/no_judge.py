# SPDX-License-Identifier: Apache-2.0
"""The judge of samples without labels or task: it only counts them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Mapping, Sequence

from edgekit.evaluate.judge import Score, Verdict

if TYPE_CHECKING:
    from edgekit.data import Batch
    from edgekit.evaluate.engine import Rows
    from edgekit.evaluate.finite import BadRows


class NoJudge:
    """Judge for outputs of an unknown task, without metrics."""

    def __init__(self, num_models: int) -> None:
        self._num_models = num_models
        self.count = 0

    def record(
        self,
        outputs: Sequence[Rows],  # noqa: ARG002
        batch: Batch,
        bad: Sequence[BadRows],  # noqa: ARG002
    ) -> dict[str, Any]:
        """Return the number of samples."""
        return {"count": len(batch.sources)}

    def add(self, record: Mapping[str, Any]) -> None:
        """Add a record to the count."""
        self.count += record["count"]

    def verdict(self) -> Verdict:
        """Return a verdict without metrics."""
        return Verdict((Score({}, {}, {}),) * self._num_models, None, {}, {}, 0)
