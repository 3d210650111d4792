# SPDX-License-Identifier: Apache-2.0
"""Which operators map to the Edge TPU: one verdict for each, with reason, rule and fix."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Callable, Sequence

from edgekit.edgetpu.advice import (
    FLATTENED,
    advice_for_16_bits,
    advice_for_indices,
    advice_for_operator,
    advice_for_real,
    advice_for_version,
)
from edgekit.edgetpu.chip import LATEST_RUNTIME
from edgekit.edgetpu.issues import INTEGER_ENDS
from edgekit.edgetpu.limits import CPU, TPU, UNKNOWN
from edgekit.edgetpu.operation import MAPPABLE_RANK, Operation
from edgekit.edgetpu.partition import Place, partition
from edgekit.edgetpu.readable import why_unreadable
from edgekit.edgetpu.rules import (
    DATA_TYPE,
    MAPPED,
    NOT_SUPPORTED,
    OP_RULES,
    RANK,
    SECOND_SUBGRAPH,
    UNSPECIFIED,
    VERSION,
    OpRule,
)
from edgekit.edgetpu.structure import layer_of
from edgekit.formats.tflite import CUSTOM, Model, Tensor
from edgekit.result import Result

_INTEGERS = ("UINT8", "INT8")
_INT8_SINCE = 12
BORDERS = ("QUANTIZE", "DEQUANTIZE")
# Custom operators at the end that run on the CPU by design: the compiler has their kernels and
# does not change them (logs, compiled models). Their inputs and outputs are real numbers.
HOST_CUSTOM = ("TFLite_Detection_PostProcess", "PosenetDecoderOp")
_NAMED_FIRST = ("unsupported_op", "dtype")


@dataclass(frozen=True)
class OperatorVerdict(Result):
    """Where one operator runs, and why."""

    index: int
    opcode: str  # the builtin's name, or CUSTOM
    version: int
    verdict: str  # tpu | cpu | unknown
    reason: str = ""  # the compiler's words, if it has any, then what they mean here
    rule: str = ""  # dtype, rank, second_subgraph, ..., or a limit: "RESHAPE.small_reshape"
    fix: str = ""
    code: str = ""  # a key of ISSUE_CODES
    status: str = MAPPED  # the status in the compiler's operation log
    source: str = ""  # where the rule is known from
    layer: str = ""  # where in the network, by the tensors' names
    custom_code: str = ""
    blocker: int | None = None  # the earlier operator that blocks it
    alone: str = TPU  # the verdict if no earlier operator blocked it
    own_compiler: str = ""  # tpu | cpu: what edgekit's own compiler does; empty if not examined
    own_reason: str = ""  # why edgekit's own compiler leaves it on the CPU

    @property
    def label(self) -> str:
        """The name to print: the opcode, or the custom operator's own name."""
        return self.custom_code or self.opcode


def judge_operators(model: Model, runtime: int = LATEST_RUNTIME) -> tuple[OperatorVerdict, ...]:
    """Return a verdict for each operator of the main subgraph, assuming that it can be read.

    Args:
        model: Static and quantized; float operators get the verdict CPU.
        runtime: Runtime version to compile for: 10, 12, 13 or 14.
    """
    graph = model.main
    operations = [Operation(model, index) for index in range(len(graph.operators))]
    own = [judge(operation, runtime) for operation in operations]
    places = partition(graph, [each.verdict for each in own])
    return tuple(
        _placed(replace(each, layer=layer_of(graph, graph.operators[each.index])), place, own)
        for each, place in zip(own, places)
    )


def judge(op: Operation, runtime: int = LATEST_RUNTIME) -> OperatorVerdict:
    """Return the verdict on ``op`` alone, without regard to earlier operators."""
    for rule in (_supported, _data_types, _ranks, _runtime, _version, _limits):
        verdict = rule(op, runtime)
        if verdict is not None:
            return verdict
    operator = op.operator
    source = OP_RULES[operator.opcode].evidence
    return OperatorVerdict(op.index, operator.opcode, operator.version, TPU, source=source)


