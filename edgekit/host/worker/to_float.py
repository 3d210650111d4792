# SPDX-License-Identifier: Apache-2.0
"""Convert a frozen TensorFlow function to a float .tflite with TFLiteConverter."""

from __future__ import annotations

from edgekit.host.worker.source import Function


def to_float(frozen: Function, *, dynamic: bool = False) -> bytes:
    """Convert ``frozen``, whose shapes are static, without calibration.

    Args:
        frozen: A function without variables.
        dynamic: Store weights as int8; activations are still real (the tutorial's dynamic range).
    """
    import tensorflow as tf  # noqa: PLC0415

    converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen])
    if dynamic:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    return bytes(converter.convert())
