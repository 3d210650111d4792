# SPDX-License-Identifier: Apache-2.0
"""Why an integer model is worse than its float original, and what to do about it."""

from __future__ import annotations

import importlib.util
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Iterator, Mapping, Sequence

import numpy as np

from edgekit.result import Result
from edgekit.runtime.channels import LOGIT_DECISION
from edgekit.runtime.quality import COARSEST_LOGIT, FLOAT, MOST_SATURATED, SNR_LIMITS_DB, span

if TYPE_CHECKING:
    from edgekit.evaluate.far_samples import FarSamples
    from edgekit.formats.tflite import Model, Operator
    from edgekit.runtime.agreement import InputRanges, OutputRecord

_FEW_SAMPLES = 50
_MORE_SAMPLES = 300
_FINE_STEPS, _LOST_STEPS = (
    64.0,
    4.0,
)  # steps of an input: one feature varies by many, another by few
_WIDE_LOGIT = 16.0  # a sigmoid of it is 1 - 1e-7
_LOPSIDED = 8.0  # how many times further below zero than above it
_WEAK_CODE = 42  # of 127: a row with smaller codes only loses more than 1.5 bits
_MOST_WEAK = 0.5
_MOST_WEIGHTS, _LARGEST_CODE = 0.98, 16.0  # this share of the weights has codes below the second
_LEAST_WEIGHTS = 256
_UNEQUAL = 6.0  # times the median: next to such a channel the others use 5 of 8 bits
_CONSTANT, _LEAST_CONSTANT = 1e-3, 10  # of the largest value; samples
_NOTHING = 1e-5  # of the largest value: smaller variations are not a signal
_FEW_INPUTS = 3  # the colours of a picture may differ
_SMALL_STEPS = 5.0  # of an input's range: values of this average size lose much precision
_NORMALIZE = "convert with --normalize-inputs; if that changes nothing"
_OFFSET_STEPS = 16.0  # an input that uses fewer has little information
_MOST_WIDER = 1.5  # than an input's range
_MOST_UNUSED = 4.0  # an input's range is this many times wider than the samples
_UNCHANGING = frozenset(("QUANTIZE", "RESHAPE", "TRANSPOSE", "MAX_POOL_2D", "SLICE", "PAD"))
_ROUNDING_STEPS = 0.6  # smaller noise is caused by the output's own step

_LIMIT = (
    "convert with --clip-logits; or limit them inside the network: ReLU6 on logit + 3 keeps steps "
    "of 0.024, and the decision is then at 3"
)
_APART = (
    "end the network before the join, so that the scores are a separate output, or scale the "
    "boxes to 0..1 inside the network"
)


@dataclass(frozen=True)
class Cause(Result):
    """A likely reason, and the next step."""

    code: str
    text: str
    fix: str


@dataclass(frozen=True)
class Making:
    """How the integer model was made, as far as known."""

    model: Model
    path: str  # of its file; empty without one
    num_calibrated: int | None = None
    num_available: int | None = None  # samples in the data; None if unknown
    is_random: bool = False  # calibrated with random numbers: its answers have no meaning


@dataclass(frozen=True)
class _Case:
    making: Making
    records: Sequence[OutputRecord]  # of the outputs that are not good
    inputs: Sequence[InputRanges]
    reference: str


def find_causes(
    making: Making,
    records: Sequence[OutputRecord],
    inputs: Sequence[InputRanges],
    reference: str = FLOAT,
) -> tuple[Cause, ...]:
    """Return the likely causes, the most specific first.

    Args:
        making: The integer model.
        records: The records of its outputs that are worse than float.
        inputs: The ranges of the input values.
        reference: The name of the model that it is compared with.
    """
    case = _Case(making, records, inputs, reference)
    found = [cause for look in _LOOKS for cause in look(case)]
    if found and found[0].code == "cause.constant_answers":
        return tuple(found[:1])  # the other causes need answers that differ
    return tuple(found) if found else (_UNKNOWN_CAUSE,)


