# SPDX-License-Identifier: Apache-2.0
"""Improve a calibrated float network before it is quantized; its answers stay the same.

Each improvement is proved on samples in float, and is kept only if the quantized network is closer
to the float network with it, on samples that were not used for calibration.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from edgekit.formats.model_file import ModelFile
from edgekit.formats.tflite import Model, write_model
from edgekit.host.convert.improve.channels import find_channels
from edgekit.host.convert.improve.equalize import equalize, find_factors, num_changed
from edgekit.host.convert.improve.observe import Observer
from edgekit.host.convert.improve.ranges import read_calibrated
from edgekit.host.convert.improve.trial import Batch, Trial, try_model
from edgekit.result import Result

_LEAST_PROOF_DB = 100.0  # rounding in float32 alone leaves about 120 to 130 dB
_LEAST_GAIN_DB = 0.2

Quantize = Callable[[bytes], bytes]


@dataclass(frozen=True)
class Improvement(Result):
    """A change of the float network that made the quantized one better."""

    name: str
    text: str  # what was changed
    float_snr_db: float | None  # of the changed float network to the original; None: equal
    before_db: tuple[float | None, ...]  # centred SNR of each output without it
    after_db: tuple[float | None, ...]  # and with it


class Improver:
    """The improvements of one network; `watch` comes before `quantized`."""

    def __init__(self, network: ModelFile) -> None:
        """Improve ``network``: float, with static shapes."""
        self._network = network
        self._channels = find_channels(network.model)
        self._observer = Observer(network.model, self._channels.free())
        self.applied: tuple[Improvement, ...] = ()

    def watch(self, batches: Iterator[list[NDArray[Any]]]) -> Iterator[list[NDArray[Any]]]:
        """Yield the calibration batches unchanged, and gather the ranges of channels."""
        return self._observer.watch(batches)

    def quantized(self, calibrated: bytes, quantize: Quantize, samples: Sequence[Batch]) -> bytes:
        """Return the best integer model; `applied` are the improvements in it.

        Args:
            calibrated: The network with ranges of calibration.
            quantize: Makes an integer model of it.
            samples: Inputs to judge by, not those of calibration.
        """
        plain = quantize(calibrated)
        equalized = self._equalized(read_calibrated(calibrated))
        if equalized is None:
            return plain
        model, text = equalized
        proof = self._proof(model, samples)
        if proof is not None and proof < _LEAST_PROOF_DB:
            return plain
        made = quantize(write_model(model))
        before, after = (self._trial(each, samples) for each in (plain, made))
        if after.score < before.score + _LEAST_GAIN_DB:
            return plain
        self.applied = (
            Improvement("equalize", text, proof, before.centred_snr_db, after.centred_snr_db),
        )
        return made

    def _equalized(self, model: Model) -> tuple[Model, str] | None:
        ranges = self._observer.ranges
        factors = find_factors(model, self._channels, ranges)
        if factors is None:
            return None
        count = num_changed(self._channels, factors)
        text = f"channels of unequal range got factors in {count} tensors"
        return equalize(model, self._channels, factors, ranges), text

    def _proof(self, model: Model, samples: Sequence[Batch]) -> float | None:
        """Return the lowest SNR of the outputs in float; None if they are equal."""
        trial = try_model(self._network, ModelFile.of(model), samples)
        return min((each for each in trial.snr_db if each is not None), default=None)

    def _trial(self, content: bytes, samples: Sequence[Batch]) -> Trial:
        return try_model(self._network, ModelFile(content), samples)
