# SPDX-License-Identifier: Apache-2.0
"""Compare two models on the same samples, output by output, for any kind of outputs."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Callable, Iterable, Iterator, List, Sequence, Tuple

import numpy as np

from edgekit.errors import UnsupportedModelError
from edgekit.evaluate.causes import (
    Cause,
    Making,
    constant_answers,
    far_samples,
    find_causes,
    mixed_outputs,
    one_answer,
)
from edgekit.evaluate.decoded import (
    DecodedRecord,
    DecodedSums,
    decoded_finding,
    describe_answers,
)
from edgekit.evaluate.decoders import same_decoders
from edgekit.evaluate.far_samples import LargestSamples
from edgekit.result import Result
from edgekit.runtime import Runner
from edgekit.runtime.agreement import FEW_NUMBERS, InputRanges, OutputRecord, OutputSums
from edgekit.runtime.channels import PROBABILITY_DECISION
from edgekit.runtime.quality import (
    BAD,
    EXACT_TARGET,
    FLOAT,
    GOOD,
    NOT_SHOWN,
    UNKNOWN,
    Finding,
    is_open_target,
    judge_output,
    span,
    worst,
)
from edgekit.runtime.regularity import Regularity, thinned
from edgekit.tasks import (
    CLASSIFICATION,
    DETECTION,
    NONE,
    POSE,
    SEGMENTATION,
    Decoder,
    prepare,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgekit.formats.model_file import ModelSource
    from edgekit.runtime import TensorInfo

    _Outputs = Sequence[NDArray[Any]]

_SUM_SLACK = 0.05  # the sum of quantized probabilities may differ from 1 by this much
MOST_SAMPLES = 256  # more do not change the verdict, but need time and memory
# Small outputs are summed up together, because the time of a sum does not depend on their size.
_JOINED_BYTES, _JOINED_SAMPLES = 1 << 16, 32


@dataclass(frozen=True)
class OutputQuality(Result):
    """One output: what was measured, and the verdict on it."""

    record: OutputRecord
    verdict: str  # good | doubtful | bad | unknown
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Agreement(Result):
    """How close a model's answers are to those of a reference, often its float original.

    ``argmax`` and ``snr_db`` have one entry per output, in the order of the outputs; ``outputs``
    has the details.
    """

    argmax: tuple[float | None, ...]
    snr_db: tuple[float | None, ...]
    num_samples: int = 0
    # The worst of the outputs'; "not shown" if they are good, but the samples seem unlike those of
    # real use, or nothing shows that they are like them.
    verdict: str = UNKNOWN
    outputs: tuple[OutputQuality, ...] = ()
    decoded: DecodedRecord | None = None  # the answers, if the task is known
    causes: tuple[Cause, ...] = ()  # of what is not good, the most likely first
    num_far: int = 0  # samples left out: an input's values are far larger than in all others
    reference: str = FLOAT  # the name of the reference in texts
    # Why the answers to real data may be worse than those to these samples.
    unlike: tuple[Finding, ...] = ()
    by_labels: tuple[Finding, ...] = ()  # what is worse by the true answers

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The findings on the answers, and on all outputs."""
        answers = decoded_finding(self.decoded, self.reference) if self.decoded else ()
        return (*answers, *(finding for each in self.outputs for finding in each.findings))

    def with_unlike(self, unlike: tuple[Finding, ...]) -> Agreement:
        """Return this agreement, with the reasons why the samples prove less or nothing."""
        if self.verdict == UNKNOWN or not unlike:
            return self
        verdict = worst([self.verdict, *(each.level for each in unlike)])
        return replace(self, verdict=verdict, unlike=unlike)

    def with_labels(self, worse: tuple[Finding, ...]) -> Agreement:
        """Return this agreement, with what the labels show to be worse."""
        verdict = worst([self.verdict, *(each.level for each in worse)])
        return replace(self, verdict=verdict, by_labels=worse)

    def without_evidence(self) -> Agreement:
        """Return this agreement if nothing shows that the samples are like those of real use."""
        return replace(self, verdict=NOT_SHOWN) if self.verdict == GOOD else self

    @property
    def worse(self) -> tuple[Finding, ...]:
        """The findings that show a worse model; the others only leave it open."""
        return tuple(each for each in self.findings if each.level != NOT_SHOWN)

    def with_true_values(self) -> Agreement:
        """Return this agreement if the errors of both models were measured by labels."""
        if not any(each.code == EXACT_TARGET for each in self.findings):
            return self
        outputs = tuple(_without_exact_target(each) for each in self.outputs)
        levels = [each.verdict for each in outputs]
        levels += [self.decoded.verdict] if self.decoded else []
        levels += [each.level for each in (*self.unlike, *self.by_labels)]
        return replace(self, verdict=worst(levels), outputs=outputs)

    @property
    def share(self) -> float | None:
        """The share of answers that agree: decoded ones, else scores above the decision.

        Of several outputs, the worst counts. None if no output is known to contain answers.
        """
        if self.decoded is not None:
            return self.decoded.share
        hits = [each.record.hits for each in self.outputs]
        shares = [each.f1 for each in hits if each is not None and each.reference]
        return min(shares, default=None)

    def json_fields(self) -> dict[str, Any]:
        """The fields, and ``share``."""
        return {**super().json_fields(), "share": self.share}


