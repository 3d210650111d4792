# SPDX-License-Identifier: Apache-2.0
"""Which operators of a model map: the one place where rewriting asks the support rules."""

from __future__ import annotations

from edgekit.edgetpu.structure import structural_rules
from edgekit.edgetpu.support import judge_operators
from edgekit.formats.tflite import Model

_MAPPED = "tpu"
_LEFT_ON_CPU = "model.custom_op"  # the compiler takes the file and leaves them out


def mapped_operators(model: Model) -> tuple[bool, ...]:
    """For each operator of the main subgraph whether it would map if the file could be read."""
    return tuple(each.verdict == _MAPPED for each in judge_operators(model))


def mapped_alone(model: Model) -> set[int]:
    """The operators that map if nothing in front of them keeps them on the CPU."""
    return {each.index for each in judge_operators(model) if each.alone == _MAPPED}


def num_mapped(model: Model) -> int:
    """How many operators of ``model`` map; 0 where the compiler refuses the whole file."""
    refused = any(issue.code != _LEFT_ON_CPU for issue in structural_rules(model))
    return 0 if refused else sum(mapped_operators(model))
