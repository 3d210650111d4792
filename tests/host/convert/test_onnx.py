# SPDX-License-Identifier: Apache-2.0
"""ONNX files as a source: through onnx2tf in another environment, compared with onnxruntime.

The tests of whole conversions need an interpreter with onnx2tf, named by the environment variable
EDGEKIT_ONNX_PYTHON; the others need only edgekit's own environment.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgekit import check
from edgekit.errors import (
    MissingExtraError,
    ModelFormatError,
    UnsafeModelError,
    UnsupportedModelError,
)
from edgekit.formats.model_file import ModelFile
from edgekit.formats.tflite import Model, read_model
from edgekit.host.convert import convert
from edgekit.host.convert.importer import ImporterChild
from edgekit.host.convert.source_check import compare_with_source, difference, source_inputs
from edgekit.host.convert.sources import SourceFile, find_source

pytestmark = pytest.mark.host
_PYTHON = os.environ.get("EDGEKIT_ONNX_PYTHON", "")
needs_onnx2tf = pytest.mark.skipif(
    not _PYTHON, reason="EDGEKIT_ONNX_PYTHON does not name an interpreter with onnx2tf"
)
_VARIANTS = ("dynamic", "batch3", "opset9", "opset21", "float16", "external", "qdq", "computed")


def made(variant: str, folder: Path) -> Path:
    """Write a network with the interpreter that has the package onnx."""
    path = folder / f"{variant}.onnx"
    program = Path(__file__).with_name("make_onnx.py")
    subprocess.run([_PYTHON, str(program), variant, str(path)], check=True)
    return path


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images in NHWC, 0 to 1."""
    path = tmp_path_factory.mktemp("samples") / "samples.npz"
    np.savez(path, x=np.random.default_rng(1).random((12, 32, 32, 3), np.float32))
    return path


@needs_onnx2tf
@pytest.mark.parametrize("variant", _VARIANTS)
def test_everything_maps_and_the_float_model_is_the_source(
    variant: str, samples: Path, tmp_path: Path
) -> None:
    source, output = made(variant, tmp_path), tmp_path / "out.tflite"
    result = convert(source, data=samples, output=output, converter_python=_PYTHON)
    assert result.source_kind == "onnx"
    assert result.inputs[0].shape[1:] == (32, 32, 3)
    assert result.source_agreement is not None
    assert result.source_agreement.relative < 1e-4
    assert result.source_agreement.cosine > 0.9999
    assert "onnx2tf" in result.versions
    assert result.peak_rss_bytes > 1 << 20
    report = check(output)
    assert variant == "batch3" or report.num_mapped == report.num_operators


@needs_onnx2tf
def test_samples_in_the_order_of_the_source_give_the_same_file(
    samples: Path, tmp_path: Path
) -> None:
    source = made("dynamic", tmp_path)
    turned = tmp_path / "nchw.npz"
    np.savez(turned, x=np.moveaxis(np.load(samples)["x"], -1, 1))
    files = []
    for number, data in enumerate((samples, turned)):
        output = tmp_path / f"{number}.tflite"
        convert(source, data=data, output=output, converter_python=_PYTHON)
        files.append(output.read_bytes())
    assert files[0] == files[1]


@needs_onnx2tf
def test_a_quantized_file_keeps_its_ranges(samples: Path, tmp_path: Path) -> None:
    """The samples reach 0 to 1 and far less than 7 after the stem."""
    output = tmp_path / "out.tflite"
    convert(made("qdq", tmp_path), data=samples, output=output, converter_python=_PYTHON)
    model = ModelFile(output.read_bytes()).model
    stem = next(op for op in model.main.operators if op.opcode == "CONV_2D")
    scale = model.main.tensors[stem.outputs[0]].scale
    assert scale == pytest.approx(7 / 255, rel=1e-3)


