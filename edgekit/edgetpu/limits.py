# SPDX-License-Identifier: Apache-2.0
"""The conditions under which a supported operator maps: one function for each limit.

Each returns None if the operator is within the limit; else a `Crossed` with the reason, and
whether the operator is known to be refused or only not known to map. Bounds are sizes seen in
compiled models: below the lower one all operators mapped, from the upper one on none did.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgekit.edgetpu.evidence import ROWS, TO_NCHW, TO_NHWC, rows
from edgekit.edgetpu.operation import MAPPABLE_RANK, Operation, count, nhwc, squeezed

TPU, CPU, UNKNOWN = "tpu", "cpu", "unknown"
_WORD = 4
RESHAPE_SEEN_MAPPED, _RESHAPE_SEEN_REFUSED = 98_553, 408_000
TRANSPOSE_SEEN = TO_NCHW
TRANSPOSE_SEEN_MAPPED = max(row.elements for row in rows("TRANSPOSE", mapped=True, order=TO_NCHW))
_TRANSPOSE_SEEN_REFUSED = min(
    row.elements for row in rows("TRANSPOSE", mapped=False, order=TO_NCHW)
)
_FEW_CHANNELS = 4  # with so many, an image of 128 x 128 was mapped in the order TO_NHWC
_LARGEST_RESIZE = {
    opcode: max(row.elements for row in rows(opcode, mapped=True))
    for opcode in ("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR")
}
_BILINEAR_SEEN_REFUSED = 512 * 512 * 32
_FACTOR_REFUSED = 15
_MEAN_SEEN_MAPPED, _MEAN_SEEN_REFUSED = 8_192, 32_768
_SOFTMAX_SEEN_MAPPED = 16_384
# YOLOv8 at 192x192: 4 sides of 756 boxes, 16 bins each (logs of compiler 16).
SOFTMAXES_SEEN_MAPPED = 4 * 756 * 16
_CONCAT_SEEN_MAPPED = 65
# Input, four weights, four recurrent weights; four biases; output and cell state.
_LSTM_PLAIN_INPUTS = (*range(9), *range(12, 16), 18, 19)


@dataclass(frozen=True)
class Crossed:
    """A limit that an operator exceeds."""

    verdict: str  # CPU: known to be refused; UNKNOWN: not known to be mapped
    why: str


def _refused(why: str) -> Crossed:
    return Crossed(CPU, why)


def _unknown(why: str) -> Crossed:
    return Crossed(UNKNOWN, why)


def no_fused_activation(op: Operation) -> Crossed | None:
    """No activation is fused into the operator."""
    fused = op.option("fused_activation_function", "NONE")
    return None if fused == "NONE" else _refused(f"{fused} is fused into it")


def constant_weights(op: Operation) -> Crossed | None:
    """Weights and bias are stored in the file."""
    for number, name in ((1, "weights"), (2, "bias")):
        tensor = op.input(number)
        if tensor is not None and not op.is_constant(tensor):
            return _refused(f"its {name} ({tensor.name}) are computed")
    return None


def stored_densely(op: Operation) -> Crossed | None:
    """Weights are dense: their zeros are stored."""
    sparse = next((each for each in op.inputs if each is not None and each.is_sparse), None)
    if sparse is None:
        return None
    return _unknown(
        f"{sparse.name} is sparse (stored without zeros), which no compiled model contains"
    )


def equal_dilation(op: Operation) -> Crossed | None:
    """Dilation is the same in x and y (ignored along a kernel of size 1)."""
    weights = op.input(1)
    height, width = op.option("dilation_h_factor", 1), op.option("dilation_w_factor", 1)
    if weights is None or height == width or 1 in weights.shape[1:3]:
        return None
    return _refused(f"dilation is {height} in y and {width} in x")


def no_groups(op: Operation) -> Crossed | None:
    """Each output channel reads all input channels."""
    weights = op.input(1)
    shape = op.in_shape
    if weights is None or not shape or weights.shape[-1:] == shape[-1:]:
        return None
    return _unknown(f"weights read {weights.shape[-1]} of {shape[-1]} input channels (groups)")


def vector_output(op: Operation) -> Crossed | None:
    """A dense layer outputs one vector; its weights have the default layout."""
    if op.option("weights_format", 0):
        return _refused("its weights are stored in another layout than the default")
    if count(op.out_shape[:-1]) > 1:
        keeps = " (keep_num_dims)" if op.option("keep_num_dims", False) else ""
        vectors = count(op.out_shape[:-1])
        return _refused(f"it outputs {vectors} vectors, {list(op.out_shape)}{keeps}")
    return None


def even_join(op: Operation) -> Crossed | None:
    """It does not join along the batch; constants are zero padding; odd parts have few channels."""
    shape = op.out_shape
    constants = [number for number, each in enumerate(op.inputs) if each and op.is_constant(each)]
    if constants:
        return _constant_join(op, constants)
    axis = op.option("axis") % max(len(shape), 1)
    if axis == 0 and len(shape) > MAPPABLE_RANK:
        return _refused("it joins along the batch")
    channels = [each.shape[-1] for each in op.activations if each.shape]
    is_wide = axis == len(shape) - 1 and shape[-1] > _CONCAT_SEEN_MAPPED
    is_image = count(shape[:-1]) > 1
    if is_image and is_wide and any(size % _WORD for size in channels):
        return _unknown(
            f"it joins {' + '.join(map(str, channels))} channels; 64 + 1 were seen mapped, "
            "192 + 1 + 1 refused"
        )
    return None


def _constant_join(op: Operation, constants: list[int]) -> Crossed | None:
    for number in constants:
        values, tensor = op.constant(number), op.input(number)
        zero = 0 if tensor is None or tensor.zero_point is None else tensor.zero_point
        if len(op.operator.inputs) != 2 or values is None or np.any(values != zero):
            return _refused("it joins a constant that is not the zero padding of one other input")
    return None


def spatial_mean(op: Operation) -> Crossed | None:
    """The mean is not over the batch, over channels only by multiples of 4, and not too large."""
    axes = op.integers(1)
    shape = op.in_shape
    if axes is None:
        return _refused("its axes are computed")
    rank = len(shape)
    reduced = {axis % rank for axis in axes} if rank else set()
    if rank > MAPPABLE_RANK and 0 in reduced:
        return _refused("it reduces the batch")
    if rank - 1 in reduced and rank > 1 and shape[-1] % _WORD:
        return _refused(f"it reduces {shape[-1]} channels, which is not a multiple of 4")
    positions = count(tuple(shape[axis] for axis in reduced if axis != rank - 1))
    if positions >= _MEAN_SEEN_REFUSED:
        return _refused(f"it reduces {positions:,} positions; 32,768 were seen refused")
    if positions > _MEAN_SEEN_MAPPED:
        return _unknown(
            f"it reduces {positions:,} positions; up to 8,192 were seen mapped, 32,768 refused"
        )
    return None


def only_spatial(op: Operation) -> Crossed | None:
    """Runtime 12 and below reduce only x and y."""
    axes, rank = op.integers(1) or (), len(op.in_shape)
    over_channels = rank > 1 and rank - 1 in {axis % rank for axis in axes}
    return _refused("it reduces channels") if over_channels else None


def not_batch(op: Operation) -> Crossed | None:
    """The first of four dimensions is not affected."""
    axes, rank = op.integers(1), len(op.in_shape)
    if axes is None:
        return _refused("its axes are computed")
    over_batch = rank > MAPPABLE_RANK and 0 in {axis % rank for axis in axes}
    return _refused("it works along the batch") if over_batch else None


def axis_not_batch(op: Operation) -> Crossed | None:
    """The axis is not the batch."""
    rank = len(op.out_shape)
    axis = op.option("axis")
    return _refused("it stacks along the batch") if rank > 1 and axis % rank == 0 else None


def pad_not_batch(op: Operation) -> Crossed | None:
    """It does not pad along the batch."""
    paddings = op.constant(1)
    if paddings is None:
        return _refused("its paddings are computed")
    first, rank = np.ravel(paddings)[:2], len(op.in_shape)
    over_batch = rank > MAPPABLE_RANK and first.any()
    return _refused("it pads the batch") if over_batch else None


def split_not_batch(op: Operation) -> Crossed | None:
    """It splits into more than one part, and not along the batch."""
    axes = op.integers(0)
    rank = len(op.in_shape)
    if axes is None:
        return _refused("its axis is computed")
    over_batch = len(op.outputs) > 1 and rank > MAPPABLE_RANK and axes[0] % rank == 0
    return _refused("it splits the batch") if over_batch else None


def unit_strides(op: Operation) -> Crossed | None:
    """All strides are 1; it does not use an ellipsis or a new axis."""
    if op.option("ellipsis_mask") or op.option("new_axis_mask"):
        return _refused("it uses an ellipsis or a new axis")
    strides = op.integers(3)
    if strides is None or op.constant(1) is None or op.constant(2) is None:
        return _refused("its bounds are computed")
    return None if set(strides) <= {1} else _refused(f"its strides are {list(strides)}")


def one_vector(op: Operation) -> Crossed | None:
    """It works on one vector, or on a few thousand short ones."""
    shape = op.in_shape
    if count(shape[:-1]) > 1:
        if count(shape) <= SOFTMAXES_SEEN_MAPPED:
            return None
        return _unknown(
            f"it works on {count(shape[:-1]):,} vectors of {shape[-1]}; one is documented, 3,024 "
            "of 16 were seen mapped"
        )
    if shape and shape[-1] > _SOFTMAX_SEEN_MAPPED:
        return _refused(f"it has {shape[-1]:,} elements; 16,000 are documented, 16,384 were seen")
    return None


def small_reshape(op: Operation) -> Crossed | None:
    """It does not change the layout of a large tensor."""
    before, after = op.in_shape, op.out_shape
    elements = count(before)
    if squeezed(before) == squeezed(after) or elements <= RESHAPE_SEEN_MAPPED:
        return None
    has_batch = max(len(before), len(after)) > MAPPABLE_RANK
    if not has_batch and elements <= _RESHAPE_SEEN_REFUSED:
        return None
    what = f"it changes the layout of {elements:,} elements, {list(before)} to {list(after)}"
    if has_batch and elements >= _RESHAPE_SEEN_REFUSED:
        return _refused(f"{what}; 408,000 after a batch dimension were seen refused")
    return _unknown(f"{what}; up to 98,553 were seen mapped, 408,000 refused")


def small_transpose(op: Operation) -> Crossed | None:
    """It changes a small tensor from NHWC to NCHW or back."""
    order, shape = op.integers(1), op.in_shape
    if order is None:
        return _refused("its order is computed")
    if sorted(order) != list(range(len(shape))):
        return _refused(f"its order {list(order)} does not fit a tensor of shape {list(shape)}")
    kept = [axis for axis in order if shape[axis] != 1]
    if kept == sorted(kept):
        return None  # only dimensions of size 1 move: memory does not change
    elements = count(shape)
    if elements >= _TRANSPOSE_SEEN_REFUSED:
        return _refused(
            f"it moves {elements:,} elements; all seen with 102,400 or more were refused"
        )
    if order == TO_NHWC:
        return _to_nhwc(shape, elements)
    if order != TO_NCHW:
        return _unknown(
            f"its order is {list(order)}; only [0, 3, 1, 2] and [0, 2, 3, 1] were seen mapped"
        )
    if elements > TRANSPOSE_SEEN_MAPPED:
        return _unknown(
            f"it moves {elements:,} elements; up to 57,600 were seen mapped, 102,400 refused"
        )
    return None


def _to_nhwc(shape: tuple[int, ...], elements: int) -> Crossed | None:
    """Whether a TRANSPOSE from NCHW maps: the more channels, the smaller the image may be."""
    few = shape[1] <= _FEW_CHANNELS
    seen = [row for row in ROWS if row.order == TO_NHWC and (row.shape[1] <= _FEW_CHANNELS) == few]
    mapped = max(row.elements for row in seen if row.mapped)
    if elements <= mapped:
        return None
    what = f"it moves {elements:,} elements of {shape[1]} channels from NCHW to NHWC"
    refused = min((row.elements for row in seen if not row.mapped), default=None)
    if refused is None:
        return _unknown(f"{what}; up to {mapped:,} of 4 channels were seen mapped")
    if elements >= refused and shape[1] >= min(row.shape[1] for row in seen if not row.mapped):
        return _refused(f"{what}; {refused:,} were seen refused")
    return _unknown(f"{what}; up to {mapped:,} were seen mapped, {refused:,} refused")


def small_factor(op: Operation) -> Crossed | None:
    """It resizes by 1 or 2, RESIZE_NEAREST_NEIGHBOR also between them; never by large factors."""
    (in_y, in_x, _), (out_y, out_x, _) = nhwc(op.in_shape), nhwc(op.out_shape)
    if (in_y, in_x) == (out_y, out_x):
        return None
    what = f"it resizes {in_y}x{in_x} to {out_y}x{out_x}"
    if max(out_y / max(in_y, 1), out_x / max(in_x, 1)) >= _FACTOR_REFUSED:
        return _refused(
            f"{what}; factors of {_FACTOR_REFUSED} and more are refused to protect precision"
        )
    is_nearest = op.operator.opcode == "RESIZE_NEAREST_NEIGHBOR"
    is_double = (out_y, out_x) == (2 * in_y, 2 * in_x)
    is_between = is_nearest and in_y <= out_y <= 2 * in_y and in_x <= out_x <= 2 * in_x
    if op.option("align_corners") or not (is_double or is_between):
        factors = "factors up to 2" if is_nearest else "equal sizes and factor 2"
        return _unknown(f"{what}; only {factors} without align_corners were seen mapped")
    elements = count(op.out_shape)
    if not is_nearest and elements >= _BILINEAR_SEEN_REFUSED:
        return _refused(f"{what}, {elements:,} elements; so many were seen refused")
    seen = _LARGEST_RESIZE[op.operator.opcode]
    return (
        None
        if elements <= seen
        else _unknown(f"{what}, {elements:,} elements; {seen:,} were seen mapped")
    )


def vector_alpha(op: Operation) -> Crossed | None:
    """It has one slope per channel (Keras: ``shared_axes=[1, 2]``)."""
    alpha = op.input(1)
    if alpha is None or not op.is_constant(alpha):
        return _refused("its slopes are computed")
    if count(alpha.shape[:-1]) > 1:
        return _refused(f"its slopes have shape {list(alpha.shape)}, one per position")
    return None


def plain_lstm(op: Operation) -> Crossed | None:
    """It does not use peepholes, projection or layer normalization."""
    extra = [
        number
        for number, tensor in enumerate(op.inputs)
        if tensor is not None and number not in _LSTM_PLAIN_INPUTS
    ]
    return _unknown(f"it has inputs {extra} (peepholes, projection)") if extra else None


def broadcast_tile(op: Operation) -> Crossed | None:
    """It repeats one pixel over an image, the only form that was seen."""
    height, width, _ = nhwc(op.in_shape)
    same_channels = op.in_shape[-1:] == op.out_shape[-1:]
    if (height, width) == (1, 1) and same_channels:
        return None
    return _unknown("it repeats more than one pixel, which was not seen mapped")


def is_seen_broadcast(shape: tuple[int, ...], out_shape: tuple[int, ...]) -> bool:
    """Whether elementwise operators were seen mapped with an input of ``shape``.

    It has the output's shape, one value, or one value for each channel.
    """
    is_channels = shape[-1:] == out_shape[-1:] == (count(shape),)
    return squeezed(shape) == squeezed(out_shape) or count(shape) == 1 or is_channels


def plain_broadcast(op: Operation) -> Crossed | None:
    """Each input has the output's shape, one value, or one value for each channel."""
    for tensor in op.inputs:
        if tensor is not None and not is_seen_broadcast(tensor.shape, op.out_shape):
            return _unknown(
                f"an input of shape {list(tensor.shape)} is repeated to {list(op.out_shape)}, and "
                "only single values and values for each channel were seen mapped so"
            )
    return None


def never_seen(op: Operation) -> Crossed | None:
    """Google lists it, but it is not mapped in any compiled model that was examined."""
    return _unknown(f"{op.operator.opcode} is listed as supported, but was never seen mapped")


def some_sizes(_op: Operation) -> Crossed | None:
    """Some sizes map and some do not; the rule is not known."""
    return _unknown("some sizes map and some do not; the rule is not known")