def mixed_outputs(model: Model, path: str) -> Iterator[Cause]:
    """Find outputs that join values of very different ranges: boxes and scores.

    The boards' wheel has no rewrites and finds none.
    """
    if importlib.util.find_spec("edgekit.rewrite") is None:
        return
    # Imported here: it takes 0.2 s, and a run does not need it.
    from edgekit.edgetpu.lints import find_lints  # noqa: PLC0415
    from edgekit.edgetpu.structure import place_of  # noqa: PLC0415
    from edgekit.rewrite.outputs import separate_outputs  # noqa: PLC0415

    if separate_outputs(model) is not None:
        target = str(Path(path).with_suffix("")) + "_fixed.tflite" if path else "FIXED.tflite"
        yield Cause(
            "cause.mixed_output",
            "an output joins values of very different ranges (boxes and scores): they share one "
            "scale, and the small ones are lost",
            f"edgekit fix {shlex.quote(path or 'MODEL')} -o {shlex.quote(target)} makes them "
            "separate outputs",
        )
        return
    joins = {place_of(model.main, index) for index in _joins_at_outputs(model)}
    for issue in find_lints(model) if joins else ():
        if issue.code == "quant.mixed_range_concat" and issue.where in joins:
            yield Cause(
                "cause.mixed_output",
                "an output joins values of very different ranges (boxes and scores): "
                f"{issue.message}",
                _APART,
            )


def _joins_at_outputs(model: Model) -> Iterator[int]:
    """The CONCATENATIONs whose values reach an output unchanged, only moved."""
    from edgekit.rewrite.outputs import MOVING  # noqa: PLC0415 - see `mixed_outputs`

    graph = model.main
    made_by = {tensor: index for index, op in enumerate(graph.operators) for tensor in op.outputs}
    for output in graph.outputs:
        index = made_by.get(output)
        while index is not None and graph.operators[index].opcode in MOVING | {"QUANTIZE"}:
            index = made_by.get(graph.operators[index].inputs[0])
        if index is not None and graph.operators[index].opcode == "CONCATENATION":
            yield index


def constant_answers(records: Sequence[OutputRecord], reference: str) -> Iterator[Cause]:
    """Report a reference whose outputs in ``records`` all hardly depend on the input."""
    for record in records:
        largest = max(map(abs, record.reference_range))
        if record.num_samples < _LEAST_CONSTANT or record.spread > _CONSTANT * largest:
            return
    if records:
        first = records[0]
        yield Cause(
            "cause.constant_answers",
            f"{reference} itself returns nearly the same answer for all {first.num_samples} "
            f"samples: the output {first.name} varies by {first.spread:.2g}",
            "check that the network is trained, that --preprocess is what it was trained with, and "
            "that the samples are like those it was trained on",
        )


def far_samples(found: Mapping[str, FarSamples], total: int) -> Iterator[Cause]:
    """Report samples that were left out because their values are far larger than all others."""
    for name, far in found.items():
        yield Cause(
            "cause.far_samples",
            f"{far.text(name, total)}; it was left out of this comparison"
            if far.count == 1
            else f"{far.text(name, total)}; they were left out of this comparison",
            f"leave such samples out of the calibration data, or limit the values to about "
            f"{far.next_largest:.4g} before the network, in calibration and in use: a single one "
            "sets the range of the input, and all others lose precision",
        )


def one_answer(only_class: int | None, count: int, reference: str) -> Iterator[Cause]:
    """Samples that show one class of several, or an input that the network was not trained on."""
    if only_class is not None:
        yield Cause(
            "cause.one_answer",
            f"{reference} names class {only_class} on all {count} samples",
            "check that the samples are of all classes, and that --preprocess (or the scaling in "
            "the .npz) is what the network was trained with",
        )


def _constant(case: _Case) -> Iterator[Cause]:
    offsets = list(_offset_outputs(case))
    yield from offsets or constant_answers(case.records, case.reference)


def _offset_outputs(case: _Case) -> Iterator[Cause]:
    """Outputs far from 0 compared to their variation, except constant probabilities."""
    for record in case.records:
        if not _is_offset(record):
            continue
        low, high = record.reference_range
        yield Cause(
            "cause.offset_output",
            f"the output {record.name} is between {low:.6g} and {high:.6g}; the range of an int8 "
            f"output includes 0, so its steps are {record.step:.3g}, and it varies by "
            f"{record.spread:.3g}",
            f"subtract about {(low + high) / 2:.6g} from the targets in training, and add it to "
            "the answers outside the network",
        )


def _is_offset(record: OutputRecord) -> bool:
    low, high = record.reference_range
    reach = max(abs(low), abs(high))
    is_far = max(low, -high) >= high - low
    return bool(record.step) and is_far and reach > 1 and record.spread > _NOTHING * reach


def _offset_inputs(case: _Case) -> Iterator[Cause]:
    """Inputs that are far from 0 compared to their variation."""
    for ranges in case.inputs:
        scale, (low, high) = ranges.info.scale, ranges.ends
        if not scale or not _is_offset_input(ranges):
            continue
        yield Cause(
            "cause.offset_input",
            f"the input {ranges.info.name} is between {low:.6g} and {high:.6g}; the range of an "
            f"int8 input includes 0, so its steps are {scale:.3g}, and all samples are within "
            f"{(high - low) / scale:.0f} of them",
            f"{_NORMALIZE}, subtract about {(low + high) / 2:.6g} from the samples outside the "
            "network, in training and in use; a subtraction inside comes too late",
        )


