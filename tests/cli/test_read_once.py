# SPDX-License-Identifier: Apache-2.0
"""A command opens each model file once, and parses it once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgekit.formats.tflite import read_model

# Prints how often the process opens each file, and parses the same content.
_COUNT = """
import collections, json, os, sys
opens, parses = collections.Counter(), collections.Counter()
begun = [None]
def audit(event, details):
    # open() with an opener raises the event once more, from os.open, without a mode.
    is_open = event == "open" and isinstance(details[0], str)
    if is_open and not (details[1] is None and begun[0] == details[0]):
        opens[os.path.basename(details[0])] += 1
    begun[0] = details[0] if is_open and details[1] is not None else None
def profile(frame, event, _):
    if event == "call" and frame.f_code.co_name == "read_model":
        parses[hash(bytes(frame.f_locals["source"]))] += 1
sys.addaudithook(audit)
sys.setprofile(profile)
from edgekit.__main__ import start
try:
    start()
except SystemExit as end:
    status = end.code
sys.setprofile(None)
most = max(parses.values())
print(json.dumps([status, opens, most]), file=sys.__stderr__)
"""


@pytest.fixture
def place(int8_path: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "once"
    folder.mkdir()
    content = int8_path.read_bytes()
    (folder / "net.tflite").write_bytes(content)
    graph = read_model(content).main
    shape = graph.tensors[graph.inputs[0]].shape
    random = np.random.default_rng(0)
    np.save(str(folder / "one.npy"), random.random(shape[1:], np.float32))
    x = random.random((3, *shape[1:]), np.float32)
    np.savez(str(folder / "data.npz"), x=x, y=np.arange(3))
    return folder


@pytest.mark.skipif(sys.version_info < (3, 8), reason="audit hooks are new in Python 3.8")
@pytest.mark.parametrize(
    "words",
    [
        "check net.tflite",
        "inspect net.tflite",
        "estimate net.tflite",
        "fix net.tflite -o fixed.tflite",
        "run net.tflite one.npy",
        "benchmark net.tflite --num-runs 1",
        "evaluate net.tflite --data data.npz",
        "compile net.tflite --compiler edgekit -o .",
        "bundle net.tflite -o net.edgekit --preprocess unit",
    ],
)
def test_a_model_is_opened_and_parsed_once(place: Path, words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _COUNT, *words.split()],
        cwd=str(place),
        capture_output=True,
        check=True,
    )
    status, opens, most_parsed = json.loads(done.stderr.splitlines()[-1])
    assert status == 0, done.stderr
    assert opens["net.tflite"] == 1
    assert most_parsed == 1