_Rule = Callable[[Operation, int], "OperatorVerdict | None"]


def _verdict(
    op: Operation, verdict: str, status: str, why: str, rule: str, code: str, fix: str, source: str
) -> OperatorVerdict:
    operator = op.operator
    words = status if verdict == CPU else "not known whether it maps"
    return OperatorVerdict(
        index=op.index,
        opcode=operator.opcode,
        custom_code=operator.custom_code,
        version=operator.version,
        verdict=verdict,
        reason=f"{words}: {why}",
        rule=rule,
        fix=fix,
        code=code,
        status=status,
        source=source,
        alone=verdict,
    )


def _supported(op: Operation, _runtime: int) -> OperatorVerdict | None:
    operator = op.operator
    if operator.opcode in OP_RULES:
        return None
    # A DEQUANTIZE to real numbers is at the border of the mapped part; to integers it is invalid.
    if operator.opcode == "DEQUANTIZE" and any(map(_wrong_type, op.outputs)):
        return None
    # The compiler checks a custom operator's float outputs first.
    is_real = operator.opcode == CUSTOM and any(map(_wrong_type, op.outputs))
    return _verdict(
        op,
        CPU,
        DATA_TYPE if is_real else NOT_SUPPORTED,
        f"{operator.label} is not among the {len(OP_RULES)} operators that the Edge TPU has",
        "unsupported_op",
        "map.unsupported_op",
        advice_for_operator(operator),
        "coral.ai, supported operations; it is not mapped in any compiled model",
    )


_ADVICE_FOR_TYPE = {
    "FLOAT16": advice_for_real,
    "FLOAT32": advice_for_real,
    "FLOAT64": advice_for_real,
    "INT16": advice_for_16_bits,
}


def _wrong_type(tensor: Tensor) -> bool:
    return tensor.dtype not in _INTEGERS


def _data_types(op: Operation, runtime: int) -> OperatorVerdict | None:
    operator = op.operator
    states = operator.opcode == "UNIDIRECTIONAL_SEQUENCE_LSTM"
    ends = [("input", each) for each in op.activations] + [("output", each) for each in op.outputs]
    wrong = [
        (end, tensor)
        for end, tensor in ends
        if _wrong_type(tensor) and not (states and tensor.is_variable and tensor.dtype == "INT16")
    ]
    signed = [(end, tensor) for end, tensor in ends if tensor.dtype == "INT8"]
    if not wrong and (runtime >= _INT8_SINCE or not signed):
        return None
    if not wrong:
        return _verdict(
            op,
            CPU,
            DATA_TYPE,
            f"int8 needs runtime {_INT8_SINCE} or later, the target is runtime {runtime}",
            "runtime",
            "map.runtime",
            f"--min-runtime-version {LATEST_RUNTIME}, or a runtime of 2019 or later on the device",
            "libedgetpu api/runtime_version.h; log of compiler 15.0 with -m 11",
        )
    end, tensor = wrong[0]
    readers = op.model.main.operators
    names = {each.custom_code for each in readers if set(operator.outputs) & set(each.inputs)}
    if operator.opcode in BORDERS and names and names <= set(HOST_CUSTOM):
        fix = f"nothing to fix: {', '.join(sorted(names))} after it reads real numbers, on the CPU"
    elif operator.opcode in BORDERS and tensor.dtype != "INT16":
        fix = INTEGER_ENDS
    else:
        fix = _ADVICE_FOR_TYPE.get(tensor.dtype, advice_for_indices)(operator.opcode)
    return _verdict(
        op,
        CPU,
        UNSPECIFIED if operator.opcode == "QUANTIZE" else DATA_TYPE,
        f"its {end} {tensor.name} is {tensor.dtype}, the Edge TPU supports UINT8 and INT8",
        "dtype",
        "map.dtype",
        fix,
        "compiled models: 108 of 108 such operators; the compiler's logs",
    )


