# SPDX-License-Identifier: Apache-2.0
"""Every command takes a bundle where it takes a model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgekit.bundle import bundle
from edgekit.files import sha256_hex
from edgekit.formats.bundle import read_bundle
from edgekit.formats.tflite import Model, read_model, write_model
from edgekit.formats.tflite_metadata import read_notes
from tests.command import edgekit

_NET = "compiled/google-coral__test_data/mobilenet_v1_0.25_128_quant"
_PICTURE = "coral/parrot.jpg"
# The fields of a document that are equal for the bundle and for the compiled model alone.
_SAME = {
    "inspect": ("kind", "cached_bytes", "streamed_bytes", "operators"),
    "estimate": ("kind", "latency_ms", "parts_ms"),
    "disasm": ("programs",),
    "emulate": ("strict_sync",),
}


def _edgekit(*words: object) -> tuple[int, dict[str, Any]]:
    done = edgekit(*words, "--json")
    assert "Traceback" not in done.stderr
    return done.returncode, json.loads(done.stdout)


@pytest.fixture
def net(corpus: Path, tmp_path: Path) -> Path:
    """Write a bundle of a model and its compiled form, from Google's compiler."""
    output = tmp_path / "net.edgekit"
    bundle(corpus / f"{_NET}.tflite", compiled=corpus / f"{_NET}_edgetpu.tflite", output=output)
    return output


@pytest.mark.corpus
def test_commands_for_a_compiled_model_use_the_one_in_the_bundle(net: Path, corpus: Path) -> None:
    compiled = corpus / f"{_NET}_edgetpu.tflite"
    for command, words in (
        ("inspect", ()),
        ("estimate", ()),
        ("disasm", ()),
        ("emulate", (corpus / _PICTURE,)),
    ):
        status, document = _edgekit(command, net, *words)
        assert status == 0, command
        alone = _edgekit(command, compiled, *words)[1]
        for field in _SAME[command]:
            assert document[field] == alone[field], command
    status, document = _edgekit("inspect", net)
    assert len(document["source_operators"]) == 31
    status, document = _edgekit("emulate", net, corpus / _PICTURE)
    assert document["run"]["answers"][0]["top"][0]["label"] == "macaw"
    assert document["programs"][0]["num_steps"] > 0


@pytest.mark.corpus
def test_commands_for_a_plain_model_use_the_one_in_the_bundle(
    net: Path, corpus: Path, tmp_path: Path
) -> None:
    plain = corpus / f"{_NET}.tflite"
    for command, words in (
        ("check", ()),
        ("split", ("-o", tmp_path / "parts")),
        ("run", (corpus / _PICTURE,)),
        ("benchmark", ("--num-runs", 2)),
        ("doctor", ("--cpu",)),
    ):
        named = ("--model", net) if command == "doctor" else (net,)
        status, document = _edgekit(command, *named, *words)
        assert status == 0, command
        if command == "check":
            assert document["operators"] == _edgekit("check", plain)[1]["operators"]


@pytest.mark.corpus
def test_fix_writes_a_model_not_a_bundle_and_keeps_its_labels(net: Path, tmp_path: Path) -> None:
    output = tmp_path / "fixed.tflite"
    status, document = _edgekit("fix", net, "-o", output)
    assert status == 0
    assert not document["changed"]
    assert output.read_bytes() == read_bundle(net.read_bytes()).model
    status, document = _edgekit("fix", net, "--io", "int8", "-o", output)
    assert status == 0
    assert document["changed"]
    assert read_model(output).main.tensors[read_model(output).main.inputs[0]].dtype == "INT8"
    assert len(read_notes(output.read_bytes()).labels) == 1001


@pytest.mark.host
def test_a_bundle_is_refused_as_a_source_to_convert(tmp_path: Path, int8_model: Model) -> None:
    (tmp_path / "net.tflite").write_bytes(write_model(int8_model))
    bundle(tmp_path / "net.tflite", output=tmp_path / "net.edgekit")
    words = ("--data", "random", "-o", tmp_path / "out.tflite")
    status, document = _edgekit("convert", tmp_path / "net.edgekit", *words)
    assert status == 3
    assert "already converted" in document["what"]
    assert not (tmp_path / "out.tflite").exists()


def test_bundle_accepts_a_bundle_for_the_compiled_model(tmp_path: Path, int8_model: Model) -> None:
    """A bundle without a compiled model is an error that states this."""
    (tmp_path / "net.tflite").write_bytes(write_model(int8_model))
    bundle(tmp_path / "net.tflite", output=tmp_path / "net.edgekit")
    words = ("--compiled", tmp_path / "net.edgekit", "-o", tmp_path / "two.edgekit")
    status, document = _edgekit("bundle", tmp_path / "net.tflite", *words)
    assert (status, document["code"]) == (3, "model.unsupported")
    assert sha256_hex((tmp_path / "net.tflite").read_bytes()) == _source(tmp_path)


def _source(folder: Path) -> str:
    return read_bundle((folder / "net.edgekit").read_bytes()).manifest.source_sha256
