# SPDX-License-Identifier: Apache-2.0
"""Faults seeded into compiled programs: each kind changes a program, and they are found."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

import pytest

from edgekit.formats.darwinn import read_packages
from edgekit.formats.tflite import read_model

pytestmark = [
    pytest.mark.corpus,
    pytest.mark.skipif(sys.version_info < (3, 10), reason="the scripts are for the host"),
]

_STACK = "compiled/Jorgitou98__EdgeTPU-QuantRL-Evaluation/N120-nMACs544112640_quant_edgetpu.tflite"


@pytest.mark.slow
def test_one_fault_of_each_kind_is_found(corpus: Path) -> None:
    from scripts.fault_kinds import kinds  # noqa: PLC0415
    from scripts.seeded_faults import HARMLESS, MISSED, Subject, count, subject_of  # noqa: PLC0415

    package = read_packages(read_model((corpus / _STACK).read_bytes()))[0].package
    subject = subject_of("stack", package)
    assert isinstance(subject, Subject)
    tally = count([subject], kinds(), len(kinds()), random.Random(3))
    found = {kind: sum(counts[:HARMLESS]) for kind, counts in tally.items()}
    assert found == dict.fromkeys(kinds(), 1)
    assert not any(counts[MISSED] for counts in tally.values())


def test_every_edit_changes_the_program(corpus: Path) -> None:
    from scripts.fault_kinds import EDITS, Program, apply  # noqa: PLC0415

    package = read_packages(read_model((corpus / _STACK).read_bytes()))[0].package
    before = package.inference.instruction_bitstreams[0].bitstream.tobytes()
    program = Program.of(package)
    for finder in EDITS.values():
        edits = list(finder(program))
        assert edits
        for edit in edits[:3]:
            after = apply(program, edit).package.inference.instruction_bitstreams[0]
            assert len(after.bitstream) == len(before)
            assert after.bitstream.tobytes() != before


def test_a_program_that_does_not_run_gives_the_reason(corpus: Path) -> None:
    from scripts.fault_kinds import EDITS, Program, apply  # noqa: PLC0415
    from scripts.seeded_faults import subject_of  # noqa: PLC0415

    package = read_packages(read_model((corpus / _STACK).read_bytes()))[0].package
    edit = next(iter(EDITS["a removed wait"](Program.of(package))))
    reason = subject_of("damaged", apply(Program.of(package), edit).package)
    assert isinstance(reason, Exception)


@pytest.mark.slow
def test_a_fence_right_behind_an_equal_one_has_no_effect() -> None:
    """As in every program of edgekit's: one ends a step, the next one begins another."""
    from scripts.fault_kinds import Program  # noqa: PLC0415
    from scripts.fault_subjects import own_programs  # noqa: PLC0415
    from scripts.idle_fences import is_idle  # noqa: PLC0415

    program = Program.of(next(package for _, package, _ in own_programs()))
    instructions = [each for chunk in program.inference for each in chunk]
    fences = [k for k, each in enumerate(instructions) if each.layout.name == "fence"]
    second = next(k for k in fences if k - 1 in fences and _alike(*instructions[k - 1 : k + 1]))
    assert is_idle(instructions, second)
    alone = [*instructions[:second], *instructions[second + 1 :]]
    assert not is_idle(alone, second - 1)


def _alike(first: Any, second: Any) -> bool:  # noqa: ANN401 - instructions
    return all(first[name] == second[name] for name in ("tiles", "counters", "units", "signal"))
