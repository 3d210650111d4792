# SPDX-License-Identifier: Apache-2.0
"""Read the known texts from the files of ``texts/``, one file for each area.

An entry begins with ``@ CODE`` and its title on the next line; ``name: value`` lines follow, and
each ``text:`` is one printed text (``Template``). Lines that begin with two blanks continue the
line before them, and lines that begin with ``#`` are comments.
"""

from __future__ import annotations

import pkgutil
from typing import Iterator

from edgekit import distribution
from edgekit.explain.known import Details, KnownText
from edgekit.explain.template import Template
from edgekit.formats.tflite.options import OPCODES

# The wheel for boards has only the first ones, because of its size: a log of the compiler, the
# converters or a camera's application is explained where the whole edgekit is.
BOARD_AREAS = ("kernel", "install", "interpreter", "libedgetpu", "libraries", "pycoral", "system")
HOST_AREAS = ("apps", "compiler", "converter", "keras")
_FLAGS = ("consequence", "random", "note")


def areas() -> tuple[str, ...]:
    """Return the areas of this installation."""
    return BOARD_AREAS if distribution.name() == distribution.PART else BOARD_AREAS + HOST_AREAS


def read_area(area: str) -> tuple[KnownText, ...]:
    """Return the texts of one area, as in its file."""
    content = pkgutil.get_data("edgekit.explain", f"texts/{area}.txt")
    if content is None:
        raise ValueError(f"no texts for {area}")
    return tuple(_entry(lines) for lines in _entries(content.decode("utf-8")))


def _entries(content: str) -> Iterator[list[str]]:
    lines: list[str] = []
    for line in content.splitlines():
        if line.startswith("  ") and lines:
            lines[-1] += " " + line.strip()
        elif line.startswith("@ "):
            if lines:
                yield lines
            lines = [line[2:].strip()]
        elif line.strip() and not line.startswith("#"):
            lines.append(line.strip())
    if lines:
        yield lines


def _entry(lines: list[str]) -> KnownText:
    code, title = lines[:2]
    values: dict[str, str] = {}
    texts = []
    for line in lines[2:]:
        name, _, value = line.partition(": ")
        if name == "text":
            texts.append(Template(value))
        else:
            values[name] = value
    flags = values.get("flags", "").split()
    return KnownText(
        code=code,
        title=title,
        texts=tuple(texts),
        cause=values["cause"],
        fix=values["fix"],
        source=values["source"],
        versions=values.get("versions", ""),
        derive=_operator_name if values.get("derive") == "opcode" else None,
        **{flag: flag in flags for flag in _FLAGS},
    )


def _operator_name(details: Details) -> Details:
    name = OPCODES.get(int(details["number"]), "an operator that is unknown to edgekit too")
    return {"opcode": name}
