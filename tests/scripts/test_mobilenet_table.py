# SPDX-License-Identifier: Apache-2.0
"""How the instructions of two programs are compared."""

from __future__ import annotations

import sys

import pytest

if sys.version_info < (3, 10):
    pytest.skip("the project's scripts need Python 3.10", allow_module_level=True)

from edgekit.chip.isa import Instruction, decode, encode_one
from scripts.mobilenet_table import compare

_FENCE, _NORTH = 0x1A, 0x17


def _made(opcode: int, **fields: int) -> Instruction:
    return decode(encode_one(opcode, {"tiles": 1, **fields}))[0]


def test_each_instruction_is_paired_with_the_most_similar_one() -> None:
    """Equal, elsewhere, waiting for another count, different, and without a partner."""
    mine = [_made(_NORTH, i_addr=8), _made(_NORTH, i_addr=4, s0_val=4), _made(_NORTH, i_cnt0=3)]
    theirs = [
        _made(_NORTH, i_addr=64),
        _made(_NORTH, i_cnt0=3, seq=9),
        _made(_NORTH, i_addr=4, s0_val=8),
        _made(_FENCE, units=3),
    ]
    found = compare(mine, theirs)
    assert found["mesh.north"].counts == [1, 1, 1, 0, 0]
    assert found["fence"].counts == [0, 0, 0, 0, 1]


def test_the_fields_that_differ_are_counted() -> None:
    found = compare([_made(_FENCE, units=3)], [_made(_FENCE, units=1, signal=1)])
    assert found["fence"].counts == [0, 0, 0, 1, 0]
    assert dict(found["fence"].differences) == {"units, signal": 1}
