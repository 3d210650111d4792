# SPDX-License-Identifier: Apache-2.0
"""What the tiles compute: a network as nodes on tensors of one batch element.

A node reads tensors by their index in the source model and makes one (or, for parts of a
concatenation, a range of channels of one). Values are unsigned, as on the device.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Tuple, Union

import numpy as np
from numpy.typing import NDArray

from edgekit.chip.arithmetic.scales import HIGHEST
from edgekit.chip.codegen.geometry import Axis

Shape = Tuple[int, int, int]  # height, width, channels


@dataclass(frozen=True)
class Window:
    """The sliding window of a node: one axis each."""

    rows: Axis = field(default_factory=Axis)
    columns: Axis = field(default_factory=Axis)

    @property
    def taps(self) -> int:
        """Positions of the window."""
        return self.rows.size * self.columns.size


@dataclass(frozen=True)
class OutputStage:
    """From accumulators to stored values, see `edgekit.chip.arithmetic.requantize`."""

    input_zero_point: int
    output_zero_point: int
    multiplier: float
    low: float  # clamps, relative to the output's zero point
    high: float
    offset: int = 0  # added to the accumulator

    def reversed(self) -> OutputStage:
        """The stage whose results are counted down from 255."""
        return replace(
            self,
            output_zero_point=HIGHEST - self.output_zero_point,
            multiplier=-self.multiplier,
            low=-self.high,
            high=-self.low,
        )

    def shifted(self, steps: int) -> OutputStage:
        """The stage with ``steps`` added to every input value."""
        zero = self.input_zero_point - steps
        if 0 <= zero <= HIGHEST:
            return replace(self, input_zero_point=zero)
        return replace(self, offset=self.offset + steps)


COPY = OutputStage(0, 0, 1.0, -np.inf, np.inf)  # every value stays as it is


class _Computation:
    """What all nodes have in common, unless they state something else."""

    @property
    def padding(self) -> int:
        """The value outside of the image."""
        return 0

    @property
    def pads(self) -> bool:
        """Whether it can read outside of the image."""
        return False

    def steps(self, positions: int, words: int) -> int:
        """Steps of its op for ``positions`` outputs of ``words`` words."""
        return positions * words


class OneSource(_Computation):
    """What nodes that read one tensor have in common."""

    source: int
    window: Window

    @property
    def sources(self) -> tuple[int, ...]:
        """The tensors that it reads."""
        return (self.source,)

    @property
    def windows(self) -> tuple[Window, ...]:
        """The sliding window of each source."""
        return (self.window,)


class TwoSources(_Computation):
    """What nodes that read two tensors have in common."""

    first: int
    second: int

    @property
    def sources(self) -> tuple[int, ...]:
        """The tensors that it reads."""
        return (self.first, self.second)

    @property
    def windows(self) -> tuple[Window, ...]:
        """The sliding window of each source."""
        return (Window(), Window())


@dataclass(frozen=True)
class Convolution(OneSource):
    """A convolution, a depthwise one, or a dense layer (its window is the whole map).

    ``weights`` are uint8, [output channels, rows, columns, input channels], 1 input channel if
    depthwise; ``multipliers`` has one element, or one for each channel.
    """

    source: int
    output: int
    window: Window
    stage: OutputStage
    weights: NDArray[np.uint8]
    weight_zero_points: NDArray[np.int64]
    bias: NDArray[np.int64]
    multipliers: NDArray[np.float32]
    depthwise: bool = False
    dense: bool = False  # a dense layer: several tiles may share it

    @property
    def per_channel(self) -> bool:
        """Whether every output channel has its own multiplier."""
        return len(self.multipliers) > 1

    @property
    def has_bias(self) -> bool:
        """Whether the parameters contain a row of biases: one of zeros is left out."""
        return not self.per_channel or bool(self.bias.any())

    @property
    def pads(self) -> bool:
        """Whether it can read outside of the image."""
        return True

    @property
    def padding(self) -> int:
        """The value outside of the image."""
        return self.stage.input_zero_point

    def steps(self, positions: int, words: int) -> int:
        """Steps of its op for ``positions`` outputs of ``words`` words."""
        if self.depthwise:
            return positions * self.window.taps * words
        inputs = -(-int(self.weights.shape[3]) // 4)
        return positions * self.window.taps * inputs * -(-len(self.weights) // 64)


@dataclass(frozen=True)
class Elementwise(OneSource):
    """Every value alone: a requantization, an activation, or a copy (also of a part)."""

    source: int
    output: int
    stage: OutputStage
    window: Window = field(default_factory=Window)  # of size 1: strides and offsets of a copy
    table: str = ""  # a non-linear function, a key of `functions.FUNCTIONS`
    table_scale: float = 1.0  # the scale of its results
    source_channel: int = 0
    output_channel: int = 0
    num_channels: int = 0  # 0: all of the source
    padding: int = 0  # the value outside of the image

    @property
    def pads(self) -> bool:
        """Whether it can read outside of the image."""
        return self.window.rows.pad > 0 or self.window.columns.pad > 0

    @property
    def is_copy(self) -> bool:
        """Whether values stay as they are."""
        return self.stage == COPY


@dataclass(frozen=True)
class Flatten(OneSource):
    """A vector of all values of a map, row by row; its channels are whole words.

    The window is the whole map.
    """

    source: int
    output: int
    window: Window
    stage: OutputStage

    @property
    def is_copy(self) -> bool:
        """Whether values stay as they are."""
        return self.stage == COPY


@dataclass(frozen=True)
class Permute(OneSource):
    """Rows, columns and channels in another order: of each, which one of the source it is.

    The window is the whole map along what does not stay.
    """

    source: int
    output: int
    window: Window
    order: tuple[int, int, int]

    def steps(self, positions: int, words: int) -> int:
        """Steps of its op for ``positions`` outputs of ``words`` words."""
        return positions * words * (1 if self.order[2] == 2 else 4)


@dataclass(frozen=True)
class Addition(TwoSources):
    """``weights[0] * first + weights[1] * second + offset``, then the output stage."""

    first: int
    second: int
    output: int
    weights: tuple[int, int]
    offset: int
    stage: OutputStage
    window: Window = field(default_factory=Window)

    @property
    def windows(self) -> tuple[Window, ...]:
        """The sliding window of each source."""
        return (self.window, self.window)

    def steps(self, positions: int, words: int) -> int:
        """Steps of its op for ``positions`` outputs of ``words`` words."""
        return 4 * positions * words


@dataclass(frozen=True)
class Pool(OneSource):
    """The sum, average or maximum of each window; an average counts the pixels of the image."""

    source: int
    output: int
    window: Window
    stage: OutputStage
    maximum: bool
    divides: bool = False  # by the pixels of the window
    padded: bool = False  # windows reach outside of the image
    output_channel: int = 0
    padding: int = 0

    @property
    def pads(self) -> bool:
        """Whether it can read outside of the image."""
        return self.maximum or self.padded

    def steps(self, positions: int, words: int) -> int:
        """Steps of its op for ``positions`` outputs of ``words`` words."""
        return positions * words * self.window.taps


@dataclass(frozen=True)
class L2Normalization(OneSource):
    """Every position's vector divided by its length."""

    source: int
    output: int
    square: float  # the squared scale of the source, also the least sum of squares
    factor: np.float32  # of the 16-bit 1/sqrt
    stage: OutputStage
    window: Window = field(default_factory=Window)

    def steps(self, positions: int, words: int) -> int:
        """Steps of its op for ``positions`` outputs of ``words`` words."""
        return 4 * positions * words


