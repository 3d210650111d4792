# SPDX-License-Identifier: Apache-2.0
"""A traced function to .tflite bytes, by TFLiteConverter."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from edgekit.host.worker.source import Function

MODES = ("float", "dynamic", "float-fallback", "int8")


def quantize(
    frozen: Function,
    mode: str,
    io: str,
    samples: Callable[[], Iterator[list[Any]]],
    on_float: Callable[[bytes], bytes],
) -> bytes:
    """Convert ``frozen``, whose shapes are static.

    Args:
        frozen: Without variables.
        mode: One of the tutorial's four conversions.
        io: ``uint8``, ``int8`` or ``float32``: type of the integer model's inputs and outputs.
        samples: Gives calibration samples, each a list of arrays in the order of the inputs.
        on_float: Called with the float .tflite before calibration, where this TensorFlow shows it;
            gives the one to go on with.
    """
    import tensorflow as tf  # noqa: PLC0415

    class Converter(tf.lite.TFLiteConverter):  # type: ignore[misc] # TensorFlow has no types
        """Shows the float model that calibration starts from, and goes on with the answer."""

        def _quantize(self, result: bytes, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
            return super()._quantize(on_float(bytes(result)), *args, **kwargs)

    converter = Converter.from_concrete_functions([frozen])
    if mode != "float":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if mode in ("float-fallback", "int8"):
        converter.representative_dataset = samples
    if mode == "int8":
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = getattr(tf, io)
        # The Edge TPU's dense layers have one weight scale; TensorFlow 2.17 began to make one each.
        converter._experimental_disable_per_channel_quantization_for_dense_layers = True  # noqa: SLF001
    return bytes(converter.convert())
