# SPDX-License-Identifier: Apache-2.0
"""The calls of a conversion: to_float, calibrate, quantize."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edgekit.errors import DataError
from edgekit.formats.tflite import Model, read_model, write_model
from edgekit.host.convert.child import ConverterChild, kept_converters
from edgekit.runtime import Runner

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.host


def _batches(model: Model) -> Iterator[list[Any]]:
    random = np.random.default_rng(0)
    shapes = [model.main.tensors[index].shape for index in model.main.inputs]
    for _ in range(4):
        yield [random.random(shape).astype(np.float32) for shape in shapes]


def _unreadable() -> Iterator[list[Any]]:
    raise DataError("a sample cannot be read")


@pytest.mark.usefixtures("kept_converter")
def test_a_calibration_can_be_kept_and_quantized_again(float_model: Model) -> None:
    with ConverterChild(None, 300, "net") as child:
        calibrated = child.calibrate(write_model(float_model), lambda: _batches(float_model))
        first = child.quantize(calibrated, io="uint8")
    assert all(
        read_model(calibrated).main.tensors[index].dtype == "FLOAT32"
        for index in float_model.main.inputs
    )
    with ConverterChild(None, 300, "net") as child:
        assert child.quantize(calibrated, io="uint8") == first
        real = child.quantize(calibrated, io="float32")
    (sample,) = next(_batches(float_model))
    with Runner(first) as integer, Runner(real) as floating:
        assert integer.inputs[0].dtype == "uint8"
        (one,), (other,) = integer.predict(sample), floating.predict(sample)
        step = integer.outputs[0].scale
        assert step is not None
        assert np.abs(one - other).max() <= 2 * step


@pytest.mark.usefixtures("kept_converter")
@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="this system has no /proc")
def test_a_converting_process_does_not_load_what_only_keras_wrappers_use(
    float_model: Model,
) -> None:
    with ConverterChild(None, 300, "net") as child:
        child.calibrate(write_model(float_model), lambda: _batches(float_model))
        loaded = Path(f"/proc/{child.pid}/maps").read_text()
    folders = {
        folder for folder in ("tensorflow", "matplotlib", "sklearn") if f"/{folder}/" in loaded
    }
    assert folders == {"tensorflow"}


def test_conversions_in_a_block_share_a_process_that_ends_with_it(float_model: Model) -> None:
    content = write_model(float_model)
    ids, calibrated = [], b""
    with kept_converters():
        for _ in range(2):
            with ConverterChild(None, 300, "net") as child:
                calibrated = child.calibrate(content, lambda: _batches(float_model))
                ids.append(child.pid)
        with ConverterChild(None, 300, "net") as child:
            first = child.quantize(calibrated, io="uint8")
    assert ids[0] == ids[1]
    assert not Path(f"/proc/{ids[0]}").exists()
    with ConverterChild(None, 300, "net") as child:
        assert child.pid != ids[0]
        assert child.quantize(calibrated, io="uint8") == first


def test_a_process_that_was_interrupted_in_a_request_is_not_used_again(float_model: Model) -> None:
    content = write_model(float_model)
    with kept_converters():
        with ConverterChild(None, 300, "net") as child:
            broken = child.pid
            with pytest.raises(DataError):
                child.calibrate(content, _unreadable)
        with ConverterChild(None, 300, "net") as child:
            assert child.pid != broken
