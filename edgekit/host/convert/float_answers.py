# SPDX-License-Identifier: Apache-2.0
"""Whether the float model's own answers show that the samples are unlike the training data.

An int8 model agrees easily with a float model that gives the same answer to all samples. That
agreement proves nothing about other samples.
"""

from __future__ import annotations

from collections.abc import Iterator

from edgekit.evaluate.decoded import DecodedRecord
from edgekit.evaluate.outputs import Agreement
from edgekit.runtime.agreement import OutputRecord
from edgekit.runtime.quality import NOT_SHOWN, Finding

_SAME_ANSWERS = ("cause.constant_answers", "cause.one_answer")  # printed as causes
_LEAST_ANSWERS = 50  # fewer may all name one class by chance
_EACH = 10  # samples for each class: of as many, nearly every class is named
_LEAST_SHARE = 0.5  # of the classes
_OTHERS = 0.02  # of the samples, as for the classes of decoded answers
_WHY = (
    "the ranges of calibration may be too narrow for the others, and agreement on such samples "
    "says nothing about them; give samples of all classes, and check --preprocess (or the scaling "
    "in the .npz)"
)


def one_sided(agreement: Agreement) -> Iterator[Finding]:
    """Yield a finding if the float model's answers to the samples hardly differ.

    Samples of classes that were not in training, or pixels that are scaled in another way, often
    look all the same to a network.
    """
    same = [cause for cause in agreement.causes if cause.code in _SAME_ANSWERS]
    if same:
        yield _finding(same[0].text)
        return
    if agreement.decoded is not None:
        yield from _few_classes(agreement.decoded)
        return
    for output in agreement.outputs:
        yield from _one_class(output.record)


def _one_class(record: OutputRecord) -> Iterator[Finding]:
    """The classes of one of several outputs: a row of few probabilities by softmax."""
    share = record.same_largest
    if not record.adds_to_one or share is None or record.num_samples < _LEAST_ANSWERS:
        return
    if share > 1 - _OTHERS:
        yield _finding(
            f"on {share:.0%} of the {record.num_samples} samples the float model names the same "
            f"one of the {record.shape[-1]} classes of {record.name}: {_WHY}"
        )


def _few_classes(record: DecodedRecord) -> Iterator[Finding]:
    named, known = record.num_named, record.num_classes
    if named is None or known is None or record.reference < _LEAST_ANSWERS:
        return
    is_one = named == 1
    is_few = named < _LEAST_SHARE * known and record.reference >= _EACH * known
    if is_one or is_few:
        which = "one" if is_one else str(named)
        yield _finding(
            f"on the {record.reference} samples the float model names only {which} of its {known} "
            f"classes: {_WHY}"
        )


def _finding(text: str) -> Finding:
    return Finding("quality.few_answers", NOT_SHOWN, "", text)
