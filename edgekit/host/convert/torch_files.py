# SPDX-License-Identifier: Apache-2.0
"""Files of PyTorch, without PyTorch: which kind one is, and what a pickle would import."""

from __future__ import annotations

import contextlib
import zipfile
from pathlib import Path

from edgekit.errors import EdgeKitError, InputError, ModelFormatError, UnsafeModelError
from edgekit.files import read_bytes
from edgekit.formats.damage import ZIP_DAMAGE, check_member
from edgekit.host.worker.torch_archive import is_plain, pickled_names

PROGRAM, PICKLE = "torch", "torch_pickle"
_SUFFIXES = (".pt", ".pth", ".pt2", ".ckpt")
_EXPORT = (
    "torch.export.save(torch.export.export(network.eval(), (torch.zeros(1, 3, 224, 224),)), "
    "'model.pt2')"
)


def torch_kind(head: bytes, place: Path) -> str | None:
    """Return `PROGRAM` or `PICKLE`; None if the file is not one of PyTorch.

    Raises:
        ModelFormatError: It is a .safetensors file, which has weights only, or a .pt2 file that is
            not a zip archive.
    """
    suffix = place.suffix.lower()
    if suffix == ".safetensors":
        raise ModelFormatError(
            "a .safetensors file has weights only, not the network's operations",
            where=str(place),
            fix=f"in Python: build the network, load the weights, and {_EXPORT}; then convert the "
            ".pt2",
        )
    entries = _entries(place) if head.startswith(b"PK") else ()
    inner = {name.partition("/")[2] for name in entries}
    if "archive_format" in inner or "serialized_exported_program.json" in entries:
        return PROGRAM
    if "data.pkl" in inner:  # TorchScript has one too
        return PICKLE
    if suffix == ".pt2" and head and not entries:
        raise ModelFormatError(
            "the file is not an exported program of PyTorch, or it is damaged",
            where=str(place),
            why="it is not a zip archive that can be read",
            fix=f"copy it again and compare sizes, or export it again in Python: {_EXPORT}",
        )
    if suffix in _SUFFIXES and head:
        return PROGRAM if suffix == ".pt2" else PICKLE
    return None


def untrusted(path: Path) -> EdgeKitError:
    """Return the refusal of a file that PyTorch would unpickle, with the way that fits it."""
    names = _imported(path)
    packages = sorted({name.split()[0].partition(".")[0] for name in names})
    code = sorted((name for name in names if not is_plain(name)), key=_is_library)
    classes = [name.replace(" ", ".") for name in code]
    if names and not classes:
        return ModelFormatError(
            "the file has weights only, not the network's operations",
            where=str(path),
            fix="in Python: build the network, "
            f"network.load_state_dict(torch.load({path.name!r}, weights_only=True)), and "
            f"{_EXPORT}; then convert the .pt2",
        )
    why = "it is a pickle, which runs code when it is read"
    if classes:
        why += f"; it names {', '.join(classes[:3])}{' ...' if classes[3:] else ''}"
    fix = f"in Python, where the network was trained: {_EXPORT}; then convert the .pt2"
    if "ultralytics" in packages:
        fix = (
            f"where it was trained: yolo export model={path.name} format=onnx imgsz=320; then "
            "convert the .onnx"
        )
    return UnsafeModelError(
        "a .pt or .pth file is not read without --trust-source",
        where=str(path),
        why=why,
        fix=f"{fix}. Or, if you trust its author: --trust-source --input-shape 1,3,H,W",
    )


def _is_library(name: str) -> bool:
    """Whether every pickle of a network has such a name: the user's own classes say more."""
    return name.startswith(("torch.", "__builtin__", "builtins"))


def _entries(place: Path) -> tuple[str, ...]:
    try:
        with zipfile.ZipFile(place) as archive:
            return tuple(archive.namelist())
    except ZIP_DAMAGE:
        return ()


def _imported(path: Path) -> set[str]:
    """Return what the pickle imports, "module name"; empty if that cannot be read."""
    with contextlib.suppress(*ZIP_DAMAGE, InputError):
        if not zipfile.is_zipfile(path):
            return pickled_names(read_bytes(path))
        with zipfile.ZipFile(path) as archive:
            names = [each for each in archive.namelist() if each.endswith("/data.pkl")]
            for each in names:
                check_member(archive.getinfo(each), str(path))
            return {name for each in names for name in pickled_names(archive.read(each))}
    return set()
