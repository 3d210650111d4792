# SPDX-License-Identifier: Apache-2.0
"""Count how often the float model's class is the one of the data's labels.

If the float model gets wrong pixels, agreement with it is meaningless: both models give the same
wrong answers. Labels show this, and they show which preprocessing is right.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.data import Dataset, Preprocess, parse_preprocess
from edgekit.data.dataset import Sample
from edgekit.data.drawing import Drawing
from edgekit.data.label_kinds import class_of
from edgekit.evaluate.class_names import are_numbers, folders_of, label_map
from edgekit.formats.model_file import ModelFile
from edgekit.formats.tflite import Model
from edgekit.host.convert.use import num_classes
from edgekit.result import Result
from edgekit.runtime import Runner
from edgekit.tasks.classification import binary_threshold

# The usual preprocessings. The numbers of mean= and std= are torchvision's and Caffe's.
_OTHERS = (
    "unit",
    "tf",
    "raw",
    "mean=123.675/116.28/103.53,std=58.395/57.12/57.375",
    "mean=103.939/116.779/123.68,std=1,colour=bgr",
)
_LEAST_SAMPLES = 16
_TRIED = 40  # samples to try other preprocessings on
_TRIED_MACS = 12_500_000_000  # about one second of a core for each of them
# Try others below these shares of right answers: for a default, for one that the user gave.
_SURE, _SURE_IF_GIVEN = 0.9, 0.7
_CLEARLY = 3  # times: how many more samples only the other is right on than only this one
_LEAST_GAIN = 0.1
_SIGMAS = 2.0  # standard deviations above guessing


@dataclass(frozen=True)
class LabelCheck(Result):
    """The number of samples for which the float model's class is the labelled one."""

    num_samples: int
    num_right: int
    num_classes: int
    num_most_frequent: int  # samples of the most frequent class: a constant answer's best count
    tried: dict[str, int] = field(default_factory=dict)  # --preprocess text -> right samples
    num_tried: int = 0  # samples of ``tried``

    @property
    def share(self) -> float:
        """The share of right samples."""
        return self.num_right / self.num_samples

    @property
    def is_guessing(self) -> bool:
        """Whether a constant answer or chance explains the right samples."""
        chance = max(1 / self.num_classes, self.num_most_frequent / self.num_samples)
        slack = _SIGMAS * (chance * (1 - chance) / self.num_samples) ** 0.5
        return self.share <= chance + slack and self.num_most_frequent < self.num_samples


