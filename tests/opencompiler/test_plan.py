# SPDX-License-Identifier: Apache-2.0
"""A model in segments for several Edge TPUs: what is promised, and what the segments compute."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgekit.errors import InputError, OutputError, UsageError
from edgekit.opencompiler.plan import BY_PARAMETERS, BY_TIME, plan
from edgekit.runtime import Runner
from tests.command import edgekit

pytest.importorskip("tflite")


def test_the_segments_are_the_model(int8_path: Path, tmp_path: Path) -> None:
    result = plan(int8_path, num_tpus=2, output=tmp_path / "made here")
    first, second = result.cuts
    assert (first.rule, second.rule) == (BY_TIME, BY_PARAMETERS)
    for cut in result.cuts:
        times = [each.latency_ms for each in cut.segments]
        assert cut.latency_ms == pytest.approx(sum(times))
        assert cut.throughput_hz == pytest.approx(1000 / max(times))
        assert [each.first for each in cut.segments] == [0, cut.segments[0].last + 1]
    assert first.throughput_hz >= second.throughput_hz * 0.999
    names = [each.output for each in first.segments]
    assert [Path(str(name)).name for name in names] == [
        "int8_segment_0_of_2.tflite",
        "int8_segment_1_of_2.tflite",
    ]
    image = np.random.default_rng(1).integers(0, 256, (1, 8, 8, 1), np.uint8)
    with Runner(int8_path) as whole:
        wanted = whole.invoke(image)
    values = [image]
    for name in names:
        with Runner(str(name)) as segment:
            values = list(segment.invoke(*values))
    assert all((a == b).all() for a, b in zip(values, wanted))


def test_the_printed_commands_work(int8_path: Path, tmp_path: Path) -> None:
    done = edgekit("plan", int8_path, "--num-tpus", 2, "-o", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "estimated, not measured" in done.stdout
    commands = [
        line.split(maxsplit=1)[1] for line in done.stdout.splitlines() if line.startswith("next")
    ]
    assert len(commands) == 2
    for command in commands:
        words = command.split()[1:]
        made = edgekit(*words, "--compiler", "edgekit")
        assert made.returncode in {0, 3}, made.stderr  # a segment may have nothing that maps


def test_what_cannot_be_planned_is_refused(
    int8_path: Path, float_path: Path, tmp_path: Path
) -> None:
    for number in (1, 17):
        with pytest.raises(UsageError, match="num-tpus"):
            plan(int8_path, num_tpus=number)
    with pytest.raises(UsageError, match="segments"):
        plan(int8_path, num_tpus=16)
    with pytest.raises(InputError):
        plan(float_path)
    with pytest.raises(InputError):
        plan(tmp_path / "missing.tflite")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        plan(int8_path, output=tmp_path / "file" / "inside")
