# SPDX-License-Identifier: Apache-2.0
"""Options of custom operators; Google's operators store them as a FlexBuffers map."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from flatbuffers import flexbuffers

from edgekit.errors import ModelFormatError

if TYPE_CHECKING:
    from edgekit.formats.tflite import Operator


def read_custom_options(operator: Operator) -> dict[str, Any]:
    """Return the options of ``operator`` by name; empty if it has none.

    Raises:
        ModelFormatError: They are not a FlexBuffers map.
    """
    if not operator.custom_options:
        return {}
    try:
        values = flexbuffers.Loads(bytes(operator.custom_options))
    except (ValueError, TypeError, IndexError, struct.error) as error:
        raise ModelFormatError(
            f"cannot read the options of the operator {operator.label}: {error}",
            why="they must be a FlexBuffers map",
        ) from error
    if not isinstance(values, dict):
        raise ModelFormatError(f"the options of the operator {operator.label} are not a map")
    return values
