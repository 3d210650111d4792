# SPDX-License-Identifier: Apache-2.0
"""A frozen TensorFlow function to a float .tflite, by TFLiteConverter."""

from __future__ import annotations

from edgekit.host.worker.source import Function


def to_float(frozen: Function, *, dynamic: bool = False) -> bytes:
    """Convert ``frozen``, whose shapes are static, without calibration.

    Args:
        frozen: Without variables.
        dynamic: Store weights as int8; activations stay real (the tutorial's dynamic range).
    """
    import tensorflow as tf  # noqa: PLC0415

    converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen])
    if dynamic:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    return bytes(converter.convert())
