# SPDX-License-Identifier: Apache-2.0
"""JSON is bounded by the memory of its values, and can be read piece by piece."""

from __future__ import annotations

import io
import json
import tracemalloc
from typing import Any

import pytest

from edgekit.formats.json_text import JsonStream, memory_needed, parse_json

_UNITS = (
    "[],",
    "{},",
    '{"":0},',
    '{"a":{}},',
    '"ab",',
    '"\u0100",',
    "1e1,",
    "[[]],",
    "99999999999,",
    '{"a":1,"b":[2,3],"c":null,"d":"text","e":5.5,"f":{}},',
)


@pytest.mark.parametrize("unit", _UNITS)
def test_the_estimated_memory_is_never_below_the_needed_memory(unit: str) -> None:
    content = f"[{unit * 20_000}0]".encode()
    tracemalloc.start()
    try:
        value = parse_json(content)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(value) == unit.count(",") * 20_000 + 1 or isinstance(value, list)
    assert peak <= memory_needed(content)


def test_json_that_needs_too_much_memory_is_refused_before_it_is_parsed() -> None:
    content = b"[" + b"[[]]," * 5_000_000 + b"0]"  # 25 MB that need 875 MB
    with pytest.raises(ValueError, match="MiB of memory"):
        parse_json(content)


def _streamed(stream: JsonStream) -> Any:  # noqa: ANN401
    first = stream.next_char()
    if first == "{":
        return {key: _streamed(stream) for key in stream.members()}
    return [*stream.items()] if first == "[" else stream.value()


def _whole(stream: JsonStream) -> None:
    _streamed(stream)
    stream.end()


class _Slow(io.BytesIO):
    """A stream that returns a few bytes at a time."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(min(3, size or 3))


@pytest.mark.parametrize("make", [io.BytesIO, _Slow])
@pytest.mark.parametrize(
    "text",
    [
        '{"a": [1, 22.5, {"b": "\u0100\\n"}, [], null], "c": {}, "d": 1234567, "": true}',
        " [ ] ",
        "{}",
        '\ufeff{"mark": "of byte order"}',
        "12345678",
    ],
)
def test_a_stream_returns_the_same_values_as_json(make: Any, text: str) -> None:  # noqa: ANN401
    stream = JsonStream(make(text.encode()))
    assert _streamed(stream) == json.loads(text.lstrip("\ufeff"))
    stream.end()
    stream = JsonStream(make(text.encode()))
    stream.skip()
    stream.end()


@pytest.mark.parametrize(
    "text", ["", "{", '{"a"}', '{"a":}', '{"a":1,}', "[1,]", "[1 2]", "[1", "{1:2}", "[1]]", "nul"]
)
@pytest.mark.parametrize("make", [io.BytesIO, _Slow])
def test_text_that_is_not_json_is_a_value_error_with_its_place(make: Any, text: str) -> None:  # noqa: ANN401
    stream = JsonStream(make(text.encode()))
    with pytest.raises(ValueError, match="at character"):
        _whole(stream)


def test_one_value_that_is_too_long_is_refused() -> None:
    stream = JsonStream(io.BytesIO(b'["' + b"a" * (6 << 20) + b'"]'))
    with pytest.raises(ValueError, match="longer than"):
        list(stream.items())
