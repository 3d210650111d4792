# SPDX-License-Identifier: Apache-2.0
"""What a rule is: a pure function of a model, with a name and a promise."""

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

    ``apply`` returns the changed model, or None where there is nothing to change; applied to its
    own result it returns None. Where the outputs are other ones afterwards, ``restore`` makes the
    old ones of them: (model before, model after, real outputs after) -> real outputs before.
    ``apply_to_others`` leaves out the operators at given positions: those that map as they are,
    with which there is nothing to gain.
    """

    name: str
    description: str
    exact: bool  # outputs are bit-identical by construction (reference kernels)
    apply: Callable[[Model], Model | None]
    restore: Restore | None = None
    apply_to_others: Callable[[Model, Collection[int]], Model | None] | None = None
