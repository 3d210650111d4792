# SPDX-License-Identifier: Apache-2.0
"""The .tflite format: `read_model` and `write_model` convert between bytes and dataclasses."""

from __future__ import annotations

from edgekit.formats.tflite.metadata_buffers import add_metadata
from edgekit.formats.tflite.model import (
    CUSTOM,
    EDGETPU_CUSTOM_OP,
    NUMPY_DTYPES,
    Model,
    Operator,
    Quantization,
    SignatureDef,
    Subgraph,
    Tensor,
    is_compiled,
    is_edgetpu_operator,
)
from edgekit.formats.tflite.reader import read_model
from edgekit.formats.tflite.writer import write_model

__all__ = [
    "CUSTOM",
    "EDGETPU_CUSTOM_OP",
    "NUMPY_DTYPES",
    "Model",
    "Operator",
    "Quantization",
    "SignatureDef",
    "Subgraph",
    "Tensor",
    "add_metadata",
    "is_compiled",
    "is_edgetpu_operator",
    "read_model",
    "write_model",
]
