# SPDX-License-Identifier: Apache-2.0
"""The page of the blind test is made again from its text and its own tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("keras")

from scripts.blind_parts import f1, iou
from scripts.blind_test import _SETS, page

_PAGE = Path(__file__).parents[2] / "docs" / "quality-blind.md"


def test_page_without_new_results_stays_as_it_is() -> None:
    old = _PAGE.read_text(encoding="utf-8")

    assert page(dict.fromkeys(_SETS, ()), old) == old


def test_text_behind_a_table_does_not_become_part_of_the_table() -> None:
    text = page(dict.fromkeys(_SETS, ()), _PAGE.read_text(encoding="utf-8"))

    assert text.count("Made again with that") == 1
    assert text.count("## Sixth set") == 1


def test_scores_of_masks_are_those_of_a_hand_made_case() -> None:
    found, truth = np.array([True, True, False, False]), np.array([True, False, True, False])

    assert f1(found, truth) == 0.5
    assert iou(found, truth) == pytest.approx(1 / 3)
