# SPDX-License-Identifier: Apache-2.0
"""Convert builtin options tables to plain dicts and back, for all tables of the schema.

The ``tflite`` package contains one generated class for each table. The fields are found by
inspecting those classes, so a new version of the schema does not need a change here.
"""

from __future__ import annotations

import re
from typing import Any, Mapping, Sequence

from edgekit.errors import UnsupportedModelError
from edgekit.formats.tflite.schema import tflite

# The flatbuffers runtime and the generated classes do not have type hints.
Table = Any
Builder = Any


def names_of(enum: type) -> dict[int, str]:
    """Return number -> name of a generated enumeration (a class with integer attributes)."""
    return {number: name for name, number in vars(enum).items() if isinstance(number, int)}


OPCODES = names_of(tflite.BuiltinOperator)
DTYPES = names_of(tflite.TensorType)
_OPTIONS_TYPES = names_of(tflite.BuiltinOptions)
_OPTIONS_NUMBERS = {name: number for number, name in _OPTIONS_TYPES.items()}
_ENUMS = {
    "fused_activation_function": names_of(tflite.ActivationFunctionType),
    "padding": names_of(tflite.Padding),
}
_ENUM_NUMBERS = {
    field: {name: number for number, name in names.items()} for field, names in _ENUMS.items()
}
_NOT_FIELDS = re.compile(r"_|GetRootAs|Init$|.*(BufferHasIdentifier|AsNumpy|Length|IsNone)$")
_WORD_START = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_fields_of_type: dict[str, list[tuple[str, str, bool]]] = {}


def options_type_name(number: int) -> str:
    """Return the name in union BuiltinOptions; "UNKNOWN" for a number not in this schema."""
    return _OPTIONS_TYPES.get(number, "UNKNOWN")


def read_options(options_type: str, table: Table) -> dict[str, Any]:
    """Return the fields of the options table: numbers, booleans, strings, tuples of numbers."""
    if options_type in ("NONE", "UNKNOWN"):
        return {}
    reader = getattr(tflite, options_type)()
    reader.Init(table.Bytes, table.Pos)
    options: dict[str, Any] = {}
    for field, accessor, is_vector in _fields(options_type):
        if is_vector:
            options[field] = _read_vector(reader, accessor)
            continue
        value = getattr(reader, accessor)()
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        options[field] = _ENUMS[field].get(value, value) if field in _ENUMS else value
    return options


def write_options(
    builder: Builder, options_type: str, options: Mapping[str, Any]
) -> tuple[int, int]:
    """Write an options table; return (number in union BuiltinOptions, offset in the builder).

    Raises:
        UnsupportedModelError: The type is not in union BuiltinOptions.
    """
    if options_type == "NONE":
        return 0, 0
    if options_type not in _OPTIONS_NUMBERS:
        raise UnsupportedModelError(
            f"cannot write an operator with options of type {options_type}",
            why="it is not a table of TensorFlow Lite's first builtin options union",
        )
    accessors = {
        field: (accessor, is_vector) for field, accessor, is_vector in _fields(options_type)
    }
    values: list[tuple[str, Any]] = []
    for field, option in options.items():
        accessor, is_vector = accessors[field]
        if is_vector:
            value = _write_vector(builder, options_type + "Start" + accessor + "Vector", option)
        elif isinstance(option, str):
            numbers = _ENUM_NUMBERS.get(field)
            value = builder.CreateString(option) if numbers is None else numbers[option]
        else:
            value = option
        if value is not None:
            values.append((accessor, value))
    getattr(tflite, options_type + "Start")(builder)
    for accessor, value in values:
        getattr(tflite, options_type + "Add" + accessor)(builder, value)
    return _OPTIONS_NUMBERS[options_type], getattr(tflite, options_type + "End")(builder)


def _fields(options_type: str) -> list[tuple[str, str, bool]]:
    """Return (schema name, accessor, whether a vector) of each field; cached for each type."""
    if options_type not in _fields_of_type:
        methods = vars(getattr(tflite, options_type))
        _fields_of_type[options_type] = [
            (_WORD_START.sub("_", name).lower(), name, name + "Length" in methods)
            for name in methods
            if not _NOT_FIELDS.match(name)
        ]
    return _fields_of_type[options_type]


def _read_vector(reader: Table, accessor: str) -> tuple[float, ...] | None:
    if getattr(reader, accessor + "IsNone")():
        return None
    return tuple(getattr(reader, accessor + "AsNumpy")().tolist())


class _ElementSize:
    """Replaces a builder to find the element size of a generated vector."""

    def StartVector(self, element_bytes: int, _count: int, _alignment: int) -> int:  # noqa: N802
        return element_bytes


def _write_vector(builder: Builder, start: str, values: Sequence[Any] | None) -> int | None:
    if values is None:
        return None
    element_bytes = getattr(tflite, start)(_ElementSize(), 0)
    whole = {1: builder.PrependUint8, 4: builder.PrependInt32, 8: builder.PrependInt64}[
        element_bytes
    ]
    getattr(tflite, start)(builder, len(values))
    for value in reversed(values):
        (builder.PrependFloat32 if isinstance(value, float) else whole)(value)
    return int(builder.EndVector())