def _ranks(op: Operation, _runtime: int) -> OperatorVerdict | None:
    for tensor in (*op.activations, *op.outputs):
        if any(size > 1 for size in tensor.shape[:-MAPPABLE_RANK]):
            return _verdict(
                op,
                CPU,
                RANK,
                f"{tensor.name} has shape {list(tensor.shape)}",
                "rank",
                "map.rank",
                "use batch 1 and at most three dimensions above 1: height, width, channels",
                "coral.ai, model requirements; google-coral/edgetpu issues 30, 173, 274",
            )
    return None


def _runtime(op: Operation, runtime: int) -> OperatorVerdict | None:
    operator = op.operator
    if operator.opcode == "DEQUANTIZE":
        return None
    rule = OP_RULES[operator.opcode]
    since = max(rule.since, (rule.version_since or {}).get(operator.version, 0))
    if runtime >= since:
        return None
    by_version = since > rule.since
    return _verdict(
        op,
        CPU,
        VERSION if by_version else NOT_SUPPORTED,
        f"it needs runtime {since} or later, the target is runtime {runtime}",
        "runtime",
        "map.runtime",
        f"--min-runtime-version {since} or later, which the device's runtime must have",
        rule.source,
    )


def _version(op: Operation, runtime: int) -> OperatorVerdict | None:
    operator = op.operator
    rule = _rule_of(op)
    if rule is None or operator.version <= rule.max_version:
        return None
    unreadable = why_unreadable(operator)
    limit = None if unreadable else _limits(op, runtime)
    if limit is not None and limit.verdict == CPU:
        return limit
    why = f"version {operator.version} was never seen mapped, only up to {rule.max_version}"
    keeps = op.option("keep_num_dims", False)
    if keeps:
        why += " (keep_num_dims: its output has as many dimensions as its input)"
    return _verdict(
        op,
        CPU if unreadable else UNKNOWN,
        VERSION if unreadable else UNSPECIFIED,
        unreadable or why,
        "version",
        "map.op_version",
        FLATTENED if keeps and not unreadable else advice_for_version(operator.opcode),
        "compiled models; tensorflow/lite/kernels/register.cc, tag v2.5.0",
    )


def _limits(op: Operation, runtime: int) -> OperatorVerdict | None:
    rule = _rule_of(op)
    unknown = None
    for limit in rule.limits if rule else ():
        first, last = limit.runtimes
        crossed = limit.check(op) if first <= runtime <= last else None
        if crossed is None:
            continue
        name = f"{op.operator.opcode}.{limit.name}"
        found = _verdict(
            op,
            crossed.verdict,
            limit.status if crossed.verdict == CPU else UNSPECIFIED,
            crossed.why,
            name,
            "map.constraint",
            limit.fix,
            limit.source,
        )
        if crossed.verdict == CPU:
            return found
        unknown = unknown or found
    return unknown


def _rule_of(op: Operation) -> OpRule | None:
    return OP_RULES.get(op.operator.opcode)


def _placed(
    own: OperatorVerdict, place: Place, all_own: Sequence[OperatorVerdict]
) -> OperatorVerdict:
    # If there are two reasons, the compiler names the operator or its numbers, not the one part.
    if place.blocker is None or own.rule in _NAMED_FIRST:
        return own
    blocker = all_own[place.blocker]
    is_certain = place.verdict == CPU
    words = SECOND_SUBGRAPH if is_certain else "not known whether it maps"
    besides = f"; also, {own.reason}" if own.reason else ""
    return replace(
        own,
        verdict=place.verdict,
        reason=f"{words}: it depends on operator {blocker.index} {blocker.label}, which "
        f"{'runs' if is_certain else 'may run'} on the CPU after Edge TPU operators{besides}",
        rule="second_subgraph",
        fix=f"operator {blocker.index} {blocker.label}: {blocker.fix}",
        code="map.second_subgraph",
        status=SECOND_SUBGRAPH,
        source="compiled models: 110 of 110 such operators",
        blocker=place.blocker,
    )
