# SPDX-License-Identifier: Apache-2.0
"""A model file that commands pass on: it is read, parsed and hashed only once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Mapping, TypeVar, Union

from edgekit.files import ZIP_HEAD, PathLike, read_bytes, read_if, sha256_hex
from edgekit.formats.tflite import Model, is_compiled, read_model, write_model
from edgekit.log import debug

if TYPE_CHECKING:
    from edgekit.formats.bundle import Bundle
    from edgekit.formats.tflite_metadata import Notes

_T = TypeVar("_T")
_TFLITE = b"TFL3"  # at byte 4
# Which of a bundle's two models to use.
PLAIN = "plain"
COMPILED = "compiled"  # an error if there is none
PROGRAM = "program"  # the compiled one if there is one, else the plain one


class ModelFile:
    """A .tflite file, or one of the models in a bundle; every property is computed once.

    Attributes:
        path: The path as given; empty for bytes.
        given: The bytes of the file: a bundle or the model.
        content: The bytes of the .tflite.
    """

    def __init__(
        self, given: bytes, path: str = "", prefer: str = PLAIN, **known: Model | Bundle
    ) -> None:
        """See `read_model_file`, which also reads paths; ``known`` are properties by name."""
        self.given, self.path = given, path
        self._known: dict[str, Any] = known
        self.content = self._chosen(prefer)

    @classmethod
    def of(cls, model: Model, path: str = "") -> ModelFile:
        """Return a model built in memory as the file that it would be."""
        return cls(write_model(model), path, model=model)

    @property
    def is_bundle(self) -> bool:
        """Whether the file is a bundle."""
        return holds_bundle(self.given)

    @property
    def bundle(self) -> Bundle:
        """The bundle that the file is.

        Raises:
            BundleError: It is damaged, or not a bundle.
        """
        from edgekit.formats.bundle import read_bundle  # noqa: PLC0415 - 6 ms, for archives only

        return self._once("bundle", lambda: read_bundle(self.given, self.path))

    @property
    def model(self) -> Model:
        """The model.

        Raises:
            ModelFormatError: It is not a .tflite file, or is damaged.
        """
        return self._once("model", lambda: read_model(self.content, where=self.path))

    @property
    def sha256(self) -> str:
        """The hash of the .tflite, also if it is in a bundle."""
        return self._once("sha256", lambda: sha256_hex(self.content))

    @property
    def is_compiled(self) -> bool:
        """Whether the model contains a program for the Edge TPU."""
        return self._once("is_compiled", lambda: is_compiled(self.model))

    @property
    def notes(self) -> Notes:
        """What the bundle's manifest or the model's metadata states about its use.

        Raises:
            ModelFormatError: The metadata is damaged.
        """
        from edgekit.formats.tflite_metadata import read_notes  # noqa: PLC0415 - 20 ms

        model = None if self.is_bundle else self.model
        return self._once("notes", lambda: read_notes(self.given, model))

    def attachments(self, wanted: Callable[[str], bool] | None = None) -> Mapping[str, bytes]:
        """Return the files attached to the .tflite whose names are ``wanted``.

        Raises:
            ModelFormatError: The archive is damaged or too large.
        """
        from edgekit.formats.tflite_metadata import read_files  # noqa: PLC0415 - 20 ms

        return read_files(self.content, wanted)

    def preferring(self, prefer: str) -> ModelFile:
        """Return this file; for a bundle, with the model that ``prefer`` names."""
        if not self.is_bundle:
            return self
        other = ModelFile(self.given, self.path, prefer, bundle=self.bundle)
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
    """Read a model; return a `ModelFile` that was already read unchanged.

    Args:
        source: A path or the content of a .tflite file or a bundle, or a `ModelFile`.
        prefer: Which model of a bundle: ``plain``; ``compiled``, an error if there is none;
            ``program``, the compiled one if there is one, else the plain one.

    Raises:
        InputError: The file cannot be read.
        BundleError: It is a damaged bundle.
        UnsupportedModelError: It is a bundle without the model that ``prefer`` names.
    """
    if isinstance(source, ModelFile):
        return source.preferring(prefer)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return ModelFile(bytes(source), prefer=prefer)
    content = read_bytes(Path(source), "model")
    debug("files", f"{source} read: {len(content)} bytes")
    return ModelFile(content, str(source), prefer)


def read_if_tflite(path: PathLike, what: str = "model") -> tuple[bytes, ModelFile | None]:
    """Return the first bytes of a file; if it is a .tflite, also the file, read at once.

    Raises:
        InputError: The file cannot be read.
    """
    head, content = read_if(path, is_tflite, what)
    return head, ModelFile(content, str(path)) if content else None


def is_tflite(head: bytes) -> bool:
    """Whether a file with these first bytes is a .tflite; it may be damaged."""
    return head[4:8] == _TFLITE


def holds_bundle(content: bytes) -> bool:
    """Whether ``content`` is a bundle; it may be damaged."""
    if content[: len(ZIP_HEAD)] != ZIP_HEAD:
        return False
    from edgekit.formats.bundle import is_bundle  # noqa: PLC0415 - 6 ms, for archives only

    return is_bundle(content)