class OutputPair:
    """Sums up how far the outputs of two models are apart; not thread-safe."""

    def __init__(self, reference: Runner, model: Runner, decoders: Sequence[Decoder] = ()) -> None:
        """Compare ``model`` with ``reference``.

        Args:
            reference: Often the float model.
            model: Often the model that was converted from it.
            decoders: The decoders of the reference and of the model, if their task is known.

        Raises:
            UnsupportedModelError: Their outputs are not the same, nor known to be the same objects.
        """
        self._reference, self._model = reference, model
        self._cuts = joined_cuts(reference.outputs, model.outputs)
        order = None if self._cuts else _order_of(reference.outputs, model.outputs, decoders)
        self._order = tuple(range(len(model.outputs))) if order is None else order
        self._sums = [OutputSums(model.outputs[place]) for place in range(len(self._order))]
        self._regularities = _regularities(model) if self._order else {}
        self.inputs = [InputRanges(info) for info in model.inputs]
        self._largest = LargestSamples([info.name for info in model.inputs])
        self._decoders = decoders if decoders and decoders[0].task != NONE else ()
        self._decoded = DecodedSums(self._decoders) if self._decoders else None
        has_planes = bool(self._decoders) and self._decoders[0].task == SEGMENTATION
        self._is_whole = has_planes and _num_planes(reference.outputs[0]) > 1
        # Thinned inputs if they are compared with outputs, the reference's outputs, the model's.
        self._waiting: list[tuple[_Outputs, _Outputs, _Outputs]] = []
        self._waiting_bytes = 0
        self.count = 0  # samples given to `add`
        self._num_added = 0  # of those, without the ones that are held back

    def add(
        self,
        inputs: Sequence[NDArray[Any]],
        expected: Sequence[NDArray[Any]],
        actual: Sequence[NDArray[Any]],
    ) -> None:
        """Add some samples, along the first dimension.

        Args:
            inputs: Real values.
            expected: The reference's outputs for them, as its output tensors store them.
            actual: The model's outputs for them.
        """
        groups = (inputs, expected, actual)
        count = _num_rows(actual)
        self.count += count
        if not all(each.ndim and len(each) == count for group in groups for each in group):
            self._add(*groups)  # a state, whose first dimension is not that of samples
            return
        held = self._largest.are_held(inputs)
        for row in held:
            rows = tuple([each[row : row + 1] for each in group] for group in groups)
            for free in self._largest.hold(rows[0], rows):
                self._add(*free)
        if len(held) < count:
            rest = np.delete(np.arange(count), held) if held else slice(None)
            self._add(*([each[rest] for each in group] for group in groups))

    def _add(
        self,
        inputs: Sequence[NDArray[Any]],
        expected: Sequence[NDArray[Any]],
        actual: Sequence[NDArray[Any]],
    ) -> None:
        for index, (ranges, values) in enumerate(zip(self.inputs, inputs)):
            ranges.add(self._model.normalized(index, np.asarray(values)))
        self._waiting.append((thinned(inputs) if self._regularities else (), expected, actual))
        self._waiting_bytes += sum(each.nbytes for each in (*expected, *actual))
        is_much = self._waiting_bytes > _JOINED_BYTES or len(self._waiting) >= _JOINED_SAMPLES
        if is_much or not all(each.ndim for each in (*expected, *actual)):
            self._add_waiting()
        count = _num_rows(actual)
        self._num_added += count
        if self._decoded is not None:
            for row in range(count):
                part = slice(row, row + 1)
                self._decoded.add(
                    [each[part] for each in expected], [each[part] for each in actual]
                )

    def _add_waiting(self) -> None:
        """Sum up the outputs of the samples that wait."""
        if not self._waiting:
            return
        inputs, expected, actual = (_joined(each) for each in zip(*self._waiting))
        self._waiting, self._waiting_bytes = [], 0
        other = self._model.to_real(*actual)
        real: _Outputs = self._reference.to_real(*expected)
        if self._cuts is not None:
            real = _cut_outputs(real, self._cuts)
        self._is_whole = self._is_whole and _is_whole(real[0])
        for place, (sums, values) in enumerate(zip(self._sums, other)):
            sums.add(real[self._order[place]], values)
        for place, regularity in self._regularities.items():
            rows = (*inputs, real[self._order[place]], other[place])
            if len({len(each) for each in rows}) == 1:  # not a state
                *given, answers, others = (each.reshape(len(each), -1) for each in rows)
                regularity.add(np.concatenate(given, axis=1), answers, others)

    def agreement(self, making: Making, reference: str = FLOAT) -> Agreement:
        """Return the verdict over all samples, with likely causes if it is not good.

        Samples that are far larger than all others are left out.
        """
        for rows in self._largest.take_near():
            self._add(*rows)
        self._add_waiting()
        records = [self._record(place) for place in range(len(self._sums))]
        decoded = None if making.is_random else self._decoded_record(records)
        # In lists of objects, best first, the same row can be another object.
        has_rows = any(each.counted is not None for each in self._decoders)
        is_open = making.is_random or has_rows
        cut_off = max((each.cut_off for each in self.inputs), default=0.0)
        outputs = tuple(
            _open(each) if is_open else _judged(each, reference, cut_off) for each in records
        )
        if decoded is not None and decoded.verdict == GOOD and self._answers_suffice(decoded):
            outputs = tuple(replace(each, verdict=GOOD, findings=()) for each in outputs)
        levels = [each.verdict for each in outputs] + ([decoded.verdict] if decoded else [])
        unlike = () if levels or making.is_random else (_too_few_answers(reference),)
        levels += [each.level for each in unlike]
        agreement = Agreement(
            argmax=tuple(each.argmax for each in records),
            snr_db=tuple(each.snr_db for each in records),
            num_samples=self._num_added,
            verdict=worst(levels),
            outputs=outputs,
            decoded=decoded,
            reference=reference,
            num_far=self._largest.num_held,
            unlike=unlike,
        )
        worse = [each.record for each in outputs if each.findings] or records
        causes: tuple[Cause, ...] = ()
        if agreement.worse:
            causes = find_causes(making, worse, self.inputs, reference)
        if not causes:
            constant = () if making.is_random else tuple(constant_answers(records, reference))
            causes = (*constant, *mixed_outputs(making.model, making.path))
        if decoded is not None:
            causes = (*one_answer(decoded.only_class, self._num_added, reference), *causes)
        if self._largest.num_held:  # they explain why the others use little of the input's range
            others = (each for each in causes if each.code != "cause.wide_input")
            causes = (*far_samples(self._largest.found(), self.count), *others)
        return replace(agreement, causes=causes)

    def _record(self, place: int) -> OutputRecord:
        """Return the record of an output, with the regularity of its answers if that decides."""
        record = self._sums[place].record()
        if place not in self._regularities or not is_open_target(record):
            return record
        return replace(record, irregularity=self._regularities[place].ratio())

    def _decoded_record(self, records: Sequence[OutputRecord]) -> DecodedRecord | None:
        """Return how the decoded answers agree; None if the task is a guess that may be wrong.

        A row of numbers may be class scores or anything else: a guess counts if they are
        probabilities that sum to 1. `_shows_masks` decides about masks.
        """
        record = None if self._decoded is None else self._decoded.record()
        if record is None or not all(each.is_guess for each in self._decoders):
            return record
        if record.task == CLASSIFICATION and record.loss is None:
            return None
        if record.task == SEGMENTATION and not self._shows_masks(records[0]):
            return None
        return record

    def _answers_suffice(self, decoded: DecodedRecord) -> bool:
        """Whether correct answers are enough, without close values.

        Key points may leave other outputs unused. One plane of probabilities is a mask, or a
        picture, whose grey levels matter.
        """
        if decoded.task == SEGMENTATION and self._decoders[0].is_guess:
            info = self._reference.outputs[0]
            return _is_integer(info) or _num_planes(info) > 1
        return decoded.task != POSE

    def _shows_masks(self, record: OutputRecord) -> bool:
        """Whether an output with the shape of a mask is a mask.

        Masks are: integer classes, probabilities that sum to 1 in each pixel, and a plane of
        probabilities close to 0 or 1. Features, logits and pictures are judged only by their
        values.
        """
        info = self._reference.outputs[0]
        if _is_integer(info):
            return True
        if _num_planes(info) > 1:
            return self._is_whole
        return record.hits is not None and record.hits.decision == PROBABILITY_DECISION


