# SPDX-License-Identifier: Apache-2.0
"""Operations of a TensorFlow graph that write files, call Python or open connections.

Loading a SavedModel runs its initializers, so what they hold runs before anything is converted. No
network needs these operations; ``SaveV2`` stays allowed, because each SavedModel has it for its own
checkpoints and nothing calls it here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from edgekit.host.worker.refused import Refused

_WRITES = "it writes files"
_CALLS = "it calls Python"
_CONNECTS = "it opens connections"
_FORBIDDEN = {
    "WriteFile": _WRITES,
    "Save": _WRITES,  # SaveV2 adds a suffix to its path; this one replaces any file
    "SaveSlices": _WRITES,
    "SaveDataset": _WRITES,
    "SaveDatasetV2": _WRITES,
    "DistributedSave": _WRITES,
    "SnapshotDataset": _WRITES,
    "SnapshotDatasetV2": _WRITES,
    "DatasetToTFRecord": _WRITES,
    "ExperimentalDatasetToTFRecord": _WRITES,
    "CreateSummaryFileWriter": _WRITES,
    "CreateSummaryDbWriter": _WRITES,
    "CloseSummaryWriter": _WRITES,
    "DebugIdentity": _WRITES,
    "DebugIdentityV2": _WRITES,
    "DebugIdentityV3": _WRITES,
    "PyFunc": _CALLS,
    "PyFuncStateless": _CALLS,
    "EagerPyFunc": _CALLS,
    "RpcCall": _CONNECTS,
    "RpcClient": _CONNECTS,
    "RpcServer": _CONNECTS,
    "RpcServerStart": _CONNECTS,
    "DataServiceDataset": _CONNECTS,
    "DataServiceDatasetV2": _CONNECTS,
    "DataServiceDatasetV3": _CONNECTS,
    "DataServiceDatasetV4": _CONNECTS,
    "RegisterDataset": _CONNECTS,
    "RegisterDatasetV2": _CONNECTS,
}
_LISTED = 5


def refuse_side_effects(graphs: Iterable[Any], path: str) -> None:
    """Refuse ``GraphDef`` messages that hold such an operation, in functions too.

    Raises:
        Refused: One does; the message names it.
    """
    found = list(dict.fromkeys(each for graph in graphs for each in _found(graph)))
    if found:
        raise Refused(
            "model.unsafe",
            "the graph would act outside itself: " + "; ".join(found[:_LISTED]),
            where=path,
            why="whoever made the file chose what they do; a network does not need them",
            fix="export the network without them, or, if you trust whoever made the file: "
            "--trust-source",
        )


def _found(graph: Any) -> Iterator[str]:  # noqa: ANN401 - a GraphDef
    nodes = list(graph.node)
    for function in graph.library.function:
        nodes.extend(function.node_def)
    for node in nodes:
        if node.op in _FORBIDDEN:
            yield f"{node.name} ({node.op}: {_FORBIDDEN[node.op]})"
        elif node.op == "PrintV2" and node.attr["output_stream"].s.startswith(b"file:"):
            yield f"{node.name} (PrintV2: {_WRITES})"
