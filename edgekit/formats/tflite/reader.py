# SPDX-License-Identifier: Apache-2.0
"""Read the bytes of a .tflite file to `Model`: everything is checked, nothing is copied."""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Callable, TypeVar

import numpy as np

from edgekit.errors import ModelFormatError
from edgekit.files import HDF5_HEAD, ZIP_HEAD, PathLike, read_bytes
from edgekit.formats.tflite.model import (
    CUSTOM,
    Model,
    Operator,
    Quantization,
    SignatureDef,
    Subgraph,
    Tensor,
)
from edgekit.formats.tflite.options import DTYPES, OPCODES, Table, options_type_name, read_options
from edgekit.formats.tflite.schema import tflite
from edgekit.formats.tflite.validate import validate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgekit.formats.tflite.sparsity import SparseDimension, Sparsity

_T = TypeVar("_T")
_EMPTY: NDArray[np.uint8] = np.empty(0, np.uint8)
# The exceptions of the flatbuffers runtime if an offset or a length points outside the bytes.
FLATBUFFER_DAMAGE = (
    struct.error,
    IndexError,
    ValueError,
    TypeError,
    OverflowError,
    MemoryError,
    AttributeError,
)
_SMALL_BYTES = 1 << 18
# First bytes of other files that users give by mistake.
_CONVERT = (
    "convert it first: edgekit convert FILE --data DATA -o OUT.tflite; for a float model, to "
    "compare with: edgekit convert FILE --mode float -o OUT.tflite"
)
_OTHER_FORMATS = (
    (HDF5_HEAD, "a Keras HDF5 file", _CONVERT),
    (ZIP_HEAD, "a zip archive (a .keras file?)", _CONVERT),
    (
        b"version https://git-lfs",
        "a Git LFS pointer, not the file itself",
        "fetch the file: git lfs pull",
    ),
    (b"<", "a web page", "download the file itself, not the page that shows it"),
)


def read_model(source: bytes | PathLike, *, where: str = "") -> Model:
    """Read and check a .tflite file, plain or compiled, or the plain model of a bundle.

    Besides the structure of the bytes this checks what an interpreter does not check: indices are
    in range, constants have the size of their shape, every tensor is written before it is read,
    strides are above zero.

    Args:
        source: A path, or the content of a file. The model's buffers are views into these bytes.
        where: The name of the file in messages; by default the path.

    Raises:
        InputError: The file cannot be read.
        BundleError: It is a damaged bundle.
        ModelFormatError: It is not a .tflite file, or is damaged.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        content = bytes(source)
    else:
        content, where = read_bytes(source, "model"), where or str(source)
    try:
        return _read_again(_model_in(content, where))
    except ModelFormatError as error:
        raise ModelFormatError(
            error.what, where=_join(where, error.where), why=error.why, fix=error.fix
        ) from error
    except FLATBUFFER_DAMAGE as error:
        raise ModelFormatError(
            "the model is damaged: an offset points outside the file",
            where=where,
            why=f"{len(content)} bytes were read, perhaps not the whole file",
            fix="copy or export the file again and compare sizes",
        ) from error


def _model_in(content: bytes, where: str) -> bytes:
    """Return ``content`` itself, or a bundle's plain model."""
    if content[:2] != b"PK":
        return content
    from edgekit.formats.bundle import model_content  # noqa: PLC0415 - 6 ms, for archives only

    return model_content(content, where=where)


def _read_again(content: bytes) -> Model:
    """Read ``content``; a small file that was just read comes from a cache, as models never change.

    A command needs a model's tables several times, and reading them is the main cost of a small
    model.
    """
    return (_read_small if len(content) <= _SMALL_BYTES else _read)(content)


@lru_cache(maxsize=4)
def _read_small(content: bytes) -> Model:
    return _read(content)


