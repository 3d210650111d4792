# SPDX-License-Identifier: Apache-2.0
"""How often the float model names the class that the data's labels say.

Agreement with the float model is worth nothing where that model gets the wrong pixels: both answer
wrongly alike. Labels show it, and which preprocessing is the right one.
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
from edgekit.formats.tflite import Model, read_model
from edgekit.host.convert.use import num_classes
from edgekit.result import Result
from edgekit.runtime import Runner
from edgekit.tasks.classification import binary_threshold

# What networks are trained with. Behind mean= and std= are torchvision's and Caffe's numbers.
_OTHERS = (
    "unit",
    "tf",
    "raw",
    "mean=123.675/116.28/103.53,std=58.395/57.12/57.375",
    "mean=103.939/116.779/123.68,std=1,colour=bgr",
)
_LEAST_SAMPLES = 16
_TRIED = 40  # samples for the other preprocessings
_TRIED_MACS = 12_500_000_000  # about one second of a core for each of them
# Shares of right answers below which others are tried: of a default, of one that was asked for.
_SURE, _ASKED_SURE = 0.9, 0.7
_CLEARLY = 3  # times as many samples right only by the other one as right only by this one
_LEAST_GAIN = 0.1
_SIGMAS = 2.0  # above guessing, in standard deviations


@dataclass(frozen=True)
class LabelCheck(Result):
    """How many samples the float model names the labelled class of."""

    num_samples: int
    num_right: int
    num_classes: int
    num_most_frequent: int  # samples of the class that most have: what a constant answer gets
    tried: dict[str, int] = field(default_factory=dict)  # --preprocess text -> right samples
    num_tried: int = 0  # samples of ``tried``

    @property
    def share(self) -> float:
        """Of right samples."""
        return self.num_right / self.num_samples

    @property
    def is_guessing(self) -> bool:
        """Whether a constant answer or chance explains the right ones."""
        chance = max(1 / self.num_classes, self.num_most_frequent / self.num_samples)
        slack = _SIGMAS * (chance * (1 - chance) / self.num_samples) ** 0.5
        return self.share <= chance + slack and self.num_most_frequent < self.num_samples


class LabelledAnswers:
    """The float model's answers to labelled samples, counted where both are classes."""

    def __init__(
        self, content: bytes, labels: Sequence[Any], dataset: Dataset, names: Sequence[str]
    ) -> None:
        """Prepare to count.

        Args:
            content: The float .tflite.
            labels: Of the samples, in their order; may grow until their answers are added.
            dataset: Where the samples are from.
            names: The class names of the model; may be empty.
        """
        self._content, self._labels = content, labels
        model = read_model(content)
        self._num_classes, num_scores = num_classes(model), _num_scores(model)
        self._places = _places(dataset, self._num_classes, names, num_scores)
        self._middle = _middle(content) if num_scores == 1 else 0.0
        self._position = 0
        self._right: list[bool] = []
        self._classes: Counter[int] = Counter()

    def add(self, outputs: Sequence[NDArray[Any]]) -> None:
        """Take in what the float model gave for a batch; the last one may be filled up."""
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
        """What was counted; None if there are too few samples with a known class."""
        if len(self._right) < _LEAST_SAMPLES:
            return None
        most = max(self._classes.values())
        return LabelCheck(len(self._right), sum(self._right), self._num_classes, most)

    def with_others(
        self, found: LabelCheck, how: Preprocess, reopened: Dataset, macs: int
    ) -> LabelCheck:
        """``found`` with how many samples other preprocessings get right.

        Args:
            found: By ``how``.
            how: The one in use; the others keep its resizing.
            reopened: The same images, preprocessed as ``raw`` of ``how``.
            macs: Multiply-accumulates of one sample.
        """
        wanted = min(_TRIED, max(_LEAST_SAMPLES, _TRIED_MACS // max(1, macs)))
        samples = list(Drawing(reopened).draw(wanted))
        ways = {str(each): each for each in (how, *other_ways(how))}
        right: dict[str, list[bool]] = {text: [] for text in ways}
        seen: Counter[int] = Counter()
        with Runner(self._content) as runner:
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
        """The class that the float model's scores name."""
        return int(row.reshape(-1)[0] >= self._middle) if row.size == 1 else int(np.argmax(row))

    def _known(self, samples: Iterable[Sample]) -> Iterator[tuple[Sample, int]]:
        for sample in samples:
            place = None if self._places is None else self._places(sample.label)
            if place is not None:
                yield sample, place


def should_try_others(found: LabelCheck, *, is_guess: bool) -> bool:
    """Whether so few samples are right that the preprocessing may be wrong.

    Args:
        found: What was counted.
        is_guess: Whether neither the user nor the network said which preprocessing it is.
    """
    return found.is_guessing or found.share < (_SURE if is_guess else _ASKED_SURE)


def other_ways(how: Preprocess) -> list[Preprocess]:
    """The usual preprocessings, resized as ``how`` says."""
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
    """Warn of pixels or classes that are not the network's, with what is.

    Args:
        found: What was counted.
        how: The preprocessing in use.
        may_try: Whether images were preprocessed, so that another way is possible.
    """
    right = f"names the labelled class of {found.num_right} of {found.num_samples} samples"
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
            f"the float model itself {right}, no better than guessing: agreement with it is worth "
            f"nothing; likely cause: {pixels}classes in another order than the labels{scaling}; "
            "next: name the sub-folders by the class index (0, 1, ...), or give the network's "
            "class names in its order with --labels"
        )


def _places(
    dataset: Dataset, count: int, names: Sequence[str], num_scores: int
) -> Callable[[Any], int | None] | None:
    """What turns a label into the network's class; None if that is not known."""
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


def _middle(content: bytes) -> float:
    """The score above which a network of one score means the second class."""
    with Runner(content) as runner:
        return binary_threshold(runner.model, runner.outputs[0])


def _scaled(raw: NDArray[Any], how: Preprocess, way: Preprocess) -> NDArray[Any]:
    """Pixels of ``how``'s colours as ``way`` has them."""
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
