# SPDX-License-Identifier: Apache-2.0
"""Which operators of a model map: the only module of `fix` that uses the support rules."""

from __future__ import annotations

from edgekit.edgetpu.structure import structural_rules
from edgekit.edgetpu.support import judge_operators
from edgekit.formats.tflite import Model

_MAPPED = "tpu"
_LEFT_ON_CPU = "model.custom_op"  # the compiler accepts the file and leaves them on the CPU


def mapped_operators(model: Model) -> tuple[bool, ...]:
    """Return for each operator of the main subgraph whether it would map in a readable file."""
    return tuple(each.verdict == _MAPPED for each in judge_operators(model))


def mapped_alone(model: Model) -> set[int]:
    """Return the operators that map if no operator before them keeps them on the CPU."""
    return {each.index for each in judge_operators(model) if each.alone == _MAPPED}


def num_mapped(model: Model) -> int:
    """Return how many operators of ``model`` map; 0 if the compiler refuses the whole file."""
    refused = any(issue.code != _LEFT_ON_CPU for issue in structural_rules(model))
    return 0 if refused else sum(mapped_operators(model))
