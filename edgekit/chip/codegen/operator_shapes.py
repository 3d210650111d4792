# SPDX-License-Identifier: Apache-2.0
"""The shapes that an operator computes, compared with those that the model declares.

A damaged or generated model may declare any shape for an output, leave out options, or name an axis
that does not exist. The rules of this compiler and the arithmetic that verifies a program rely on
the declared shapes, so that an operator is taken only if they are those that it computes.

Source of the shapes: the Prepare functions in tensorflow/lite/kernels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Callable, Sequence, Tuple

import numpy as np

from edgekit.chip.codegen.errors import Unsupported
from edgekit.chip.codegen.node_list import words_of

if TYPE_CHECKING:
    from edgekit.chip.codegen.builder import NodeBuilder
    from edgekit.formats.tflite import Operator, Tensor

Sizes = Tuple[int, ...]
_ANY = 1 << 30  # inputs or outputs
_INTEGERS = ("INT32", "INT64")
_IMAGE_RANK = 4


@dataclass(frozen=True)
class Given:
    """The shapes, constants and options of one operator."""

    builder: NodeBuilder
    operator: Operator

    def tensor(self, position: int) -> Tensor:
        """An input."""
        return self.builder.tensors[self.operator.inputs[position]]

    def shape(self, position: int) -> Sizes:
        """The shape of an input."""
        return tuple(self.tensor(position).shape)

    def source(self, position: int = 0, rank: int | None = None) -> Sizes:
        """The shape of an input that is computed, with ``rank`` dimensions."""
        if self.builder.is_constant(self.operator.inputs[position]):
            raise Unsupported(f"{self.tensor(position).name!r} is constant")
        shape = self.shape(position)
        if rank is not None and len(shape) != rank:
            raise Unsupported(f"{self.tensor(position).name!r} has rank {len(shape)}, not {rank}")
        return shape

    def outputs(self) -> list[Sizes]:
        """The declared shapes of the outputs."""
        return [tuple(self.builder.tensors[index].shape) for index in self.operator.outputs]

    def integers(self, position: int, number: int | None = None) -> list[int]:
        """A constant of integers: ``number`` of them, or at least one."""
        tensor = self.tensor(position)
        values = self.builder.values(self.operator.inputs[position]).reshape(-1).tolist()
        if tensor.dtype not in _INTEGERS:
            raise Unsupported(f"{tensor.name!r} is {tensor.dtype}, not INT32")
        if len(values) != number if number is not None else not values:
            raise Unsupported(f"{tensor.name!r} has {len(values)} values")
        return [int(each) for each in values]

    def option(self, name: str, least: int = 1) -> int:
        """An option that is a number."""
        value = self.operator.options.get(name)
        if not isinstance(value, int) or value < least:
            raise Unsupported(f"its {name} is {value}")
        return value

    def flag(self, name: str) -> int:
        """An option that may be left out: a flag or a mask."""
        return int(self.operator.options.get(name) or 0)

    def windowed(self, size: int, kernel: int, which: str, dilation: int = 1) -> int:
        """The outputs of a window along one axis; ``which`` is h or w."""
        stride, padding = self.option(f"stride_{which}"), self.operator.options.get("padding")
        if padding == "SAME":
            return -(-size // stride)
        if padding != "VALID":
            raise Unsupported(f"its padding is {padding}")
        return (size - (kernel - 1) * dilation - 1) // stride + 1

    def axis(self, axis: int, rank: int) -> int:
        """An axis from 0 to ``rank`` - 1."""
        if not -rank <= axis < rank:
            raise Unsupported(f"axis {axis} of a tensor of rank {rank}")
        return axis % rank


def check_shapes(builder: NodeBuilder, operator: Operator) -> None:
    """Check that an operator has its inputs and options, and computes the declared shapes.

    Raises:
        Unsupported: It does not.
    """
    form = FORMS[operator.opcode]
    _check_ends(operator, form)
    given = Given(builder, operator)
    for index, computed in zip(operator.outputs, form.shapes(given)):
        tensor = builder.tensors[index]
        if tuple(tensor.shape) != tuple(computed):
            raise Unsupported(
                f"{tensor.name!r} is declared as {_words(tensor.shape)}, and the operator computes "
                f"{_words(computed)}"
            )


def _check_ends(operator: Operator, form: Form) -> None:
    number = len(operator.inputs)
    required = operator.inputs if form.most == _ANY else operator.inputs[: form.fewest]
    if not form.fewest <= number <= form.most or min(required, default=-1) < 0:
        raise Unsupported(f"{operator.opcode} with {number} inputs")
    outputs = operator.outputs
    if not outputs or (len(outputs) > 1 and not form.several):
        raise Unsupported(f"{operator.opcode} with {len(outputs)} outputs")


def _words(shape: Sequence[int]) -> str:
    return words_of(tuple(shape)) if shape else "a scalar"  # type: ignore[arg-type] # of any rank


# Convolutions, dense layers, pools.


def _convolution(given: Given) -> list[Sizes]:
    batch, height, width, _ = given.source(0, _IMAGE_RANK)
    first, rows, columns, last = given.shape(1)
    channels = last if given.operator.opcode == "DEPTHWISE_CONV_2D" else first
    sizes = []
    for size, kernel, which in ((height, rows, "h"), (width, columns, "w")):
        dilation = given.flag(f"dilation_{which}_factor") or 1
        sizes.append(given.windowed(size, kernel, which, dilation))
    if given.operator.opcode == "DEPTHWISE_CONV_2D":
        times, rest = divmod(last, given.source()[3])
        if rest or not times or first != 1:
            raise Unsupported(f"{last} filters for {given.source()[3]} channels")
    _check_layer(given, channels, 3 if given.operator.opcode == "DEPTHWISE_CONV_2D" else 0)
    return [(batch, *sizes, channels)]


def _check_layer(given: Given, channels: int, axis: int, weights: int = 1, bias: int = 2) -> None:
    """Check the scales of weights, and the bias."""
    kernel = given.tensor(weights)
    scales = len(kernel.quantization.scale) if kernel.quantization else 0
    if scales not in {1, channels}:
        raise Unsupported(f"{scales} scales for {channels} channels")
    if scales > 1 and kernel.quantization and kernel.quantization.quantized_dimension != axis:
        raise Unsupported(
            f"scales along dimension {kernel.quantization.quantized_dimension} of the weights"
        )
    if len(given.operator.inputs) > bias and given.operator.inputs[bias] >= 0:
        given.integers(bias, channels)


def _transpose_conv(given: Given) -> list[Sizes]:
    batch, *source, channels = given.source(2, _IMAGE_RANK)
    made = given.integers(0, _IMAGE_RANK)
    first, rows, columns, last = given.shape(1)
    for size, out, kernel, which in zip(source, made[1:3], (rows, columns), "hw"):
        if given.windowed(out, kernel, which) != size or out < 1:
            raise Unsupported(f"{size} rows or columns cannot become {out}")
    if last != channels:
        raise Unsupported(f"weights for {last} channels; the input has {channels}")
    _check_layer(given, first, 0, bias=3)
    return [(batch, made[1], made[2], first)]


def _dense(given: Given) -> list[Sizes]:
    source = given.source()
    units, length = given.shape(1)
    total = int(np.prod(source, dtype=np.int64))
    if not length or total % length:
        raise Unsupported(f"weights for {length} values; the input has {total}")
    _check_layer(given, units, 0)
    if given.flag("keep_num_dims"):
        return [(*source[:-1], units)]
    return [(total // length, units)]


def _pool(given: Given) -> list[Sizes]:
    batch, height, width, channels = given.source(0, _IMAGE_RANK)
    rows = given.windowed(height, given.option("filter_height"), "h")
    columns = given.windowed(width, given.option("filter_width"), "w")
    return [(batch, rows, columns, channels)]


def _reduction(given: Given) -> list[Sizes]:
    source = given.source()
    axes = [given.axis(axis, len(source)) for axis in given.integers(1)]
    if len(set(axes)) != len(axes):
        raise Unsupported("it reduces an axis twice")
    if given.flag("keep_dims"):
        return [tuple(1 if k in axes else size for k, size in enumerate(source))]
    return [tuple(size for k, size in enumerate(source) if k not in axes)]


# Value by value.


def _same(given: Given) -> list[Sizes]:
    return [given.source()]


def _slopes(given: Given) -> list[Sizes]:
    source = given.source()
    full = _broadcast_shape(source, given.shape(1))
    return [full[len(full) - len(source) :] if set(full[: -len(source)]) <= {1} else full]


def _broadcast(given: Given) -> list[Sizes]:
    if all(given.builder.is_constant(index) for index in given.operator.inputs):
        raise Unsupported("both operands are constant")
    return [_broadcast_shape(given.shape(0), given.shape(1))]


def _broadcast_shape(first: Sizes, second: Sizes) -> Sizes:
    rank = max(len(first), len(second))
    full = [(1,) * (rank - len(each)) + each for each in (first, second)]
    if any(a != b and 1 not in {a, b} for a, b in zip(*full)):
        raise Unsupported(f"operands of {_words(first)} and {_words(second)}")
    return tuple(max(a, b) for a, b in zip(*full))


# Moves.


def _reshape(given: Given) -> list[Sizes]:
    source, output = given.source(), given.outputs()[0]
    if np.prod(source, dtype=np.int64) != np.prod(output, dtype=np.int64):
        raise Unsupported(f"{_words(source)} cannot become {_words(output)}")
    return [output]


def _pad(given: Given) -> list[Sizes]:
    source = given.source()
    flat = given.integers(1, 2 * len(source))
    if min(flat) < 0:
        raise Unsupported("a negative padding")
    pads = list(zip(flat[::2], flat[1::2]))
    if given.operator.opcode == "MIRROR_PAD":
        less = 0 if given.operator.options.get("mode") in {1, "SYMMETRIC"} else 1
        if any(max(pair) > size - less for pair, size in zip(pads, source)):
            raise Unsupported("a mirrored padding that is larger than the input")
    if given.operator.opcode == "PADV2" and given.tensor(2).num_elements != 1:
        raise Unsupported(f"{given.tensor(2).num_elements} values to pad with")
    return [tuple(size + sum(pair) for size, pair in zip(source, pads))]


def _tile(given: Given) -> list[Sizes]:
    source = given.source()
    return [tuple(size * n for size, n in zip(source, given.integers(1, len(source))))]


def _concatenation(given: Given) -> list[Sizes]:
    shapes = [given.shape(position) for position in range(len(given.operator.inputs))]
    axis = given.axis(given.option("axis", -len(shapes[0])), len(shapes[0]))
    around = {each[:axis] + each[axis + 1 :] for each in shapes}
    if len(around) != 1 or {len(each) for each in shapes} != {len(shapes[0])}:
        raise Unsupported("the shapes of its inputs do not fit together")
    total = sum(each[axis] for each in shapes)
    return [(*shapes[0][:axis], total, *shapes[0][axis + 1 :])]


def _pack(given: Given) -> list[Sizes]:
    shapes = [given.shape(position) for position in range(len(given.operator.inputs))]
    if len(set(shapes)) != 1:
        raise Unsupported("its inputs have different shapes")
    rank = len(shapes[0]) + 1
    axis = given.axis(given.option("axis", -rank), rank)
    return [(*shapes[0][:axis], len(shapes), *shapes[0][axis:])]


def _unpack(given: Given) -> list[Sizes]:
    source = given.source()
    axis = given.axis(given.option("axis", -len(source)), len(source))
    number = len(given.operator.outputs)
    if number != source[axis]:
        raise Unsupported(f"{source[axis]} parts in {number} outputs")
    return [source[:axis] + source[axis + 1 :]] * number


def _split(given: Given) -> list[Sizes]:
    by_sizes = given.operator.opcode == "SPLIT_V"
    source, number = given.source(0 if by_sizes else 1), len(given.operator.outputs)
    axis = given.axis(given.integers(2 if by_sizes else 0, 1)[0], len(source))
    size = source[axis]
    if by_sizes:
        parts = given.integers(1, number)
        if parts.count(-1) == 1:
            parts[parts.index(-1)] = size - sum(parts) - 1
    else:
        parts = [size // number] * number
    if sum(parts) != size or min(parts) < 0:
        raise Unsupported(f"{size} rows, columns or channels cannot be split into {number} parts")
    return [(*source[:axis], part, *source[axis + 1 :]) for part in parts]


def _slice(given: Given) -> list[Sizes]:
    source = given.source()
    rank = len(source)
    sizes = []
    for first, number, size in zip(given.integers(1, rank), given.integers(2, rank), source):
        count = size - first if number == -1 else number
        if first < 0 or count < 0 or first + count > size:
            raise Unsupported(f"{count} from {first} on of {size}")
        sizes.append(count)
    return [tuple(sizes)]


def _strided_slice(given: Given) -> list[Sizes]:
    source, rank = given.source(), len(given.source())
    begin = given.integers(1)
    end, step = given.integers(2, len(begin)), given.integers(3, len(begin))
    if len(begin) > rank or 0 in step:
        raise Unsupported("a slice of axes that do not exist, or with a step of 0")
    masks = {name: given.flag(f"{name}_mask") for name in ("begin", "end", "shrink_axis")}
    sizes = []
    for k, size in enumerate(source):
        if k >= len(begin):
            sizes.append(size)
        elif masks["shrink_axis"] >> k & 1:
            given_axis = begin[k]
            if not -size <= given_axis < size:
                raise Unsupported(f"position {given_axis} of {size}")
        else:
            first = None if masks["begin"] >> k & 1 else begin[k]
            last = None if masks["end"] >> k & 1 else end[k]
            sizes.append(len(range(*slice(first, last, step[k]).indices(size))))
    return [tuple(sizes)]


def _transpose(given: Given) -> list[Sizes]:
    source = given.source()
    order = [given.axis(axis, len(source)) for axis in given.integers(1, len(source))]
    if len(set(order)) != len(order):
        raise Unsupported(f"a transpose in the order {order}")
    return [tuple(source[axis] for axis in order)]


def _space_to_depth(given: Given) -> list[Sizes]:
    batch, height, width, channels = given.source(0, _IMAGE_RANK)
    size = given.option("block_size")
    if height % size or width % size:
        raise Unsupported(f"blocks of {size} of {height}x{width}")
    return [(batch, height // size, width // size, channels * size * size)]


def _depth_to_space(given: Given) -> list[Sizes]:
    batch, height, width, channels = given.source(0, _IMAGE_RANK)
    size = given.option("block_size")
    if channels % (size * size):
        raise Unsupported(f"blocks of {size} of {channels} channels")
    return [(batch, height * size, width * size, channels // (size * size))]


def _resize(given: Given) -> list[Sizes]:
    batch, _, _, channels = given.source(0, _IMAGE_RANK)
    return [(batch, *given.integers(1, 2), channels)]


@dataclass(frozen=True)
class Form:
    """How many inputs an operator has, and the shapes of its outputs."""

    shapes: Callable[[Given], list[Sizes]]
    fewest: int = 1  # inputs that must be there
    most: int = 1
    several: bool = False  # outputs


FORMS: dict[str, Form] = {
    "ADD": Form(_broadcast, 2, 2),
    "AVERAGE_POOL_2D": Form(_pool),
    "CONCATENATION": Form(_concatenation, 1, _ANY),
    "CONV_2D": Form(_convolution, 2, 3),
    "DEPTHWISE_CONV_2D": Form(_convolution, 2, 3),
    "DEPTH_TO_SPACE": Form(_depth_to_space),
    "EXPAND_DIMS": Form(_reshape, 1, 2),
    "FULLY_CONNECTED": Form(_dense, 2, 3),
    "HARD_SWISH": Form(_same),
    "L2_NORMALIZATION": Form(_same),
    "LOGISTIC": Form(_same),
    "MAXIMUM": Form(_broadcast, 2, 2),
    "MAX_POOL_2D": Form(_pool),
    "MEAN": Form(_reduction, 2, 2),
    "MINIMUM": Form(_broadcast, 2, 2),
    "MIRROR_PAD": Form(_pad, 2, 2),
    "MUL": Form(_broadcast, 2, 2),
    "PACK": Form(_pack, 1, _ANY),
    "PAD": Form(_pad, 2, 2),
    "PADV2": Form(_pad, 3, 3),
    "PRELU": Form(_slopes, 2, 2),
    "QUANTIZE": Form(_same),
    "REDUCE_MAX": Form(_reduction, 2, 2),
    "REDUCE_MIN": Form(_reduction, 2, 2),
    "RELU": Form(_same),
    "RELU6": Form(_same),
    "RELU_N1_TO_1": Form(_same),
    "RESHAPE": Form(_reshape, 1, 2),
    "RESIZE_BILINEAR": Form(_resize, 2, 2),
    "RESIZE_NEAREST_NEIGHBOR": Form(_resize, 2, 2),
    "RSQRT": Form(_same),
    "SLICE": Form(_slice, 3, 3),
    "SOFTMAX": Form(_same),
    "SPACE_TO_DEPTH": Form(_space_to_depth),
    "SPLIT": Form(_split, 2, 2, several=True),
    "SPLIT_V": Form(_split, 3, 3, several=True),
    "SQUEEZE": Form(_reshape),
    "STRIDED_SLICE": Form(_strided_slice, 4, 4),
    "SUB": Form(_broadcast, 2, 2),
    "SUM": Form(_reduction, 2, 2),
    "TANH": Form(_same),
    "TILE": Form(_tile, 2, 2),
    "TRANSPOSE": Form(_transpose, 2, 2),
    "TRANSPOSE_CONV": Form(_transpose_conv, 3, 4),
    "UNPACK": Form(_unpack, several=True),
}
