# SPDX-License-Identifier: Apache-2.0
"""The gates of a build, on the documents of its steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgekit.building import BuildGates
from edgekit.building.gates import failures_of
from edgekit.building.plan import read_plan
from edgekit.errors import UsageError


def _evaluated(name: str, float_value: float, difference: float) -> dict[str, Any]:
    against = {"metrics": {name: float_value}, "difference": {name: difference}}
    return {"evaluate": {"against": against}}


@pytest.mark.parametrize(
    ("name", "value", "difference", "drop"),
    [("top1", 0.9, -0.02, 2.0), ("mae", 0.5, 0.01, 2.0), ("r2", 0.9, -0.02, 2.0)],
)
def test_a_drop_is_in_points_and_that_of_an_error_in_percent(
    name: str, value: float, difference: float, drop: float
) -> None:
    documents = _evaluated(name, value, difference)
    assert list(failures_of(BuildGates(max_drop=drop), documents)) == []
    (failure,) = failures_of(BuildGates(max_drop=drop - 0.1), documents)
    assert failure.startswith(name)
    assert failure.endswith(" against float, --max-drop is 1.9")


def test_a_gate_is_not_met_if_nothing_was_measured() -> None:
    gates = BuildGates(max_drop=1, min_agreement=0.9, min_snr_db=3)
    assert [each.partition(":")[0] for each in failures_of(gates, {})] == [
        "no accuracy was measured, --max-drop is 1",
        "--min-agreement",
        "--min-snr-db",
    ]


def test_a_share_in_the_file_of_an_earlier_build_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "edgekit.toml"
    path.write_text('source = "net.tflite"\n[gates]\nmax_drop = 0.05\n')
    with pytest.raises(UsageError, match=r"--max-drop is 0\.05") as caught:
        read_plan(path)
    assert "for the share 0.05 give --max-drop 5;" in caught.value.fix
