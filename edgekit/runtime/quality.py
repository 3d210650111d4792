# SPDX-License-Identifier: Apache-2.0
"""Judge an output against the reference's: good, doubtful or bad, and which rule decided it.

The limits were set on networks of known quality: see docs/quality.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Iterator, Sequence

from edgekit.result import Result
from edgekit.runtime.agreement import FEW_NUMBERS
from edgekit.runtime.base import MOST_TARGETS
from edgekit.runtime.channels import LEAST_HITS, LOGIT_DECISION

if TYPE_CHECKING:
    from edgekit.runtime.agreement import OutputRecord
    from edgekit.runtime.channels import Hits

GOOD, DOUBTFUL, BAD, UNKNOWN = "good", "doubtful", "bad", "unknown"
# Good on samples that are unlike those of real use, or of which nothing shows that they are like
# them.
NOT_SHOWN = "not shown"
FLOAT = "the float model"
LEVELS = (UNKNOWN, GOOD, NOT_SHOWN, DOUBTFUL, BAD)  # from the least to the most severe

# Of each pair: a value below the first is bad, below the second doubtful.
# Signal about each element's mean, divided by noise.
SNR_LIMITS_DB = (8.0, 12.0)
# For a row of 5 to 16 logits if both models nearly always agree which one is the largest: only how
# large it is differs.
SURE_SNR_LIMITS_DB, SURE_SAME_LARGEST = (8.0, 9.0), 0.98
# For an output of at most MOST_TARGETS numbers also the ratio of the mean absolute values: the
# network was trained to be exact in each. The few values of a long tail that are cut off do not
# decide it; in the ratio of powers they may be all of the noise.
TARGET_SNR_LIMITS_DB = (8.0, 20.0)
# The same if inputs are cut off: the few samples that are cut off have nearly all of the error.
CUT_OFF_SNR_LIMITS_DB = (8.0, 26.0)
MOST_INPUTS_CUT_OFF = 0.02  # of an input's values
# A target that is at least as close as this needs no true values to be called good: its error
# cannot grow by more than 1 % of its variation, which `LEAST_GROWTH` of the labels ignores too. The
# error of a float model that is exact to 1 % doubles at 35 dB.
EXACT_SNR_DB = 40.0
# From the first ratio on, a target is good without true values too if the float model is not exact:
# what its answers to other samples do not predict is at least so many times the error. Where the
# answers cannot be predicted from few samples, that does not show it; the error is then small for
# most networks, but not for all below this ratio.
CLOSE_SNR_DB, LEAST_IRREGULARITY = 27.0, 1.0
EXACT_TARGET = "quality.exact_target"
# By true values: how many times the reference's error. Above the first doubtful, from the second on
# bad, if it grew by more than a share of the target's deviation: less is of no use.
GROWTH_LIMITS, LEAST_GROWTH = (1.25, 2.0), 0.01
# The same for shares of right answers: how much lower they are.
DROP_LIMITS = (0.01, 0.05)
BY_LABELS = "quality.by_labels"
# The same for one number among few: it may vary less than the others.
ELEMENT_SNR_LIMITS_DB = (4.0, 8.0)
# F1 of the values above the decision: objects are found by many neighbouring scores, pixels of a
# mask and classes are not.
OBJECT_F1_LIMITS = (0.7, 0.85)
DENSE_F1_LIMITS = (0.8, 0.95)
CHANNEL_F1_LIMITS = (0.25, 0.5)  # of the label or class with the lowest F1
# The share of a target's values that are outside the range of calibration: above the first
# doubtful, above the second bad. 100 samples that represent the data leave out about 2 %.
CUT_OFF_LIMITS = (0.08, 0.16)
# A row of 5 to 16 numbers is a regression's, not the logits of classes, if the models agree on the
# largest one less often than the first, or if it is the same one more often than the second.
LEAST_SAME_LARGEST, MOST_SAME_LARGEST = 0.9, 0.6
PROBABILITY_STEP = 1 / 256  # TensorFlow Lite's LOGISTIC and SOFTMAX have no other
LEAST_PART = 1 / 8  # of the channels; fewer narrow ones may be unused
COARSEST_LOGIT = 0.3  # a step between neighbouring logits
LEAST_SAMPLES = 4
MOST_SATURATED = 0.01  # of the values


@dataclass(frozen=True)
class Finding(Result):
    """What is wrong with an output, in a sentence."""

    code: str
    level: str  # not shown | doubtful | bad
    output: str
    text: str


def worst(levels: Sequence[str]) -> str:
    """The most severe of ``levels``; `UNKNOWN` for none."""
    return max(levels, key=LEVELS.index, default=UNKNOWN)


def judge_output(
    record: OutputRecord, reference: str = FLOAT, inputs_cut_off: float = 0.0
) -> tuple[str, tuple[Finding, ...]]:
    """Return the verdict on one output, and the findings for it if it is not good.

    Args:
        record: What was measured.
        reference: The name of the model that it is compared with, for the texts.
        inputs_cut_off: The share of an input's values that are outside the model's range.
    """
    if record.num_samples < LEAST_SAMPLES and not record.identical:
        return UNKNOWN, ()
    findings = tuple(_findings(record, reference, inputs_cut_off))
    return worst([GOOD, *(each.level for each in findings)]), findings


def _findings(record: OutputRecord, reference: str, inputs_cut_off: float) -> Iterator[Finding]:
    if record.identical:
        return
    parts = [part for part in record.parts if part.hits is not None]
    for part in parts:
        named = f"channels {span(part.channels)} of {record.name} (scores)"
        yield from _score_findings(record, part.hits, named, reference)
    if not parts:
        yield from _score_findings(record, record.hits, record.name, reference)
    narrow = tuple(_part_findings(record, reference))
    yield from narrow
    if record.hits is not None and _is_enough(record.hits):
        return
    noise = (*_noise(record, reference, inputs_cut_off), *_cut_off(record))
    elements = () if narrow else tuple(_element_findings(record, reference))
    levels = [worst([each.level for each in found]) for found in (noise, elements)]
    yield from elements if worst(levels) != levels[0] else noise
    if not (noise or narrow or elements):
        yield from _unproven(record, reference)


def _part_findings(record: OutputRecord, reference: str) -> Iterator[Finding]:
    """Channels that share a scale with much wider ones, and lose precision by it."""
    total = sum(len(part.channels) for part in record.parts)
    for part in record.parts[1:]:  # the first one is the wide one
        if part.hits is not None or len(part.channels) <= LEAST_PART * total:
            continue
        level = GOOD if part.centred_snr_db is None else _level(part.centred_snr_db, SNR_LIMITS_DB)
        if level != GOOD and part.centred_snr_db is not None:
            yield Finding(
                "quality.noise",
                level,
                record.name,
                f"channels {span(part.channels)} of {record.name}: "
                f"{_lost(part.centred_snr_db, reference)}",
            )


def _element_findings(record: OutputRecord, reference: str) -> Iterator[Finding]:
    """Numbers of a row that are lost while others are not."""
    least = ELEMENT_SNR_LIMITS_DB[1]
    ratios = record.elements_snr_db
    lost = [k for k, each in enumerate(ratios) if each is not None and each < least]
    worst_ratio = min((each for each in ratios if each is not None), default=least)
    level = _level(worst_ratio, ELEMENT_SNR_LIMITS_DB)
    if level == GOOD:
        return
    yield Finding(
        "quality.element",
        level,
        record.name,
        f"of the {len(ratios)} numbers of {record.name}, {span(lost)} (counted from 0) "
        f"{'is' if len(lost) == 1 else 'are'} lost: {_lost(worst_ratio, reference)}",
    )


def _score_findings(
    record: OutputRecord, hits: Hits | None, named: str, reference: str
) -> Iterator[Finding]:
    if hits is None:
        return
    if _is_enough(hits):
        limits = OBJECT_F1_LIMITS if hits.is_sparse else DENSE_F1_LIMITS
        level = _level(hits.f1, limits)
        if level != GOOD:
            yield Finding(
                "quality.decisions", level, record.name, f"{named}: {_found(hits, reference)}"
            )
        else:
            yield from _lost_channel(record, hits, named, reference)
        return
    if record.step is None:
        return
    if record.model_range[1] <= hits.decision < record.reference_range[1]:
        yield Finding(
            "quality.never_above",
            BAD,
            record.name,
            f"{named}: its largest value is {record.model_range[1]:.3g}, at or below the decision "
            f"at {hits.decision:g}, where {reference} reaches {record.reference_range[1]:.3g}",
        )
    elif hits.decision == LOGIT_DECISION and record.step > COARSEST_LOGIT:
        yield Finding(
            "quality.coarse_logits",
            DOUBTFUL,
            record.name,
            f"{named}: neighbouring scores are {record.step:.3g} logits apart, more than "
            f"{COARSEST_LOGIT:g}: near the decision there are no values",
        )


def _lost_channel(
    record: OutputRecord, hits: Hits, named: str, reference: str
) -> Iterator[Finding]:
    """A label or class that is lost, although all together are good."""
    if hits.worst_f1 is None or record.shape[-1] < 2:
        return
    level = _level(hits.worst_f1, CHANNEL_F1_LIMITS)
    if level != GOOD:
        yield Finding(
            "quality.decisions",
            level,
            record.name,
            f"{named}: channel {hits.worst_channel} agrees with that of {reference} by "
            f"{hits.worst_f1:.0%} only (F1 of the scores above {hits.decision:g})",
        )


def _noise(record: OutputRecord, reference: str, inputs_cut_off: float) -> Iterator[Finding]:
    ratio = record.centred_snr_db
    if ratio is None:
        if not record.spread or not record.noise:
            return
        ratio = 0.0
    is_target = _is_target(record)
    level = _level(ratio, SURE_SNR_LIMITS_DB if _is_sure(record) else SNR_LIMITS_DB)
    words = f"{record.name}: {_lost(ratio, reference)}"
    absolute = record.absolute_snr_db
    if is_target and absolute is not None and level == GOOD:
        is_cut = inputs_cut_off > MOST_INPUTS_CUT_OFF
        level = _level(absolute, CUT_OFF_SNR_LIMITS_DB if is_cut else TARGET_SNR_LIMITS_DB)
        words = f"{record.name}: {_lost(absolute, reference)}"
        if is_cut:
            words += f", and {inputs_cut_off:.0%} of the values of an input are cut off"
    is_probability = record.step == PROBABILITY_STEP  # none below a step matters
    if is_target and record.log_snr_db is not None and level == GOOD and not is_probability:
        level = _level(record.log_snr_db, TARGET_SNR_LIMITS_DB)
        words = (
            f"the values of {record.name} are of very different sizes, and the small ones are "
            f"lost: of the logarithms {_lost(record.log_snr_db, reference)}"
        )
    if level != GOOD:
        yield Finding("quality.noise", level, record.name, words)


def is_open_target(record: OutputRecord) -> bool:
    """Whether an output is a target whose error may be a multiple of the reference's own."""
    ratio = record.absolute_snr_db
    return ratio is not None and ratio < EXACT_SNR_DB and _is_target(record)


