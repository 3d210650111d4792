# SPDX-License-Identifier: Apache-2.0
"""A model file as commands pass it on: read once, parsed once, hashed once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Mapping, TypeVar, Union

from edgekit.files import PathLike, read_bytes, sha256_hex
from edgekit.formats.tflite import Model, is_compiled, read_model, write_model

if TYPE_CHECKING:
    from edgekit.formats.bundle import Bundle
    from edgekit.formats.tflite_metadata import Notes

_T = TypeVar("_T")
_ZIP = b"PK\x03\x04"
# Which of a bundle's two models is wanted.
PLAIN = "plain"
COMPILED = "compiled"  # an error where there is none
PROGRAM = "program"  # the compiled one where there is one, else the plain one


class ModelFile:
    """A .tflite file, or one of the models in a bundle; everything about it is worked out once.

    Attributes:
        path: As it was given; empty for bytes.
        given: The bytes of the file, a bundle's or the model's.
        content: The bytes of the .tflite.
    """

    def __init__(self, given: bytes, path: str = "", prefer: str = PLAIN) -> None:
        """See `read_model_file`, which also reads paths."""
        self.given, self.path = given, path
        self._known: dict[str, Any] = {}
        self.content = self._chosen(prefer)

    @classmethod
    def of(cls, model: Model, path: str = "") -> ModelFile:
        """A model that was made here, as the file that it would be."""
        file = cls(write_model(model), path)
        file._known["model"] = model
        return file

    @property
    def is_bundle(self) -> bool:
        """Whether the file is a bundle."""
        return holds_bundle(self.given)

    @property
    def bundle(self) -> Bundle:
        """The bundle that the file is.

        Raises:
            BundleError: It is damaged, or no bundle.
        """
        from edgekit.formats.bundle import read_bundle  # noqa: PLC0415 - 6 ms, for archives only

        return self._once("bundle", lambda: read_bundle(self.given, self.path))

    @property
    def model(self) -> Model:
        """The model.

        Raises:
            ModelFormatError: It is not a .tflite, or damaged.
        """
        return self._once("model", lambda: read_model(self.content, where=self.path))

    @property
    def sha256(self) -> str:
        """The hash of the .tflite, also where it came in a bundle."""
        return self._once("sha256", lambda: sha256_hex(self.content))

    @property
    def is_compiled(self) -> bool:
        """Whether the model holds a program for the Edge TPU."""
        return self._once("is_compiled", lambda: is_compiled(self.model))

    @property
    def notes(self) -> Notes:
        """What the bundle's manifest or the model's metadata say about its use.

        Raises:
            ModelFormatError: The metadata is damaged.
        """
        from edgekit.formats.tflite_metadata import read_notes  # noqa: PLC0415 - 20 ms

        model = None if self.is_bundle else self.model
        return self._once("notes", lambda: read_notes(self.given, model))

    def attachments(self, wanted: Callable[[str], bool] | None = None) -> Mapping[str, bytes]:
        """The files attached to the .tflite whose names are ``wanted``.

        Raises:
            ModelFormatError: The archive is damaged or too large.
        """
        from edgekit.formats.tflite_metadata import read_files  # noqa: PLC0415 - 20 ms

        return read_files(self.content, wanted)

    def preferring(self, prefer: str) -> ModelFile:
        """This file, or of a bundle the other model in it."""
        if not self.is_bundle:
            return self
        other = ModelFile.__new__(ModelFile)
        other.given, other.path = self.given, self.path
        other._known = {"bundle": self.bundle}  # noqa: SLF001 - of the same class
        other.content = other._chosen(prefer)  # noqa: SLF001 - of the same class
        return self if other.content == self.content else other

    def _chosen(self, prefer: str) -> bytes:
        if not self.is_bundle:
            return self.given
        bundle = self.bundle
        if prefer == PROGRAM:
            return bundle.compiled or bundle.model
        return bundle.program(self.path) if prefer == COMPILED else bundle.model

    def _once(self, name: str, make: Callable[[], _T]) -> _T:
        if name not in self._known:
            self._known[name] = make()
        known: _T = self._known[name]
        return known


ModelSource = Union[bytes, PathLike, ModelFile]


def read_model_file(source: ModelSource, prefer: str = PLAIN) -> ModelFile:
    """Read a model; what was read before is taken as it is.

    Args:
        source: A path or the content of a .tflite file or a bundle, or a `ModelFile`.
        prefer: Which model of a bundle: ``plain``; ``compiled``, an error where there is none;
            ``program``, the compiled one where there is one.

    Raises:
        InputError: The file cannot be read.
        BundleError: It is a damaged bundle.
        UnsupportedModelError: It is a bundle without the model that ``prefer`` names.
    """
    if isinstance(source, ModelFile):
        return source.preferring(prefer)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return ModelFile(bytes(source), prefer=prefer)
    return ModelFile(read_bytes(Path(source), "model"), str(source), prefer)


def holds_bundle(content: bytes) -> bool:
    """Whether ``content`` is a bundle, perhaps a damaged one."""
    if content[: len(_ZIP)] != _ZIP:
        return False
    from edgekit.formats.bundle import is_bundle  # noqa: PLC0415 - 6 ms, for archives only

    return is_bundle(content)