@dataclass(frozen=True)
class Softmax(OneSource):
    """The softmax over the channels of each position."""

    source: int
    output: int
    multiplier: float  # of the exponential function's argument
    stage: OutputStage
    window: Window = field(default_factory=Window)

    def steps(self, positions: int, words: int) -> int:
        """Steps of its op for ``positions`` outputs of ``words`` words."""
        return 10 * positions * words


@dataclass(frozen=True)
class Product(TwoSources):
    """``first * second``, zero points subtracted, then the output stage.

    A window of stride 0 repeats the second source's only row or column.
    """

    first: int
    second: int
    output: int
    second_zero_point: int
    stage: OutputStage
    second_window: Window = field(default_factory=Window)

    @property
    def windows(self) -> tuple[Window, ...]:
        """The sliding window of each source."""
        return (Window(), self.second_window)

    def steps(self, positions: int, words: int) -> int:
        """Steps of its op for ``positions`` outputs of ``words`` words."""
        return 8 * positions * words


@dataclass(frozen=True)
class Extreme(TwoSources):
    """The larger one of two values at the same scale."""

    first: int
    second: int
    output: int

    def steps(self, positions: int, words: int) -> int:
        """Steps of its op for ``positions`` outputs of ``words`` words."""
        return 2 * positions * -(-words // 16)


Node = Union[
    Addition,
    Convolution,
    Elementwise,
    Extreme,
    Flatten,
    L2Normalization,
    Permute,
    Pool,
    Product,
    Softmax,
]


@dataclass(frozen=True)
class Network:
    """The part of a model that runs on the Edge TPU.

    ``shapes`` has the shape of every tensor that a node reads or makes; an alias (a reshape, a
    requantization without change) stands for the tensor with the bytes.
    """

    nodes: tuple[Node, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    shapes: dict[int, Shape]
    aliases: dict[int, int]

    def root(self, tensor: int) -> int:
        """The tensor whose block contains the values of ``tensor``."""
        while tensor in self.aliases:
            tensor = self.aliases[tensor]
        return tensor
