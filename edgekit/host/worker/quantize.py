# SPDX-License-Identifier: Apache-2.0
"""Calibrate and quantize a float .tflite to int8 with the tools inside TFLiteConverter.

ai-edge-quantizer (0.10) also quantizes, but it gives dense weights one scale per channel and marks
every operator as version 1, so its result is not an Edge TPU model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from edgekit.host.worker.refused import missing_function

_PURPOSE = "quantize a .tflite file"


def calibrate(content: bytes, samples: Callable[[], Iterator[list[Any]]]) -> bytes:
    """Run a float model on ``samples`` and write the range of each tensor into it.

    Args:
        content: The .tflite; its shapes are static.
        samples: Yields calibration samples, each a list of arrays in the order of the inputs.

    Raises:
        Refused: This TensorFlow does not have a calibrator for flatbuffers.
    """
    try:
        from tensorflow.lite.python.optimize import calibrator  # noqa: PLC0415
    except ImportError as error:
        raise missing_function(_PURPOSE, error) from error
    # An LSTM's inner results get ranges only if they are tensors.
    content = calibrator.add_intermediate_tensors(content)
    return bytes(calibrator.Calibrator(content).calibrate(samples))


def quantize(calibrated: bytes, io: str, *, per_tensor_dense: bool = True) -> bytes:
    """Quantize a result of `calibrate`.

    Args:
        calibrated: The model with the range of each tensor.
        io: ``uint8``, ``int8`` or ``float32``: type of the model's inputs and outputs.
        per_tensor_dense: Give dense layers one weight scale, as the Edge TPU needs; TensorFlow
            2.17 and newer otherwise give one for each channel.

    Raises:
        Refused: This TensorFlow does not have a quantizer for flatbuffers.
    """
    import tensorflow as tf  # noqa: PLC0415

    try:
        from tensorflow.lite.python.convert import mlir_quantize  # noqa: PLC0415
    except ImportError as error:
        raise missing_function(_PURPOSE, error) from error
    io_type = getattr(tf, io)
    options = _per_tensor_dense(mlir_quantize) if per_tensor_dense else {}
    return bytes(
        mlir_quantize(calibrated, input_data_type=io_type, output_data_type=io_type, **options)
    )


def _per_tensor_dense(function: Any) -> dict[str, bool]:  # noqa: ANN401
    import inspect  # noqa: PLC0415

    # Older versions always quantize dense layers per tensor and do not have this option.
    name = "disable_per_channel_for_dense_layers"
    return {name: True} if name in inspect.signature(function).parameters else {}