@needs_onnx2tf
def test_a_wrong_operation_is_named(tmp_path: Path) -> None:
    """The weights of the second convolution of the .tflite are changed."""
    source = find_source(made("dynamic", tmp_path))
    image = np.random.default_rng(2).random((1, 32, 32, 3), np.float32)
    with ImporterChild(source, _PYTHON, 300, "net.onnx") as child:
        child.open()
        imported = child.to_float([(1, 3, 32, 32)])
        model = read_model(imported.content)
        sample = (source_inputs([image], [(1, 3, 32, 32)]), [image])
        same = compare_with_source(child, model, imported.operations, [sample], "net.onnx")
        assert same.relative < 1e-4
        with pytest.raises(UnsupportedModelError) as caught:
            compare_with_source(
                child, _with_wrong_second(model), imported.operations, [sample], "net.onnx"
            )
    assert "expand" in caught.value.where
    assert "cosine" in caught.value.why


def _with_wrong_second(model: Model) -> Model:
    convolutions = [op for op in model.main.operators if op.opcode == "CONV_2D"]
    place = model.main.tensors[convolutions[1].inputs[1]].buffer
    weights = np.frombuffer(bytes(model.buffers[place]), np.float32) * np.float32(1.5)
    buffers = list(model.buffers)
    buffers[place] = np.frombuffer(weights.tobytes(), np.uint8)
    return replace(model, buffers=tuple(buffers))


@needs_onnx2tf
def test_a_custom_operator_is_named(samples: Path, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModelError, match=r"Magic of my\.org") as caught:
        convert(
            made("custom", tmp_path),
            data=samples,
            output=tmp_path / "out.tflite",
            converter_python=_PYTHON,
        )
    assert "magic" in caught.value.where


@needs_onnx2tf
def test_weights_outside_of_the_folder_are_not_read(samples: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    source = made("elsewhere", folder)
    (folder / "net.data").rename(tmp_path / "net.data")
    with pytest.raises(UnsafeModelError, match="outside of its folder"):
        convert(source, data=samples, output=tmp_path / "out.tflite", converter_python=_PYTHON)


@needs_onnx2tf
def test_missing_weights_are_named(samples: Path, tmp_path: Path) -> None:
    source = made("external", tmp_path)
    (tmp_path / "net.data").unlink()
    with pytest.raises(ModelFormatError, match="weights is missing") as caught:
        convert(source, data=samples, output=tmp_path / "out.tflite", converter_python=_PYTHON)
    assert "net.data" in caught.value.where


@needs_onnx2tf
def test_a_damaged_file_is_refused(samples: Path, tmp_path: Path) -> None:
    source = made("dynamic", tmp_path)
    source.write_bytes(source.read_bytes()[:2000])
    with pytest.raises(ModelFormatError, match="ONNX file cannot be read"):
        convert(source, data=samples, output=tmp_path / "out.tflite", converter_python=_PYTHON)


def test_an_interpreter_without_onnx2tf_is_named(samples: Path, tmp_path: Path) -> None:
    source = tmp_path / "net.onnx"
    source.write_bytes(b"\x08\x08")
    with pytest.raises(MissingExtraError) as caught:
        convert(
            source, data=samples, output=tmp_path / "out.tflite", converter_python=sys.executable
        )
    assert sys.executable in caught.value.what
    assert "--converter-python" in caught.value.fix


def test_without_onnx2tf_the_error_says_how_to_get_it(tmp_path: Path) -> None:
    source = SourceFile(tmp_path / "net.onnx", "onnx")
    with pytest.raises(MissingExtraError) as caught:
        ImporterChild(source, None, None, "net.onnx")
    assert "--converter-python" in caught.value.fix


def test_an_empty_onnx_file_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "net.onnx"
    source.write_bytes(b"")
    with pytest.raises(ModelFormatError, match="empty"):
        find_source(source)


def test_a_difference_is_relative_to_the_largest_value_in_either_layout() -> None:
    expected = np.random.default_rng(3).normal(size=(1, 3, 4, 5))
    expected.flat[0] = 10.0
    turned = expected.transpose(0, 2, 3, 1).copy()
    assert difference(expected, turned).relative == 0.0
    turned.flat[7] += 0.1
    found = difference(expected, turned)
    assert found.relative == pytest.approx(0.01)
    assert 0.99 < found.cosine < 1.0


def test_values_that_are_not_finite_must_be_the_same_ones() -> None:
    expected = np.array([1.0, np.inf, 2.0])
    assert difference(expected, expected).relative == 0.0
    assert difference(expected, np.array([1.0, 3.0, 2.0])).relative == np.inf
    assert difference(expected, np.array([1.0, 3.0])).relative == np.inf
