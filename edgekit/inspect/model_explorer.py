# SPDX-License-Identifier: Apache-2.0
"""Node data for Model Explorer: the value is an operator's work, the colour its place."""

from __future__ import annotations

from typing import Any, Mapping

from edgekit.inspect.result import InspectResult

TPU_COLOUR, CPU_COLOUR, PLAIN_COLOUR = "#1a7f5a", "#c2571a", "#5b6b7c"
_TEXT_COLOUR = "#ffffff"
_COLOURS: Mapping[str, str] = {"tpu": TPU_COLOUR, "cpu": CPU_COLOUR, "": PLAIN_COLOUR}


def node_data(result: InspectResult) -> dict[str, Any]:
    """Return the JSON document of one graph, keyed by output tensor names.

    Open the same .tflite file (the source, if one was given) in Model Explorer and add the
    document as custom node data.

    Source:
        model_explorer/node_data_builder.py, GraphNodeData.
    """
    return {
        "name": "edgekit: multiply-accumulates, coloured by place",
        "results": {
            tensor.name: {
                "value": operator.macs,
                "bgColor": _COLOURS[operator.place],
                "textColor": _TEXT_COLOUR,
            }
            for operator in result.source_operators or result.operators
            for tensor in operator.outputs
        },
    }