def _read(content: bytes) -> Model:
    if content[4:8] != b"TFL3":
        raise _not_tflite(content)
    root = tflite.Model.GetRootAs(content, 0)
    codes = _vector(root, "OperatorCodes", content)
    # Buffer 0 means "no data"; files not written by TensorFlow may omit the whole list.
    buffers = tuple(_buffer(entry, content) for entry in _vector(root, "Buffers", content)) or (
        _EMPTY,
    )
    model = Model(
        subgraphs=tuple(
            _subgraph(entry, codes, content) for entry in _vector(root, "Subgraphs", content)
        ),
        buffers=buffers,
        description=_text(root.Description()),
        version=root.Version(),
        metadata={
            _text(entry.Name()): entry.Buffer() for entry in _vector(root, "Metadata", content)
        },
        signature_defs=tuple(
            _signature(entry, content) for entry in _vector(root, "SignatureDefs", content)
        ),
    )
    validate(model)
    return model


def _subgraph(entry: Table, codes: list[Any], content: bytes) -> Subgraph:
    return Subgraph(
        tensors=tuple(_tensor(tensor) for tensor in _vector(entry, "Tensors", content)),
        inputs=_ints(entry, "Inputs"),
        outputs=_ints(entry, "Outputs"),
        operators=tuple(
            _operator(operator, codes) for operator in _vector(entry, "Operators", content)
        ),
        name=_text(entry.Name()),
    )


def _tensor(entry: Table) -> Tensor:
    return Tensor(
        name=_text(entry.Name()),
        shape=_ints(entry, "Shape"),
        dtype=_lookup(DTYPES, entry.Type(), "element type"),
        buffer=entry.Buffer(),
        quantization=_quantization(entry.Quantization()),
        shape_signature=_ints(entry, "ShapeSignature"),
        is_variable=bool(entry.IsVariable()),
        has_rank=bool(entry.HasRank()),
        sparsity=_sparsity(entry.Sparsity()),
    )


def _sparsity(entry: Table) -> Sparsity | None:
    if entry is None:
        return None
    from edgekit.formats.tflite.sparsity import Sparsity  # noqa: PLC0415 - few models have them

    levels = [entry.DimMetadata(number) for number in range(entry.DimMetadataLength())]
    return Sparsity(
        traversal_order=_ints(entry, "TraversalOrder"),
        block_map=_ints(entry, "BlockMap"),
        dimensions=tuple(_sparse_dimension(level) for level in levels),
    )


def _sparse_dimension(entry: Table) -> SparseDimension:
    from edgekit.formats.tflite.sparsity import SparseDimension  # noqa: PLC0415 - as above

    if entry.Format() == tflite.DimensionType.DENSE:
        return SparseDimension(is_sparse=False, dense_size=entry.DenseSize())
    return SparseDimension(
        is_sparse=True,
        dense_size=entry.DenseSize(),
        segments=_sparse_index(entry.ArraySegmentsType(), entry.ArraySegments()),
        indices=_sparse_index(entry.ArrayIndicesType(), entry.ArrayIndices()),
    )


def _sparse_index(kind: int, table: Table) -> tuple[int, ...]:
    from edgekit.formats.tflite.sparsity import SPARSE_INDEX_VECTORS  # noqa: PLC0415 - as above

    if kind not in SPARSE_INDEX_VECTORS or table is None:
        raise ModelFormatError(f"sparse indices of kind {kind} are not in TensorFlow Lite's schema")
    vector = getattr(tflite, SPARSE_INDEX_VECTORS[kind])()
    vector.Init(table.Bytes, table.Pos)
    return _ints(vector, "Values")


def _quantization(entry: Table) -> Quantization | None:
    scale = () if entry is None else _floats(entry, "Scale")
    if not scale:
        return None
    zero_point = _ints(entry, "ZeroPoint") or (0,) * len(scale)
    return Quantization(
        scale=scale,
        zero_point=zero_point,
        quantized_dimension=entry.QuantizedDimension(),
        min=_floats(entry, "Min"),
        max=_floats(entry, "Max"),
    )


