# SPDX-License-Identifier: Apache-2.0
"""Parameters: the bytes of each layer, and the tiles that keep them between inferences.

A layer's rows are, for each group of 64 output channels: multipliers (per channel), biases, zero
points of weights (per channel), then the weights, four input channels to a word. A depthwise layer
has rows of 16 bytes: a 4 x 4 matrix for each tap with the weights on its diagonal.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from edgekit.chip.codegen.errors import Unsupported
from edgekit.chip.codegen.geometry import WORD
from edgekit.chip.codegen.nests import divide_up, round_up
from edgekit.chip.codegen.stages.convolution import GROUP_CHANNELS, ConvolutionStage, Piece
from edgekit.chip.codegen.stages.spread import SpreadStage

# The order in which Google's compiler gives layers of falling size to tiles.
TILE_ORDER = (0, 1, 3, 7, 15, 8, 4, 9, 10, 2, 5, 11, 12, 6, 13, 14)
# Tiles of layers cut in pieces, by the pieces of each layer: seen in compiler 16, rule unknown.
_SPLIT_TILES: dict[tuple[int, ...], tuple[tuple[int, ...], ...]] = {
    (2, 1): ((1, 3), (7,)),
    (3, 1): ((3, 7, 15), (14,)),
    (2, 2, 2, 2, 1): ((1, 3), (15, 0), (7, 4), (9, 10), (8,)),
}
_ROW_ALIGNMENT = 64


@dataclass(frozen=True)
class LayerParameters:
    """The parameters of one layer as the program reads them."""

    data: bytes
    lanes: int  # 64-byte units of a row


@dataclass
class Parameters:
    """All layers; a node's index -> its parameters and where they are."""

    layers: dict[int, LayerParameters]
    pieces: dict[int, list[Piece]]  # without the streamed ones
    depthwise: frozenset[int]
    room_bytes: int = 0  # of all tiles, for parameters that stay on the chip

    @property
    def streamed(self) -> list[int]:
        """The layers that the host sends with every inference."""
        return [index for index in self.layers if index not in self.pieces]

    @property
    def cached_bytes(self) -> bytes:
        """What the caching program brings in once, in the order of the layers."""
        return b"".join(self.layers[index].data for index in self.layers if index in self.pieces)

    @property
    def streamed_bytes(self) -> bytes:
        """What goes with every inference."""
        return b"".join(self.layers[index].data for index in self.streamed)


