# SPDX-License-Identifier: Apache-2.0
"""Seal a report, sign it if there is a key, and check both.

The seal is a SHA-256 over the document's canonical JSON: sorted keys, no spaces, without the
members ``seal`` and ``signature``. It finds damage and edits, but everyone can compute it. Only a
signature shows who vouches for a report.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, Mapping

from edgekit.bundle.signing import is_signed_by, public_key_of, sign
from edgekit.confirm.report import ConfirmReport
from edgekit.errors import InputError
from edgekit.files import PathLike, sha256_hex

_OUTSIDE = ("seal", "signature")


def sealed(report: ConfirmReport, key: PathLike | None = None) -> ConfirmReport:
    """Return ``report`` with its seal, signed by the private key in the file ``key``.

    Raises:
        InputError: The file does not contain an Ed25519 private key.
        MissingExtraError: There is a key, and cryptography is not installed.
    """
    public = public_key_of(key, is_private=True).hex() if key else ""
    report = replace(report, public_key=public, seal="", signature="")
    content = _canonical(report.to_dict())
    signature = sign(content, key).hex() if key else ""
    return replace(report, seal=sha256_hex(content), signature=signature)


def check_seal(document: Mapping[str, Any], where: str) -> str:
    """Check a report's seal, and its signature if it has one.

    Args:
        document: The report as it was read.
        where: Its path, for the error.

    Returns:
        The fingerprint of the key that signed it: the SHA-256 of the public key; empty if it is
        not signed.

    Raises:
        InputError: The document was changed after it was written.
        MissingExtraError: It is signed, and cryptography is not installed.
    """
    content = _canonical(document)
    if sha256_hex(content) != document.get("seal"):
        raise _broken(where, "its seal is not that of its content")
    if not document.get("signature") and not document.get("public_key"):
        return ""
    try:
        public = bytes.fromhex(document["public_key"])
        signature = bytes.fromhex(document["signature"])
    except (TypeError, ValueError) as error:
        raise _broken(where, "its signature is not hexadecimal") from error
    if not is_signed_by(content, signature, public):
        raise _broken(where, "its signature is not by the owner of its public key")
    return sha256_hex(public)


def _canonical(document: Mapping[str, Any]) -> bytes:
    inside = {name: value for name, value in document.items() if name not in _OUTSIDE}
    text = json.dumps(inside, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode()


def _broken(where: str, why: str) -> InputError:
    return InputError(
        "the report was changed after it was written",
        where=where,
        why=why,
        fix="get the file again from its owner, unchanged",
        code="confirm.seal",
    )
