# SPDX-License-Identifier: Apache-2.0
"""Look inside models: `inspect` one, `inspect_files` several that share a chip."""

from __future__ import annotations

from edgekit.inspect.inspect import inspect, inspect_files
from edgekit.inspect.model_explorer import node_data
from edgekit.inspect.result import (
    ExecutableInfo,
    InspectResult,
    InspectSet,
    OperatorInfo,
    PackageInfo,
    TensorInfo,
    TokenGroup,
)

__all__ = [
    "ExecutableInfo",
    "InspectResult",
    "InspectSet",
    "OperatorInfo",
    "PackageInfo",
    "TensorInfo",
    "TokenGroup",
    "inspect",
    "inspect_files",
    "node_data",
]
