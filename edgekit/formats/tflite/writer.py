# SPDX-License-Identifier: Apache-2.0
"""Write a `Model` to the bytes of a .tflite file, with the builders of the ``tflite`` package."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Mapping, Sequence, Tuple

import flatbuffers
import numpy as np

from edgekit.formats.tflite.model import CUSTOM, Model, Operator, Quantization, Subgraph, Tensor
from edgekit.formats.tflite.options import DTYPES, OPCODES, Builder, write_options
from edgekit.formats.tflite.schema import tflite

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgekit.formats.tflite.sparsity import SparseDimension, Sparsity

# schema.fbs: "force_align: 16" on Buffer.data; kernels use aligned loads on constants.
_BUFFER_ALIGNMENT = 16
# Codes above this one do not fit the old 8-bit field, which then contains this value (schema 3a).
_PLACEHOLDER_CODE = 127
# Upper bounds: a tensor's or operator's table with vtable and vectors, a buffer's with padding.
_TABLE_BYTES, _BUFFER_BYTES = 512, 64
_INT32_VECTOR = 1  # of union SparseIndexVector
_SCALE_BYTES = 20  # scale, zero point (8 bytes), minimum, maximum
_DTYPE_NUMBERS = {name: number for number, name in DTYPES.items()}
_OPCODE_NUMBERS = {name: number for number, name in OPCODES.items()}


def write_model(model: Model) -> bytes:
    """Serialize ``model``; ``read_model(write_model(m))`` equals ``m``.

    Operator codes are written again from the operators, in the order of first use.

    Raises:
        UnsupportedModelError: The model contains data that these dataclasses cannot store (options
            of the second builtin options union).
    """
    builder = flatbuffers.Builder(_room(model))
    codes = _operator_codes(model)
    buffers = _tables(
        builder, "ModelStartBuffersVector", [_buffer(builder, data) for data in model.buffers]
    )
    subgraphs = _tables(
        builder,
        "ModelStartSubgraphsVector",
        [_subgraph(builder, subgraph, codes) for subgraph in model.subgraphs],
    )
    operator_codes = _tables(
        builder, "ModelStartOperatorCodesVector", [_code(builder, code) for code in codes]
    )
    metadata = _tables(
        builder,
        "ModelStartMetadataVector",
        [_metadata(builder, *entry) for entry in model.metadata.items()],
    )
    signatures = _signatures(builder, model)
    description = builder.CreateString(model.description)
    tflite.ModelStart(builder)
    tflite.ModelAddVersion(builder, model.version)
    tflite.ModelAddOperatorCodes(builder, operator_codes)
    tflite.ModelAddSubgraphs(builder, subgraphs)
    tflite.ModelAddDescription(builder, description)
    tflite.ModelAddBuffers(builder, buffers)
    if model.metadata:
        tflite.ModelAddMetadata(builder, metadata)
    if model.signature_defs:
        tflite.ModelAddSignatureDefs(builder, signatures)
    builder.Finish(tflite.ModelEnd(builder), b"TFL3")
    # A slice of the bytearray would be a copy, and bytes() of it a second one.
    return bytes(memoryview(builder.Bytes)[builder.head :])


def _room(model: Model) -> int:
    """Return an upper bound of the bytes of ``model``: a builder that grows copies all its data."""
    constants = sum(buffer.size + _BUFFER_BYTES for buffer in model.buffers)
    tables = 0
    for tensor in (each for subgraph in model.subgraphs for each in subgraph.tensors):
        scales = len(tensor.quantization.scale) if tensor.quantization else 0
        tables += _TABLE_BYTES + len(tensor.name) + _SCALE_BYTES * scales
        if tensor.sparsity is not None:
            levels = tensor.sparsity.dimensions
            numbers = sum(len(each.segments) + len(each.indices) for each in levels)
            tables += _TABLE_BYTES * len(levels) + 4 * numbers
    return constants + tables + _TABLE_BYTES * (16 + sum(1 for _ in model.operators()))


_Code = Tuple[int, str, int]  # builtin code, custom code, version


def _operator_codes(model: Model) -> dict[_Code, int]:
    codes: dict[_Code, int] = {}
    for _, _, operator in model.operators():
        codes.setdefault(_code_of(operator), len(codes))
    return codes


def _code_of(operator: Operator) -> _Code:
    number = _OPCODE_NUMBERS.get(operator.opcode, operator.builtin_code)
    return number, operator.custom_code if operator.opcode == CUSTOM else "", operator.version


def _code(builder: Builder, code: _Code) -> int:
    number, custom_code, version = code
    name = builder.CreateString(custom_code) if custom_code else None
    tflite.OperatorCodeStart(builder)
    tflite.OperatorCodeAddDeprecatedBuiltinCode(builder, min(number, _PLACEHOLDER_CODE))
    tflite.OperatorCodeAddBuiltinCode(builder, number)
    tflite.OperatorCodeAddVersion(builder, version)
    if name is not None:
        tflite.OperatorCodeAddCustomCode(builder, name)
    return int(tflite.OperatorCodeEnd(builder))


def _buffer(builder: Builder, data: NDArray[np.uint8]) -> int:
    vector = (
        _bytes_vector(builder, np.ascontiguousarray(data).data, _BUFFER_ALIGNMENT)
        if data.size
        else None
    )
    tflite.BufferStart(builder)
    if vector is not None:
        tflite.BufferAddData(builder, vector)
    return int(tflite.BufferEnd(builder))


def _subgraph(builder: Builder, subgraph: Subgraph, codes: Mapping[_Code, int]) -> int:
    tensors = _tables(
        builder, "SubGraphStartTensorsVector", [_tensor(builder, t) for t in subgraph.tensors]
    )
    operators = _tables(
        builder,
        "SubGraphStartOperatorsVector",
        [_operator(builder, op, codes) for op in subgraph.operators],
    )
    inputs, outputs = _int32s(builder, subgraph.inputs), _int32s(builder, subgraph.outputs)
    name = builder.CreateString(subgraph.name) if subgraph.name else None
    tflite.SubGraphStart(builder)
    tflite.SubGraphAddTensors(builder, tensors)
    tflite.SubGraphAddInputs(builder, inputs)
    tflite.SubGraphAddOutputs(builder, outputs)
    tflite.SubGraphAddOperators(builder, operators)
    if name is not None:
        tflite.SubGraphAddName(builder, name)
    return int(tflite.SubGraphEnd(builder))


def _tensor(builder: Builder, tensor: Tensor) -> int:
    shape = _int32s(builder, tensor.shape)
    signature = _int32s(builder, tensor.shape_signature) if tensor.shape_signature else None
    name = builder.CreateString(tensor.name)
    quantization = _quantization(builder, tensor.quantization) if tensor.quantization else None
    sparsity = _sparsity(builder, tensor.sparsity) if tensor.sparsity else None
    tflite.TensorStart(builder)
    tflite.TensorAddShape(builder, shape)
    tflite.TensorAddType(builder, _DTYPE_NUMBERS[tensor.dtype])
    tflite.TensorAddBuffer(builder, tensor.buffer)
    tflite.TensorAddName(builder, name)
    if quantization is not None:
        tflite.TensorAddQuantization(builder, quantization)
    if sparsity is not None:
        tflite.TensorAddSparsity(builder, sparsity)
    tflite.TensorAddIsVariable(builder, tensor.is_variable)
    if signature is not None:
        tflite.TensorAddShapeSignature(builder, signature)
    tflite.TensorAddHasRank(builder, tensor.has_rank)
    return int(tflite.TensorEnd(builder))


def _quantization(builder: Builder, quantization: Quantization) -> int:
    scale = builder.CreateNumpyVector(np.asarray(quantization.scale, np.float32))
    zero_point = builder.CreateNumpyVector(np.asarray(quantization.zero_point, np.int64))
    ranges = [
        builder.CreateNumpyVector(np.asarray(values, np.float32)) if values else None
        for values in (quantization.min, quantization.max)
    ]
    tflite.QuantizationParametersStart(builder)
    if ranges[0] is not None:
        tflite.QuantizationParametersAddMin(builder, ranges[0])
    if ranges[1] is not None:
        tflite.QuantizationParametersAddMax(builder, ranges[1])
    tflite.QuantizationParametersAddScale(builder, scale)
    tflite.QuantizationParametersAddZeroPoint(builder, zero_point)
    tflite.QuantizationParametersAddQuantizedDimension(builder, quantization.quantized_dimension)
    return int(tflite.QuantizationParametersEnd(builder))


def _sparsity(builder: Builder, sparsity: Sparsity) -> int:
    order, blocks = _int32s(builder, sparsity.traversal_order), _int32s(builder, sparsity.block_map)
    dimensions = _tables(
        builder,
        "SparsityParametersStartDimMetadataVector",
        [_sparse_dimension(builder, each) for each in sparsity.dimensions],
    )
    tflite.SparsityParametersStart(builder)
    tflite.SparsityParametersAddTraversalOrder(builder, order)
    tflite.SparsityParametersAddBlockMap(builder, blocks)
    tflite.SparsityParametersAddDimMetadata(builder, dimensions)
    return int(tflite.SparsityParametersEnd(builder))


def _sparse_dimension(builder: Builder, dimension: SparseDimension) -> int:
    segments, indices = (
        _index_vector(builder, values) if dimension.is_sparse else 0
        for values in (dimension.segments, dimension.indices)
    )
    tflite.DimensionMetadataStart(builder)
    tflite.DimensionMetadataAddDenseSize(builder, dimension.dense_size)
    if dimension.is_sparse:
        tflite.DimensionMetadataAddFormat(builder, tflite.DimensionType.SPARSE_CSR)
        tflite.DimensionMetadataAddArraySegmentsType(builder, _INT32_VECTOR)
        tflite.DimensionMetadataAddArraySegments(builder, segments)
        tflite.DimensionMetadataAddArrayIndicesType(builder, _INT32_VECTOR)
        tflite.DimensionMetadataAddArrayIndices(builder, indices)
    return int(tflite.DimensionMetadataEnd(builder))


def _index_vector(builder: Builder, values: Sequence[int]) -> int:
    vector = _int32s(builder, values)
    tflite.Int32VectorStart(builder)
    tflite.Int32VectorAddValues(builder, vector)
    return int(tflite.Int32VectorEnd(builder))


def _operator(builder: Builder, operator: Operator, codes: Mapping[_Code, int]) -> int:
    inputs, outputs = _int32s(builder, operator.inputs), _int32s(builder, operator.outputs)
    options_type, options = write_options(builder, operator.options_type, operator.options)
    custom = _bytes_vector(builder, operator.custom_options, 1) if operator.custom_options else None
    intermediates = _int32s(builder, operator.intermediates) if operator.intermediates else None
    mutating = (
        _bytes_vector(builder, bytes(operator.mutating_variable_inputs), 1)
        if operator.mutating_variable_inputs
        else None
    )
    tflite.OperatorStart(builder)
    tflite.OperatorAddOpcodeIndex(builder, codes[_code_of(operator)])
    tflite.OperatorAddInputs(builder, inputs)
    tflite.OperatorAddOutputs(builder, outputs)
    if options_type:
        tflite.OperatorAddBuiltinOptionsType(builder, options_type)
        tflite.OperatorAddBuiltinOptions(builder, options)
    if custom is not None:
        tflite.OperatorAddCustomOptions(builder, custom)
    if mutating is not None:
        tflite.OperatorAddMutatingVariableInputs(builder, mutating)
    if intermediates is not None:
        tflite.OperatorAddIntermediates(builder, intermediates)
    return int(tflite.OperatorEnd(builder))


def _metadata(builder: Builder, name: str, buffer: int) -> int:
    text = builder.CreateString(name)
    tflite.MetadataStart(builder)
    tflite.MetadataAddName(builder, text)
    tflite.MetadataAddBuffer(builder, buffer)
    return int(tflite.MetadataEnd(builder))


def _signatures(builder: Builder, model: Model) -> int:
    entries = []
    for signature in model.signature_defs:
        key = builder.CreateString(signature.signature_key)
        inputs = _tables(
            builder,
            "SignatureDefStartInputsVector",
            [_argument(builder, *a) for a in signature.inputs.items()],
        )
        outputs = _tables(
            builder,
            "SignatureDefStartOutputsVector",
            [_argument(builder, *a) for a in signature.outputs.items()],
        )
        tflite.SignatureDefStart(builder)
        tflite.SignatureDefAddInputs(builder, inputs)
        tflite.SignatureDefAddOutputs(builder, outputs)
        tflite.SignatureDefAddSignatureKey(builder, key)
        tflite.SignatureDefAddSubgraphIndex(builder, signature.subgraph_index)
        entries.append(int(tflite.SignatureDefEnd(builder)))
    return _tables(builder, "ModelStartSignatureDefsVector", entries)


def _argument(builder: Builder, name: str, tensor_index: int) -> int:
    text = builder.CreateString(name)
    tflite.TensorMapStart(builder)
    tflite.TensorMapAddName(builder, text)
    tflite.TensorMapAddTensorIndex(builder, tensor_index)
    return int(tflite.TensorMapEnd(builder))


def _tables(builder: Builder, start: str, offsets: list[int]) -> int:
    begin: Callable[[Any, int], Any] = getattr(tflite, start)
    begin(builder, len(offsets))
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())


def _int32s(builder: Builder, values: Sequence[int]) -> int:
    return int(builder.CreateNumpyVector(np.asarray(values, np.int32)))


def _bytes_vector(builder: Builder, content: bytes | memoryview, alignment: int) -> int:
    """Write a vector of bytes with an aligned first byte; CreateByteVector cannot align it."""
    builder.StartVector(1, len(content), alignment)
    builder.head = builder.head - len(content)
    builder.Bytes[builder.head : builder.head + len(content)] = content
    return int(builder.EndVector())