def _order_of(
    reference: Sequence[TensorInfo], model: Sequence[TensorInfo], decoders: Sequence[Decoder]
) -> tuple[int, ...]:
    """Return `output_order`; empty if only the decoded answers of the two can be compared.

    Raises:
        UnsupportedModelError: They cannot be compared either.
    """
    try:
        return output_order(reference, model)
    except UnsupportedModelError:
        if {each.task for each in decoders} not in ({DETECTION}, {POSE}):
            raise
        return ()


def _too_few_answers(reference: str) -> Finding:
    text = (
        f"the outputs of the two models have different forms, and {reference} finds too few "
        "objects to compare, so the agreement is not shown; next: give more images, with objects "
        "that it was trained for"
    )
    return Finding("quality.few_answers", NOT_SHOWN, "", text)


def _regularities(model: Runner) -> dict[int, Regularity]:
    """Return what gathers samples, for each output of few numbers."""
    few = [place for place, info in enumerate(model.outputs) if _num_values(info) <= FEW_NUMBERS]
    return {place: Regularity() for place in few}


def _num_values(info: TensorInfo) -> int:
    """Return the number of values of a sample."""
    number = 1
    for size in info.shape[1:]:
        number *= size
    return number


def _num_rows(outputs: Sequence[NDArray[Any]]) -> int:
    return len(outputs[0]) if outputs and outputs[0].ndim else 1


