# SPDX-License-Identifier: Apache-2.0
"""One piece of advice and one next command for each kind of trouble."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

# Code -> what to do; its page in docs/codes says more.
ADVICE = {
    "debug.preprocess": "convert again with the same preprocessing as in use",
    "debug.calibration": "convert again, calibrated with samples like these",
    "debug.weights": (
        "convert the float network again: the int8 model was made from other weights, or they "
        "were changed after it"
    ),
    "debug.saturation": (
        "convert again with more samples, like those of real use, so that calibration sees the "
        "largest values"
    ),
    "debug.wide_range": (
        "convert again, calibrated with samples like these, without single far larger ones"
    ),
    "debug.few_samples": (
        "leave single extreme samples out of the calibration data, or limit the values of this "
        "layer in training (ReLU6)"
    ),
    "debug.mixed_range": (
        "let the parts leave the network as separate outputs, or scale them to one range in "
        "training"
    ),
    "debug.outlier_channels": (
        "convert again: edgekit equalizes channels where that changes no answer; if that does not "
        "help, train with batch normalization and ReLU6 behind this layer"
    ),
    "debug.per_tensor_weights": (
        "use a 1x1 convolution in place of this dense layer: its weights have a scale for each "
        "output"
    ),
    "debug.logits": "limit the logits to what a sigmoid tells apart, -16 to 16",
    "debug.rounding": (
        "no operator stands out: calibrate with other samples, or train with quantization in the "
        "loop"
    ),
}
_FIX = ("mixed_range",)
_CHECK = ("per_tensor_weights",)
_MORE_SAMPLES = 300


@dataclass(frozen=True)
class Commands:
    """The files and options that the next commands repeat."""

    source: str  # the float network, as given
    model: str
    data: str
    preprocess: str  # empty if it is the models' own
    normalizes: bool = False  # whether the integer model was converted with --normalize-inputs

    def for_kind(self, kind: str) -> str:
        """Return the next command for a kind of trouble."""
        model = shlex.quote(self.model)
        stem = str(Path(self.model).with_suffix(""))
        if kind in _FIX:
            return f"edgekit fix {model} -o {shlex.quote(stem + '_fixed.tflite')}"
        if kind in _CHECK:
            return f"edgekit check {model}"
        how = f" --preprocess {shlex.quote(self.preprocess)}" if self.preprocess else ""
        many = f" --num-samples {_MORE_SAMPLES}" if kind in ("saturation", "rounding") else ""
        many += " --clip-logits" if kind == "logits" else ""
        many += " --normalize-inputs" if self.normalizes else ""
        return (
            f"edgekit convert {shlex.quote(self.source)} --data {shlex.quote(self.data)}{how}{many}"
            f" -o {shlex.quote(stem + '_new.tflite')}"
        )
