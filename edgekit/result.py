# SPDX-License-Identifier: Apache-2.0
"""The base of every result: a frozen dataclass that becomes one JSON document."""

from __future__ import annotations

import dataclasses
import enum
from pathlib import PurePath
from typing import Any, ClassVar, Mapping


class Result:
    """Base of frozen dataclasses printed with ``--json``; fields hold plain values only."""

    schema: ClassVar[str] = ""

    def to_dict(self) -> dict[str, Any]:
        """The JSON document as a dict: ``schema`` first (where the class has one), then the fields.

        Raises:
            TypeError: A field holds something that JSON has no word for (an array, an open file).
        """
        document = _plain(self)
        if not isinstance(document, dict):
            raise TypeError(f"{type(self).__name__} is not a dataclass")
        return document

    def to_json(self) -> str:
        """The JSON document as text, keys sorted; NaN and infinity are refused."""
        import json  # noqa: PLC0415 - 2 ms that a Runner need not wait for

        return json.dumps(self.to_dict(), indent=2, sort_keys=True, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:  # noqa: ANN401 - a walk over any JSON-able value
    if isinstance(value, enum.Enum):
        return _plain(value.value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        head = {"schema": value.schema} if isinstance(value, Result) and value.schema else {}
        fields = dataclasses.fields(value)
        return {**head, **{f.name: _plain(getattr(value, f.name)) for f in fields}}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, PurePath):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot go into a JSON result")
