# SPDX-License-Identifier: Apache-2.0
"""The class of rules: a pure function of a model, with a name and a guarantee."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Collection, Sequence, Tuple

from numpy.typing import NDArray

from edgekit.formats.tflite import Model

Arrays = Tuple["NDArray[Any]", ...]
Restore = Callable[[Model, Model, Sequence["NDArray[Any]"]], Arrays]


@dataclass(frozen=True)
class Rule:
    """One rewrite.

    ``apply`` returns the changed model, or None if there is nothing to change; applied to its
    own result it returns None. If a rule changes the set of outputs, ``restore`` computes the old
    ones: (model before, model after, real outputs after) -> real outputs before.
    ``apply_to_others`` leaves out the operators at given positions: those that already map, for
    which a change has no benefit.
    """

    name: str
    description: str
    exact: bool  # outputs are bit-identical by construction (reference kernels)
    apply: Callable[[Model], Model | None]
    restore: Restore | None = None
    apply_to_others: Callable[[Model, Collection[int]], Model | None] | None = None
