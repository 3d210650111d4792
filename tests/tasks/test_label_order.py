# SPDX-License-Identifier: Apache-2.0
"""Label files that contradict the names in the model's own file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgekit.data.describe import with_notes
from edgekit.evaluate import evaluate, run
from edgekit.formats.tflite_metadata import Notes
from edgekit.tasks import label_order_warning
from tests.evaluate.conftest import linear


@pytest.mark.parametrize(
    ("given", "own", "is_told"),
    [
        (("b", "a", "c"), ("a", "b", "c"), True),
        (("a", "b", "c"), ("a", "b", "c"), False),
        ((), ("a", "b"), False),
        (("x", "y"), ("a", "b"), False),  # other names, for instance a translation
    ],
)
def test_the_same_names_in_another_order_cause_a_warning(
    given: tuple[str, ...], own: tuple[str, ...], is_told: bool
) -> None:
    assert bool(label_order_warning(given, own)) is is_told


def test_run_and_evaluate_report_it(tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    content = linear(random.normal(size=(3, 16)), (1, 4, 4))
    (tmp_path / "m.tflite").write_bytes(with_notes(content, Notes("unit", ("a", "b", "c"))))
    (tmp_path / "labels.txt").write_text("b\na\nc\n", encoding="utf-8")
    pixels = random.integers(0, 256, (20, 4, 4)).astype(np.uint8)
    np.savez(tmp_path / "d.npz", x=pixels, y=random.integers(0, 3, 20))
    for labels, is_told in ((tmp_path / "labels.txt", True), (None, False)):
        ran = run(tmp_path / "m.tflite", [pixels[0]], labels=labels, task="classification").warnings
        judged = evaluate(
            tmp_path / "m.tflite", tmp_path / "d.npz", labels=labels, task="classification"
        ).warnings
        for warnings in (ran, judged):
            assert any("class 0 is 'b' there, 'a'" in text for text in warnings) is is_told
