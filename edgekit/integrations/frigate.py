# SPDX-License-Identifier: Apache-2.0
"""`edgekit.frigate`: a model, its label map and the part of Frigate's configuration for it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Sequence

from edgekit import files
from edgekit.data import preprocess_for
from edgekit.errors import UnsupportedModelError, UsageError
from edgekit.integrations.frigate_rules import misfits, model_type, num_classes, params_of
from edgekit.result import Result
from edgekit.tasks import fit_labels, model_labels, prepare

if TYPE_CHECKING:
    from edgekit.files import PathLike

_DEVICE = re.compile(r"(usb|pci)(:[0-9]+)?")  # what libedgetpu takes, and Frigate passes on
_IN_CONTAINER = "/config/model_cache"
_CONFIG, _LABELS = "frigate.yml", "labelmap.txt"
_TRACKED = "person"  # what Frigate tracks by default


@dataclass(frozen=True)
class FrigateResult(Result):
    """The files for Frigate."""

    schema: ClassVar[str] = "edgekit.frigate/1"
    model: str  # the file in the folder
    labels: str
    config: str
    model_type: str  # ssd | yolo-generic
    width: int
    height: int
    num_labels: int
    config_text: str
    warnings: tuple[str, ...]


def frigate(
    model: PathLike,
    *,
    output: PathLike,
    labels: PathLike | Sequence[str] | None = None,
    device: str = "usb",
) -> FrigateResult:
    """Write a model, its label map and Frigate's configuration of both into a folder.

    Args:
        model: A compiled .tflite file, or a bundle that contains one.
        output: The folder; it is created if it is missing.
        labels: As for `run`; None uses the names in the model or bundle.
        device: ``usb``, ``usb:0``, ``pci``, ``pci:1``, ...: how the Edge TPU is connected.

    Raises:
        UnsupportedModelError: Frigate cannot use the model; the error names every reason.
        UsageError: There are no labels, or ``device`` is another word.
        DataError: The labels do not fit the classes.
        OutputError: The folder cannot be written.
    """
    if not _DEVICE.fullmatch(device):
        raise UsageError(
            f"Frigate has no device {device}", fix="--device usb, usb:0, ..., pci or pci:0, ..."
        )
    prepared = prepare(model, "auto")
    file = prepared.file
    graph = file.model.main
    image = graph.tensors[graph.inputs[0]] if graph.inputs else None
    params = None if image is None else params_of(image)
    real_range = None if params is None else (params.real_min, params.real_max)
    dtype = "float32" if params is None else params.dtype
    how = preprocess_for(None, prepared.notes.preprocess, real_range, dtype)
    found = list(misfits(file.model, how, str(model), is_compiled=file.is_compiled))
    if found or image is None:
        raise UnsupportedModelError(
            "Frigate cannot use this model",
            where=str(model),
            why="; ".join(each.what for each in found),
            fix="; ".join(dict.fromkeys(each.fix for each in found)),
        )
    classes = num_classes(file.model)
    names = fit_labels(labels, classes) or model_labels(prepared, classes)
    if not names:
        raise UsageError(
            "the names of the classes are unknown",
            where=str(model),
            fix="give a file with one name per line: --labels FILE",
        )
    folder = files.make_folder(output)
    target = folder / f"{Path(model).name.split('.')[0]}.tflite"
    for path in (target, folder / _LABELS, folder / _CONFIG):
        files.refuse_overwriting(path, model, labels)
    height, width = image.shape[1:3]
    kind = model_type(file.model)
    colour = "bgr" if how.colour == "bgr" else "rgb"
    text = _config(target.name, kind, (width, height), colour, device)
    files.write_bytes(target, file.content)
    files.write_text(folder / _LABELS, "".join(f"{i} {name}\n" for i, name in enumerate(names)))
    files.write_text(folder / _CONFIG, text)
    return FrigateResult(
        model=str(target),
        labels=str(folder / _LABELS),
        config=str(folder / _CONFIG),
        model_type=kind,
        width=width,
        height=height,
        num_labels=len(names),
        config_text=text,
        warnings=_remarks(names),
    )


def _config(name: str, kind: str, size: tuple[int, int], colour: str, device: str) -> str:
    """Return the YAML; JSON's strings are YAML's."""
    path, labels = (json.dumps(f"{_IN_CONTAINER}/{each}") for each in (name, _LABELS))
    return (
        f"# Copy {name} and {_LABELS} into Frigate's folder config/model_cache, and this into\n"
        "# its configuration.\n"
        "detectors:\n"
        "  coral:\n"
        "    type: edgetpu\n"
        f"    device: {device}\n"
        "\n"
        "model:\n"
        f"  path: {path}\n"
        f"  labelmap_path: {labels}\n"
        f"  model_type: {kind}\n"
        f"  width: {size[0]}\n"
        f"  height: {size[1]}\n"
        "  input_tensor: nhwc\n"
        f"  input_pixel_format: {colour}\n"
    )


def _remarks(names: Sequence[str]) -> tuple[str, ...]:
    if _TRACKED in names:
        return ()
    listed = ", ".join(names[:5])
    return (
        f"no class is called {_TRACKED}, the only one that Frigate tracks by default: list yours "
        f"under objects: track: in its configuration ({listed})",
    )
