# SPDX-License-Identifier: Apache-2.0
"""Products of two large matrices, a block of columns at a time, without a large RESHAPE.

Each block puts a few vectors into the channels of one row, multiplies copies of the other matrix by
them, and sums the channels of each vector with a 1x1 convolution:

    out[n, m] = sum over k of places[n, k] * vectors[m, k]
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgekit.formats.tflite import Operator
from edgekit.rewrite import pieces
from edgekit.rewrite.edit import Edit

OPERATORS_EACH = 4  # of a block
# More convolutions, each with weights of its own, are not worth it.
_MOST_OPERATORS = 512
_CHANNELS = 1024  # of a block, if its vectors are short enough
_MOST_VALUES = 1 << 20  # of the products of a block
_MOST_WEIGHTS = 1 << 16  # of a convolution that copies; above, CONCATENATION does it
_WORD = 4  # parts of a CONCATENATION along channels have multiples of so many


@dataclass(frozen=True)
class BlockSizes:
    """How to multiply a matrix of ``places`` rows by ``vectors`` rows, all of ``depth`` values."""

    places: int
    vectors: int
    depth: int

    @property
    def at_once(self) -> int:
        """The vectors of a block."""
        fitting = _CHANNELS // self.depth // _WORD * _WORD
        return min(max(fitting, _WORD), self.vectors)

    @property
    def num_operators(self) -> int:
        """How many operators all blocks have."""
        return OPERATORS_EACH * -(-self.vectors // self.at_once) + OPERATORS_EACH

    @property
    def is_possible(self) -> bool:
        """Whether the products are small enough, and the operators few enough."""
        values = self.places * self.at_once * self.depth
        return values <= _MOST_VALUES and self.num_operators <= _MOST_OPERATORS


class Blocks:
    """The operators of one product."""

    def __init__(self, edit: Edit, like: int, name: str, sizes: BlockSizes) -> None:
        """Take the graph, an activation with the type of the new ones, and a prefix of names."""
        self._edit, self._like, self._name, self._sizes = edit, edit.tensors[like], name, sizes
        self._operators: list[Operator] = []

    def multiply(self, places: int, vectors: int) -> tuple[list[Operator], int]:
        """Return the operators, and their result of shape [1, 1, places, vectors].

        Args:
            places: Shape [1, 1, places, depth].
            vectors: Shape [1, 1, vectors, depth].
        """
        sizes = self._sizes
        parts, copies = [], {}
        for start in range(0, sizes.vectors, sizes.at_once):
            length = min(sizes.at_once, sizes.vectors - start)
            if length not in copies:
                copies[length] = self._copies(places, length)
            parts.append(self._block(copies[length], vectors, start, length))
        return self._operators, self._joined(parts)

    def _copies(self, places: int, times: int) -> int:
        """Return the values of each place several times, one after the other."""
        depth = self._sizes.depth
        if times == 1:
            return places
        out = self._new("copies", self._sizes.places, times * depth)
        if times * depth * depth <= _MOST_WEIGHTS or depth % _WORD:
            kernel = np.tile(np.eye(depth, dtype=np.float32), (times, 1))
            self._convolve(places, kernel, out)
        else:
            self._add(pieces.concatenate(self._edit, [places] * times, 3, out))
        return out

    def _block(self, copies: int, vectors: int, start: int, length: int) -> int:
        edit, sizes = self._edit, self._sizes
        across = length * sizes.depth
        chosen = self._new("vectors", length, sizes.depth)
        flat = self._new("flat", 1, across)
        products = self._new("products", sizes.places, across)
        # A part of a CONCATENATION is padded; the end is cut off behind it.
        width = length if length == sizes.vectors else -(-length // _WORD) * _WORD
        sums = self._new("sums", sizes.places, width)
        self._add(pieces.slice_from(edit, vectors, (0, 0, start, 0), chosen))
        self._add(pieces.reshape(edit, chosen, flat))
        self._add(pieces.mul(edit, copies, flat, products))
        kernel = np.zeros((width, across), np.float32)
        kernel[:length] = np.repeat(np.eye(length, dtype=np.float32), sizes.depth, axis=1)
        self._convolve(products, kernel, sums)
        return sums

    def _joined(self, parts: list[int]) -> int:
        if len(parts) == 1:
            return parts[0]
        edit, sizes = self._edit, self._sizes
        width = sum(edit.tensors[part].shape[-1] for part in parts)
        out = self._new("joined", sizes.places, width)
        self._add(pieces.concatenate(edit, parts, 3, out))
        if width == sizes.vectors:
            return out
        cut = self._new("cut", sizes.places, sizes.vectors)
        self._add(pieces.slice_from(edit, out, (0, 0, 0, 0), cut))
        return cut

    def _new(self, what: str, length: int, width: int) -> int:
        shape = (1, 1, length, width)
        return self._edit.activation(self._like, f"{self._name}/{what}", shape=shape)

    def _convolve(self, source: int, weights: np.ndarray, out: int) -> None:
        edit, name = self._edit, self._edit.tensors[out].name
        rows, columns = weights.shape
        kernel = edit.constant(f"{name}/ones", weights.reshape(rows, 1, 1, columns))
        zeros = edit.constant(f"{name}/zeros", np.zeros(rows, np.float32))
        self._add(pieces.convolve(edit, source, kernel, zeros, out))

    def _add(self, op: Operator) -> None:
        self._operators.append(op)
