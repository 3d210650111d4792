# SPDX-License-Identifier: Apache-2.0
"""Choose how pixels become the input of a network that is converted, and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from edgekit.data import Dataset, Preprocess, parse_preprocess, preprocess_or
from edgekit.data.network_start import Wanted, contradiction
from edgekit.data.random_samples import RANDOM

Range = tuple[float, float]

_ONE_FOR_ALL = "the pixels (uint8) of all inputs get the same preprocessing"
_DEFAULT = "the default"
_IMAGES = ("folder", "coco", "masks")


class InputPixels:
    """The preprocessing of a conversion.

    It is the one that the user gave, else that of the source's metadata, else the one that the
    network's first operations show, else the default.
    """

    def __init__(self, requested: str | Preprocess | None) -> None:
        self._requested = requested
        self._wanted: Wanted | None = None
        self._others: dict[int, tuple[str, Wanted | None]] = {}
        self.how = parse_preprocess(requested)
        self.reason = _DEFAULT if self.how.is_default else "as requested"

    def take_noted(self, noted: str, reason: str) -> None:
        """Use the preprocessing of the source's metadata or maker, unless the user gave another."""
        if noted and self._requested is None:
            self.how = preprocess_or(None, noted)
            self.reason = reason

    @property
    def is_wanted(self) -> bool:
        """Whether the network shows which pixels it was made for."""
        return self._wanted is not None

    @property
    def made_for(self) -> Range | None:
        """The range of pixels that the network was made for; None if it does not show it."""
        return None if self._wanted is None else self._wanted.range

    @property
    def is_guess(self) -> bool:
        """Whether neither the user nor the source stated how pixels become the input."""
        return self._requested is None and self.reason == _DEFAULT

    def take_network(self, wanted: Wanted | None) -> bool:
        """Use the preprocessing that the network was made for; return whether ``how`` changed."""
        self._wanted = wanted
        if (
            self._wanted is None
            or not self.how.is_default
            or self.how != Preprocess(is_default=True)
        ):
            return False
        self.reason = self._wanted.reason
        before, self.how = self.how, replace(self.how, scale=self._wanted.scale)
        return self.how != before

    def take_others(self, others: Mapping[int, tuple[str, Wanted | None]]) -> None:
        """Store the inputs after the first: by index, the name and what the network shows."""
        self._others = dict(others)

    def warnings(self, calibrated: Sequence[Range], dataset: Dataset | None) -> list[str]:
        """Return contradictions between the network and the preprocessing or the samples' range.

        Args:
            calibrated: The lowest and highest value of each input; empty without samples.
            dataset: The samples.
        """
        warnings = []
        if self._wanted is not None:
            warnings.append(contradiction(self._wanted, self.how))
            if calibrated and not warnings[0]:
                warnings.append(self._wanted.misses(calibrated[0]))
        if calibrated and dataset is not None:
            warnings += self._warnings_of_others(calibrated, dataset)
        return [each for each in warnings if each]

    def _warnings_of_others(self, calibrated: Sequence[Range], dataset: Dataset) -> Iterator[str]:
        """Warn about each input that needs another preprocessing than the one for all inputs."""
        is_shown = self._wanted is not None and self.how == replace(
            Preprocess(is_default=True), scale=self._wanted.scale
        )
        for place, (name, wanted) in self._others.items():
            missed = wanted.misses(calibrated[place]) if wanted is not None else ""
            if missed:
                yield f"input {name}: {missed}, as real numbers (float32): {_ONE_FOR_ALL}"
            elif wanted is None and is_shown and dataset.promised_range is not None:
                yield (
                    f"input {name}: it got {self.how.scale} pixels because the first input needs "
                    "them, and it does not show what it was made for; if that is another range, "
                    f"give it as real numbers (float32): {_ONE_FOR_ALL}"
                )

    def used_for(self, dataset: Dataset | None) -> str:
        """Return the text for the model's metadata; empty if no pixels were preprocessed.

        What the user gave is always noted. Otherwise it depends on the data: images and pixels
        (uint8) were preprocessed, real numbers were not.
        """
        if self._requested is not None or self.how != Preprocess(is_default=True):
            return str(self.how)
        if dataset is None:
            return ""
        kind = dataset.describe().get("kind")
        is_pixels = kind in _IMAGES or (kind != RANDOM and dataset.promised_range is not None)
        return str(self.how) if is_pixels else ""
