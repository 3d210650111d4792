# SPDX-License-Identifier: Apache-2.0
"""What is proven: numbers do not matter to it, what the emulator reads together does."""

from __future__ import annotations

import json
import random
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgekit
from edgekit.chip.isa import Instruction, UnprovenError, decode, decode_package, encode, encode_one
from edgekit.chip.vocabulary.aspects import aspects_of
from edgekit.chip.vocabulary.proven import PROVEN_FILE, proven_aspects, unproven_forms
from edgekit.files import read_bytes
from edgekit.formats.darwinn import read_packages
from edgekit.formats.tflite import read_model
from edgekit.formats.tflite_metadata import verified_programs
from tests.command import edgekit as run_edgekit

OP, FENCE, NORTH, SOUTH = 0x01, 0x1A, 0x17, 0x15


def _aspects(opcode: int, **fields: int) -> set[str]:
    (instruction,) = decode(encode_one(opcode, fields))
    return {aspect for _, aspect in aspects_of([instruction])}


def test_numbers_are_in_no_aspect() -> None:
    assert _aspects(OP, cfg2=7, loop1=8, in_base=64, mult=5) == _aspects(OP, cfg2=7, loop1=3)
    assert _aspects(FENCE, count=3) == _aspects(FENCE, count=4)


def test_fields_that_are_read_together_are_one_aspect() -> None:
    assert "op weights: par_circular=1 par_rows" in _aspects(OP, par_rows=3, par_circular=1)
    assert "op class: cfg2=0x12 cfg3=6" in _aspects(OP, cfg2=0x12, cfg3=6)


def test_the_directions_of_the_mesh_are_one_unit() -> None:
    north, south = (_aspects(each, s0_en_a=1, s0_id=6) for each in (NORTH, SOUTH))
    assert north == south
    assert "mesh waits: in 0" in north


def test_counters_are_read_bit_by_bit() -> None:
    both = _aspects(FENCE, counters=0b1100)
    assert both == _aspects(FENCE, counters=0b1000) | _aspects(FENCE, counters=0b100)


def test_of_the_orders_those_of_fences_are_aspects() -> None:
    fences = encode_one(FENCE, {"count": 1}) + encode_one(FENCE, {"signal": 1})
    program = decode(encode_one(NORTH, {}) + fences)
    orders = {aspect for _, aspect in aspects_of(program) if aspect.startswith("order")}
    assert orders == {"order: fence(count) -> fence(signal)"}


def test_the_data_name_the_programs_that_prove_each_aspect() -> None:
    document = json.loads(PROVEN_FILE.read_text())
    assert document["programs"] == len(document["examples"]) > 50
    for aspect, programs, example in document["aspects"]:
        assert 0 < programs <= document["programs"]
        assert 0 <= example < document["programs"]
        assert proven_aspects()[aspect] == programs


def test_an_unknown_aspect_is_named_with_its_first_place() -> None:
    (known,) = decode(encode_one(FENCE, {"count": 1}))
    assert unproven_forms([[known]], _aspects_of_all([known])) == ()
    program = [known, *decode(encode_one(FENCE, {"count": 1, "units": 1 << 9}))]
    (found,) = (
        each for each in unproven_forms([program], _aspects_of_all([known])) if "bit" in each.form
    )
    assert (found.form, found.program, found.times) == ("fence units: bit 9", 0, 1)


def _aspects_of_all(program: Any) -> dict[str, int]:  # noqa: ANN401
    return {aspect: 1 for _, aspect in aspects_of(program)}


@pytest.fixture
def compiled(int8_path: Path) -> Path:
    """The small network, compiled by edgekit's own compiler."""
    (made,) = edgekit.compile([int8_path], out_dir=int8_path.parent, compiler="edgekit").models
    return Path(made.output)


@pytest.mark.skipif(sys.version_info < (3, 10), reason="scripts need Python 3.10")
def test_what_the_compiler_verified_is_proven_until_it_is_changed(compiled: Path) -> None:
    from scripts.fault_kinds import Program, seed  # noqa: PLC0415 - needs Python 3.10

    model = read_model(read_bytes(compiled))
    (operator,) = read_packages(model)
    assert operator.package.sha256 in verified_programs(model)
    fault = seed(Program.of(operator.package), "a lowered count", random.Random(1))
    assert fault is not None
    assert fault.package.sha256 not in verified_programs(model)


def _with_unknown_bit(path: Path) -> bytes:
    """The model with a bit in its first fence that no field has."""
    content = read_bytes(path)
    (operator,) = read_packages(read_model(content))
    fence = next(
        each
        for program in decode_package(operator.package)
        for each in program
        if each.layout.name == "fence"
    )
    return content.replace(encode([fence]), encode([replace(fence, rest=_free_bit(fence))]), 1)


def _free_bit(instruction: Instruction) -> int:
    """The highest bit that belongs to no field."""
    free = ~instruction.layout.named_bits & (1 << 128) - 1
    return 1 << free.bit_length() - 1


def test_a_program_with_an_unproven_form_stops_and_runs_if_wanted(
    compiled: Path, tmp_path: Path
) -> None:
    other, image = tmp_path / "other_edgetpu.tflite", tmp_path / "image.npy"
    other.write_bytes(_with_unknown_bit(compiled))
    np.save(image, np.full((1, 8, 8, 1), 9, np.uint8))
    with pytest.raises(UnprovenError, match="not proven") as caught:
        edgekit.Runner(other, "emulator")
    assert "fence" in caught.value.where
    with edgekit.Runner(other, "emulator", unproven=True) as runner:
        assert "not proven" in runner.environment.kernels_note
    done = run_edgekit("emulate", other, image, "--json")
    assert done.returncode == 3
    assert json.loads(done.stdout)["code"] == "model.unproven"
    done = run_edgekit("emulate", other, image, "--unproven")
    assert done.returncode == 0
    assert "not proven" in done.stdout
