# SPDX-License-Identifier: Apache-2.0
"""Make, use and verify bundles like a user."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import edgekit
from edgekit.bundle import bundle, verify
from edgekit.bundle.here import compare_with_here
from edgekit.errors import (
    BundleError,
    InputError,
    OutputError,
    UnsupportedModelError,
    UsageError,
)
from edgekit.files import sha256_hex
from edgekit.formats.bundle import read_bundle, write_bundle
from edgekit.formats.bundle.manifest import parse_manifest
from edgekit.formats.tflite import read_model
from edgekit.formats.tflite_metadata import read_notes
from edgekit.runtime import Runner
from tests.command import edgekit as run_edgekit


def _result(path: Path, sha256: str, schema: str = "edgekit.evaluate/1") -> Path:
    document = {
        "schema": schema,
        "sha256": sha256,
        "task": "classification",
        "decoder": "score a class",
        "num_samples": 5,
    }
    path.write_text(json.dumps(document))
    return path


def test_the_same_input_gives_the_same_bytes(model: Path, labels: Path, tmp_path: Path) -> None:
    for name in ("a.edgekit", "b.edgekit"):
        bundle(model, labels=labels, preprocess="tf", output=tmp_path / name)
    assert (tmp_path / "a.edgekit").read_bytes() == (tmp_path / "b.edgekit").read_bytes()


def test_the_manifest_is_the_last_file(model: Path, labels: Path, tmp_path: Path) -> None:
    bundle(model, labels=labels, output=tmp_path / "net.edgekit")
    with zipfile.ZipFile(tmp_path / "net.edgekit") as archive:
        assert archive.namelist() == ["model.tflite", "labels.txt", "manifest.json"]


def test_the_preprocessing_that_a_device_will_use_by_default_is_reported(
    model: Path, tmp_path: Path
) -> None:
    """An int8 input with scale 1/255 and zero point -128 stands for 0..1."""
    result = bundle(model, output=tmp_path / "net.edgekit")
    (warning,) = (each for each in result.warnings if "no preprocessing is given" in each)
    assert "a device will use unit," in warning
    assert "its input stands for 0..1" in warning


def test_labels_and_preprocessing_are_in_the_bundle_and_in_the_model(
    model: Path, labels: Path, tmp_path: Path
) -> None:
    output = tmp_path / "net.edgekit"
    bundle(model, labels=labels, preprocess="tf,resize=crop", output=output)
    whole = read_bundle(output.read_bytes())
    for content in (output.read_bytes(), whole.model):
        notes = read_notes(content)
        assert notes.labels == ("cat", "dog", "horse")
        assert notes.preprocess == "tf,resize=crop,filter=tf-bilinear,colour=rgb"
    assert whole.manifest.source_sha256 == sha256_hex(model.read_bytes())
    assert read_model(whole.model).subgraphs == read_model(model).subgraphs


def test_a_model_without_new_metadata_is_not_changed(model: Path, tmp_path: Path) -> None:
    bundle(model, output=tmp_path / "net.edgekit")
    assert read_bundle((tmp_path / "net.edgekit").read_bytes()).model == model.read_bytes()


def test_a_bundle_runs_where_a_model_runs(model: Path, labels: Path, tmp_path: Path) -> None:
    output, picture = tmp_path / "net.edgekit", tmp_path / "cat.png"
    bundle(model, labels=labels, preprocess="unit", output=output)
    Image.fromarray(np.full((2, 2, 3), 200, np.uint8)).save(picture)
    plain = edgekit.run(model, [picture], preprocess="unit", labels=labels)
    packed = edgekit.run(output, [picture])
    assert packed.answers[0].top == plain.answers[0].top
    assert packed.answers[0].top[0].label in ("cat", "dog", "horse")
    assert edgekit.benchmark(output, num_runs=1).runs == 1
    assert edgekit.read_model(output) is not None
    with Runner(output.read_bytes()) as runner:
        assert runner.notes.labels == ("cat", "dog", "horse")


def test_the_bundles_preprocessing_is_used_unless_another_is_given(
    model: Path, tmp_path: Path
) -> None:
    output, data = tmp_path / "net.edgekit", tmp_path / "data.npz"
    bundle(model, preprocess="raw", output=output)
    np.savez(data, x=np.full((4, 2, 2, 3), 200, np.uint8), y=np.zeros(4, np.int64))
    assert "raw" in json.dumps(edgekit.evaluate(output, data, num_workers=1).to_dict()["data"])
    asked = edgekit.evaluate(output, data, preprocess="unit", num_workers=1)
    assert "unit" in json.dumps(asked.to_dict()["data"])


def test_results_are_in_the_bundle_and_state_the_task(model: Path, tmp_path: Path) -> None:
    sha256 = sha256_hex(model.read_bytes())
    first = _result(tmp_path / "r1.json", sha256)
    second = _result(tmp_path / "r2.json", sha256, "edgekit.benchmark/1")
    output = tmp_path / "net.edgekit"
    result = bundle(model, metrics=[first, second, first], output=output)
    assert (result.manifest.task, result.manifest.decoder) == ("classification", "score a class")
    paths = [entry.path for entry in result.manifest.files_with("results")]
    assert paths == ["results/evaluate.json", "results/benchmark.json", "results/evaluate-2.json"]
    assert "3 results are of these models" in verify(output).checked


def test_results_of_another_model_are_refused(
    model: Path, other_model: Path, tmp_path: Path
) -> None:
    path = _result(tmp_path / "r.json", sha256_hex(other_model.read_bytes()))
    with pytest.raises(BundleError, match="of another model"):
        bundle(model, metrics=[path], output=tmp_path / "net.edgekit")
    assert not (tmp_path / "net.edgekit").exists()


def test_the_files_of_a_bundle_are_not_overwritten(model: Path, labels: Path) -> None:
    before = model.read_bytes(), labels.read_bytes()
    for output in (model, labels):
        with pytest.raises(UsageError, match="overwrite"):
            bundle(model, labels=labels, output=output)
    assert (model.read_bytes(), labels.read_bytes()) == before


def test_an_unknown_task_is_refused(model: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no task 'classify'"):
        bundle(model, task="classify", output=tmp_path / "net.edgekit")


@pytest.mark.parametrize("content", ["", "[]", '{"schema": "other/1"}'])
def test_a_file_that_is_not_a_result_is_refused(model: Path, tmp_path: Path, content: str) -> None:
    path = tmp_path / "r.json"
    path.write_text(content)
    with pytest.raises(InputError):
        bundle(model, metrics=[path], output=tmp_path / "net.edgekit")


def test_the_wrong_number_of_labels_is_a_warning(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_text("cat\ndog\n")
    result = bundle(model, labels=path, preprocess="unit", output=tmp_path / "net.edgekit")
    assert result.warnings == ("2 labels for 3 classes",)


def test_a_plain_model_is_not_accepted_as_a_compiled_one(
    model: Path, other_model: Path, tmp_path: Path
) -> None:
    with pytest.raises(UnsupportedModelError, match="no edgetpu-custom-op"):
        bundle(model, compiled=other_model, output=tmp_path / "net.edgekit")


def test_a_bundle_made_again_keeps_its_contents(model: Path, labels: Path, tmp_path: Path) -> None:
    first, again, licence = tmp_path / "net.edgekit", tmp_path / "again.edgekit", tmp_path / "L"
    licence.write_text("Apache-2.0\n")
    bundle(model, labels=labels, preprocess="tf", task="classification", output=first)
    bundle(first, output=again)
    assert again.read_bytes() == first.read_bytes()
    inside = sha256_hex(read_bundle(first.read_bytes()).model)
    measured = [_result(tmp_path / "a.json", inside)]
    measured.append(_result(tmp_path / "b.json", sha256_hex(model.read_bytes())))
    bundle(first, licence=licence, metrics=measured, output=again)
    result = bundle(again, preprocess="raw", output=again)
    assert (result.manifest.name, result.manifest.task) == ("net", "classification")
    assert (result.manifest.num_labels, result.manifest.licence) == (3, "Apache-2.0")
    assert "2 results are of these models" in verify(again).checked
    assert read_notes(read_bundle(again.read_bytes()).model).preprocess.startswith("raw")


@pytest.mark.parametrize("plain", ["net.tflite", "other.tflite"])
def test_one_segment_of_several_is_not_accepted_as_a_compiled_model(
    model: Path, other_model: Path, tmp_path: Path, plain: str
) -> None:
    segment = tmp_path / "net_segment_0_of_2_edgetpu.tflite"
    segment.write_bytes(model.read_bytes())
    assert other_model.is_file()
    with pytest.raises(UnsupportedModelError, match="one segment"):
        bundle(tmp_path / plain, compiled=segment, output=tmp_path / "net.edgekit")


def test_a_missing_folder_is_reported_before_anything_else(model: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError):
        bundle(model, output=tmp_path / "none" / "net.edgekit")


def test_a_manifest_that_requires_less_than_the_models_is_refused(
    model: Path, tmp_path: Path
) -> None:
    output = tmp_path / "net.edgekit"
    bundle(model, output=output)
    whole = read_bundle(output.read_bytes())
    changed = dataclasses.replace(
        whole.manifest, requires={"tensorflow_lite": "", "edgetpu_runtime": 12}
    )
    files = [(entry, whole.files[entry.path]) for entry in changed.files]
    output.write_bytes(write_bundle(changed, files))
    with pytest.raises(BundleError, match="requires edgetpu_runtime 12"):
        verify(output)


@pytest.mark.parametrize(("preprocess", "task"), [("zzz", ""), ("", "zzz")])
def test_a_manifest_with_unknown_requirements_is_refused(
    model: Path, tmp_path: Path, preprocess: str, task: str
) -> None:
    output = tmp_path / "net.edgekit"
    bundle(model, output=output)
    whole = read_bundle(output.read_bytes())
    changed = dataclasses.replace(whole.manifest, preprocess=preprocess, task=task)
    files = [(entry, whole.files[entry.path]) for entry in changed.files]
    output.write_bytes(write_bundle(changed, files))
    with pytest.raises(BundleError, match=r"edgekit does not support the manifest: .*zzz"):
        verify(output)


def test_documents_nested_too_deeply_are_damaged(model: Path, tmp_path: Path) -> None:
    deep = "[" * 200_000
    with pytest.raises(BundleError, match="is not JSON"):
        parse_manifest(deep.encode())
    (tmp_path / "deep.json").write_text(deep)
    with pytest.raises(InputError, match="not JSON"):
        bundle(model, metrics=[tmp_path / "deep.json"], output=tmp_path / "net.edgekit")


@pytest.mark.corpus
def test_a_compiled_model_is_not_accepted_as_the_plain_one(corpus: Path, tmp_path: Path) -> None:
    compiled = next((corpus / "compiled").rglob("*_edgetpu.tflite"))
    with pytest.raises(UnsupportedModelError, match="is compiled for the Edge TPU"):
        bundle(compiled, output=tmp_path / "net.edgekit")
    assert not (tmp_path / "net.edgekit").exists()


@pytest.mark.parametrize("command", ["verify", "run", "benchmark", "evaluate"])
def test_a_truncated_bundle_is_one_clear_error(
    model: Path, labels: Path, tmp_path: Path, command: str
) -> None:
    output = tmp_path / "net.edgekit"
    bundle(model, labels=labels, output=output)
    output.write_bytes(output.read_bytes()[:-30])
    options: dict[str, list[object]] = {"run": [labels], "evaluate": ["--data", labels]}
    done = run_edgekit(command, output, *options.get(command, []))
    assert done.returncode == 3
    assert "truncated or damaged" in done.stderr
    assert "Traceback" not in done.stderr


def test_verify_reports_in_json_what_it_compared(model: Path, tmp_path: Path) -> None:
    output = tmp_path / "net.edgekit"
    assert run_edgekit("bundle", model, "-o", output).returncode == 0
    document = json.loads(run_edgekit("verify", output, "--json").stdout)
    assert document["schema"] == "edgekit.verify/2"
    assert document["signature"] == "none"
    assert document["checked"][0] == "1 files have the hashes of the manifest"


@pytest.mark.parametrize(
    ("lite", "edgekit_version", "usable"),
    [("2.3.0", "0.0.1", True), ("99.0.0", "0.0.1", None), ("2.3.0", "99.0", None)],
)
def test_verify_compares_versions_with_those_here(
    model: Path, tmp_path: Path, lite: str, edgekit_version: str, usable: bool | None
) -> None:
    bundle(model, output=tmp_path / "net.edgekit")
    whole = read_bundle((tmp_path / "net.edgekit").read_bytes())
    needs = {"tensorflow_lite": lite, "edgetpu_runtime": None}
    manifest = dataclasses.replace(whole.manifest, requires=needs, edgekit=edgekit_version)
    fits = compare_with_here(manifest)
    assert [each.what for each in fits] == ["edgekit", "tensorflow_lite"]
    # If a runtime has TensorFlow's version numbers, verify can find that it is too old.
    assert all(each.usable for each in fits) is bool(usable)


def test_a_missing_bundle_is_bad_input(tmp_path: Path) -> None:
    done = run_edgekit("verify", tmp_path / "none.edgekit", "--json")
    assert (done.returncode, json.loads(done.stdout)["code"]) == (3, "input")


@pytest.mark.corpus
def test_a_model_with_googles_metadata_needs_no_options(corpus: Path, tmp_path: Path) -> None:
    """Normalization and 1001 labels are in the file; the bundle keeps them, and its bytes."""
    folder = corpus / "compiled" / "google-coral__test_data"
    plain = folder / "mobilenet_v1_0.25_128_quant.tflite"
    output = tmp_path / "net.edgekit"
    compiled = folder / "mobilenet_v1_0.25_128_quant_edgetpu.tflite"
    result = bundle(plain, compiled=compiled, output=output)
    assert result.manifest.num_labels == 1001
    assert result.manifest.requires == {"tensorflow_lite": "1.5.0", "edgetpu_runtime": 12}
    whole = read_bundle(output.read_bytes())
    assert (whole.model, whole.compiled) == (plain.read_bytes(), compiled.read_bytes())
    for model in (plain, output):
        answer = edgekit.run(model, [corpus / "coral" / "parrot.jpg"]).answers[0]
        assert answer.top[0].label == "macaw"


@pytest.mark.corpus
def test_models_of_the_corpus_make_verified_bundles(
    corpus: Path, labels: Path, tmp_path: Path
) -> None:
    """Writing metadata into a file does not change its graph."""
    records = json.loads((corpus / "compiled" / "truth.json").read_text())
    pairs = [each for each in records if each["source"]][::6]
    for each in pairs:
        plain, output = corpus / each["source"], tmp_path / "net.edgekit"
        compiled = corpus / each["compiled"]
        result = bundle(plain, compiled=compiled, labels=labels, preprocess="tf", output=output)
        assert result.manifest.requires["edgetpu_runtime"] == each["min_runtime_version"]
        assert "the compiled model was made from the plain one" in verify(output).checked
        assert read_model(output).subgraphs == read_model(plain).subgraphs
        whole = read_bundle(output.read_bytes())
        assert whole.compiled is not None
        assert read_notes(whole.compiled).labels == ("cat", "dog", "horse")
        assert read_model(whole.compiled).subgraphs == read_model(compiled).subgraphs
    assert len(pairs) > 5