def _unproven(record: OutputRecord, reference: str) -> Iterator[Finding]:
    """A target whose error is small, but may be larger than the reference's own error."""
    ratio = record.absolute_snr_db
    if ratio is None or not is_open_target(record):
        return
    irregularity = record.irregularity
    if ratio >= CLOSE_SNR_DB and irregularity is not None and irregularity >= LEAST_IRREGULARITY:
        return
    steps = "" if record.noise_steps is None else f", {record.noise_steps:.1f} of its steps"
    yield Finding(
        EXACT_TARGET,
        NOT_SHOWN,
        record.name,
        f"{record.name}: {_lost(ratio, reference)}{steps} ({record.noise:.3g}, root mean square)",
    )


def _cut_off(record: OutputRecord) -> Iterator[Finding]:
    """Targets that often are beyond what the model can return."""
    share = record.saturated
    if not _is_target(record) or share <= CUT_OFF_LIMITS[0]:
        return
    yield Finding(
        "quality.cut_off",
        DOUBTFUL if share <= CUT_OFF_LIMITS[1] else BAD,
        record.name,
        f"{share:.0%} of the values of {record.name} are cut off at {record.model_range[0]:.4g} "
        f"or {record.model_range[1]:.4g}",
    )


def _is_target(record: OutputRecord) -> bool:
    """Whether an output contains the few numbers of a regression.

    More than `MOST_TARGETS` may also be the logits of classes. In these each number is the largest
    at times, and the model mostly agrees which one is.
    """
    numbers = 1
    for size in record.shape[1:]:
        numbers *= size
    if record.hits is not None or numbers > FEW_NUMBERS:
        return False
    if numbers <= MOST_TARGETS or record.argmax is None or record.same_largest is None:
        return numbers <= MOST_TARGETS
    return record.argmax < LEAST_SAME_LARGEST or record.same_largest > MOST_SAME_LARGEST


