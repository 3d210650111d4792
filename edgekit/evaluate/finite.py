# SPDX-License-Identifier: Apache-2.0
"""Samples that a model answers with NaN or infinity: never right, counted and named."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Sequence

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def bad_rows(outputs: Sequence[Any]) -> NDArray[np.bool_]:
    """Which samples (along the first dimension) have an output value that is no finite number.

    Args:
        outputs: As the tensors store them; integers are always finite.
    """
    bad: NDArray[np.bool_] = np.zeros(len(outputs[0]) if outputs else 0, bool)
    for values in outputs:
        if values.dtype.kind != "f":
            continue
        with np.errstate(all="ignore"):
            is_clean = np.isfinite(values.sum())  # one pass; only then sample by sample
        if not is_clean:
            bad |= ~np.isfinite(values.reshape(len(values), -1)).all(axis=1)
    return bad