def _is_offset_input(ranges: InputRanges) -> bool:
    scale, (low, high) = ranges.info.scale or 0.0, ranges.ends
    return max(low, -high) > high - low and high - low <= _OFFSET_STEPS * scale


def _features(case: _Case) -> Iterator[Cause]:
    for ranges in case.inputs:
        scale, widths = ranges.info.scale, ranges.widths
        if not scale or len(widths) < 2:
            continue
        steps = widths / scale
        lost = np.flatnonzero((steps > 0) & (steps < _LOST_STEPS))
        low, high = ranges.ends
        if not lost.size or high - low < _FINE_STEPS * scale:
            continue
        yield Cause(
            "cause.features",
            f"the input {ranges.info.name} has one scale, steps of {scale:.3g}, and its features "
            f"have very different ranges: {len(lost)} of {len(widths)} "
            f"({span([int(each) for each in lost])}) stay within {_LOST_STEPS:.0f} steps",
            f"{_NORMALIZE}, scale every feature to the same range outside the network (subtract "
            "its mean, divide by its deviation), in training and in use; a normalization inside "
            "comes too late",
        )


def _wide_inputs(case: _Case) -> Iterator[Cause]:
    """Inputs whose range was set by few values, far larger than the others."""
    for ranges in case.inputs:
        scale, params = ranges.info.scale, ranges.info.params
        if not scale or params is None or not ranges.mean_size:
            continue
        low, high = ranges.ends
        is_small = ranges.mean_size < _SMALL_STEPS * scale
        is_used = _MOST_UNUSED * (high - low) >= params.real_max - params.real_min
        if not is_small and (is_used or _is_offset_input(ranges)):
            continue
        if _is_joined(case.making.model, ranges.info.index):
            yield Cause(
                "cause.joined_input",
                f"the input {ranges.info.name} is joined with values up to "
                f"{max(-params.real_min, params.real_max):.4g} (CONCATENATION), which share its "
                f"scale: its steps are {scale:.3g}, and the samples are between {low:.4g} and "
                f"{high:.4g}",
                "put a layer with weights, such as Conv2D(channels, 1), between the input and the "
                "join, or scale the samples up to the range of the other values, in training too",
            )
            continue
        yield Cause(
            "cause.wide_input",
            f"the input {ranges.info.name} can store {params.real_min:.4g} to "
            f"{params.real_max:.4g}, in steps of {scale:.3g}, and the values are of the size "
            f"{ranges.mean_size:.3g} on average ({low:.4g} to {high:.4g})",
            "calibrate with samples that are scaled like these, without single large ones; if the "
            "values are of very different sizes, compute their logarithm or root outside the "
            "network, in training and in use",
        )


def _is_joined(model: Model, index: int) -> bool:
    """Whether an input reaches a CONCATENATION as it is: the join has one scale."""
    graph, same = model.main, {index}
    for operator in graph.operators:  # in the order of execution
        if same.isdisjoint(operator.inputs):
            continue
        if operator.opcode == "CONCATENATION":
            return True
        if operator.opcode in _UNCHANGING:
            same.update(operator.outputs)
    return False


def _mixed(case: _Case) -> Iterator[Cause]:
    found = list(mixed_outputs(case.making.model, case.making.path))
    yield from found
    if found:
        return
    for record in case.records:
        scores = [part for part in record.parts if part.hits is not None]
        if record.parts and not scores:
            yield from _unequal_parts(record)
        if len(scores) == len(record.parts) or not scores:
            continue
        part = scores[0]
        yield Cause(
            "cause.mixed_output",
            f"the output {record.name} contains scores (channels {span(part.channels)}) beside "
            f"values up to {max(map(abs, record.reference_range)):.3g}, in steps of "
            f"{record.step or 0:.3g}",
            _APART,
        )


def _unequal_parts(record: OutputRecord) -> Iterator[Cause]:
    """Numbers of two kinds in one output, the smaller of which are lost."""
    wide, narrow = record.parts
    if narrow.centred_snr_db is None or narrow.centred_snr_db >= SNR_LIMITS_DB[1]:
        return
    reach, small = (max(map(abs, part.reference_range)) for part in (wide, narrow))
    yield Cause(
        "cause.mixed_output",
        f"the output {record.name} contains numbers up to {small:.3g} (channels "
        f"{span(narrow.channels)}) beside numbers up to {reach:.3g}, in steps of "
        f"{record.step or 0:.3g}",
        "make them separate outputs, or scale all to one range in training and undo it "
        "outside the network",
    )