class LabelledAnswers:
    """Counts the float model's right answers to labelled samples, if both are classes."""

    def __init__(
        self, network: ModelFile, labels: Sequence[Any], dataset: Dataset, names: Sequence[str]
    ) -> None:
        """Prepare to count.

        Args:
            network: The float model.
            labels: The samples' labels, in order; may grow until their answers are added.
            dataset: The data set of the samples.
            names: The class names of the model; may be empty.
        """
        self._network, self._labels = network, labels
        self._num_classes, num_scores = num_classes(network.model), _num_scores(network.model)
        self._places = _places(dataset, self._num_classes, names, num_scores)
        self._middle = _middle(network) if num_scores == 1 else 0.0
        self._position = 0
        self._right: list[bool] = []
        self._classes: Counter[int] = Counter()

    def add(self, outputs: Sequence[NDArray[Any]]) -> None:
        """Count the float model's outputs for a batch; the last batch may be filled up."""
        if self._places is None:
            return
        rows = outputs[0]
        labels = self._labels[self._position : self._position + len(rows)]
        self._position += len(labels)
        for label, row in zip(labels, rows):  # noqa: B905 - a batch may be filled up
            place = self._places(label)
            if place is not None:
                self._classes[place] += 1
                self._right.append(self._answer(row) == place)

    def check(self) -> LabelCheck | None:
        """Return the counts; None if too few samples have a known class."""
        if len(self._right) < _LEAST_SAMPLES:
            return None
        most = max(self._classes.values())
        return LabelCheck(len(self._right), sum(self._right), self._num_classes, most)

    def with_others(
        self, found: LabelCheck, how: Preprocess, reopened: Dataset, macs: int
    ) -> LabelCheck:
        """Return ``found`` with the number of right samples for other preprocessings.

        Args:
            found: The counts for ``how``.
            how: The preprocessing in use; the others have the same resizing.
            reopened: The same images, preprocessed by ``how`` with the scale ``raw``.
            macs: Multiply-accumulates of one sample.
        """
        wanted = min(_TRIED, max(_LEAST_SAMPLES, _TRIED_MACS // max(1, macs)))
        samples = list(Drawing(reopened).draw(wanted))
        ways = {str(each): each for each in (how, *other_ways(how))}
        right: dict[str, list[bool]] = {text: [] for text in ways}
        seen: Counter[int] = Counter()
        with Runner(self._network) as runner:
            if runner.inputs[0].dtype != "float32":
                return found
            for sample, place in self._known(samples):
                seen[place] += 1
                for text, way in ways.items():
                    real = _scaled(sample.inputs[0], how, way)
                    row = runner.predict(real.reshape(runner.inputs[0].shape))[0][0]
                    right[text].append(self._answer(row) == place)
        current, most = right[str(how)], max(seen.values(), default=0)
        better = {
            text: sum(flags)
            for text, flags in right.items()
            if text != str(how)
            and _is_better(flags, current)
            and not replace(
                found, num_samples=len(flags), num_right=sum(flags), num_most_frequent=most
            ).is_guessing
        }
        tried = {str(how): sum(current), **better}
        return replace(found, tried=tried, num_tried=len(current))

    def _answer(self, row: NDArray[Any]) -> int:
        """Return the class with the float model's best score."""
        return int(row.reshape(-1)[0] >= self._middle) if row.size == 1 else int(np.argmax(row))

    def _known(self, samples: Iterable[Sample]) -> Iterator[tuple[Sample, int]]:
        for sample in samples:
            place = None if self._places is None else self._places(sample.label)
            if place is not None:
                yield sample, place


def should_try_others(found: LabelCheck, *, is_guess: bool) -> bool:
    """Whether the preprocessing may be wrong, because few samples are right.

    Args:
        found: The counts.
        is_guess: Whether neither the user nor the network determined the preprocessing.
    """
    return found.is_guessing or found.share < (_SURE if is_guess else _SURE_IF_GIVEN)


def other_ways(how: Preprocess) -> list[Preprocess]:
    """Return the usual preprocessings with the resizing of ``how``."""
    ways = [
        replace(
            how,
            scale=other.scale,
            mean=other.mean,
            std=other.std,
            colour=other.colour,
            is_default=False,
        )
        for other in map(parse_preprocess, _OTHERS)
    ]
    return [way for way in ways if str(way) != str(how)]


def label_warnings(found: LabelCheck, how: Preprocess, *, may_try: bool) -> Iterator[str]:
    """Yield warnings about pixels or classes that are not the network's, with a fix if known.

    Args:
        found: The counts.
        how: The preprocessing in use.
        may_try: Whether images were preprocessed, so that another preprocessing is possible.
    """
    right = f"is right on {found.num_right} of {found.num_samples} labelled samples"
    best = max(found.tried, key=lambda text: found.tried[text]) if found.tried else str(how)
    if best != str(how):
        numbers = f"{found.tried[best]} of {found.num_tried} instead of {found.tried[str(how)]}"
        yield (
            f"the float model itself {right}; with another preprocessing it is right on {numbers}; "
            f"next: convert again with --preprocess {best}"
        )
    elif found.is_guessing:
        pixels = "another preprocessing (--preprocess), or " if may_try else ""
        scaling = "" if may_try else ", or samples that are scaled in another way"
        yield (
            f"the float model itself {right}, no better than guessing, so agreement with it is "
            f"meaningless; likely cause: {pixels}classes in another order than the "
            f"labels{scaling}; "
            "next: name the sub-folders by the class index (0, 1, ...), or give the network's "
            "class names in its order with --labels"
        )


def _places(
    dataset: Dataset, count: int, names: Sequence[str], num_scores: int
) -> Callable[[Any], int | None] | None:
    """Return the function from a label to the network's class; None if that is unknown."""
    folders = folders_of(dataset)
    if count < 2 or (num_scores == 1 and len(folders) != 2):
        return None
    order = label_map(folders, names, must_match=False)
    if order is None and folders and not are_numbers(folders) and len(folders) != count:
        return None

    def place(label: Any) -> int | None:  # noqa: ANN401
        index = class_of(label)
        found = order.get(index) if order and index is not None else index
        return found if found is not None and 0 <= found < count else None

    return place


def _num_scores(model: Model) -> int:
    outputs = [model.main.tensors[index] for index in model.main.outputs]
    return outputs[0].shape[-1] if num_classes(model) else 0


def _middle(network: ModelFile) -> float:
    """Return the score above which a network with one score means the second class."""
    with Runner(network) as runner:
        return binary_threshold(runner.model, runner.outputs[0])


def _scaled(raw: NDArray[Any], how: Preprocess, way: Preprocess) -> NDArray[Any]:
    """Scale raw pixels, in the colour order of ``how``, as ``way`` does."""
    pixels = np.asarray(raw).astype(np.uint8)
    turned = pixels[..., ::-1] if way.colour != how.colour and pixels.shape[-1] == 3 else pixels
    if len(way.mean) > 1 and turned.shape[-1] != len(way.mean):
        way = replace(way, mean=(float(np.mean(way.mean)),), std=(float(np.mean(way.std)),))
    return way.scale_pixels(turned)


def _is_better(flags: Sequence[bool], current: Sequence[bool]) -> bool:
    """Whether many samples are right by ``flags`` alone, and few by ``current`` alone."""
    gained = sum(new and not old for new, old in zip(flags, current, strict=True))
    lost = sum(old and not new for new, old in zip(flags, current, strict=True))
    return gained - lost >= max(4, _LEAST_GAIN * len(current)) and gained >= _CLEARLY * lost
