# SPDX-License-Identifier: Apache-2.0
"""Find samples that a model answers with NaN or infinity: they count as wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Sequence

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    BadRows = NDArray[np.bool_]
    Counted = Callable[[Sequence[Any]], Sequence[Any]]


def bad_rows(outputs: Sequence[Any], counted: Counted | None = None) -> NDArray[np.bool_]:
    """Which samples (along the first dimension) have an output value that is not finite.

    Args:
        outputs: As the tensors store them; integers are always finite.
        counted: Returns the values of one sample's outputs that matter, as `Decoder.counted`; None
            counts all.
    """
    bad: NDArray[np.bool_] = np.zeros(len(outputs[0]) if outputs else 0, bool)
    for values in outputs:
        if values.dtype.kind == "f":
            is_finite = np.isfinite(values)
            if not is_finite.all():
                bad |= ~is_finite.reshape(len(values), -1).all(axis=1)
    if counted is not None:
        for row in np.flatnonzero(bad):
            used = counted([each[row : row + 1] for each in outputs])
            bad[row] = not all(np.isfinite(np.asarray(each)).all() for each in used)
    return bad
