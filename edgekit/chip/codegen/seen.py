# SPDX-License-Identifier: Apache-2.0
"""Which instructions have a form and a level pattern of Google's programs.

Where several instructions do the same, one of them may be known to run on chips. Only the packaged
vocabulary counts, not the evidence of this machine: a model has the same program everywhere.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Sequence

from edgekit.chip.codegen.emitter import OPCODES
from edgekit.chip.codegen.nests import Fields
from edgekit.chip.isa.encode import make_instruction
from edgekit.chip.vocabulary import Evidence, Vocabulary
from edgekit.chip.vocabulary.signature import Form, Pattern, form_of, full_text, pattern_of
from edgekit.errors import UsageError


def is_seen(name: str, fields: Fields) -> bool:
    """Whether a program of Google's contains the instruction but for its numbers.

    One whose numbers do not fit is not seen.
    """
    try:
        instruction = make_instruction(OPCODES[name], fields)
    except UsageError:
        return False
    return _is_known(form_of(instruction), pattern_of(instruction))


def first_seen(name: str, alternatives: Sequence[Fields]) -> Fields:
    """The first of instructions that do the same and that is seen; the first one if none is."""
    return next((each for each in alternatives if is_seen(name, each)), alternatives[0])


@lru_cache(maxsize=None)
def _vocabulary() -> Vocabulary:
    return Vocabulary.load()


@lru_cache(maxsize=None)
def _is_known(form: Form, pattern: Pattern) -> bool:
    return _vocabulary().evidence(full_text(form, pattern)) is not Evidence.UNSEEN
