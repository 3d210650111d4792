# SPDX-License-Identifier: Apache-2.0
"""The picture of time: every unit of every tile, one instruction after another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgekit
from edgekit.chip.emulator import EdgeTpu
from edgekit.chip.emulator.trace import trace_events
from edgekit.formats.darwinn import arithmetic_cycles, read_packages
from edgekit.formats.tflite import read_model
from tests.command import edgekit as run_edgekit


@pytest.fixture
def compiled(int8_path: Path) -> Path:
    """The small network, compiled by edgekit's own compiler."""
    (made,) = edgekit.compile([int8_path], out_dir=int8_path.parent, compiler="edgekit").models
    return Path(made.output)


@pytest.fixture
def events(compiled: Path) -> list[dict[str, Any]]:
    """The trace of its program."""
    (operator,) = read_packages(read_model(compiled.read_bytes()))
    return trace_events(EdgeTpu(operator.package))


def test_a_unit_runs_one_instruction_at_a_time(events: list[dict[str, Any]]) -> None:
    ends: dict[tuple[int, int], int] = {}
    for each in events:
        if each["ph"] == "X":
            assert each["ts"] >= ends.get((each["pid"], each["tid"]), 0)
            ends[each["pid"], each["tid"]] = each["ts"] + each["dur"]
    assert len(ends) > 16


def test_the_lengths_of_ops_are_the_cycles_of_the_program(
    compiled: Path, events: list[dict[str, Any]]
) -> None:
    (operator,) = read_packages(read_model(compiled.read_bytes()))
    cycles = [0] * 16
    for each in events:
        if each["ph"] == "X" and each["cat"].startswith("op"):
            cycles[each["pid"]] += each["dur"]
    assert tuple(cycles) == arithmetic_cycles(operator.package.inference)


def test_the_command_writes_a_file_with_the_layers_of_the_source(
    int8_path: Path, compiled: Path, tmp_path: Path
) -> None:
    image, trace = tmp_path / "image.npy", tmp_path / "trace.json"
    np.save(image, np.full((1, 8, 8, 1), 9, np.uint8))
    done = run_edgekit("emulate", compiled, image, "--source", int8_path, "--trace", trace)
    assert done.returncode == 0, done.stderr
    found = json.loads(trace.read_text())["traceEvents"]
    names = {tensor.name for tensor in read_model(int8_path.read_bytes()).main.tensors}
    layers = {each["args"]["layer"] for each in found if "layer" in each.get("args", {})}
    assert len(layers) == 3
    assert layers <= names
    assert {"tile 0", "host"} <= {
        each["args"]["name"].split(", ")[1] for each in found if each["name"] == "process_name"
    }
