# SPDX-License-Identifier: Apache-2.0
"""The answers of boards are added up only if they are whole, and those of this edgekit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgekit.errors import DataError
from edgekit.evaluate import evaluate
from edgekit.fleet.parts import Part, merged
from tests.evaluate.conftest import linear

Change = Callable[[list[str]], list[str]]


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, list[Part]]:
    """A model, data, and what two boards did of them."""
    folder = tmp_path_factory.mktemp("parts")
    model, data = folder / "m.tflite", folder / "d.npz"
    model.write_bytes(linear(np.eye(4), (1, 4)))
    random = np.random.default_rng(1)
    np.savez(data, x=random.random((300, 4)).astype(np.float32), y=random.integers(0, 4, 300))
    found = []
    for index in (1, 2):
        journal = folder / f"{index}.journal"
        result = evaluate(model, data, part=f"{index}/2", journal=journal)
        document = json.loads(result.to_json())
        found.append(Part(f"board{index}", document, f"Welcome\n{journal.read_text()}"))
    return model, data, found


def test_the_parts_are_added_up_to_the_evaluation_of_the_whole(
    parts: tuple[Path, Path, list[Part]],
) -> None:
    model, data, given = parts
    whole, alone = merged(model, data, None, given), evaluate(model, data)
    assert (whole.metrics, whole.data["fingerprint"]) == (alone.metrics, alone.data["fingerprint"])


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: lines[:-1],
        lambda lines: [*lines[:-2], lines[-1]],
        lambda lines: [*lines[:-1], lines[-1].replace('"count":', '"counts":')],
        lambda lines: [*lines, lines[-1]],
        lambda lines: [*lines[:-1], lines[-1][:-9]],
        lambda lines: lines[:0],
    ],
)
def test_a_damaged_journal_is_an_error_that_names_the_board(
    parts: tuple[Path, Path, list[Part]], change: Change
) -> None:
    model, data, (first, second) = parts
    lines = second.journal.splitlines()
    damaged = Part(second.board, second.evaluate, "\n".join(change(lines)))
    with pytest.raises(DataError) as caught:
        merged(model, data, None, [first, damaged])
    assert "board2" in f"{caught.value.what} {caught.value.where}"


@pytest.mark.parametrize("name", ["num_samples", "kernels", "time_s", "cpu_batch"])
def test_a_result_without_a_field_is_an_error(
    parts: tuple[Path, Path, list[Part]], name: str
) -> None:
    model, data, (first, second) = parts
    known = {key: value for key, value in second.evaluate.items() if key != name}
    with pytest.raises(DataError, match="cannot be added up"):
        merged(model, data, None, [first, Part(second.board, known, second.journal)])
