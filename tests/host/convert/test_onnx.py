# SPDX-License-Identifier: Apache-2.0
"""ONNX files as a source: through onnx2tf in another environment, compared with onnxruntime.

The tests of whole conversions need an interpreter with onnx2tf, named by the environment variable
EDGEKIT_ONNX_PYTHON; the others need only edgekit's own environment.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from edgekit import check
from edgekit.errors import MissingExtraError, ModelFormatError, UnsupportedModelError
from edgekit.formats.model_file import ModelFile
from edgekit.host.convert import convert
from edgekit.host.convert.source_check import difference, source_inputs
from edgekit.host.convert.sources import find_source
from tests.host.convert.foreign import ONNX, check_missing_converter, wrong_operation

pytestmark = pytest.mark.host
_PYTHON = ONNX.python
needs_onnx2tf = ONNX.needed
_VARIANTS = (
    "dynamic",
    "batch3",
    "opset9",
    "opset21",
    "float16",
    "external",
    "qdq",
    "qlinear",
    "computed",
    "nhwc",
)


def made(variant: str, folder: Path) -> Path:
    """Write a network with an interpreter that has the package onnx."""
    return ONNX.made(variant, folder / f"{variant}.onnx")


@needs_onnx2tf
@pytest.mark.parametrize("variant", _VARIANTS)
def test_everything_maps_and_the_float_model_is_the_source(
    variant: str, images_32: Path, tmp_path: Path
) -> None:
    source, output = made(variant, tmp_path), tmp_path / "out.tflite"
    result = convert(source, data=images_32, output=output, converter_python=_PYTHON)
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
def test_steps_of_a_recurrent_network_keep_their_order(tmp_path: Path) -> None:
    steps = np.random.default_rng(1).normal(size=(24, 10, 6)).astype(np.float32)
    np.savez(tmp_path / "steps.npz", x=steps)
    result = convert(
        made("lstm", tmp_path),
        data=tmp_path / "steps.npz",
        output=tmp_path / "out.tflite",
        converter_python=_PYTHON,
    )
    assert result.inputs[0].shape == (1, 10, 6)
    assert result.source_agreement is not None
    assert result.source_agreement.relative < 1e-4


@needs_onnx2tf
def test_samples_in_the_order_of_the_source_give_the_same_file(
    images_32: Path, tmp_path: Path
) -> None:
    source = made("dynamic", tmp_path)
    turned = tmp_path / "nchw.npz"
    np.savez(turned, x=np.moveaxis(np.load(images_32)["x"], -1, 1))
    files = []
    for number, data in enumerate((images_32, turned)):
        output = tmp_path / f"{number}.tflite"
        convert(source, data=data, output=output, converter_python=_PYTHON)
        files.append(output.read_bytes())
    assert files[0] == files[1]


@needs_onnx2tf
@pytest.mark.parametrize("variant", ["qdq", "qlinear"])
def test_a_quantized_file_keeps_its_ranges(variant: str, images_32: Path, tmp_path: Path) -> None:
    """The samples reach 0 to 1 and far less than 7 after the stem."""
    output = tmp_path / "out.tflite"
    convert(made(variant, tmp_path), data=images_32, output=output, converter_python=_PYTHON)
    model = ModelFile(output.read_bytes()).model
    stem = next(op for op in model.main.operators if op.opcode == "CONV_2D")
    scale = model.main.tensors[stem.outputs[0]].scale
    assert scale == pytest.approx(7 / 255, rel=1e-3)


@needs_onnx2tf
def test_a_wrong_operation_is_named(tmp_path: Path) -> None:
    """The weights of the second convolution of the .tflite are changed."""
    image = np.random.default_rng(2).random((1, 32, 32, 3), np.float32)
    sample = (source_inputs([image], [(1, 3, 32, 32)]), [image])
    error = wrong_operation(made("dynamic", tmp_path), _PYTHON, sample, ("CONV_2D", 1))
    assert "expand" in error.where
    assert "cosine" in error.why


@pytest.mark.parametrize(
    ("given", "wanted"),
    [((1, 6, 5, 3), (1, 3, 6, 5)), ((2, 8, 1), (2, 1, 8)), ((1, 4, 5, 6, 2), (1, 2, 4, 5, 6))],
)
def test_samples_of_any_rank_get_their_channels_first(
    given: tuple[int, ...], wanted: tuple[int, ...]
) -> None:
    """A state of (layers, batch, units) is (layers, units, batch) after onnx2tf."""
    array = np.random.default_rng(0).random(given)
    (turned,) = source_inputs([array], [wanted])
    assert turned.shape == wanted
    assert (turned[0, 0] == array[0, ..., 0]).all()
    (same,) = source_inputs([array], [given])
    assert same is array
    with pytest.raises(UnsupportedModelError, match="a sample has the shape"):
        source_inputs([array], [(7, *wanted)])


def test_an_interpreter_without_onnx2tf_is_named(images_32: Path, tmp_path: Path) -> None:
    source = tmp_path / "net.onnx"
    source.write_bytes(b"\x08\x08")
    with pytest.raises(MissingExtraError) as caught:
        convert(
            source, data=images_32, output=tmp_path / "out.tflite", converter_python=sys.executable
        )
    assert sys.executable in caught.value.what
    assert "--converter-python" in caught.value.fix


def test_without_onnx2tf_the_error_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_missing_converter("net.onnx", "onnx", tmp_path, monkeypatch)


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