def _joined(samples: Sequence[_Outputs]) -> _Outputs:
    """Join the outputs of several samples along the first dimension."""
    if len(samples) == 1:
        return samples[0]
    return [np.concatenate(each) for each in zip(*samples)]


def _is_integer(info: TensorInfo) -> bool:
    return info.params is None and info.dtype.startswith(("int", "uint"))


def _num_planes(info: TensorInfo) -> int:
    return info.shape[-1] if len(info.shape) == 4 else 1


def _is_whole(planes: NDArray[Any]) -> bool:
    """Whether the last axis sums to 1 everywhere."""
    return bool(planes.min() >= 0 and np.abs(planes.sum(axis=-1) - 1).max() <= _SUM_SLACK)


def _open(record: OutputRecord) -> OutputQuality:
    return OutputQuality(record, UNKNOWN, ())


def _without_exact_target(quality: OutputQuality) -> OutputQuality:
    findings = tuple(each for each in quality.findings if each.code != EXACT_TARGET)
    if len(findings) == len(quality.findings):
        return quality
    level = worst([GOOD, *(each.level for each in findings)])
    return replace(quality, verdict=level, findings=findings)


def _judged(record: OutputRecord, reference: str, inputs_cut_off: float) -> OutputQuality:
    return OutputQuality(record, *judge_output(record, reference, inputs_cut_off))


