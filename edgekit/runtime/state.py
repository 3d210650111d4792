# SPDX-License-Identifier: Apache-2.0
"""A model's state between inferences: variable tensors and resource variables."""

from __future__ import annotations

from edgekit.formats.tflite import Model

_ASSIGN = "ASSIGN_VARIABLE"
_ONCE, _ONCE_SUBGRAPH = "CALL_ONCE", "init_subgraph_index"


def is_stateful(model: Model) -> bool:
    """Whether an inference of ``model`` may depend on those before it."""
    is_variable = any(each.is_variable for graph in model.subgraphs for each in graph.tensors)
    return is_variable or assigns_resources(model)


def assigns_resources(model: Model) -> bool:
    """Whether ``model`` assigns resource variables outside its initialization."""
    if not any(operator.opcode == _ASSIGN for _, _, operator in model.operators()):
        return False
    once = {
        operator.options.get(_ONCE_SUBGRAPH)
        for _, _, operator in model.operators()
        if operator.opcode == _ONCE
    }
    return any(
        operator.opcode == _ASSIGN and graph not in once for graph, _, operator in model.operators()
    )
