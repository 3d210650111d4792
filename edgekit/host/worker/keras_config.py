# SPDX-License-Identifier: Apache-2.0
"""Read the configuration of a Keras file, from the same container that Keras will read.

A file can be both HDF5 and a zip archive: HDF5 is recognized by its head (or after a user block),
a zip archive by its tail. Here the first eight bytes decide, and `keras_file` gives Keras a name
with the suffix of that container. A file that is both is refused.
"""

from __future__ import annotations

import io
import json
import os
import struct
import zipfile
import zlib
from typing import Any

from edgekit.host.worker.hdf5 import DAMAGE as HDF5_DAMAGE
from edgekit.host.worker.hdf5 import check_storage
from edgekit.host.worker.refused import Refused

HDF5, ZIP = "hdf5", "zip"
SUFFIXES = {HDF5: ".h5", ZIP: ".keras"}
_HDF5_HEAD, _ZIP_HEAD = b"\x89HDF\r\n\x1a\n", b"PK\x03\x04"
# HDF5 allows a user block of these sizes before its head (HDF5 file format, superblock); a larger
# block would be a whole file of another kind.
_USER_BLOCKS = [512 << shift for shift in range(24)]
_CONFIG, _METADATA, _WEIGHTS = "config.json", "metadata.json", ".weights.h5"
_MOST_CONFIG_BYTES = 64 << 20
_MOST_MEMBERS = 4096
# The members together may be this many times larger than the file: weights shrink by a few percent,
# those of a network that was pruned by 90 % to a seventh.
_MOST_FREE_BYTES, _MOST_RATIO = 256 << 20, 10
# A copy of `edgekit.formats.damage.ZIP_DAMAGE` (a test compares them), because this folder does not
# import the rest of edgekit.
DAMAGE = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    struct.error,
    EOFError,
    IndexError,
    KeyError,
    MemoryError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    ValueError,
)


class KerasConfig:
    """The content of a Keras file that edgekit reads before Keras does."""

    def __init__(self, container: str, network: dict[str, Any], version: str) -> None:
        self.container = container  # HDF5 or ZIP
        self.network = network  # the configuration, as parsed JSON
        self.version = version  # of the Keras that wrote it; empty if the file does not state it


def read_config(path: str) -> KerasConfig:
    """Read the network's configuration.

    Raises:
        Refused: The file is damaged, has two formats at once, stores weights in other files or
            contains only weights.
    """
    try:
        with open(path, "rb") as stream:  # noqa: PTH123 - open() is enough here
            head = stream.read(len(_HDF5_HEAD))
            container = ZIP if head.startswith(_ZIP_HEAD) else HDF5
            is_both = _is_zip_too(path) if container == HDF5 else _is_hdf5_too(path, stream)
    except OSError as error:
        raise _damaged(path, str(error)) from error
    if is_both:
        raise Refused(
            "model.unsafe",
            "the file is HDF5 and a zip archive at once",
            where=path,
            why="Keras does not write such files, and a check of one format misses the other",
            fix="save the model again: model.save(...)",
        )
    network, version = (_read_zip if container == ZIP else _read_hdf5)(path)
    return KerasConfig(container, network, version)


def _is_zip_too(path: str) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return bool(archive.infolist())
    except DAMAGE:
        return False


def _is_hdf5_too(path: str, stream: Any) -> bool:  # noqa: ANN401 - a binary file
    """Whether HDF5 begins after a user block; the weights inside an archive do not count."""
    found = []
    for place in _USER_BLOCKS:
        stream.seek(place)
        head = stream.read(len(_HDF5_HEAD))
        if head == _HDF5_HEAD:
            found.append(place)
        if len(head) < len(_HDF5_HEAD):
            break
    return bool(set(found) - _stored_weights(path)) if found else False


def _stored_weights(path: str) -> set[int]:
    """Return the offset of the content of each ``*.weights.h5`` member."""
    try:
        with zipfile.ZipFile(path) as archive, open(path, "rb") as stream:  # noqa: PTH123
            starts = set()
            for member in archive.infolist():
                if member.filename.endswith(_WEIGHTS):
                    stream.seek(member.header_offset + 26)
                    name, extra = stream.read(2), stream.read(2)
                    sizes = int.from_bytes(name, "little") + int.from_bytes(extra, "little")
                    starts.add(member.header_offset + 30 + sizes)
            return starts
    except DAMAGE:
        return set()


def _read_zip(path: str) -> tuple[dict[str, Any], str]:
    try:
        with zipfile.ZipFile(path) as archive:
            _check_members(archive, path)
            config = json.loads(_text(archive, _CONFIG))
            metadata = json.loads(_text(archive, _METADATA))
            for name in archive.namelist():
                if name.endswith(_WEIGHTS):  # several if Keras splits a large network
                    check_storage(io.BytesIO(archive.read(name)), path)
    except (*DAMAGE, RecursionError) as error:
        raise _damaged(path, f"its config.json cannot be read: {error}") from error
    if not isinstance(config, dict) or not isinstance(metadata, dict):
        raise _damaged(path, "config.json does not contain a network")
    return config, str(metadata.get("keras_version", ""))


def _check_members(archive: zipfile.ZipFile, path: str) -> None:
    members = archive.infolist()
    names = [member.filename for member in members]
    if len(members) > _MOST_MEMBERS:
        raise _damaged(path, f"it has {len(members)} members, expected at most {_MOST_MEMBERS}")
    if len(set(names)) != len(names):
        raise _damaged(path, "it has a member twice")
    total, stored = sum(member.file_size for member in members), os.stat(path).st_size  # noqa: PTH116 - nothing of pathlib here
    if total > max(_MOST_FREE_BYTES, _MOST_RATIO * stored):
        raise _damaged(path, f"its members declare {total} bytes, the file has {stored}")


def _text(archive: zipfile.ZipFile, name: str) -> bytes:
    if archive.getinfo(name).file_size > _MOST_CONFIG_BYTES:
        raise ValueError(f"{name} has more than {_MOST_CONFIG_BYTES} bytes")
    return archive.read(name)


def _read_hdf5(path: str) -> tuple[dict[str, Any], str]:
    import h5py  # noqa: PLC0415 - comes with TensorFlow; .keras files do not need it

    check_storage(path, path)
    try:
        with h5py.File(path, "r") as file:
            raw, version = file.attrs.get("model_config"), file.attrs.get("keras_version", "")
            has_weights = "layer_names" in file.attrs
    except HDF5_DAMAGE as error:
        raise _damaged(path, str(error)) from error
    if raw is None:
        raise Refused(
            "model.format",
            "the file contains weights but no network"
            if has_weights
            else "the file does not contain a Keras network",
            where=path,
            why="there is no model_config in the HDF5 file",
            fix="build the network in Python, load the weights, and save it whole: model.save(...)",
        )
    try:
        config = json.loads(raw.decode() if isinstance(raw, bytes) else raw)
    except (ValueError, TypeError, RecursionError) as error:
        raise _damaged(path, f"its model_config is not JSON: {error}") from error
    if not isinstance(config, dict):
        raise _damaged(path, "model_config does not contain a network")
    text = version.decode("utf-8", "replace") if isinstance(version, bytes) else str(version)
    return config, text


def _damaged(path: str, why: str) -> Refused:
    return Refused(
        "model.format",
        "the Keras file is damaged",
        where=path,
        why=why,
        fix="copy it again and compare sizes, or save the model again",
    )
