# SPDX-License-Identifier: Apache-2.0
"""Verdicts, sizes and structure as issues: each cause once, not every affected operator."""

from __future__ import annotations

from collections import defaultdict
from typing import Iterator, Sequence

from edgekit.edgetpu.activations import Activations
from edgekit.edgetpu.blocker import Blocker
from edgekit.edgetpu.chip import ACTIVATION_BYTES, PARAMETER_CACHE_BYTES
from edgekit.edgetpu.issues import ISSUE_CODES, Issue
from edgekit.edgetpu.limits import CPU, TPU
from edgekit.edgetpu.parameters import LayerParameters, ParameterLayout
from edgekit.edgetpu.structure import first_computed_size, place_of, structural_rules
from edgekit.edgetpu.support import BORDERS, HOST_CUSTOM, OperatorVerdict
from edgekit.formats.tflite import Model

_NAMED = 8
# BatchNormalization that follows an activation becomes MUL and ADD.
_NORMALIZED = (
    "; or put BatchNormalization before the activation, where it is folded into the convolution"
)
_MOST_MS_PER_MB = 10.0  # measured: 1.8 to 10 ms per megabyte, by interface


def is_float(model: Model) -> bool:
    """Whether ``model`` contains only real numbers: nothing in it is quantized."""
    tensors = [tensor for graph in model.subgraphs for tensor in graph.tensors]
    has_real = any(tensor.dtype == "FLOAT32" for tensor in tensors)
    return has_real and not any(
        tensor.quantization is not None and tensor.dtype != "FLOAT32" for tensor in tensors
    )


def file_issues(model: Model) -> list[Issue]:
    """Return the reasons why the compiler refuses the file; it accepts some custom operators."""
    structure = [
        issue
        for issue in structural_rules(model)
        if issue.code != "model.dynamic_shape" and not _is_taken(issue)
    ]
    return [*structure, *_open_sizes(model), *_not_quantized(model)]


def _open_sizes(model: Model) -> Iterator[Issue]:
    code = ISSUE_CODES["model.dynamic_shape"]
    index = first_computed_size(model)
    if index is not None:
        message = "the size of its output is computed at run time"
        yield Issue(code.code, place_of(model.main, index), message, code.fix)
        return
    names = [t.name for t in (model.main.tensors[i] for i in model.main.inputs) if t.is_dynamic]
    if names:
        message = "a dimension is declared open (-1); the compiler uses the size 1 in the file"
        yield Issue(code.code, f"input {', '.join(names)}", message, code.fix, "note")


def _is_taken(issue: Issue) -> bool:
    return issue.code == "model.custom_op" and issue.message.split()[0] in HOST_CUSTOM


def _not_quantized(model: Model) -> Iterator[Issue]:
    if is_float(model):
        code = ISSUE_CODES["quant.not_quantized"]
        yield Issue(code.code, "the whole model", code.title, code.fix)


def mapping_issues(verdicts: Sequence[OperatorVerdict], blocker: Blocker | None) -> Iterator[Issue]:
    """Yield the blocker, then each kind of cause once; blocked operators count with the blocker."""
    if not any(each.verdict == TPU for each in verdicts):
        nothing = ISSUE_CODES["map.nothing"]
        yield Issue(nothing.code, "the whole model", nothing.title, nothing.fix, "warning")
    if blocker is not None:
        where = f"operator {blocker.index} {blocker.opcode}"
        yield Issue(
            "map.first_blocker",
            where + (f", layer {blocker.layer}" if blocker.layer else ""),
            f"{blocker.num_operators} operators and {blocker.macs:,} multiply-accumulates "
            f"{'stay' if blocker.verdict == CPU else 'may stay'} on the CPU because of it. "
            f"{blocker.reason}",
            blocker.fix,
            "warning",
        )
    kinds: defaultdict[tuple[str, str, str], list[OperatorVerdict]] = defaultdict(list)
    for each in verdicts:
        if each.code and each.rule != "second_subgraph":
            kinds[each.code, each.label, each.fix].append(each)
    for (code, opcode, fix), group in kinds.items():
        if blocker is not None and [each.index for each in group] == [blocker.index]:
            continue
        numbers = ", ".join(str(each.index) for each in group[:_NAMED])
        more = f" and {len(group) - _NAMED} more" if len(group) > _NAMED else ""
        plural = "s" if len(group) > 1 else ""
        severity = "note" if opcode in (*BORDERS, *HOST_CUSTOM) else "warning"
        where = f"operator{plural} {numbers}{more} {opcode}"
        yield Issue(code, where, group[0].reason, fix, severity)


def memory_issues(layout: ParameterLayout, activations: Activations) -> Iterator[Issue]:
    """Yield what does not fit on the chip."""
    yield from _streamed(layout)
    if activations.peak_bytes > ACTIVATION_BYTES:
        yield Issue(
            "memory.activations",
            f"operator {activations.peak_index}",
            f"{activations.peak_bytes:,} bytes of activations are alive at once, the chip has "
            f"{ACTIVATION_BYTES:,}",
            ISSUE_CODES["memory.activations"].fix,
            "warning",
        )


def _streamed(layout: ParameterLayout) -> Iterator[Issue]:
    """Report the bytes sent with every inference: what does not fit, and what is never cached."""
    room = [layer for layer in layout.layers if not layer.cached and not layer.is_operand]
    operands = [layer for layer in layout.layers if layer.is_operand]
    code = ISSUE_CODES["params.streamed"]
    if room:
        yield Issue(
            code.code,
            _operators(room),
            f"{_bytes(room):,} bytes of parameters are sent with every inference: all layers "
            f"together have {layout.total_bytes:,}, the chip has room for about "
            f"{PARAMETER_CACHE_BYTES:,}",
            code.fix,
            "note",
        )
    if operands:
        opcodes = ", ".join(sorted({layer.opcode for layer in operands}))
        milliseconds = _bytes(operands) / 1e6 * _MOST_MS_PER_MB
        yield Issue(
            code.code,
            _operators(operands),
            f"{_bytes(operands):,} bytes are sent with every inference: constants that {opcodes} "
            "reads element by element are sent like activations and never stay on the chip, even "
            "if there is room",
            f"leave it: they cost {milliseconds:.2g} ms at most"
            + (_NORMALIZED if {"ADD", "MUL"} <= {layer.opcode for layer in operands} else ""),
            "note",
        )


def _operators(layers: Sequence[LayerParameters]) -> str:
    named = ", ".join(f"{layer.index} {layer.opcode}" for layer in layers[:_NAMED])
    more = f" and {len(layers) - _NAMED} more" if len(layers) > _NAMED else ""
    return f"operator{'s' if len(layers) > 1 else ''} {named}{more}"


def _bytes(layers: Sequence[LayerParameters]) -> int:
    return sum(layer.device_bytes for layer in layers)


def end_issues(model: Model) -> Iterator[Issue]:
    """Yield the float inputs and outputs of an integer model."""
    graph = model.main
    made_there = {
        number
        for each in graph.operators
        if each.custom_code in HOST_CUSTOM
        for number in each.outputs
    }
    for kind, numbers in (("input", graph.inputs), ("output", graph.outputs)):
        real = [i for i in numbers if graph.tensors[i].dtype == "FLOAT32" and i not in made_there]
        names = [graph.tensors[i].name for i in real]
        if names and not is_float(model):
            code = ISSUE_CODES["io.float"]
            where = f"{kind}{'s' if len(names) > 1 else ''} {', '.join(names)}"
            yield Issue(code.code, where, code.title, code.fix, "note")
