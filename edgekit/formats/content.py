# SPDX-License-Identifier: Apache-2.0
"""What a file holds, a model or a bundle with two, told before any reader is imported."""

from __future__ import annotations

_ZIP = b"PK\x03\x04"


def holds_bundle(content: bytes) -> bool:
    """Whether ``content`` is a bundle, perhaps a damaged one."""
    if content[: len(_ZIP)] != _ZIP:
        return False
    from edgekit.formats.bundle import is_bundle  # noqa: PLC0415 - 6 ms, for archives only

    return is_bundle(content)


def model_content(content: bytes, *, compiled: bool = False, where: str = "") -> bytes:
    """The model in ``content``: `edgekit.formats.bundle.model_content`."""
    if content[: len(_ZIP)] != _ZIP:
        return content
    from edgekit.formats import bundle  # noqa: PLC0415 - 6 ms, for archives only

    return bundle.model_content(content, compiled=compiled, where=where)


def program_content(content: bytes, where: str = "") -> bytes:
    """The model in ``content`` that is compiled for the Edge TPU; where there is none, the plain.

    Raises:
        BundleError: It is a damaged bundle.
    """
    if not holds_bundle(content):
        return content
    from edgekit.formats import bundle  # noqa: PLC0415 - 6 ms, for archives only

    whole = bundle.read_bundle(content, where)
    return whole.model if whole.compiled is None else whole.compiled
