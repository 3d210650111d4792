# SPDX-License-Identifier: Apache-2.0
"""The two quantizers behind one interface: edgekit's, and TensorFlow's in the child process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from edgekit.formats.model_file import ModelFile
from edgekit.formats.tflite import Model, write_model
from edgekit.host.convert import quantizer
from edgekit.host.convert.child import Batches, ConverterChild
from edgekit.host.convert.improve.ranges import read_calibrated
from edgekit.host.convert.options import EDGEKIT, TENSORFLOW, ConvertOptions
from edgekit.host.worker.memory import peak_rss_bytes
from edgekit.runtime.interpreters import load_library


class Quantizer(Protocol):
    """Calibrates a float network once, and quantizes it as often as wanted."""

    @property
    def name(self) -> str:
        """``edgekit`` or ``tensorflow``."""

    @property
    def versions(self) -> dict[str, str]:
        """The packages that were used."""

    @property
    def peak_rss_bytes(self) -> int:
        """The most memory of the process that quantized."""

    def calibrate(self, network: ModelFile, batches: Batches) -> Model:
        """Return ``network`` with the range of each tensor on the samples."""

    def quantize(self, calibrated: Model) -> bytes:
        """Return the integer .tflite of a network with ranges."""


@dataclass
class EdgekitQuantizer:
    """edgekit's quantizer, in this process."""

    io: str
    name: str = EDGEKIT

    @property
    def versions(self) -> dict[str, str]:
        """The interpreter that calibrated, numpy and Python."""
        return dict(load_library().versions)

    @property
    def peak_rss_bytes(self) -> int:
        """The most memory of this process."""
        return peak_rss_bytes()

    def calibrate(self, network: ModelFile, batches: Batches) -> Model:
        """Return ``network`` with the range of each tensor on the samples."""
        return quantizer.calibrate(network.model, batches())

    def quantize(self, calibrated: Model) -> bytes:
        """Return the integer .tflite of a network with ranges."""
        return write_model(quantizer.quantize(calibrated, io=self.io))


@dataclass
class TensorFlowQuantizer:
    """TensorFlow's quantizer, in the child process."""

    child: ConverterChild
    io: str
    per_tensor_dense: bool = True
    name: str = TENSORFLOW

    @property
    def versions(self) -> dict[str, str]:
        """TensorFlow and Python."""
        return self.child.versions

    @property
    def peak_rss_bytes(self) -> int:
        """The most memory of the child process."""
        return self.child.peak_rss_bytes

    def calibrate(self, network: ModelFile, batches: Batches) -> Model:
        """Return ``network`` with the range of each tensor on the samples."""
        return read_calibrated(self.child.calibrate(network.content, batches))

    def quantize(self, calibrated: Model) -> bytes:
        """Return the integer .tflite of a network with ranges."""
        content = write_model(calibrated)
        return self.child.quantize(content, io=self.io, per_tensor_dense=self.per_tensor_dense)


def choose_quantizer(
    options: ConvertOptions, network: Model, child: ConverterChild
) -> tuple[Quantizer, str]:
    """Return the quantizer for ``network``, and why it is not edgekit's; empty if it is or was set.

    Raises:
        UnsupportedModelError: edgekit's is required, and it has no rule for an operator.
    """
    if options.mode != "int8":
        return TensorFlowQuantizer(child, "float32", per_tensor_dense=False), ""
    unknown = quantizer.unknown_operators(network)
    if options.quantizer == EDGEKIT and unknown:
        quantizer.refuse_unknown(network)
    if options.quantizer == TENSORFLOW or unknown:
        reason = f"edgekit's quantizer has no rule for {', '.join(unknown)}" if unknown else ""
        is_set = options.quantizer == TENSORFLOW
        return TensorFlowQuantizer(child, options.io), "" if is_set else reason
    return EdgekitQuantizer(options.io), ""
