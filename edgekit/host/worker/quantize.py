# SPDX-License-Identifier: Apache-2.0
"""Calibrate and quantize a float .tflite to int8 with the tools inside TFLiteConverter.

ai-edge-quantizer (0.10) also quantizes, but it gives dense weights one scale per channel and marks
every operator as version 1, so its result is not an Edge TPU model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from edgekit.host.worker.refused import missing_function

_PURPOSE = "quantize a .tflite file"
_ARITHMETIC = frozenset((0, 18, 41, 42))  # schema.fbs: ADD, MUL, SUB, DIV


def calibrate(content: bytes, samples: Callable[[], Iterator[list[Any]]]) -> bytes:
    """Run a float model on ``samples`` and write the range of each tensor into it.

    Args:
        content: The .tflite; its shapes are static.
        samples: Yields calibration samples, each a list of arrays in the order of the inputs.

    Raises:
        Refused: This TensorFlow does not have a calibrator for flatbuffers.
    """
    try:
        from tensorflow.lite.python.optimize import calibrator  # noqa: PLC0415
    except ImportError as error:
        raise missing_function(_PURPOSE, error) from error
    # An LSTM's inner results get ranges only if they are tensors.
    content = bytes(calibrator.add_intermediate_tensors(content))
    kept = _with_kept_tensors(content)
    calibrated = bytes(calibrator.Calibrator(kept).calibrate(samples))
    return calibrated if kept is content else _with_outputs_of(content, calibrated)


def _with_kept_tensors(content: bytes) -> bytes:
    """Return the model with the inputs of arithmetic operators as additional outputs.

    The interpreter lets such an operator write its result over its input if nothing else needs
    that one. The calibrator reads the ranges after the operator has run, so the input gets the
    range of the result: boxes of 0..1 before a multiplication by 640 got 0..640. An output is not
    overwritten.
    """
    from tensorflow.lite.tools import flatbuffer_utils  # noqa: PLC0415

    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(content))
    graph = model.subgraphs[0]
    made = {int(tensor) for operator in graph.operators for tensor in operator.outputs}
    kept = set(map(int, graph.outputs))
    added: list[int] = []
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex]
        if max(code.builtinCode, code.deprecatedBuiltinCode) not in _ARITHMETIC:
            continue
        added += [t for t in map(int, operator.inputs) if t in made and t not in {*kept, *added}]
    if not added:
        return content
    graph.outputs = [*map(int, graph.outputs), *added]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _with_outputs_of(original: bytes, calibrated: bytes) -> bytes:
    """Return ``calibrated`` with the outputs of ``original``."""
    from tensorflow.lite.tools import flatbuffer_utils  # noqa: PLC0415

    before, model = (
        flatbuffer_utils.convert_bytearray_to_object(bytearray(each))
        for each in (original, calibrated)
    )
    model.subgraphs[0].outputs = before.subgraphs[0].outputs
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def quantize(calibrated: bytes, io: str, *, per_tensor_dense: bool = True) -> bytes:
    """Quantize a result of `calibrate`.

    Args:
        calibrated: The model with the range of each tensor.
        io: ``uint8``, ``int8`` or ``float32``: type of the model's inputs and outputs.
        per_tensor_dense: Give dense layers one weight scale, as the Edge TPU needs; TensorFlow
            2.17 and newer otherwise give one for each channel.

    Raises:
        Refused: This TensorFlow does not have a quantizer for flatbuffers.
    """
    import tensorflow as tf  # noqa: PLC0415

    try:
        from tensorflow.lite.python.convert import mlir_quantize  # noqa: PLC0415
    except ImportError as error:
        raise missing_function(_PURPOSE, error) from error
    io_type = getattr(tf, io)
    options = _per_tensor_dense(mlir_quantize) if per_tensor_dense else {}
    return bytes(
        mlir_quantize(calibrated, input_data_type=io_type, output_data_type=io_type, **options)
    )


def _per_tensor_dense(function: Any) -> dict[str, bool]:  # noqa: ANN401
    import inspect  # noqa: PLC0415

    # Older versions always quantize dense layers per tensor and do not have this option.
    name = "disable_per_channel_for_dense_layers"
    return {name: True} if name in inspect.signature(function).parameters else {}
