# SPDX-License-Identifier: Apache-2.0
"""``edgekit disasm`` and ``edgekit emulate`` as a user runs them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgekit.chip.isa import decode, encode
from edgekit.formats.darwinn import read_packages
from edgekit.formats.tflite import read_model
from tests.command import edgekit

_FOLDER = "compiled/google-coral__edgetpu"
_NAME = "mobilenet_v1_0.25_128_quant_edgetpu.tflite"


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image.npy"
    np.save(path, np.full((1, 128, 128, 3), 100, np.uint8))
    return path


@pytest.mark.corpus
def test_disasm_prints_instructions_and_layer_names(corpus: Path) -> None:
    done = edgekit("disasm", corpus / _FOLDER / _NAME)
    assert done.returncode == 0
    assert " op tiles=" in done.stdout
    assert " ring.send tiles=" in done.stdout
    assert "input" in done.stdout


@pytest.mark.corpus
def test_disasm_prints_one_document(corpus: Path) -> None:
    done = edgekit("disasm", corpus / _FOLDER / _NAME, "--json")
    assert json.loads(done.stdout)["schema"] == "edgekit.disasm/1"


@pytest.mark.corpus
def test_emulate_prints_answers_and_what_was_not_measured(corpus: Path, image: Path) -> None:
    done = edgekit("emulate", corpus / _FOLDER / _NAME, image, "--strict-sync")
    assert done.returncode == 0, done.stderr
    assert "synchronization checked" in done.stdout
    assert "Edge TPU: not measured" in done.stdout


@pytest.mark.corpus
def test_emulate_prints_one_document(corpus: Path, image: Path) -> None:
    done = edgekit("emulate", corpus / _FOLDER / _NAME, image, "--json")
    document = json.loads(done.stdout)
    assert document["schema"] == "edgekit.emulate/1"
    assert document["programs"][0]["instructions"]["op"] > 0
    ran = document["run"]
    assert ran["environment"]["device"] == ran["device"] == "emulator"


@pytest.mark.corpus
def test_the_lstm_recognizes_the_nine_of_googles_own_test(corpus: Path) -> None:
    """On the Edge TPU more than 0.7 (libcoral, coral/classification/model_test_cases.bzl)."""
    model = corpus / "compiled/google-coral__test_data/keras_lstm_mnist_ptq_edgetpu.tflite"
    done = edgekit("emulate", model, corpus / "coral/mnist_nine.bmp", "--json")
    (answer,) = json.loads(done.stdout)["run"]["answers"]
    assert answer["top"][0]["index"] == 9
    assert answer["top"][0]["score"] > 0.7


@pytest.mark.corpus
def test_a_stop_of_the_emulator_is_an_error_with_a_place(
    corpus: Path, image: Path, tmp_path: Path
) -> None:
    content = (corpus / _FOLDER / _NAME).read_bytes()
    package = read_packages(read_model(content))[0].package
    stream = package.inference.instruction_bitstreams[0].bitstream.tobytes()
    instructions = list(decode(stream))
    position = next(k for k, each in enumerate(instructions) if each.layout.name == "op")
    old = instructions[position]
    instructions[position] = replace(old, fields={**old.fields, "cfg2": 0x1F})
    changed = tmp_path / "changed_edgetpu.tflite"
    changed.write_bytes(content.replace(stream, encode(instructions)))
    done = edgekit("emulate", changed, image)
    assert done.returncode != 0
    assert f"pc {old.pc}, op, field cfg2" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["disasm", "emulate"])
def test_a_missing_file_or_one_that_is_not_a_model_is_one_error(
    command: str, tmp_path: Path, image: Path
) -> None:
    wrong = tmp_path / "wrong.tflite"
    wrong.write_bytes(b"not a model")
    others = [image] if command == "emulate" else []
    for path in (tmp_path / "absent.tflite", wrong):
        done = edgekit(command, path, *others)
        assert done.returncode not in (0, 1)
        assert path.name in done.stderr
        assert "Traceback" not in done.stderr
