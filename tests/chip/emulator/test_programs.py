# SPDX-License-Identifier: Apache-2.0
"""Programs that the emulator once did not run, or ran wrongly, layer by layer against their source.

They are beside the corpus, in ``programs``: old compilers, short groups, streamed rows, slices of
activations.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekit.chip.emulator import EdgeTpu
from edgekit.chip.emulator.comparison import compare, part_of, random_inputs
from edgekit.formats.darwinn import read_packages
from edgekit.formats.tflite import read_model

_CORAL = "google-coral__edgetpu/"
# Compiled, source, number of the layers that the chip computes.
_PAIRS = [
    (
        "iwatake2222__EdgeTPU_Analysis/model_dense_2x2x3x100x100_edgetpu.tflite",
        "iwatake2222__EdgeTPU_Analysis/model_dense_2x2x3x100x100.tflite",
        101,
    ),
    (
        "Jorgitou98__EdgeTPU-QuantRL-Evaluation/model_size_channel232_quant_edgetpu.tflite",
        "Jorgitou98__EdgeTPU-QuantRL-Evaluation/model_size_channel232_quant.tflite",
        7,
    ),
    (
        _CORAL + "032412d__mobilenet_v1_0.25_128_quant_cocompiled_with_3quant_edgetpu.tflite",
        _CORAL + "032412d__mobilenet_v1_0.25_128_quant.tflite",
        29,
    ),
    (
        _CORAL + "mobilenet_v1_0.25_128_quant_cocompiled_with_3quant_edgetpu.tflite",
        _CORAL + "mobilenet_v1_0.25_128_quant.tflite",
        29,
    ),
    (
        _CORAL + "032412d__mobilenet_v2_1.0_224_inat_bird_quant_edgetpu.tflite",
        _CORAL + "032412d__mobilenet_v2_1.0_224_inat_bird_quant.tflite",
        64,
    ),
    (
        _CORAL + "032412d__posenet_mobilenet_v1_075_353_481_quant_decoder_edgetpu.tflite",
        _CORAL + "032412d__posenet_mobilenet_v1_075_353_481_quant_decoder.tflite",
        31,
    ),
]


@pytest.fixture
def programs(corpus: Path) -> Path:
    """The folder of compiled models beside the corpus."""
    folder = corpus.parent / "programs"
    if not folder.is_dir():
        pytest.skip("the folder programs is not beside the corpus")
    return folder


@pytest.mark.corpus
@pytest.mark.parametrize(("compiled", "source", "number"), _PAIRS)
def test_every_layer_and_every_output_value_equals_the_sources(
    programs: Path, compiled: str, source: str, number: int
) -> None:
    (package,) = read_packages(read_model((programs / compiled).read_bytes()))
    chip = EdgeTpu(package.package, strict_sync=True)
    part = part_of(read_model((programs / source).read_bytes()), chip.executable)
    assert part is not None
    found = compare(chip, part, random_inputs(chip.executable))
    assert len(found.exact) == len(found.layers) == number
    assert found.is_exact
