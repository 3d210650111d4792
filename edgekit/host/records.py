# SPDX-License-Identifier: Apache-2.0
"""Read a dataclass from the JSON values that it was written as, with the types that it states."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, TypeVar, Union

T = TypeVar("T")


def record_of(cls: type[T], values: object) -> T:
    """Return ``cls`` with its fields taken from ``values``.

    Fields may be texts, numbers, true or false, None, tuples and dataclasses of these.

    Raises:
        ValueError: ``values`` is not a table of these fields, or a value has another type.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"{values!r:.40} is not a {cls.__name__}")  # noqa: TRY004 - one error for all
    known = {each.name: each for each in fields(cls)}  # type: ignore[arg-type] # a dataclass
    unknown = sorted(set(values) - set(known), key=str)
    if unknown:
        raise ValueError(f"{cls.__name__} does not have {unknown[0]!r:.40}")
    for name, each in known.items():
        is_optional = each.default is not MISSING or each.default_factory is not MISSING
        if name not in values and not is_optional:
            raise ValueError(f"{cls.__name__} without {name}")
    hints = typing.get_type_hints(cls)
    return cls(**{name: _value(hints[name], value, name) for name, value in values.items()})


def _value(hint: Any, value: Any, name: str) -> Any:  # noqa: ANN401 - any type and value
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in parts:
            return None
        (hint,) = (part for part in parts if part is not type(None))
        return _value(hint, value, name)
    if is_dataclass(hint):
        return record_of(typing.cast(type[Any], hint), value)
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise ValueError(f"{name} is {value!r:.40}")
        kinds = parts[:1] * len(value) if parts[1:] == (...,) else parts
        if len(kinds) != len(value):
            raise ValueError(f"{name} is {value!r:.40}")
        return tuple(_value(kind, each, name) for kind, each in zip(kinds, value, strict=True))
    accepted = (int, float) if hint is float else hint
    if not isinstance(value, accepted) or isinstance(value, bool) != (hint is bool):
        raise ValueError(f"{name} is {value!r:.40}, expected {hint.__name__}")
    return value