def _is_sure(record: OutputRecord) -> bool:
    """Whether a row of few numbers looks like logits, and both models name the same class."""
    if record.argmax is None or record.same_largest is None or _is_target(record):
        return False
    return record.argmax >= SURE_SAME_LARGEST


def _level(value: float, limits: tuple[float, float]) -> str:
    return BAD if value < limits[0] else DOUBTFUL if value < limits[1] else GOOD


def _is_enough(hits: Hits) -> bool:
    return max(hits.reference, hits.found + hits.false) >= LEAST_HITS


def _lost(centred_snr_db: float, reference: str) -> str:
    share = 10 ** (-centred_snr_db / 20)
    if share >= 1:
        return (
            f"the error is as large as the whole variation of the answers of {reference}, or larger"
        )
    return f"the error is {share:.0%} of the variation of the answers of {reference}"


def _found(hits: Hits, reference: str) -> str:
    words = found_words((hits.reference, hits.found, hits.false), reference)
    return f"{words} (scores above {hits.decision:g})"


def found_words(counts: tuple[int, int, int], reference: str = FLOAT) -> str:
    """``finds about half of what the float model finds: 23 of 47, and 2 that it does not``.

    Args:
        counts: How many the reference finds, how many of them the model finds, and how many others
            it finds.
        reference: The name of the reference.
    """
    total, found, false = counts
    share = found / total if total else 0.0
    also = f", and {false:,} that it does not" if false else ""
    return f"finds {roughly(share)} of what {reference} finds: {found:,} of {total:,}{also}"


def roughly(share: float) -> str:
    """A share in words: ``about half``."""
    for limit, words in _SHARES:
        if share <= limit:
            return words
    return "nearly all"


_SHARES = (
    (0.0, "nothing"),
    (0.06, "next to nothing"),
    (0.15, "about a tenth"),
    (0.29, "about a quarter"),
    (0.4, "about a third"),
    (0.58, "about half"),
    (0.71, "about two thirds"),
    (0.84, "about three quarters"),
    (0.95, "about nine tenths"),
)


def span(channels: Sequence[int]) -> str:
    """Channel numbers as runs: ``0 to 3``, ``4, 9 to 12``."""
    runs: list[list[int]] = []
    for each in channels:
        if runs and each == runs[-1][1] + 1:
            runs[-1][1] = each
        else:
            runs.append([each, each])
    words = [str(a) if a == b else f"{a} to {b}" for a, b in runs]
    return ", ".join(words[:4]) + (" and more" if len(words) > 4 else "")
