# SPDX-License-Identifier: Apache-2.0
"""Edge TPU packages built field by field with flatbuffers' own builder."""

from __future__ import annotations

import dataclasses
from typing import Any, Callable, Sequence

import flatbuffers
import numpy as np
import pytest
from flatbuffers import flexbuffers

Fields = Sequence[Any]
BuildPackage = Callable[..., bytes]


def _table(builder: Any, fields: dict[int, tuple[str, Any]]) -> int:  # noqa: ANN401
    builder.StartObject(17)
    for slot, (kind, value) in fields.items():
        getattr(builder, f"Prepend{kind}Slot")(slot, value, 0)
    end: int = builder.EndObject()
    return end


def _offsets(builder: Any, targets: Sequence[int]) -> int:  # noqa: ANN401
    builder.StartVector(4, len(targets), 4)
    for target in reversed(targets):
        builder.PrependUOffsetTRelative(target)
    end: int = builder.EndVector()
    return end


def _executable(kind: int, parameters: bytes, chunks: Sequence[bytes], token: int) -> bytes:
    builder = flatbuffers.Builder(1024)
    streams = []
    for chunk in chunks:
        data = builder.CreateByteVector(chunk)
        streams.append(_table(builder, {0: ("UOffsetTRelative", data)}))
    hints = []
    for index in range(len(chunks)):
        hint = _table(builder, {0: ("Int32", index)})
        hints.append(_table(builder, {0: ("Uint8", 2), 1: ("UOffsetTRelative", hint)}))
    meta = _table(builder, {0: ("Int16", 2)})
    body = _table(builder, {0: ("UOffsetTRelative", meta), 2: ("Int32", len(parameters))})
    hints.append(_table(builder, {0: ("Uint8", 1), 1: ("UOffsetTRelative", body)}))
    schedule = _table(builder, {0: ("UOffsetTRelative", _offsets(builder, hints))})
    data, bitstreams = builder.CreateByteVector(parameters), _offsets(builder, streams)
    fields: dict[int, tuple[str, Any]] = {
        3: ("Int32", 1),
        5: ("UOffsetTRelative", bitstreams),
        6: ("UOffsetTRelative", data),
        7: ("UOffsetTRelative", schedule),
        13: ("Int16", kind),
        14: ("Uint64", token),
    }
    builder.Finish(_table(builder, fields))
    return bytes(builder.Output())


def _string(builder: Any, content: bytes) -> int:  # noqa: ANN401
    end: int = builder.CreateString(content)
    return end


def package_of(
    types: Sequence[int],
    parameters: bytes = bytes(64),
    chunks: Sequence[bytes] = (bytes(32),),
    token: int = 7,
) -> bytes:
    """Return the bytes of a package that requires runtime 14."""
    inner = flatbuffers.Builder(1024)
    parts = [_string(inner, _executable(each, parameters, chunks, token)) for each in types]
    inner.Finish(_table(inner, {0: ("UOffsetTRelative", _offsets(inner, parts))}))
    outer = flatbuffers.Builder(1024)
    content = outer.CreateByteVector(bytes(inner.Output()))
    fields = {0: ("Int32", 14), 1: ("UOffsetTRelative", content)}
    outer.Finish(_table(outer, fields), file_identifier=b"DWN1")
    return bytes(outer.Output())


def options_of(package: bytes, more: Sequence[bytes] = ()) -> bytes:
    """Return the flexbuffer map around packages, as the compiler writes it."""
    builder = flexbuffers.Builder()
    with builder.Map():
        builder.Key("1")
        builder.Int(0)
        builder.Key("4")
        builder._WriteBlob(package, append_zero=True, type_=flexbuffers.Type.STRING)  # noqa: SLF001 - the public String takes text only
        builder.Key("7")
        with builder.Vector():
            for each in more:
                builder.Blob(each)
    return bytes(builder.Finish())


@pytest.fixture
def build_package() -> BuildPackage:
    """See `package_of`."""
    return package_of


@pytest.fixture
def build_options() -> Callable[..., bytes]:
    """See `options_of`."""
    return options_of


def same(left: object, right: object) -> bool:
    """Whether two packages, or parts of them, are equal in every field and every element."""
    if dataclasses.is_dataclass(left):
        names = [each.name for each in dataclasses.fields(left)]
        return type(left) is type(right) and all(
            same(getattr(left, name), getattr(right, name)) for name in names
        )
    if isinstance(left, tuple) and isinstance(right, tuple):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, np.ndarray) and isinstance(right, np.ndarray):
        return left.dtype == right.dtype and np.array_equal(left, right)
    return type(left) is type(right) and left == right


@pytest.fixture
def is_same() -> Callable[[object, object], bool]:
    """`same`."""
    return same
