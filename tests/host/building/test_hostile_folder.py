# SPDX-License-Identifier: Apache-2.0
"""An `edgekit.toml` and a folder from somebody else: no code runs, no other file is removed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from edgekit import files
from edgekit.building import build
from edgekit.building.record import Record, one_build
from edgekit.errors import InputError, OutputError, UnsafeModelError
from scripts.fuzz_inputs import network
from tests.command import edgekit

pytestmark = pytest.mark.host


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A small float network beside calibration data."""
    (tmp_path / "net.tflite").write_bytes(network())
    draw = np.random.default_rng(1)
    np.savez(str(tmp_path / "c.npz"), x=draw.random((8, 8, 8, 3), np.float32))
    return tmp_path / "net.tflite"


@pytest.mark.parametrize(
    ("lines", "named"),
    [
        ('data = "evil:samples"', "data = 'evil:samples'"),
        ('data = "c.npz"\neval = "evil:samples"', "eval = 'evil:samples'"),
        ('data = "c.npz"\n[convert]\nconverter_python = "./evil.sh"', "[convert] converter_python"),
        ('data = "c.npz"\n[convert]\ntrust_source = true', "[convert] trust_source"),
        ('data = "c.npz"\n[compile]\nvia = "ssh:board"', "[compile] via"),
        ('data = "c.npz"\n[bundle]\nsign = "key.pem"', "[bundle] sign"),
    ],
)
def test_code_that_the_file_names_is_not_run(source: Path, lines: str, named: str) -> None:
    toml = source.with_name("edgekit.toml")
    toml.write_text(f'source = "net.tflite"\n{lines}\n')
    source.with_name("evil.py").write_text("open('ran', 'w')\nsamples = list\n")
    evil = source.with_name("evil.sh")
    evil.write_text("#!/bin/sh\ntouch ran\n")
    evil.chmod(0o755)
    done = edgekit("build", toml.name, "--json", cwd=source.parent)
    document = json.loads(done.stdout)
    assert (done.returncode, document["code"]) == (3, "model.unsafe")
    assert named in document["what"]
    assert not source.with_name("ran").exists()


def test_a_file_that_is_trusted_is_built_and_repeated_with_the_same_words(source: Path) -> None:
    module = source.with_name("mine_r12.py")
    module.write_text(
        "import numpy as np\n"
        "def samples():\n"
        "    return [np.zeros((8, 8, 3), np.float32), np.ones((8, 8, 3), np.float32)]\n"
    )
    sys.path.insert(0, str(source.parent))
    try:
        made = build(source, data="mine_r12:samples", output=source.with_name("out"))
        assert made.again.endswith("edgekit.toml --trust-source")
        toml = source.with_name("out") / "edgekit.toml"
        with pytest.raises(UnsafeModelError, match="mine_r12:samples"):
            build(toml)
        assert build(toml, trust_source=True).again == made.again
    finally:
        sys.path.remove(str(source.parent))
    assert "--trust-source" in (source.with_name("out") / "README.md").read_text()


def test_two_builds_in_a_folder_are_refused(source: Path) -> None:
    folder = source.with_name("out")
    folder.mkdir()
    with one_build(folder), pytest.raises(OutputError, match="another build"):
        build(source, data=source.with_name("c.npz"), output=folder)
    assert build(source, data=source.with_name("c.npz"), output=folder).steps


@pytest.mark.parametrize("name", ["../mine.txt", "/etc/hostname", "..", "a/b"])
def test_a_record_does_not_remove_files_elsewhere(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    mine = tmp_path / "mine.txt"
    mine.write_text("mine")
    step = {"key": "x", "outputs": {name: files.sha256_hex(b"mine")}, "time_s": 1}
    schema = "edgekit.building-record/1"
    document = {"schema": schema, "steps": {"convert": step}, "begun": {}, "files": {}}
    (folder / ".edgekit-build").write_text(json.dumps(document))
    Record(folder).keep_only([])
    assert mine.read_text() == "mine"


@pytest.mark.parametrize(
    "content",
    [b"", b"[" * 100_000, b"[[],[]]", b'{"schema": "edgekit.building-record/1"}', b"\xff"],
)
def test_a_damaged_record_is_no_record(tmp_path: Path, content: bytes) -> None:
    (tmp_path / ".edgekit-build").write_bytes(content)
    assert Record(tmp_path).kept("convert", "x") is None


def test_a_result_that_no_step_wrote_is_made_again(source: Path) -> None:
    folder = source.with_name("out")
    build(source, data=source.with_name("c.npz"), output=folder)
    record = json.loads((folder / ".edgekit-build").read_text())
    (folder / "convert.json").write_text('{"agreement": 3}')
    record["steps"]["convert"]["outputs"]["convert.json"] = files.sha256_hex(b'{"agreement": 3}')
    record["files"] = {}
    (folder / ".edgekit-build").write_text(json.dumps(record))
    steps = {each.name: each.status for each in build(folder / "edgekit.toml").steps}
    assert (steps["convert"], steps["check"]) == ("done", "kept")


@pytest.mark.parametrize(
    "text", ["a = " + "[" * 5000, "= 3", "source = 3", "[convert]\n", 'source = "net.tflite"']
)
def test_a_damaged_toml_is_an_error(source: Path, text: str) -> None:
    toml = source.with_name("edgekit.toml")
    toml.write_text(text)
    with pytest.raises(InputError):
        build(toml)
