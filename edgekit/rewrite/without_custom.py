# SPDX-License-Identifier: Apache-2.0
"""Leave out custom operators, which a runtime may not have."""

from __future__ import annotations

from dataclasses import replace

from edgekit.formats.tflite import CUSTOM, Model


def without_custom(model: Model) -> Model:
    """Return ``model`` without its custom operators; the tensors they read become outputs."""
    graph = model.main
    custom = [op for op in graph.operators if op.opcode == CUSTOM]
    written: set[int] = set()
    kept = []
    for op in graph.operators:
        if op.opcode == CUSTOM or written.intersection(op.inputs):
            written.update(op.outputs)
        else:
            kept.append(op)
    computed = {index for op in kept for index in op.outputs}
    read = [index for op in custom for index in op.inputs if index in computed]
    rest = [index for index in graph.outputs if index in computed]
    outputs = tuple(dict.fromkeys([*read, *rest]))
    main = replace(graph, operators=tuple(kept), outputs=outputs or graph.outputs)
    return replace(model, subgraphs=(main, *model.subgraphs[1:]), signature_defs=())