Cut = Tuple[int, List[int]]  # an axis, and the places on it


def joined_cuts(
    reference: Sequence[TensorInfo], model: Sequence[TensorInfo]
) -> tuple[Cut | None, ...] | None:
    """Return how to cut each of the reference's outputs into the model's; None for no such cuts.

    `edgekit fix` splits an output that joins boxes and scores; the parts take its place.

    Returns:
        For each output of the reference the axis and places; None for one that stays whole.
    """
    if len(model) <= len(reference):
        return None
    cuts: list[Cut | None] = []
    parts = [info.shape for info in model]
    for info in reference:
        if parts and parts[0][1:] == info.shape[1:]:
            cuts.append(None)
            del parts[0]
            continue
        counts = range(2, len(parts) + 1)
        found = ((count, _cut_of(info.shape, parts[:count])) for count in counts)
        count, cut = next(((n, each) for n, each in found if each is not None), (0, None))
        if cut is None:
            return None
        cuts.append(cut)
        del parts[:count]
    return None if parts else tuple(cuts)


def _cut_of(whole: tuple[int, ...], parts: Sequence[tuple[int, ...]]) -> Cut | None:
    """Return the axis and places that cut an output of shape ``whole`` into ``parts``."""
    for axis in range(1, len(whole)):
        others = {shape[:axis] + shape[axis + 1 :] for shape in parts}
        sizes = [shape[axis] for shape in parts if len(shape) == len(whole)]
        if others == {whole[:axis] + whole[axis + 1 :]} and sum(sizes) == whole[axis]:
            return axis, [int(place) for place in np.cumsum(sizes)[:-1]]
    return None


def _cut_outputs(values: _Outputs, cuts: Sequence[Cut | None]) -> _Outputs:
    parts: list[NDArray[Any]] = []
    for whole, cut in zip(values, cuts):
        parts += [whole] if cut is None else np.split(whole, cut[1], cut[0])
    return parts


def output_order(reference: Sequence[TensorInfo], model: Sequence[TensorInfo]) -> tuple[int, ...]:
    """Return for each output of the model the same output of the reference.

    They are matched by order if the shapes agree, else by name, else by unique shapes.

    Raises:
        UnsupportedModelError: There is no such order.
    """
    before, after = ([each.shape[1:] for each in infos] for infos in (reference, model))
    if before == after:
        return tuple(range(len(after)))
    names = [each.name for each in reference]
    if sorted(names) == sorted(each.name for each in model) and len(set(names)) == len(names):
        order = tuple(names.index(each.name) for each in model)
        if [before[i] for i in order] == after:
            return order
    if sorted(before) == sorted(after) and len(set(before)) == len(before):
        return tuple(before.index(shape) for shape in after)
    raise UnsupportedModelError(
        f"the two models have different outputs: {before} and {after}",
        fix="compare models of one network; edgekit inspect MODEL shows the outputs of a model",
    )


def measure_outputs(
    before: ModelSource,
    after: ModelSource,
    batches: Iterable[Sequence[NDArray[Any]]],
    making: Making,
    watch: Callable[[Sequence[NDArray[Any]], Sequence[NDArray[Any]]], None] | None = None,
) -> Agreement:
    """Run a model and its float original on the same inputs, each in its own thread.

    Args:
        before: The .tflite before quantization.
        after: The .tflite after it.
        batches: Real values in the inputs' shapes.
        making: How the model was converted.
        watch: Called with the real outputs of both models for each batch.
    """
    prepared = [prepare(each) for each in (before, after)]
    with contextlib.ExitStack() as stack:
        reference, model = (stack.enter_context(Runner(each.runnable)) for each in prepared)
        pair = OutputPair(reference, model, same_decoders(prepared, (reference, model)))
        _run_both((reference, model), batches, pair, watch)
        return pair.agreement(making)


