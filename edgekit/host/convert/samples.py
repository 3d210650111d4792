# SPDX-License-Identifier: Apache-2.0
"""The samples of a conversion: opened for the network's inputs, then used to calibrate."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from numpy.typing import NDArray

from edgekit.data import Dataset, InputSpec, Preprocess, open_dataset
from edgekit.data.dataset import sample_specs
from edgekit.errors import UsageError
from edgekit.host.convert.calibration import Calibration
from edgekit.host.convert.input_pixels import InputPixels
from edgekit.host.convert.shapes import RawInput
from edgekit.progress import Progress
from edgekit.runtime.native_output import chatter_logged


class Samples:
    """The user's data, and what was opened of it; empty if the user gave none."""

    def __init__(
        self,
        data: Any,  # noqa: ANN401 - anything that open_dataset takes
        preprocess: str | Preprocess | None,
        num_samples: int,
        progress: Progress,
        sample_set: int = 0,
    ) -> None:
        """Take the data of a conversion.

        Args:
            data: The user's data, or None.
            preprocess: As the user requested it.
            num_samples: How many samples to calibrate with.
            progress: Called during calibration.
            sample_set: Which of the disjoint choices of so many samples, counted from 0.
        """
        self._data, self._num_samples, self._progress = data, num_samples, progress
        self._set = sample_set
        self.pixels = InputPixels(preprocess)
        self.dataset: Dataset | None = None
        self.calibration: Calibration | None = None
        self._specs: list[InputSpec] = []

    def open(
        self, raw: Sequence[RawInput], shapes: Sequence[tuple[int, ...]], turned: set[str]
    ) -> None:
        """Open the data for the network's inputs; again if these or the preprocessing changed.

        Args:
            raw: The network's inputs.
            shapes: Their shapes, without unknown dimensions.
            turned: The names of inputs that are in NHWC now, in NCHW in the source.
        """
        if self._data is None:
            return
        specs = [
            InputSpec(each.name, shape, each.name in turned)
            for each, shape in zip(raw, shapes, strict=True)
        ]
        self._specs = specs
        self.dataset = self.opened(self.pixels.how)
        dtypes = [each.dtype for each in raw]
        self.calibration = Calibration(self.dataset, specs, dtypes, self._num_samples, self._set)

    def opened(self, how: Preprocess) -> Dataset:
        """Return the data for the same inputs, preprocessed as ``how`` states."""
        inputs = sample_specs(self._specs)
        with chatter_logged():  # a program that gives samples may import TensorFlow
            return open_dataset(self._data, inputs=inputs, preprocess=how, split="train")

    def required(self) -> Calibration:
        """Return the calibration.

        Raises:
            UsageError: The user gave no data.
        """
        if self.calibration is None:
            raise UsageError("the converter needs calibration data", fix="--data DATA")
        return self.calibration

    def batches(self) -> Iterator[list[NDArray[Any]]]:
        """Yield the samples to calibrate with, and report the progress."""
        calibration = self.required()
        calibration.made_for = self.pixels.made_for
        return calibration.batches(self._progress)
