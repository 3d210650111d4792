# SPDX-License-Identifier: Apache-2.0
"""Sizes of TRANSPOSE and resizes that Google's compilers mapped or refused, with their sources.

Limits between them are computed from these rows, and docs/supported-operations.md lists them.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgekit.edgetpu.operation import count

# PyTorch's order of axes to TensorFlow's, as exporters put it behind an input; and back.
TO_NHWC, TO_NCHW = (0, 2, 3, 1), (0, 3, 1, 2)

_COMPILED = "compiled models, tensor by tensor"
_ONNXSIM = "onnxsim pull request 1418 (compiler 16.0)"
_ISSUE_31 = "google-coral/edgetpu issue 31"


@dataclass(frozen=True)
class Row:
    """What became of one operator; shapes are NHWC for resizes, as stored for TRANSPOSE."""

    opcode: str
    shape: tuple[int, ...]  # of the input
    out_shape: tuple[int, ...]
    mapped: bool
    source: str
    order: tuple[int, ...] = ()  # of a TRANSPOSE

    @property
    def elements(self) -> int:
        """The number of elements of the larger tensor."""
        return max(count(self.shape), count(self.out_shape))

    @property
    def form(self) -> str:
        """Input and output shape, and the order of a TRANSPOSE."""
        order = f", order {list(self.order)}" if self.order else ""
        return f"{_by(self.shape)} to {_by(self.out_shape)}{order}"


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _transpose(order: tuple[int, ...], *shape: int, mapped: bool, source: str) -> Row:
    out = tuple(shape[axis] for axis in order)
    return Row("TRANSPOSE", shape, out, mapped, source, order)


def _resize(opcode: str, side: int, out: int, depth: int, *, mapped: bool, source: str) -> Row:
    return Row(opcode, (1, side, side, depth), (1, out, out, depth), mapped, source)


_BILINEAR, _NEAREST = "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"
_LITE0 = "logs of compiler 16.0 for EfficientDet-Lite0 (264 of 267 operators mapped)"

ROWS = (
    _transpose(TO_NCHW, 1, 20, 20, 65, mapped=True, source=_COMPILED),
    _transpose(TO_NCHW, 1, 20, 20, 144, mapped=True, source=_COMPILED),
    _transpose(TO_NCHW, 1, 20, 20, 256, mapped=False, source=_COMPILED),
    _transpose(TO_NCHW, 1, 40, 40, 65, mapped=False, source=_COMPILED),
    _transpose(TO_NCHW, 1, 32, 32, 144, mapped=False, source=_COMPILED),
    _transpose(TO_NCHW, 1, 80, 80, 65, mapped=False, source=_COMPILED),
    _transpose(TO_NHWC, 1, 32, 32, 32, mapped=True, source=_ONNXSIM),
    _transpose(TO_NHWC, 1, 64, 24, 24, mapped=True, source=_ONNXSIM),
    _transpose(TO_NHWC, 1, 4, 128, 128, mapped=True, source=_ONNXSIM),
    _transpose(TO_NHWC, 1, 64, 32, 32, mapped=False, source=_ONNXSIM),
    _transpose(TO_NHWC, 1, 32, 64, 64, mapped=False, source=_ONNXSIM),
    _resize(_BILINEAR, 33, 33, 19, mapped=True, source=_COMPILED),
    _resize(_BILINEAR, 6, 12, 64, mapped=True, source=_COMPILED),
    _resize(_BILINEAR, 24, 48, 24, mapped=True, source=_COMPILED),
    _resize(_BILINEAR, 64, 128, 32, mapped=True, source=_ISSUE_31),
    _resize(_BILINEAR, 256, 512, 32, mapped=False, source=_ISSUE_31),
    _resize(_BILINEAR, 1, 33, 256, mapped=False, source=_COMPILED),
    _resize(_BILINEAR, 33, 513, 19, mapped=False, source=_COMPILED),
    _resize(_NEAREST, 3, 5, 64, mapped=True, source=_LITE0),
    _resize(_NEAREST, 20, 40, 256, mapped=True, source=_COMPILED),
    _resize(_NEAREST, 40, 80, 128, mapped=True, source=_COMPILED),
)


def rows(opcode: str, *, mapped: bool, order: tuple[int, ...] = ()) -> tuple[Row, ...]:
    """Return the rows of an operator; of a TRANSPOSE those of one order."""
    return tuple(
        row for row in ROWS if (row.opcode, row.mapped, row.order) == (opcode, mapped, order)
    )
