# SPDX-License-Identifier: Apache-2.0
"""The ladder's programs: made again to the byte, ordered from Google's own to unseen forms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgekit.chip.arithmetic.twin import run_twin
from edgekit.chip.emulator.machine import EdgeTpu
from edgekit.chip.isa.decode import decode_package
from edgekit.chip.vocabulary import Vocabulary, texts_of
from edgekit.confirm.ladder import INPUT_KINDS, make_rung, make_rungs, rung_inputs
from edgekit.confirm.recipes import IDENTICAL, RECIPES, SEEN, UNSEEN, Recipe
from edgekit.formats.darwinn import Executable, read_packages
from edgekit.formats.tflite import read_model, write_model
from edgekit.opencompiler import compile_program

_MOST_NEW = 4  # forms, level patterns and orders that a rung may bring


def _instructions(executable: Executable | None) -> bytes:
    chunks = executable.instruction_bitstreams if executable else ()
    return b"".join(chunk.bitstream.tobytes() for chunk in chunks)


@pytest.mark.corpus
@pytest.mark.parametrize("recipe", IDENTICAL, ids=lambda recipe: recipe.like)
def test_the_first_rungs_have_googles_instructions_to_the_byte(
    corpus: Path, recipe: Recipe
) -> None:
    (path,) = (corpus / "compiled").glob(f"**/{recipe.like}_edgetpu.tflite")
    google = read_packages(read_model(path))[0].package
    made = compile_program(recipe.model(), verified=False).package
    assert _instructions(made.inference) == _instructions(google.inference)
    assert _instructions(made.caching) == _instructions(google.caching)


@pytest.mark.slow
def test_unseen_forms_come_last_and_a_few_at_a_time() -> None:
    seen = frozenset(Vocabulary.load().entries)
    known: set[str] = set()
    new, unseen_of, cycles = [], [], []
    for recipe in RECIPES:
        made = compile_program(recipe.model(), verified=False)
        cycles.append(made.predicted_cycles)
        unseen = texts_of(*decode_package(made.package)) - seen
        unseen_of.append(len(unseen))
        new.append(len(unseen - known))
        known |= unseen
    proved = len(IDENTICAL) + len(SEEN)
    # Where the compiler has changed: move the networks that are named here to the other list.
    assert [each.name for each, number in zip(RECIPES[:proved], new) if number] == []
    later = zip(UNSEEN, unseen_of[proved:])
    assert [each.name for each, number in later if not number] == []
    assert cycles[: len(IDENTICAL)] == sorted(cycles[: len(IDENTICAL)])
    assert cycles[len(IDENTICAL) : proved] == sorted(cycles[len(IDENTICAL) : proved])
    assert [each.name for each, number in zip(RECIPES, new) if number > _MOST_NEW] == []
    assert len(new) == proved + len(UNSEEN) == 62


@pytest.mark.slow
@pytest.mark.parametrize("part", range(5))
def test_programs_compute_what_the_networks_do_and_use_the_range(part: int) -> None:
    """The first stacks take seconds each, and their instructions are Google's."""
    for recipe in (*SEEN, *UNSEEN)[part::5]:
        model = recipe.model()
        graph = model.main
        package = compile_program(model, verified=False).package
        chip = EdgeTpu(package, strict_sync=True)
        name = graph.tensors[graph.inputs[0]].name
        distinct = 0
        for values in rung_inputs(model)[:3]:
            made = chip.invoke({name: values})
            wanted = {index: result for _, index, result in run_twin(model, {name: values})}
            for index in graph.outputs:
                found = made[graph.tensors[index].name]
                unsigned = found.view(np.uint8) ^ 128
                np.testing.assert_array_equal(unsigned.reshape(-1), wanted[index].reshape(-1))
                distinct = max(distinct, len(np.unique(found)))
        assert distinct >= 4, recipe.name


def test_a_rung_is_made_again_to_the_byte() -> None:
    first, second = (make_rung(21) for _ in range(2))
    assert first.content == second.content
    assert first.entry == second.entry
    assert [each.kind for each in first.entry.inputs] == list(INPUT_KINDS)


def test_the_random_numbers_of_networks_and_inputs_never_change() -> None:
    """Reports are compared with programs that another numpy made."""
    model = next(each for each in UNSEEN if each.name == "1x1 convolution of 8 channels").model()
    weights = model.buffers[1].view(np.int8)
    assert weights[:8].tolist() == [-16, 46, 56, 57, 44, -51, 108, 63]
    assert rung_inputs(model)[2].reshape(-1)[:8].tolist() == [11, 120, 55, 16, -92, 89, -113, -56]


def test_a_rung_depends_on_its_own_name_only() -> None:
    rungs = make_rungs(1)
    assert write_model(RECIPES[0].model()) == write_model(IDENTICAL[0].model())
    assert next(rungs).entry.kind == "identical"
