# SPDX-License-Identifier: Apache-2.0
"""The base class of all results: a frozen dataclass that becomes one JSON document."""

from __future__ import annotations

import dataclasses
import enum
import math
from pathlib import PurePath
from typing import Any, ClassVar, Mapping

# Documents whose number is 2; those with 1 hold what is read of them too.
_SECOND = frozenset(("benchmark", "bundle-written", "deploy", "evaluate", "run", "verify"))


def is_readable(schema: object) -> bool:
    """Whether this edgekit reads documents of ``schema``, such as ``edgekit.evaluate/2``."""
    kind, _, number = str(schema).partition("/")
    numbers = ("1", "2") if kind[len("edgekit.") :] in _SECOND else ("1",)
    return kind.startswith("edgekit.") and number in numbers


class Result:
    """Base of frozen dataclasses printed with ``--json``; fields hold plain values only."""

    schema: ClassVar[str] = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document as a dict: first ``schema`` (if the class has one), then fields.

        JSON does not have NaN and infinity: they become None, and ``non_finite`` lists their places
        (``["outputs[0].max: nan"]``). A document without them does not have this key.

        Raises:
            TypeError: JSON cannot represent the value of a field (an array, an open file).
        """
        non_finite: list[str] = []
        document = _plain(self, "", non_finite)
        if not isinstance(document, dict):
            raise TypeError(f"{type(self).__name__} is not a dataclass")
        return {**document, "non_finite": non_finite} if non_finite else document

    def json_fields(self) -> dict[str, Any]:
        """Return the members of the document: the fields; a subclass may add derived ones.

        They are also there if the result is inside another one.
        """
        return _fields_of(self)

    def to_json(self) -> str:
        """Return the JSON document as text with sorted keys."""
        import json  # noqa: PLC0415 - saves a Runner 2 ms

        return json.dumps(self.to_dict(), indent=2, sort_keys=True, allow_nan=False) + "\n"

    def to_json_line(self) -> str:
        """Return the JSON document as one line, for streams of documents."""
        import json  # noqa: PLC0415 - as in to_json

        return json.dumps(self.to_dict(), sort_keys=True, allow_nan=False) + "\n"


def _plain(value: Any, where: str, non_finite: list[str]) -> Any:  # noqa: ANN401 - a walk over any JSON-able value
    if isinstance(value, enum.Enum):
        return _plain(value.value, where, non_finite)
    if isinstance(value, float) and not math.isfinite(value):
        non_finite.append(f"{where}: {value}")
        return None
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        head = {"schema": value.schema} if isinstance(value, Result) and value.schema else {}
        fields = value.json_fields() if isinstance(value, Result) else _fields_of(value)
        return {**head, **_plain(fields, where, non_finite)}
    if isinstance(value, Mapping):
        prefix = f"{where}." if where else ""
        return {str(key): _plain(item, f"{prefix}{key}", non_finite) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, f"{where}[{i}]", non_finite) for i, item in enumerate(value)]
    if isinstance(value, PurePath):
        return str(value)
    raise TypeError(f"a JSON result cannot contain {type(value).__name__}")


def _fields_of(value: Any) -> dict[str, Any]:  # noqa: ANN401 - any dataclass
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
