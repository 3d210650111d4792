# SPDX-License-Identifier: Apache-2.0
"""How pixels become the input of a network that is converted, and why."""

from __future__ import annotations

from dataclasses import replace

from edgekit.data import Dataset, Preprocess, parse_preprocess, preprocess_or
from edgekit.data.network_start import Wanted, contradiction
from edgekit.data.random_samples import RANDOM

_IMAGES = ("folder", "coco", "masks")


class InputPixels:
    """The preprocessing of a conversion.

    It is what was asked for, else what the source's metadata say, else what the network's first
    operations tell, else the default.
    """

    def __init__(self, asked: str | Preprocess | None) -> None:
        self._asked = asked
        self._wanted: Wanted | None = None
        self.how = parse_preprocess(asked)
        self.reason = "the default" if self.how.is_default else "as asked for"

    def take_noted(self, noted: str) -> None:
        """Use what the source's own metadata says, unless another one was asked for."""
        if noted and self._asked is None:
            self.how = preprocess_or(None, noted)
            self.reason = "the source's metadata say so"

    @property
    def is_wanted(self) -> bool:
        """Whether the network showed which pixels it was made for."""
        return self._wanted is not None

    def take_network(self, wanted: Wanted | None) -> bool:
        """Use what the network was made for; True if ``how`` changed."""
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

    def warnings(self, calibrated: tuple[float, float] | None) -> list[str]:
        """What contradicts the network: the preprocessing, or the range of the samples."""
        if self._wanted is None:
            return []
        doubts = [contradiction(self._wanted, self.how)]
        if calibrated is not None and not doubts[0]:
            doubts.append(self._wanted.misses(calibrated))
        return [each for each in doubts if each]

    def used_for(self, dataset: Dataset | None) -> str:
        """The text for the model's metadata; empty where no pixels were preprocessed.

        What is asked for is noted in any case. Else it depends on the data: images and pixels
        (uint8) were preprocessed, real numbers were not.
        """
        if self._asked is not None or self.how != Preprocess(is_default=True):
            return str(self.how)
        if dataset is None:
            return ""
        kind = dataset.describe().get("kind")
        is_pixels = kind in _IMAGES or (kind != RANDOM and dataset.promised_range is not None)
        return str(self.how) if is_pixels else ""