def layer_parameters(stage: ConvolutionStage) -> LayerParameters:
    """The bytes of a layer, in the order in which ``stage`` reads them."""
    node = stage.node
    num_channels = node.weights.shape[0]
    padded = stage.groups * stage.stored_channels
    headers = _header_rows(stage, num_channels, padded)
    if node.depthwise:
        return LayerParameters(_depthwise_rows(stage, headers, padded), 4)
    # Channels up to a whole word are like the first, with weights of 0.
    real = round_up(num_channels, WORD)
    zeros = node.weight_zero_points
    taps = node.window.taps
    weights = np.zeros((padded, taps, WORD * stage.words_of_position), np.uint8)
    weights[:real] = zeros[0]
    weights[:num_channels] = zeros.astype(np.uint8)[:, None, None]
    inputs = node.weights.shape[3]
    weights[:num_channels, :, :inputs] = node.weights.reshape(num_channels, taps, inputs)
    order = (1, 2, 0, 3) if stage.position_outer else (2, 1, 0, 3)
    parts = []
    for group in range(stage.groups):
        rows = slice(group * stage.stored_channels, (group + 1) * stage.stored_channels)
        parts += [header[rows].tobytes() for header in headers]
        words = weights[rows].reshape(stage.stored_channels, stage.taps, stage.channel_words, WORD)
        parts.append(np.ascontiguousarray(words.transpose(order)).tobytes())
    return LayerParameters(b"".join(parts), stage.stored_channels // 16)


def _header_rows(
    stage: ConvolutionStage, num_channels: int, padded: int
) -> list[NDArray[np.uint8]]:
    """Four bytes for each channel: [multiplier], [bias], [zero point of the weights]."""
    node = stage.node
    more = round_up(num_channels, WORD) - num_channels

    def row(values: NDArray[np.generic], rest: float, dtype: str) -> NDArray[np.uint8]:
        result = np.full(padded, rest, dtype)
        result[: len(values)] = values
        return result.view(np.uint8).reshape(padded, 4)

    rows = []
    if node.per_channel:
        multipliers = np.concatenate([node.multipliers, np.repeat(node.multipliers[:1], more)])
        rows.append(row(multipliers, int(num_channels > GROUP_CHANNELS), "<f4"))
    if stage.has_bias:
        rows.append(row(node.bias, 0, "<i4"))
    if node.per_channel:
        zeros = node.weight_zero_points
        rows.append(row(np.concatenate([zeros, np.repeat(zeros[:1], more)]), 0, "<i4"))
    return rows


def _depthwise_rows(
    stage: ConvolutionStage, headers: Sequence[NDArray[np.uint8]], padded: int
) -> bytes:
    node = stage.node
    num_channels = node.weights.shape[0]
    taps = np.zeros((padded, stage.taps), np.uint8)
    taps[:num_channels] = node.weights.reshape(num_channels, -1)
    zeros = np.zeros(padded, np.uint8)
    zeros[:num_channels] = node.weight_zero_points
    parts = []
    for group in range(stage.groups):
        rows = slice(WORD * group, WORD * group + WORD)
        parts += [header[rows].tobytes() for header in headers]
        # [tap][output][input]: the zero point of the output, its weight on the diagonal.
        matrices = np.tile(zeros[rows][None, :, None], (stage.taps, 1, WORD))
        for channel in range(WORD):
            matrices[:, channel, channel] = taps[rows][channel]
        parts.append(matrices.tobytes())
    data = b"".join(parts)
    return data + bytes(round_up(len(data), _ROW_ALIGNMENT) - len(data))


def place_parameters(
    stages: dict[int, ConvolutionStage],
    limit: int,
    used: dict[int, int],
    reads: Mapping[int, int],
) -> dict[int, list[Piece]]:
    """The rows of each layer in the tiles' wide memory, from ``used`` of a tile to ``limit``.

    A layer that does not fit is left out: it is streamed, or has to be spread over fewer tiles.
    Layers that run in slices would be streamed once for each of their ``reads``, so the most read
    ones come first.

    Raises:
        Unsupported: The rows of a depthwise layer, which cannot be cut, do not fit.
    """
    spread = {i: stage for i, stage in stages.items() if isinstance(stage, SpreadStage)}
    spread = {i: stage for i, stage in spread.items() if stage.spread}
    if spread:
        return _around_spread(stages, spread, limit, used)
    rows = {index: stage.parameter_rows for index, stage in stages.items()}
    total = sum(rows.values())
    depthwise = {index for index, stage in stages.items() if stage.node.depthwise}
    # Where parameters are streamed, depthwise layers come first: they have to be on the chip.
    alone = not any(used.values())
    scarce = not alone or total > (len(TILE_ORDER) - 1) * limit
    reserved = sum(rows[index] for index in depthwise) if scarce else 0
    order = sorted(stages, key=lambda i: -rows[i])
    if scarce:
        order.sort(key=lambda i: -reads[i])
    if reserved:
        order.sort(key=lambda i: i not in depthwise)
    fits = len(stages) <= len(TILE_ORDER) and all(number <= limit for number in rows.values())
    if alone and fits:
        return {i: [Piece(TILE_ORDER[k], 0, rows[i])] for k, i in enumerate(order)}
    # Rows of 16 to 48 outputs go low in the memory: on a chip some were read wrongly from
    # 256 KiB on (tinycoral, docs/isa), although Google's compiler places them there too.
    order.sort(key=lambda i: i in depthwise or stages[i].stored_channels == GROUP_CHANNELS)
    counts = tuple(divide_up(rows[i], limit or 1) for i in order)
    seen = _SPLIT_TILES.get(counts) if alone and not depthwise else None
    if seen:
        return {
            i: [Piece(t, 0, min(limit, rows[i] - limit * j)) for j, t in enumerate(seen[k])]
            for k, i in enumerate(order)
        }
    return _packed(order, rows, depthwise, limit, reserved, used)


def _around_spread(
    stages: dict[int, ConvolutionStage],
    spread: dict[int, SpreadStage],
    limit: int,
    used: dict[int, int],
) -> dict[int, list[Piece]]:
    """Dense layers where their outputs are computed, at equal rows; then the others."""
    pieces: dict[int, list[Piece]] = {}
    for index, stage in sorted(spread.items(), key=lambda each: -each[1].saved_steps):
        needed = stage.piece_rows
        if any(used[tile] + number > limit for tile, number in needed.items()):
            continue
        pieces[index] = [Piece(tile, used[tile], number) for tile, number in needed.items()]
        for tile, number in needed.items():
            used[tile] += number
    rows = {i: stage.parameter_rows for i, stage in stages.items() if i not in spread}
    depthwise = {i for i in rows if stages[i].node.depthwise}
    order = sorted(rows, key=lambda i: -rows[i])
    order.sort(key=lambda i: i in depthwise or stages[i].stored_channels == GROUP_CHANNELS)
    with contextlib.suppress(Unsupported):  # some are left out, and so the caller spreads less
        pieces.update(_packed(order, rows, depthwise, limit, 0, used))
    return pieces


def _packed(
    order: Sequence[int],
    rows: dict[int, int],
    depthwise: set[int],
    limit: int,
    reserved: int,
    used: dict[int, int],
) -> dict[int, list[Piece]]:
    """The emptiest tile that takes a whole layer, else pieces from the emptiest tile on."""
    pieces: dict[int, list[Piece]] = {}
    for index in order:
        needed = rows[index]
        emptiest = sorted(TILE_ORDER, key=lambda tile: used[tile])
        tile = next((each for each in emptiest if limit - used[each] >= needed), None)
        if tile is not None:
            pieces[index] = [Piece(tile, used[tile], needed)]
            used[tile] += needed
        elif index in depthwise:
            raise Unsupported(f"{needed} rows of depthwise weights do not fit into a tile")
        elif needed <= sum(limit - each for each in used.values()) - reserved:
            pieces[index] = []
            for each in emptiest:
                taken = min(limit - used[each], needed)
                if taken > 0:
                    pieces[index].append(Piece(each, used[each], taken))
                    used[each] += taken
                    needed -= taken
        if index in depthwise:
            reserved = max(0, reserved - rows[index])
    return pieces
