# SPDX-License-Identifier: Apache-2.0
"""Refuse operations of a TensorFlow graph that write files, call Python or open connections.

Loading a SavedModel runs its initializers before anything is converted. No network needs these
operations. Every SavedModel contains ``SaveV2`` and ``MergeV2Checkpoints`` for its own
checkpoints: they are refused if anything other than its saver leads to them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from edgekit.host.worker.refused import Refused

_WRITES = "it writes files"
_CALLS = "it calls Python"
_CONNECTS = "it opens connections"
_FORBIDDEN = {
    "WriteFile": _WRITES,
    "Save": _WRITES,  # replaces any file; SaveV2 adds a suffix to its path
    "SaveSlices": _WRITES,
    "DistributedSave": _WRITES,
    "CalibrationStatisticsSaver": _WRITES,
    "DumpTensor": _WRITES,
    "CreateSummaryFileWriter": _WRITES,
    "CreateSummaryDbWriter": _WRITES,
    "CloseSummaryWriter": _WRITES,
    "PyFunc": _CALLS,
    "PyFuncStateless": _CALLS,
    "EagerPyFunc": _CALLS,
}
# Families of operations that take a file, an address or, as text, another graph.
_FORBIDDEN_FAMILIES = (
    (re.compile(r"Debug(Identity|NanCount|NumericSummary)(V\d+)?"), _WRITES),
    (
        re.compile(r"(Experimental)?(CacheDataset|S(ave|napshot)Dataset|DatasetToTFRecord)(V\d+)?"),
        _WRITES,
    ),
    (re.compile(r"Rpc\w+|(DataService|Register)Dataset(V\d+)?"), _CONNECTS),
    (re.compile(r"DatasetFromGraph(V\d+)?"), "it runs a graph that is stored in a constant"),
)
_SAVERS = ("SaveV2", "MergeV2Checkpoints", "DTensorSaveV2")
_LISTED = 5


def refuse_side_effects(graphs: Iterable[Any], path: str) -> None:
    """Refuse ``GraphDef`` messages that contain such an operation, also in functions.

    Raises:
        Refused: One contains such an operation; the message names it.
    """
    _refuse((each for graph in graphs for each in _found(graph)), path)


def refuse_stray_savers(meta_graphs: Iterable[Any], path: str) -> None:
    """Refuse ``MetaGraphDef`` messages in which something besides the saver leads to ``SaveV2``.

    Initializers, signatures and functions run when a SavedModel is loaded or used; its saver does
    not. ``SaveV2`` writes to any path that the file names.

    Raises:
        Refused: One contains such a path; the message names the operation.
    """
    _refuse((each for meta in meta_graphs for each in _stray_savers(meta)), path)


def _refuse(problems: Iterable[str], path: str) -> None:
    found = list(dict.fromkeys(problems))
    if found:
        raise Refused(
            "model.unsafe",
            "the graph has operations with side effects: " + "; ".join(found[:_LISTED]),
            where=path,
            why="the author of the file chose what they do; a network does not need them",
            fix="export the network without them, or, if you trust the author of the file: "
            "--trust-source",
        )


def _found(graph: Any) -> Iterator[str]:  # noqa: ANN401 - a GraphDef
    nodes = list(graph.node)
    for function in graph.library.function:
        nodes.extend(function.node_def)
    for node in nodes:
        reason = _reason(node)
        if reason:
            yield f"{node.name} ({node.op}: {reason})"


def _reason(node: Any) -> str:  # noqa: ANN401 - a NodeDef
    if node.op == "PrintV2" and node.attr["output_stream"].s.startswith(b"file:"):
        return _WRITES
    families = (reason for family, reason in _FORBIDDEN_FAMILIES if family.fullmatch(node.op))
    return _FORBIDDEN.get(node.op) or next(families, "")


def _stray_savers(meta: Any) -> Iterator[str]:  # noqa: ANN401 - a MetaGraphDef
    functions = {each.signature.name: each for each in meta.graph_def.library.function}
    nodes = {node.name: node for node in meta.graph_def.node}
    pending = [nodes[name] for name in _roots(meta) if name in nodes]
    called = list(meta.object_graph_def.concrete_functions)
    seen = set()
    while pending or called:
        for name in called:
            if name in functions and ("function", name) not in seen:
                seen.add(("function", name))
                pending.extend(functions[name].node_def)  # all of it: extra nodes do no harm
        called = []
        if not pending:
            continue
        node = pending.pop()
        if node.op in _SAVERS:
            yield f"{node.name} ({node.op}: {_WRITES})"
        called = [node.op, *_functions_of(node)]
        for name in map(_plain, node.input):  # in a function: its arguments or nodes
            if name in nodes and ("node", name) not in seen:
                seen.add(("node", name))
                pending.append(nodes[name])


def _roots(meta: Any) -> Iterator[str]:  # noqa: ANN401 - a MetaGraphDef
    """Yield the nodes that run when the SavedModel is loaded or used."""
    yield _plain(meta.saver_def.restore_op_name)
    for signature in meta.signature_def.values():
        yield from (_plain(info.name) for info in signature.outputs.values())
    for name in ("saved_model_main_op", "legacy_init_op", "saved_model_initializers"):
        if name in meta.collection_def:
            yield from map(_plain, meta.collection_def[name].node_list.value)


def _functions_of(node: Any) -> Iterator[str]:  # noqa: ANN401 - a NodeDef
    for value in node.attr.values():
        yield value.func.name
        yield from (function.name for function in value.list.func)


def _plain(tensor: str) -> str:
    return tensor.lstrip("^").split(":")[0]
