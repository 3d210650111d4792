# SPDX-License-Identifier: Apache-2.0
"""The result of `inspect` agrees with the content of the file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgekit.cli.inspect import render
from edgekit.errors import ModelFormatError, UnsupportedModelError, UsageError
from edgekit.formats.tflite import write_model
from edgekit.formats.tflite_metadata import IN_EMULATOR, CompilerNote, write_compiler_note
from edgekit.inspect import inspect, inspect_files, node_data
from tests.runtime.edgetpu.conftest import compiled_model

_TEST_DATA = "compiled/google-coral__test_data"
_SMALL = f"{_TEST_DATA}/mobilenet_v1_0.25_128_quant"


@pytest.mark.corpus
def test_operators_inside_the_edge_tpu_part_are_exactly_those_on_record(corpus: Path) -> None:
    for record in json.loads((corpus / "compiled" / "truth.json").read_text()):
        if record["source"]:
            result = inspect(corpus / record["compiled"], source=corpus / record["source"])
            places = [{"tpu": "MAPPED", "cpu": "CPU"}[op.place] for op in result.source_operators]
            assert places == [op["status"] for op in record["ops"]], record["compiled"]


@pytest.mark.corpus
def test_operators_left_on_the_cpu_are_those_on_record(corpus: Path) -> None:
    for record in json.loads((corpus / "compiled" / "truth.json").read_text()):
        result = inspect(corpus / record["compiled"])
        expected = [name.replace("CUSTOM:", "") for name in record["cpu_ops"]]
        assert [each.opcode for each in result.cpu_operators] == expected
        assert result.kind == "compiled"
        result.to_json()


@pytest.mark.corpus
def test_a_plain_model_has_its_published_work(corpus: Path) -> None:
    """MobileNet v1 0.25 at 128 has 14 million MACs and 0.47 million parameters (its paper)."""
    result = inspect(corpus / f"{_SMALL}.tflite")
    assert result.kind == "plain"
    assert result.macs == pytest.approx(13.6e6, rel=0.05)
    assert result.parameter_bytes == pytest.approx(0.47e6, rel=0.1)
    # The first convolution's output and its successor's, 64 x 64 x 8 each.
    assert result.peak_activation_bytes == 98_304


@pytest.mark.corpus
def test_models_compiled_separately_share_nothing(corpus: Path) -> None:
    names = ("mobilenet_v1_0.25_128_quant", "split_concat")
    paths = [corpus / _TEST_DATA / f"{name}_edgetpu.tflite" for name in names]
    result = inspect_files(paths)
    assert {group.relation for group in result.groups} == {"alone"}
    assert "no two files share a token" in result.verdict


@pytest.mark.corpus
def test_segments_of_a_pipeline_are_distinguished_from_co_compiled_models(
    corpus: Path, tmp_path: Path
) -> None:
    name = "ssd_mobilenet_v1_coco_quant_postprocess_segment_{}_of_2_edgetpu.tflite"
    paths = []
    for number in range(2):  # with other file names: the tensors also show it
        paths.append(tmp_path / f"{number}.tflite")
        paths[-1].write_bytes((corpus / _TEST_DATA / name.format(number)).read_bytes())
    assert inspect_files(paths).groups[0].relation == "segments"
    twice = inspect_files([paths[0], paths[0]])
    assert twice.groups[0].relation == "co-compiled"
    assert twice.groups[0].fits_together


@pytest.mark.corpus
def test_five_parts_of_one_file_are_summed(corpus: Path) -> None:
    path = corpus / "compiled/arth-simon__edge_tpu_lane_detection/model_hyper_32_edgetpu.tflite"
    result = inspect(path)
    assert len(result.packages) == 5
    assert result.cached_bytes == sum(each.cached_bytes for each in result.packages)


@pytest.mark.corpus
def test_another_model_is_refused_as_the_source(corpus: Path) -> None:
    with pytest.raises(UnsupportedModelError, match="has no tensor"):
        inspect(
            corpus / f"{_SMALL}_edgetpu.tflite",
            source=corpus / _TEST_DATA / "split_concat.tflite",
        )


@pytest.mark.corpus
def test_a_plain_model_has_no_source(corpus: Path) -> None:
    with pytest.raises(UsageError, match="is not compiled"):
        inspect(corpus / f"{_SMALL}.tflite", source=corpus / f"{_SMALL}.tflite")


@pytest.mark.corpus
def test_a_damaged_package_is_named_with_its_file(corpus: Path, tmp_path: Path) -> None:
    path = tmp_path / "damaged.tflite"
    content = bytearray((corpus / f"{_SMALL}_edgetpu.tflite").read_bytes())
    place = content.index(b"DWN1")
    content[place : place + 4] = b"\xff" * 4
    path.write_bytes(bytes(content))
    with pytest.raises(ModelFormatError) as caught:
        inspect(path)
    assert str(path) in caught.value.where


@pytest.mark.corpus
def test_node_data_has_a_value_and_a_colour_for_each_output_tensor(corpus: Path) -> None:
    result = inspect(corpus / f"{_SMALL}_edgetpu.tflite", source=corpus / f"{_SMALL}.tflite")
    document = node_data(result)
    names = {tensor.name for op in result.source_operators for tensor in op.outputs}
    assert set(document["results"]) == names
    assert all({"value", "bgColor"} <= set(each) for each in document["results"].values())
    json.dumps(document, allow_nan=False)


def test_a_note_of_the_open_compiler_is_shown_instead_of_googles_releases(tmp_path: Path) -> None:
    path, google = tmp_path / "ours.tflite", tmp_path / "google.tflite"
    record = {"inputs": 12, "share_of_seen_forms": 1.0}
    note = CompilerNote("edgekit 9.9 open compiler", IN_EMULATOR, record)
    google.write_bytes(write_model(compiled_model()))
    path.write_bytes(write_compiler_note(google.read_bytes(), note))
    result = inspect(path)
    assert result.compiler_note == note
    assert json.loads(result.to_json())["compiler_note"]["verification"] == record
    assert (
        "compiler   edgekit 9.9 open compiler; verified in the emulator, not on a chip"
        in render(result)
    )
    assert not any("edgetpu_compiler" in line for line in render(result))
    assert inspect(google).compiler_note is None
    assert any("edgetpu_compiler 16.0" in line for line in render(inspect(google)))