def _logits(case: _Case) -> Iterator[Cause]:
    for record in case.records:
        if record.hits is None and not record.parts:
            yield from _lopsided(record)
        hits, step = record.hits, record.step
        if hits is None or hits.decision != LOGIT_DECISION or step is None:
            continue
        if step <= COARSEST_LOGIT or -record.reference_range[0] <= _WIDE_LOGIT:
            continue
        yield Cause(
            "cause.wide_logits",
            f"the scores of {record.name} are logits from {record.reference_range[0]:.3g} to "
            f"{record.reference_range[1]:.3g}: only {-_WIDE_LOGIT:.0f} to {_WIDE_LOGIT:.0f} "
            f"matters, and the whole range makes steps of {step:.3g}",
            _LIMIT,
        )


def has_wide_logits(record: OutputRecord) -> bool:
    """Whether the reference's output is scores, or seems to be, far beyond a sigmoid's range."""
    if record.hits is None:
        return not record.parts and _is_lopsided(record)
    is_logit = record.hits.decision == LOGIT_DECISION
    return is_logit and -record.reference_range[0] > _WIDE_LOGIT


def _is_lopsided(record: OutputRecord) -> bool:
    low, high = record.reference_range
    return high > 0 and low < -_LOPSIDED * max(high, _WIDE_LOGIT / 4)


def _lopsided(record: OutputRecord) -> Iterator[Cause]:
    """Numbers far below zero and a few above it, like logits of masks and flags."""
    if record.step is not None and record.step > COARSEST_LOGIT and _is_lopsided(record):
        low, high = record.reference_range
        yield Cause(
            "cause.wide_logits",
            f"the numbers of {record.name} go from {low:.3g} to {high:.3g}, in steps of "
            f"{record.step:.3g}; if they are logits, only {-_WIDE_LOGIT:.0f} to {_WIDE_LOGIT:.0f} "
            "matters",
            _LIMIT,
        )


def _saturating(case: _Case) -> Iterator[Cause]:
    for ranges in case.inputs:
        params, width = ranges.info.params, float(ranges.widths.max())
        if params is not None and width > _MOST_WIDER * (params.real_max - params.real_min):
            yield Cause(
                "cause.saturation",
                f"the input {ranges.info.name} can store {params.real_min:.3g} to "
                f"{params.real_max:.3g}, the range of calibration, and the samples are up to "
                f"{width:.3g} wide: they saturate",
                "calibrate with samples like these, scaled in the same way",
            )
    for record in case.records:
        if record.saturated > MOST_SATURATED:
            yield Cause(
                "cause.saturation",
                f"{record.saturated:.1%} of the values of {record.name} are outside the range of "
                "the calibration samples, and are cut off",
                f"calibrate with samples like those of real use: {_more(case.making)}",
            )


def _few(case: _Case) -> Iterator[Cause]:
    count = case.making.num_calibrated
    if count is not None and count < _FEW_SAMPLES:
        yield Cause(
            "cause.few_samples",
            f"{count} samples were used to calibrate it",
            f"calibrate with more: {_more(case.making)}",
        )


def _more(making: Making) -> str:
    used, available = making.num_calibrated, making.num_available
    if used is not None and available is not None and available > used:
        return f"--num-samples {min(available, _MORE_SAMPLES)}"
    return f"give {_MORE_SAMPLES} or more, with --num-samples {_MORE_SAMPLES}"


def _own_step(case: _Case) -> Iterator[Cause]:
    for record in case.records:
        steps = record.noise_steps
        if record.hits is not None or record.parts or steps is None or steps > _ROUNDING_STEPS:
            continue
        if _is_offset(record):  # reported by `_offset_outputs`
            continue
        low, high = record.reference_range
        yield Cause(
            "cause.coarse_output",
            f"the output {record.name} reaches from {low:.3g} to {high:.3g}, in steps of "
            f"{record.step:.3g}, and most of its values vary by {record.spread:.3g}",
            "limit or scale that output inside the network, so that its range is used evenly"
            if record.log_snr_db is None
            else "train on the logarithm of the targets, and undo it outside the network",
        )


