# SPDX-License-Identifier: Apache-2.0
"""A .tflite file as frozen dataclasses, named as in TensorFlow Lite's schema.fbs.

The reader resolves the file's conventions: operator codes become names and versions, element types
become names, missing optional inputs are -1.
"""

from __future__ import annotations

import collections
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Iterator, Mapping

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgekit.formats.tflite.sparsity import Sparsity

EDGETPU_CUSTOM_OP = "edgetpu-custom-op"  # what the compiler writes in place of mapped operators
CUSTOM = "CUSTOM"

# schema.fbs, enum TensorType; INT4 packs two values in a byte and does not have a numpy type.
NUMPY_DTYPES: dict[str, str] = {
    "FLOAT32": "float32",
    "FLOAT16": "float16",
    "INT32": "int32",
    "UINT8": "uint8",
    "INT64": "int64",
    "BOOL": "bool",
    "INT16": "int16",
    "COMPLEX64": "complex64",
    "INT8": "int8",
    "FLOAT64": "float64",
    "COMPLEX128": "complex128",
    "UINT64": "uint64",
    "UINT32": "uint32",
    "UINT16": "uint16",
}


@dataclass(frozen=True)
class Quantization:
    """Affine quantization: ``real = scale * (q - zero_point)``, per tensor or per channel.

    ``scale`` and ``zero_point`` have one element (per_tensor) or one for each index of dimension
    ``quantized_dimension`` (per_channel).
    """

    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    quantized_dimension: int = 0
    min: tuple[float, ...] = ()
    max: tuple[float, ...] = ()

    @property
    def per_channel(self) -> bool:
        """Whether there is more than one scale."""
        return len(self.scale) > 1


@dataclass(frozen=True)
class Tensor:
    """One tensor of a subgraph; ``shape`` as in the file (NHWC for images)."""

    name: str
    shape: tuple[int, ...]
    dtype: str  # a name of schema.fbs: "INT8"
    buffer: int  # index into Model.buffers; 0 is the empty buffer
    quantization: Quantization | None = None
    shape_signature: tuple[
        int, ...
    ] = ()  # -1: a dimension that is unknown before run time; (): not given
    is_variable: bool = False
    has_rank: bool = False
    sparsity: Sparsity | None = None  # of a constant that is stored without its zeros

    @property
    def is_dynamic(self) -> bool:
        """Whether a dimension is unknown before run time."""
        return any(size < 0 for size in self.shape_signature + self.shape)

    @property
    def is_sparse(self) -> bool:
        """Whether its constant is stored without its zeros."""
        return self.sparsity is not None

    @property
    def num_elements(self) -> int:
        """The product of ``shape`` (1 for a scalar)."""
        count = 1
        for size in self.shape:
            count *= size
        return count

    @property
    def scale(self) -> float | None:
        """The per-tensor scale; None if not quantized or per channel."""
        quantization = self.quantization
        return quantization.scale[0] if quantization and len(quantization.scale) == 1 else None

    @property
    def zero_point(self) -> int | None:
        """The per-tensor zero point; None if not quantized or per channel."""
        quantization = self.quantization
        return quantization.zero_point[0] if quantization and len(quantization.scale) == 1 else None


@dataclass(frozen=True)
class Operator:
    """One operator: ``opcode`` is the builtin's name, or "CUSTOM" with ``custom_code``.

    ``options`` contains the fields of the builtin options table by their names in schema.fbs
    (``stride_w``); enumerations are numbers, except ``fused_activation_function`` and
    ``padding``, which are names.
    """

    opcode: str
    version: int
    inputs: tuple[int, ...]  # tensor indices; -1 is an optional input left out
    outputs: tuple[int, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    options_type: str = "NONE"  # a name of union BuiltinOptions or BuiltinOptions2: "Conv2DOptions"
    custom_code: str = ""
    custom_options: bytes = b""
    intermediates: tuple[int, ...] = ()
    mutating_variable_inputs: tuple[bool, ...] = ()
    builtin_code: int = (
        -1
    )  # the number in schema.fbs, also for codes without a name in this edgekit

    @property
    def label(self) -> str:
        """The name for messages and logs: the opcode, or the custom operator's own name."""
        return self.custom_code if self.opcode == CUSTOM and self.custom_code else self.opcode


@dataclass(frozen=True)
class Subgraph:
    """Tensors, and the operators on them in execution order."""

    tensors: tuple[Tensor, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    operators: tuple[Operator, ...]
    name: str = ""


@dataclass(frozen=True)
class SignatureDef:
    """A named entry point: argument name -> tensor index."""

    signature_key: str
    inputs: Mapping[str, int]
    outputs: Mapping[str, int]
    subgraph_index: int = 0


@dataclass(frozen=True)
class Model:
    """A whole .tflite file.

    ``buffers`` are read-only uint8 views into the bytes that were read (no copies); buffer 0 is
    empty.
    """

    subgraphs: tuple[Subgraph, ...]
    buffers: tuple[NDArray[np.uint8], ...]
    description: str = ""
    version: int = 3
    metadata: Mapping[str, int] = field(default_factory=dict)  # name -> index into buffers
    signature_defs: tuple[SignatureDef, ...] = ()

    @property
    def main(self) -> Subgraph:
        """Subgraph 0, the one that an interpreter runs."""
        return self.subgraphs[0]

    def data(self, tensor: Tensor) -> NDArray[Any] | None:
        """Return the constant of ``tensor``, in its shape and dtype; None for an activation.

        The result is a read-only view; a sparse constant is returned as a dense copy. INT4, strings
        and other packed types are returned as flat uint8.
        """
        raw = self.buffers[tensor.buffer]
        if not raw.size:
            return None
        dtype = NUMPY_DTYPES.get(tensor.dtype)
        if dtype is None:
            return raw
        values = raw.view(np.dtype(dtype).newbyteorder("<"))
        if tensor.sparsity is not None:
            return tensor.sparsity.dense(values, tensor.shape)
        return values.reshape(tensor.shape)

    def operators(self) -> Iterator[tuple[int, int, Operator]]:
        """Yield every operator as (subgraph index, operator index, operator)."""
        for subgraph_index, subgraph in enumerate(self.subgraphs):
            for operator_index, operator in enumerate(subgraph.operators):
                yield subgraph_index, operator_index, operator

    def operator_counts(self) -> dict[str, int]:
        """Return how often each operator occurs in all subgraphs, the most frequent first."""
        labels = (operator.label for _, _, operator in self.operators())
        return dict(collections.Counter(labels).most_common())


def is_edgetpu_operator(operator: Operator) -> bool:
    """Whether the compiler wrote the operator in place of mapped ones."""
    return operator.opcode == CUSTOM and operator.custom_code == EDGETPU_CUSTOM_OP


def is_compiled(model: Model) -> bool:
    """Whether any operator of the model is an edgetpu-custom-op."""
    return any(is_edgetpu_operator(operator) for _, _, operator in model.operators())
