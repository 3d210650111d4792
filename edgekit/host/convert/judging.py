# SPDX-License-Identifier: Apache-2.0
"""Compare a new model with its float model on samples, and judge whether these show anything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from edgekit.data import Dataset
from edgekit.data.random_samples import RANDOM
from edgekit.edgetpu.macs import model_macs
from edgekit.errors import UnsupportedModelError
from edgekit.evaluate.causes import Making
from edgekit.evaluate.gates import Gates
from edgekit.evaluate.outputs import Agreement, agreement_warnings, measure_outputs
from edgekit.formats.model_file import ModelFile
from edgekit.host.convert.calibration import Calibration, num_held_out
from edgekit.host.convert.float_answers import one_sided
from edgekit.host.convert.labelled import (
    LabelCheck,
    LabelledAnswers,
    label_warnings,
    should_try_others,
)
from edgekit.host.convert.result import LABELS, STATISTICS, TRAINED_RANGES
from edgekit.host.convert.samples import Samples
from edgekit.host.convert.targets import TargetCheck, TargetErrors
from edgekit.runtime.quality import DOUBTFUL, NOT_SHOWN, Finding

Outputs = Sequence[NDArray[Any]]
_MORE = (
    "convert with more samples (--num-samples 300); if that does not help, search for better "
    "ranges (edgekit tune), or train with int8 rounding in the loop (edgekit train)"
)


@dataclass
class Judging:
    """The comparison of one conversion's model with the float model.

    Attributes:
        samples: The samples of the conversion.
        gates: What the new model must reach.
        where: The source, for errors.
        notes: Warnings of the conversion; the comparison appends its own.
        unlike: Why the samples are not like the training data.
        has_statistics: Whether the network contains statistics of its training data, and the
            samples were compared with them.
        has_trained_ranges: Whether the ranges are those of quantization-aware training.
        label_check: How often the float model's class is that of the labels.
        target_check: The errors of both models by real targets.
    """

    samples: Samples
    gates: Gates
    where: str
    notes: list[str]
    unlike: tuple[Finding, ...] = ()
    has_statistics: bool = False
    has_trained_ranges: bool = False
    label_check: LabelCheck | None = field(default=None, init=False)
    target_check: TargetCheck | None = field(default=None, init=False)

    def agreement(
        self, reference: ModelFile, made: ModelFile, output: Path, labels: tuple[str, ...]
    ) -> Agreement | None:
        """Compare the model with the float model; warn about what is worse.

        Args:
            reference: The float model.
            made: The new model.
            output: The new model's file, for commands in advice.
            labels: The names of the classes.

        Returns:
            None without samples.

        Raises:
            GateError: The new model does not reach ``gates``.
            UnsupportedModelError: The float model answers all samples with NaN or infinity.
        """
        calibration, dataset = self.samples.calibration, self.samples.dataset
        if calibration is None or dataset is None:
            return None
        is_random = dataset.describe().get("kind") == RANDOM
        model = made.model
        making = Making(model, str(output), calibration.count, dataset.num_samples, is_random)
        macs = model_macs(model)
        batches = calibration.judging_batches(num_held_out(macs))
        answers = LabelledAnswers(reference, calibration.judged_labels, dataset, labels)
        errors = TargetErrors(calibration.judged_labels)

        def watch(expected: Outputs, actual: Outputs) -> None:
            answers.add(expected)
            errors.add(expected, actual)

        agreement = measure_outputs(reference, made, batches, making, watch)
        self._check_finite(agreement, calibration.num_judged, is_random=is_random)
        self.target_check = errors.check()
        if self.target_check is not None:
            agreement = agreement.with_true_values()
        shown = () if is_random else tuple(one_sided(agreement))
        agreement = self._with_unlike(agreement, calibration, shown)
        self.gates.check(agreement, self.where)
        self.notes.extend(calibration.judged_warnings)
        self.notes.extend(each.text for each in self.unlike)
        self.notes.extend(agreement_warnings(agreement))
        causes = [each.text for each in agreement.causes]
        self.notes.extend(each.text for each in shown if each.text not in causes)
        by_labels = self._check_labels_right(answers, dataset, macs)
        self.notes.extend(each.text for each in by_labels)
        if self.target_check is not None:
            by_targets = self.target_check.findings
            self.notes.extend(f"{each.text}; next: {_MORE}" for each in by_targets)
            agreement = agreement.with_labels(by_targets)
        agreement = agreement.with_unlike((*agreement.unlike, *by_labels))
        return agreement if self.shown_by() else agreement.without_evidence()

    def _with_unlike(
        self, agreement: Agreement, calibration: Calibration, shown: tuple[Finding, ...]
    ) -> Agreement:
        """Return ``agreement`` with what is unlike real use; ``shown`` is by the answers."""
        unlike = (*calibration.narrow, *calibration.clipped, *self.unlike, *shown)
        return agreement.with_unlike(unlike)

    def like_training(self, agreement: Agreement | None) -> bool | None:
        """Return whether the samples are like the training data; None if nothing shows it."""
        if agreement is not None and agreement.unlike:
            return False
        return True if self.shown_by() else None

    def shown_by(self) -> str:
        """Return what shows whether the samples are like the training data; empty if nothing."""
        found = self.label_check
        if found is not None and not found.is_guessing:
            return LABELS
        if self.has_statistics:
            return STATISTICS
        return TRAINED_RANGES if self.has_trained_ranges else ""

    def _check_finite(self, agreement: Agreement, num_judged: int, *, is_random: bool) -> None:
        """Warn of samples that the float model answers with NaN or infinity.

        Raises:
            UnsupportedModelError: All answers are such, and the samples are not random numbers.
        """
        number = max((each.record.num_not_finite for each in agreement.outputs), default=0)
        what = f"the float model answers {number} of {num_judged} samples with NaN or infinity"
        if number and number == num_judged and not is_random:
            raise UnsupportedModelError(
                what,
                where=self.where,
                why="its weights may be NaN, or values may overflow",
                fix="check the network's training, the data and --preprocess",
            )
        if number:
            self.notes.append(f"{what}, which were left out of the comparison")

    def _check_labels_right(
        self, answers: LabelledAnswers, dataset: Dataset, macs: int
    ) -> tuple[Finding, ...]:
        """Return findings if the float model is wrong by the labels; name what would be right."""
        self.label_check = found = answers.check()
        if found is None:
            return ()
        pixels, may_try = self.samples.pixels, dataset.describe().get("kind") == "folder"
        if may_try and should_try_others(found, is_guess=pixels.is_guess):
            raw = replace(pixels.how, scale="raw", mean=(), std=(), is_default=False)
            others = self.samples.opened(raw)
            self.label_check = found = answers.with_others(found, pixels.how, others, macs)
        texts = label_warnings(found, pixels.how, may_try=may_try)
        return tuple(Finding("quality.wrong_by_labels", DOUBTFUL, "", text) for text in texts)


def open_notes(agreement: Agreement | None, commands: str) -> Iterator[str]:
    """Yield a warning if it is open how accurate the new model is in real use.

    Args:
        agreement: The new model's with the float model; None if not measured.
        commands: They measure it on other samples.
    """
    if agreement is None or agreement.verdict != NOT_SHOWN:
        return
    why = ""
    if not (agreement.unlike or agreement.findings or agreement.by_labels):
        why = (
            ": neither labels nor the network show whether the samples of the calibration are like "
            "those"
        )
    yield (
        f"the accuracy on samples of real use is not shown{why}; next: measure it, with such "
        f"samples as DATA: {commands}"
    )
