# SPDX-License-Identifier: Apache-2.0
"""``edgekit inspect`` and ``edgekit estimate`` as a user runs them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.command import edgekit

_FOLDER = "compiled/google-coral__test_data"


@pytest.mark.parametrize("command", ["inspect", "estimate"])
def test_a_missing_file_is_bad_input_and_one_document(command: str, tmp_path: Path) -> None:
    done = edgekit(command, tmp_path / "none.tflite", "--json")
    assert done.returncode == 3
    assert json.loads(done.stdout)["schema"] == "edgekit.error/1"
    assert "Traceback" not in done.stderr


@pytest.mark.corpus
@pytest.mark.parametrize("command", ["inspect", "estimate"])
def test_json_is_one_document_with_its_schema(corpus: Path, command: str) -> None:
    path = corpus / _FOLDER / "split_concat_edgetpu.tflite"
    done = edgekit(command, path, "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["schema"] == f"edgekit.{command}/1"
    assert done.stderr == ""


@pytest.mark.corpus
def test_the_estimate_contains_the_error_of_such_estimates(corpus: Path) -> None:
    done = edgekit("estimate", corpus / _FOLDER / "mobilenet_v1_0.25_128_quant_edgetpu.tflite")
    assert done.returncode == 0
    assert "left out of the fit" in done.stdout
    assert "there was no Edge TPU" in done.stdout


@pytest.mark.corpus
def test_an_unknown_device_is_a_usage_error(corpus: Path) -> None:
    path = corpus / _FOLDER / "split_concat_edgetpu.tflite"
    assert edgekit("estimate", path, "--device", "usb9").returncode == 2


@pytest.mark.corpus
def test_pages_and_node_data_are_written_whole_or_not_at_all(corpus: Path, tmp_path: Path) -> None:
    path = corpus / _FOLDER / "split_concat_edgetpu.tflite"
    page, data = tmp_path / "page.html", tmp_path / "data.json"
    done = edgekit("inspect", path, "--html", page, "--model-explorer", data)
    assert done.returncode == 0
    assert page.read_text().startswith("<!DOCTYPE html>")
    assert json.loads(data.read_text())["results"]
    assert edgekit("inspect", path, "--html", tmp_path / "no" / "page.html").returncode == 3


@pytest.mark.corpus
def test_several_files_are_compared(corpus: Path) -> None:
    paths = [corpus / _FOLDER / f"{name}_edgetpu.tflite" for name in ("split_concat",) * 2]
    done = edgekit("inspect", *paths, "--json")
    document = json.loads(done.stdout)
    assert document["schema"] == "edgekit.inspect-set/1"
    assert document["groups"][0]["fits_together"] is True
    assert edgekit("inspect", *paths, "--html", "x.html").returncode == 2