def _operator(entry: Table, codes: list[Any]) -> Operator:
    index = entry.OpcodeIndex()
    if not 0 <= index < len(codes):
        raise ModelFormatError(f"operator code {index} of {len(codes)} does not exist")
    code = codes[index]
    # Since schema 3a, codes above 127 are in a second field; the larger of the two is valid.
    builtin_code = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
    opcode = OPCODES.get(builtin_code, f"BUILTIN_{builtin_code}")
    options_type = options_type_name(entry.BuiltinOptionsType())
    if options_type == "NONE" and entry.BuiltinOptions2Type():
        options_type = f"BuiltinOptions2[{entry.BuiltinOptions2Type()}]"
        options: dict[str, Any] = {}
    else:
        options = read_options(options_type, entry.BuiltinOptions())
    return Operator(
        opcode=opcode,
        version=code.Version(),
        inputs=_ints(entry, "Inputs"),
        outputs=_ints(entry, "Outputs"),
        options=options,
        options_type=options_type,
        custom_code=_text(code.CustomCode()) if opcode == CUSTOM else "",
        custom_options=b""
        if entry.CustomOptionsIsNone()
        else entry.CustomOptionsAsNumpy().tobytes(),
        intermediates=_ints(entry, "Intermediates"),
        mutating_variable_inputs=tuple(
            bool(flag) for flag in _ints(entry, "MutatingVariableInputs")
        ),
        builtin_code=builtin_code,
    )


def _signature(entry: Table, content: bytes) -> SignatureDef:
    inputs = {_text(arg.Name()): arg.TensorIndex() for arg in _vector(entry, "Inputs", content)}
    outputs = {_text(arg.Name()): arg.TensorIndex() for arg in _vector(entry, "Outputs", content)}
    return SignatureDef(_text(entry.SignatureKey()), inputs, outputs, entry.SubgraphIndex())


def _buffer(entry: Table, content: bytes) -> NDArray[np.uint8]:
    if entry.Offset() > 1:  # files above 2 GB keep data after the flatbuffer
        return np.frombuffer(content, np.uint8, entry.Size(), entry.Offset())
    data: NDArray[np.uint8] | int = entry.DataAsNumpy()
    return _EMPTY if isinstance(data, int) or not data.size else data


def _vector(entry: Table, name: str, content: bytes) -> list[Any]:
    """Return the tables of a vector; refuse a length that does not fit the file before the loop."""
    count = getattr(entry, name + "Length")()
    if count * 4 > len(content):
        raise ModelFormatError(
            f"{name} declares {count} entries, but the file is too small for them"
        )
    get: Callable[[int], Any] = getattr(entry, name)
    return [get(i) for i in range(count)]


def _ints(entry: Table, name: str) -> tuple[int, ...]:
    values = getattr(entry, name + "AsNumpy")()  # 0 if the vector is absent
    return () if isinstance(values, int) else tuple(values.tolist())


def _floats(entry: Table, name: str) -> tuple[float, ...]:
    values = getattr(entry, name + "AsNumpy")()
    return () if isinstance(values, int) else tuple(values.tolist())


def _text(raw: bytes | None) -> str:
    return "" if raw is None else raw.decode("utf-8", "replace")


def _lookup(names: dict[int, str], number: int, what: str) -> str:
    if number not in names:
        raise ModelFormatError(f"{what} {number} is not in TensorFlow Lite's schema")
    return names[number]


def _join(where: str, place: str) -> str:
    return ", ".join(part for part in (where, place) if part)


def _not_tflite(content: bytes) -> ModelFormatError:
    if not content:
        return ModelFormatError("the file is empty", fix="export or copy the model again")
    for head, what, fix in _OTHER_FORMATS:
        if content.startswith(head):
            return ModelFormatError("this is not a .tflite file", why=f"it is {what}", fix=fix)
    return ModelFormatError(
        f"this is not a .tflite file: bytes 4 to 7 are {content[4:8]!r}, expected b'TFL3'",
        fix="give a .tflite file, or convert the model first: "
        "edgekit convert SOURCE --data DATA -o OUT.tflite",
    )
