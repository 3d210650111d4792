# SPDX-License-Identifier: Apache-2.0
"""A bundle in memory: its manifest and its files, with checked hashes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping, Sequence

from edgekit.errors import BundleError, UnsupportedModelError
from edgekit.files import ZIP_HEAD, sha256_hex
from edgekit.formats.bundle.archive import SIGNATURE_PATH, read_archive, write_archive
from edgekit.formats.bundle.manifest import (
    COMPILED,
    LABELS,
    MANIFEST_PATH,
    MODEL,
    MODEL_PATH,
    BundleFile,
    Manifest,
    parse_manifest,
)

_NAME_AT = 30  # in an archive's first entry
# The archive's directory is at its end: at most 256 entries of some 100 bytes.
_TAIL_BYTES = 1 << 16
_APART = (MANIFEST_PATH, SIGNATURE_PATH)
_FIX = "copy the bundle again, or make it again with edgekit bundle"


@dataclass(frozen=True)
class Bundle:
    """The content of a bundle; the hashes of its files match the manifest."""

    manifest: Manifest
    manifest_content: bytes
    files: Mapping[str, bytes]
    signature: bytes  # of the manifest; empty if it is not signed

    @property
    def model(self) -> bytes:
        """The integer-only model that runs on any CPU."""
        return self.files[self.manifest.files_with(MODEL)[0].path]

    @property
    def compiled(self) -> bytes | None:
        """The model for the Edge TPU; None if there is none."""
        entries = self.manifest.files_with(COMPILED)
        return self.files[entries[0].path] if entries else None

    def program(self, where: str = "") -> bytes:
        """The model for the Edge TPU.

        Raises:
            UnsupportedModelError: The bundle does not have one.
        """
        compiled = self.compiled
        if compiled is None:
            raise UnsupportedModelError(
                "the bundle has no model for the Edge TPU",
                where=where,
                fix="make it again with edgekit bundle MODEL --compiled MODEL_edgetpu.tflite",
            )
        return compiled

    @property
    def labels(self) -> tuple[str, ...]:
        """The name of each class, in order; empty without labels."""
        entries = self.manifest.files_with(LABELS)
        text = self.files[entries[0].path].decode("utf-8", "replace") if entries else ""
        return tuple(text.split("\n")[:-1])


def is_bundle(content: bytes) -> bool:
    """Whether ``content`` is a zip archive with a bundle's files; it may be damaged."""
    if content[: len(ZIP_HEAD)] != ZIP_HEAD:
        return False
    # A truncated one does not have its directory; its first file still has the model's name.
    first = content[_NAME_AT : _NAME_AT + len(MODEL_PATH)]
    return first == MODEL_PATH.encode() or MANIFEST_PATH.encode() in content[-_TAIL_BYTES:]


def read_bundle(content: bytes, where: str = "") -> Bundle:
    """Read a bundle and compare every file with the manifest.

    Raises:
        BundleError: The archive is damaged or unfinished, contains a file that the manifest does
            not name, does not contain one that it names, or a hash differs.
    """
    archive = read_archive(content, where)
    if not archive or list(archive)[-1] != MANIFEST_PATH:
        raise BundleError(
            f"the bundle has no {MANIFEST_PATH} at its end",
            where=where,
            why="it is written last: without it the bundle was never finished, or is not a bundle",
            fix="make it with edgekit bundle",
        )
    manifest = parse_manifest(archive[MANIFEST_PATH], where)
    files = {path: data for path, data in archive.items() if path not in _APART}
    _check_files(manifest, files, where)
    if len(manifest.files_with(MODEL)) != 1 or len(manifest.files_with(COMPILED)) > 1:
        raise BundleError("the bundle does not contain exactly one model", where=where)
    signature = archive.get(SIGNATURE_PATH, b"")
    return Bundle(manifest, archive[MANIFEST_PATH], files, signature)


def write_bundle(
    manifest: Manifest, files: Sequence[tuple[BundleFile, bytes]], signature: bytes = b""
) -> bytes:
    """Return the bytes of a bundle, with the manifest last."""
    members = [(entry.path, content) for entry, content in files]
    if signature:
        members.append((SIGNATURE_PATH, signature))
    return write_archive([*members, (MANIFEST_PATH, manifest.to_json().encode())])


def model_content(content: bytes, *, compiled: bool = False, where: str = "") -> bytes:
    """Return the model in ``content``, which is a bundle or a model.

    Args:
        content: The content of a file.
        compiled: Return the bundle's model for the Edge TPU instead of the plain one.
        where: The name of the file in error messages.

    Raises:
        BundleError: The bundle is damaged.
        UnsupportedModelError: It does not have a compiled model.
    """
    if not is_bundle(content):
        return content
    bundle = read_bundle(content, where)
    return bundle.program(where) if compiled else bundle.model


def _check_files(manifest: Manifest, files: Mapping[str, bytes], where: str) -> None:
    listed = {entry.path: entry for entry in manifest.files}
    if len(listed) != len(manifest.files):
        raise BundleError("the manifest names a file twice", where=where)
    for path in sorted(set(listed) ^ set(files)):
        what = "is not named in the manifest" if path in files else "is missing"
        raise BundleError(f"{path} {what}", where=where, fix=_FIX)
    for path, entry in listed.items():
        given = sha256_hex(files[path])
        if given != entry.sha256 or len(files[path]) != entry.bytes:
            raise BundleError(
                f"{path} is not the file that the manifest names",
                where=where,
                why=f"its SHA-256 is {given}, expected {entry.sha256}",
                fix=_FIX,
            )
