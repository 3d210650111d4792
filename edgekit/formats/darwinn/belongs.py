# SPDX-License-Identifier: Apache-2.0
"""Check from the bytes that a compiled model was made from a given plain one.

The compiler keeps names, shapes and quantization of the tensors that it does not remove. It writes
every weight of a mapped layer into the package's parameters: in another order and with padding, but
each one as the unsigned byte used on the device. So each byte value must occur there at least as
often as among the weights; another training of the same network does not pass this by chance. This
is true to the byte for all 44 models of compilers 1.0 to 16.0 whose sources are known.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import BundleError, UnsupportedModelError
from edgekit.formats.darwinn import read_packages
from edgekit.formats.tflite import (
    Model,
    Operator,
    Subgraph,
    Tensor,
    is_compiled,
    is_edgetpu_operator,
)

# Operators whose second input is their weights; the package stores them once for each operator.
_WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
_SIGN_BIT = 0x80  # int8 weights are shifted by 128 to the device's unsigned numbers


def check_plain(plain: Model, where: str = "") -> None:
    """Refuse a model that is already compiled.

    Raises:
        UnsupportedModelError: It is compiled.
    """
    if is_compiled(plain):
        raise UnsupportedModelError(
            "the plain model is compiled for the Edge TPU",
            where=where,
            fix="use the model that was given to the compiler, without _edgetpu in its name",
        )


def check_belongs(plain: Model, compiled: Model, where: str = "") -> None:
    """Refuse a compiled model that was not made from ``plain``.

    Raises:
        BundleError: It was not made from ``plain``; ``why`` names the first difference.
        UnsupportedModelError: It does not contain a program for the Edge TPU.
    """
    if not is_compiled(compiled):
        raise UnsupportedModelError(
            "the compiled model has no edgetpu-custom-op",
            where=where,
            why="no part of it runs on the Edge TPU",
            fix="give the compiled file, NAME_edgetpu.tflite",
        )
    check_plain(plain)
    why = _other_ends(plain, compiled) or _other_remains(plain, compiled)
    why = why or _other_weights(plain, compiled)
    if why:
        raise BundleError(
            "the compiled model does not belong to the plain one",
            where=where,
            why=why,
            fix="compile the plain model again and bundle both",
        )


def _other_ends(plain: Model, compiled: Model) -> str:
    for kind in ("inputs", "outputs"):
        ours, theirs = (
            [_identity(model.main.tensors[index]) for index in getattr(model.main, kind)]
            for model in (plain, compiled)
        )
        if ours != theirs:
            return f"its {kind} are {_listed(theirs)}, expected {_listed(ours)}"
    return ""


def _other_remains(plain: Model, compiled: Model) -> str:
    """Return the first difference in the operators left on the CPU; empty if there is none."""
    known = _by_outputs(plain.main)
    for operator in compiled.main.operators:
        tensors = [compiled.main.tensors[index] for index in operator.outputs]
        if is_edgetpu_operator(operator):
            continue
        source = known.get(tuple(tensor.name for tensor in tensors))
        names = [tensor.name for tensor in tensors]
        if source is None or source.opcode != operator.opcode:
            return f"its operator {operator.label} for {names} is not in the plain model"
        if not _same_constants(plain, source, compiled, operator):
            return f"the constants of {operator.label} for {names} differ"
    return ""


def _same_constants(plain: Model, source: Operator, compiled: Model, operator: Operator) -> bool:
    for ours, theirs in zip(source.inputs, operator.inputs):
        if ours < 0 or theirs < 0:
            continue
        constant = plain.buffers[plain.main.tensors[ours].buffer]
        copied = compiled.buffers[compiled.main.tensors[theirs].buffer]
        if constant.size and not np.array_equal(constant, copied):
            return False
    return True


def _other_weights(plain: Model, compiled: Model) -> str:
    remaining = {
        compiled.main.tensors[index].name
        for operator in compiled.main.operators
        if not is_edgetpu_operator(operator)
        for index in operator.outputs
    }
    wanted = _count_weights(plain, remaining)
    packages = [each.package for each in read_packages(compiled)]
    given = np.zeros(256, np.int64)
    for executable in (each for package in packages for each in package.executables):
        given += np.bincount(executable.parameters, minlength=256)
    lacking = int(np.maximum(wanted - given, 0).sum())
    if not lacking:
        return ""
    return f"{lacking} of {int(wanted.sum())} weights of the mapped layers are not in its package"


def _count_weights(plain: Model, remaining: set[str]) -> NDArray[np.int64]:
    """Return how often each byte occurs among the weights of the mapped layers."""
    graph = plain.main
    counts, seen = np.zeros(256, np.int64), set()
    for operator in graph.operators:
        is_mapped = graph.tensors[operator.outputs[0]].name not in remaining
        if operator.opcode not in _WEIGHTED or not is_mapped or operator.inputs[1] in seen:
            continue
        seen.add(operator.inputs[1])
        tensor = graph.tensors[operator.inputs[1]]
        raw = plain.buffers[tensor.buffer]
        if tensor.dtype in ("INT8", "UINT8"):
            flipped = raw ^ np.uint8(_SIGN_BIT) if tensor.dtype == "INT8" else raw
            counts += np.bincount(flipped, minlength=256)
    return counts


def _by_outputs(graph: Subgraph) -> dict[tuple[str, ...], Operator]:
    return {
        tuple(graph.tensors[index].name for index in operator.outputs): operator
        for operator in graph.operators
    }


def _identity(tensor: Tensor) -> tuple[object, ...]:
    return tensor.name, tensor.shape, tensor.dtype, tensor.scale, tensor.zero_point


def _listed(ends: list[tuple[object, ...]]) -> str:
    return "; ".join(" ".join(map(str, end)) for end in ends)
