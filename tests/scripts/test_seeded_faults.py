# SPDX-License-Identifier: Apache-2.0
"""Faults seeded into compiled programs: each kind changes a program, and they are found."""

from __future__ import annotations

import random
import sys
from pathlib import Path

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
    from scripts.seeded_faults import MISSED, Subject, count, subject_of  # noqa: PLC0415

    package = read_packages(read_model((corpus / _STACK).read_bytes()))[0].package
    subject = subject_of("stack", package)
    assert isinstance(subject, Subject)
    tally = count([subject], kinds(), len(kinds()), random.Random(3))
    assert {kind: sum(counts) for kind, counts in tally.items()} == dict.fromkeys(kinds(), 1)
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
