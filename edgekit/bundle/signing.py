# SPDX-License-Identifier: Apache-2.0
"""Ed25519 signatures: of a bundle's manifest, which names the hash of every other file, and others.

``openssl pkeyutl -verify -rawin`` also accepts them: they sign the manifest's unchanged bytes.
"""

from __future__ import annotations

from typing import Any, Callable

from edgekit.errors import BundleError, InputError
from edgekit.extras import require
from edgekit.files import MOST_TEXT_BYTES, PathLike, read_bytes

_EXTRA, _PURPOSE = "sign", "sign bundles and check signatures"
_OPENSSH = b"-----BEGIN OPENSSH"
_SSH_PUBLIC = b"ssh-"


def sign(message: bytes, key: PathLike) -> bytes:
    """Return the 64-byte signature of ``message`` by the private key in the file ``key``.

    Args:
        message: The manifest.
        key: PEM (``openssl genpkey -algorithm ed25519``) or OpenSSH's form, not encrypted.

    Raises:
        InputError: The file does not contain such a key.
        MissingExtraError: cryptography is not installed.
    """
    return bytes(_private(key).sign(message))


def public_key_of(key: PathLike, *, is_private: bool = False) -> bytes:
    """Return the 32 bytes of the public key in the file ``key``, or of a private key there.

    Raises:
        InputError: The file does not contain such a key.
        MissingExtraError: cryptography is not installed.
    """
    loaded = _private(key).public_key() if is_private else _public(key)
    library = _serialization()
    raw = library.Encoding.Raw, library.PublicFormat.Raw
    return bytes(loaded.public_bytes(*raw))


def is_signed_by(message: bytes, signature: bytes, public: bytes) -> bool:
    """Whether the owner of a public key made ``signature`` of ``message``.

    Args:
        message: Any bytes.
        signature: 64 bytes; other bytes are not a signature.
        public: The 32 bytes of the key; other bytes are not a key.

    Raises:
        MissingExtraError: cryptography is not installed.
    """
    name = "cryptography.hazmat.primitives.asymmetric.ed25519"
    keys = require(name, extra=_EXTRA, purpose=_PURPOSE)
    invalid = require("cryptography.exceptions", extra=_EXTRA, purpose=_PURPOSE).InvalidSignature
    try:
        keys.Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (invalid, ValueError):
        return False
    return True


def check_signature(message: bytes, signature: bytes, key: PathLike, where: str = "") -> None:
    """Refuse ``message`` unless the owner of the public key in ``key`` made ``signature``.

    Args:
        message: The manifest.
        signature: 64 bytes, or empty.
        key: PEM or OpenSSH's form.
        where: The bundle's name for the error.

    Raises:
        BundleError: The signature is not by this owner, or there is none.
        InputError: The file does not contain an Ed25519 public key.
        MissingExtraError: cryptography is not installed.
    """
    loaded = _public(key)
    if not signature:
        raise BundleError(
            "the bundle is not signed",
            where=where,
            why=f"a signature by the owner of {key} is required",
            fix="make it with edgekit bundle --sign KEY, or verify without --verify-key",
        )
    invalid = require("cryptography.exceptions", extra=_EXTRA, purpose=_PURPOSE).InvalidSignature
    try:
        loaded.verify(signature, message)
    except invalid as error:
        raise BundleError(
            "the bundle's signature is not by the owner of this key",
            where=", ".join(filter(None, [where, str(key)])),
            why="the bundle was changed after it was signed, or another key signed it",
            fix="do not use it; get the bundle and the key again from its maker",
        ) from error


def _private(key: PathLike) -> Any:  # noqa: ANN401 - of an optional module
    return _key(key, "private", _OPENSSH, None)


def _public(key: PathLike) -> Any:  # noqa: ANN401 - of an optional module
    return _key(key, "public", _SSH_PUBLIC)


def _key(key: PathLike, kind: str, ssh: bytes, *password: None) -> Any:  # noqa: ANN401
    """Load a key in PEM or, if the file begins with ``ssh``, in OpenSSH's form."""
    content = read_bytes(key, f"{kind} key", MOST_TEXT_BYTES)
    form = "ssh" if content.startswith(ssh) else "pem"
    load = getattr(_serialization(), f"load_{form}_{kind}_key")
    return _load(lambda: load(content, *password), key, kind, f"Ed25519{kind.title()}Key")


def _serialization() -> Any:  # noqa: ANN401 - an optional module
    name = "cryptography.hazmat.primitives.serialization"
    return require(name, extra=_EXTRA, purpose=_PURPOSE)


def _load(load: Callable[[], Any], key: PathLike, side: str, wanted: str) -> Any:  # noqa: ANN401
    name = "cryptography.exceptions"
    unsupported = require(name, extra=_EXTRA, purpose=_PURPOSE).UnsupportedAlgorithm
    try:
        loaded = load()
    except (ValueError, TypeError, unsupported) as error:
        raise _no_key(key, side, str(error)) from error
    # The key's class is private to the library's backend; it derives from the public one.
    if wanted not in [each.__name__ for each in type(loaded).__mro__]:
        raise _no_key(key, side, f"it is {type(loaded).__name__}")
    return loaded


def _no_key(key: PathLike, side: str, why: str) -> InputError:
    made = "openssl genpkey -algorithm ed25519 -out key.pem"
    if side == "public":
        made = "openssl pkey -in key.pem -pubout -out key.pub.pem"
    return InputError(
        f"the file does not contain a readable Ed25519 {side} key",
        where=str(key),
        why=why,
        fix=f"make one: {made}",
    )