def _dense(case: _Case) -> Iterator[Cause]:
    model = case.making.model
    worst: tuple[float, str] = (0.0, "")
    for operator in model.main.operators:
        if operator.opcode != "FULLY_CONNECTED":
            continue
        weights = model.main.tensors[operator.inputs[1]]
        codes = model.data(weights)
        if codes is None or weights.scale is None or codes.ndim != 2 or len(codes) < 2:
            continue
        reach = np.abs(codes.astype(np.int64) - (weights.zero_point or 0)).max(axis=1)
        worst = max(worst, (float((reach < _WEAK_CODE).mean()), _layer(model, operator)))
    if worst[0] > _MOST_WEAK:
        yield Cause(
            "cause.dense_rows",
            f"the dense layer {worst[1]} has one scale for weights of unequal size: {worst[0]:.0%} "
            "of its outputs use a third of the codes or less",
            "replace it with a 1x1 convolution (Conv2D(units, 1) on a tensor of 1 x 1 x channels), "
            "whose weights have a scale for each output",
        )


def _dense_outliers(case: _Case) -> Iterator[Cause]:
    """Dense layers in which few weights are far larger than all others."""
    model = case.making.model
    worst: tuple[float, str] = (_LARGEST_CODE, "")
    for operator in model.main.operators:
        if operator.opcode != "FULLY_CONNECTED":
            continue
        weights = model.main.tensors[operator.inputs[1]]
        codes = model.data(weights)
        if codes is None or weights.scale is None or codes.size < _LEAST_WEIGHTS:
            continue
        sizes = np.abs(codes.astype(np.int64) - (weights.zero_point or 0))
        worst = min(worst, (float(np.quantile(sizes, _MOST_WEIGHTS)), _layer(model, operator)))
    if worst[1]:
        yield Cause(
            "cause.weight_outliers",
            f"few weights of the dense layer {worst[1]} are far larger than the others: "
            f"{_MOST_WEIGHTS:.0%} of them use {worst[0]:.0f} of 127 codes",
            "train with weight decay or a kernel_constraint, so that none is far larger than the "
            "others; the weights of an input that never changes can be set to 0",
        )


def _channels(case: _Case) -> Iterator[Cause]:
    model = case.making.model
    unequal = []
    for operator in model.main.operators:
        if operator.opcode not in ("DEPTHWISE_CONV_2D", "CONV_2D", "TRANSPOSE_CONV"):
            continue
        if operator.options.get("fused_activation_function") == "RELU6":  # 6 limits all channels
            continue
        ratio = max(_unequal_outputs(model, operator), _unequal_inputs(model, operator))
        if ratio > _UNEQUAL:
            unequal.append((ratio, _layer(model, operator)))
    if unequal:
        ratio, name = max(unequal)
        yield Cause(
            "cause.unequal_channels",
            f"channels of very unequal size share a scale, most in the layer {name}, where the "
            f"largest is {ratio:.0f} times the median ({len(unequal)} such in all)",
            "train with batch normalization and ReLU6 behind these layers, or with int8 rounding "
            "in the loop (edgekit train)",
        )


def _unequal_outputs(model: Model, operator: Operator) -> float:
    """The largest scale of an output channel's weights, divided by the median."""
    quantization = model.main.tensors[operator.inputs[1]].quantization
    scales = np.asarray(quantization.scale if quantization else ())
    return float(scales.max() / np.median(scales)) if len(scales) > 1 else 0.0


def _unequal_inputs(model: Model, operator: Operator) -> float:
    """The largest weight on an input channel, divided by the median.

    Channels with small values get large weights: training compensates for them.
    """
    tensor = model.main.tensors[operator.inputs[1]]
    codes, quantization = model.data(tensor), tensor.quantization
    if operator.opcode == "DEPTHWISE_CONV_2D" or codes is None or quantization is None:
        return 0.0
    if codes.ndim != 4 or not quantization.scale:
        return 0.0
    scales = np.asarray(quantization.scale, np.float64).reshape(-1, 1, 1, 1)
    reach = (np.abs(codes.astype(np.float64)) * scales).max(axis=(0, 1, 2))
    middle = float(np.median(reach))
    return float(reach.max()) / middle if middle and len(reach) > _FEW_INPUTS else 0.0


def _layer(model: Model, operator: Operator) -> str:
    name = model.main.tensors[operator.outputs[0]].name
    return name.split(";")[0][-60:]


_UNKNOWN_CAUSE = Cause(
    "cause.unknown",
    "nothing in the model explains it",
    "calibrate with other samples, like those of real use, and check --preprocess; if that does "
    "not help, train with int8 rounding in the loop (edgekit train)",
)
_LOOKS: tuple[Callable[[_Case], Iterator[Cause]], ...] = (
    _constant,
    _features,
    _offset_inputs,
    _wide_inputs,
    _mixed,
    _logits,
    _saturating,
    _own_step,
    _dense,
    _dense_outliers,
    _channels,
    _few,
)
