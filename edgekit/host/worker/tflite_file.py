# SPDX-License-Identifier: Apache-2.0
"""Float .tflite files: calibrated and quantized by the tools inside TFLiteConverter.

ai-edge-quantizer does the same job, but (0.10) gives dense weights one scale a channel and marks
every operator as version 1, so an Edge TPU model does not come out of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from edgekit.host.worker.refused import Refused


def quantize_flatbuffer(
    content: bytes, mode: str, io: str, samples: Callable[[], Iterator[list[Any]]]
) -> bytes:
    """Quantize a float model whose shapes are static.

    Raises:
        Refused: This TensorFlow has no quantizer for flatbuffers.
    """
    import tensorflow as tf  # noqa: PLC0415

    try:
        from tensorflow.lite.python.convert import mlir_quantize  # noqa: PLC0415
        from tensorflow.lite.python.optimize.calibrator import Calibrator  # noqa: PLC0415
    except ImportError as error:
        raise Refused(
            "model.unsupported",
            f"TensorFlow {tf.__version__} cannot quantize a .tflite file",
            why=str(error),
            fix="give the Keras model or the SavedModel that the .tflite was made from",
        ) from error
    calibrated = Calibrator(content).calibrate(samples)
    io_type = getattr(tf, io if mode == "int8" else "float32")
    quantized = mlir_quantize(
        calibrated,
        input_data_type=io_type,
        output_data_type=io_type,
        **_per_tensor_dense(mlir_quantize),
    )
    return bytes(quantized)


def _per_tensor_dense(function: Any) -> dict[str, bool]:  # noqa: ANN401
    import inspect  # noqa: PLC0415

    # Older versions always quantize dense layers per tensor, and have no name for it.
    name = "disable_per_channel_for_dense_layers"
    return {name: True} if name in inspect.signature(function).parameters else {}
