# SPDX-License-Identifier: Apache-2.0
"""``edgekit check`` as a user runs it: streams, documents, exit statuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgekit.formats.tflite import (
    Model,
    Operator,
    Quantization,
    Subgraph,
    Tensor,
    write_model,
)
from tests.command import edgekit


def chain(*opcodes: str) -> Model:
    """Write a chain of operators on eight int8 values."""
    step = Quantization((0.05,), (0,))
    tensors = [Tensor(f"t{i}", (1, 8), "INT8", 0, step) for i in range(len(opcodes) + 1)]
    operators = tuple(Operator(each, 2, (i,), (i + 1,)) for i, each in enumerate(opcodes))
    graph = Subgraph(tuple(tensors), (0,), (len(opcodes),), operators, "main")
    return Model((graph,), (np.empty(0, np.uint8),))


@pytest.fixture
def blocked(tmp_path: Path) -> Path:
    path = tmp_path / "blocked.tflite"
    path.write_bytes(write_model(chain("LOGISTIC", "LEAKY_RELU", "TANH")))
    return path


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.tflite"
    path.write_bytes(write_model(chain("LOGISTIC", "TANH")))
    return path


def test_the_output_names_the_blocker_and_contains_the_compilers_table(blocked: Path) -> None:
    done = edgekit("check", blocked)
    assert done.returncode == 0
    assert "maps        1 of 3 operators (33.3%)" in done.stdout
    assert "blocked by  operator 1 LEAKY_RELU" in done.stdout
    row = f"{'TANH':31}{1:<11}More than one subgraph is not supported"
    assert row in done.stdout.splitlines()
    assert done.stderr == ""


def test_every_operator_is_listed_with_its_rule_and_evidence(blocked: Path) -> None:
    lines = edgekit("check", blocked, "-s").stdout.splitlines()
    row = next(line for line in lines if line.startswith("1  LEAKY_RELU v2"))
    assert "unsupported_op" in row
    assert "coral.ai, supported operations" in row


def test_json_is_one_document_and_nothing_else(blocked: Path) -> None:
    done = edgekit("check", blocked, "--json")
    document = json.loads(done.stdout)
    assert document["schema"] == "edgekit.check/1"
    assert (document["num_operators"], document["num_mapped"]) == (3, 1)
    assert document["first_blocker"] == 1
    assert [each["verdict"] for each in document["operators"]] == ["tpu", "cpu", "cpu"]
    assert {"index", "opcode", "version", "reason", "rule", "fix"} <= set(document["operators"][1])
    assert {"code", "severity", "where", "message", "fix"} <= set(document["issues"][0])


def test_several_models_are_reported_in_the_given_order(good: Path, blocked: Path) -> None:
    document = json.loads(edgekit("check", good, blocked, good, "--json").stdout)
    assert document["schema"] == "edgekit.checks/1"
    assert [each["num_operators"] for each in document["models"]] == [2, 3, 2]


def test_the_gate_prints_the_report_and_ends_with_status_4(good: Path, blocked: Path) -> None:
    assert edgekit("check", good, "--min-mapped", "1").returncode == 0
    done = edgekit("check", blocked, "--min-mapped", "0.9")
    assert done.returncode == 4
    assert "maps        1 of 3" in done.stdout
    assert done.stderr.startswith("error: 1 of 3 operators map")
    done = edgekit("check", blocked, "--min-mapped", "0.9", "--json")
    document = json.loads(done.stdout)
    assert (done.returncode, document["schema"]) == (4, "edgekit.error/1")
    assert document["result"]["num_mapped"] == 1


def test_an_older_target_maps_less(good: Path) -> None:
    assert "maps        0 of 2" in edgekit("check", good, "-m", "10").stdout


@pytest.mark.parametrize(
    ("content", "status", "words"),
    [
        (None, 3, "No such file"),
        (b"", 3, "empty"),
        (b"hello, this is no model at all", 3, "not a .tflite file"),
        (b"\x1c\0\0\0TFL3" + b"\xff" * 40, 3, "damaged"),
    ],
)
def test_bad_files_are_one_clear_error(
    tmp_path: Path, content: bytes | None, status: int, words: str
) -> None:
    path = tmp_path / "bad.tflite"
    if content is not None:
        path.write_bytes(content)
    done = edgekit("check", path)
    assert done.returncode == status
    assert words in done.stderr
    assert str(path) in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_target_that_does_not_exist_is_a_usage_error(good: Path) -> None:
    done = edgekit("check", good, "--target", "11")
    assert done.returncode == 2
    assert "10, 12, 13, 14" in done.stderr