def _run_both(
    runners: Sequence[Runner],
    batches: Iterable[Sequence[NDArray[Any]]],
    pair: OutputPair,
    watch: Callable[[Sequence[NDArray[Any]], Sequence[NDArray[Any]]], None] | None,
) -> None:
    reference, model = runners
    with ThreadPoolExecutor(1) as pool:
        for arrays in batches:
            pending = pool.submit(_invoke, reference, arrays)
            actual = _invoke(model, arrays)
            expected = pending.result()
            pair.add(arrays, expected, actual)
            if watch is not None:
                watch(reference.to_real(*expected), model.to_real(*actual))


def agreement_warnings(agreement: Agreement) -> Iterator[str]:
    """Yield warnings: what is worse or open, why, and the next step; none if all is good."""
    if agreement.worse:
        how = "much worse than" if agreement.verdict == BAD else "perhaps worse than"
        found = "; ".join(each.text for each in agreement.worse)
        yield (
            f"the model is {how} {agreement.reference} on {agreement.num_samples} samples: {found}"
        )
    is_open = [each.text for each in agreement.findings if each.code == EXACT_TARGET]
    if is_open:
        yield (
            f"whether the model is as exact as {agreement.reference} is not shown: "
            f"{'; '.join(is_open)}; if these are the numbers of a regression, and "
            f"{agreement.reference} is more exact than that, this model is worse, which only true "
            "values show; next: measure both with data that have the true values as labels (y in "
            "an .npz, columns of a labels.csv)"
        )
    yield from labels_warnings(agreement.by_labels)
    for cause in agreement.causes:
        yield f"{'likely cause: ' * bool(agreement.worse)}{cause.text}; next: {cause.fix}"


def labels_warnings(worse: Sequence[Finding]) -> Iterator[str]:
    """Yield a warning if the labels show worse answers."""
    if worse:
        yield (
            "measured against the labels, the answers are worse: "
            f"{'; '.join(each.text for each in worse)}; next: convert again with more samples like "
            "these (--num-samples 300)"
        )


def _invoke(runner: Runner, arrays: Sequence[NDArray[Any]]) -> tuple[NDArray[Any], ...]:
    return runner.invoke(*runner.to_raw(*arrays))


def describe_agreement(agreement: Agreement) -> Iterator[str]:
    """Describe the agreement in text: a line for the answers, and one per output.

    Close answers are called good only if the samples are not in question.
    """
    is_in_question = bool(agreement.unlike or agreement.by_labels)
    is_in_question |= agreement.verdict == NOT_SHOWN
    unnamed = (UNKNOWN, GOOD) if is_in_question else (UNKNOWN,)
    decoded = agreement.decoded
    if decoded is not None:
        level = "" if decoded.verdict in unnamed else f"{decoded.verdict}: "
        yield f"answers    {level}{describe_answers(decoded)}"
    for output in agreement.outputs:
        yield f"agreement  {_describe_output(output, unnamed)}"


def _describe_output(quality: OutputQuality, unnamed: Sequence[str]) -> str:
    """Describe one output in a line: the verdict, except an ``unnamed`` one, and its numbers."""
    record = quality.record
    parts = [] if quality.verdict in unnamed else [quality.verdict]
    if record.identical:
        return f"{record.name}: {', '.join([*parts, 'no difference'])}"
    if record.snr_db is not None:
        parts.append(f"{record.snr_db:.1f} dB over the error")
    if record.centred_snr_db is not None:
        parts.append(f"{record.centred_snr_db:.1f} dB about its mean")
    hits = record.hits
    if hits is not None and hits.reference:
        parts.append(
            f"{hits.found:,} of {hits.reference:,} scores above {hits.decision:g} found, "
            f"{hits.false:,} false"
        )
    for part in record.parts:
        low, high = part.reference_range
        ratio = "no difference" if part.centred_snr_db is None else f"{part.centred_snr_db:.1f} dB"
        parts.append(f"channels {span(part.channels)} ({low:.3g} to {high:.3g}): {ratio}")
    return f"{record.name}: {', '.join(parts) or 'no difference to measure'}"
