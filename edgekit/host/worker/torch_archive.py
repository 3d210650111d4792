# SPDX-License-Identifier: Apache-2.0
"""Find code in an exported program (.pt2) before PyTorch loads it.

``torch.export.load`` unpickles some entries, evaluates the expressions of shapes with sympy, and
looks up functions by the names in the file.
"""

from __future__ import annotations

import io
import json
import pickletools
import re
import zipfile
from collections.abc import Iterator
from typing import Any

from edgekit.host.worker.keras_config import DAMAGE
from edgekit.host.worker.refused import Refused

# Operators of graphs: all that torch.export writes for a network without custom operators.
_TARGET = re.compile(
    r"torch\.ops\.(aten|prims|higher_order|quantized_decomposed|torchvision)\.\w+(\.\w+)?"
    r"|(_operator|math)\.[a-z_]\w*|torch\.sym_\w+|torch\._sym_\w+"
)
_EXPRESSION = re.compile(r"[\w\s+\-*/(),<>=!&|~%]*")
_SYMBOL = re.compile(r"Symbol\('\w+'(, \w+=(True|False))*\)")
_CALLED = re.compile(r"(\w+)\s*\(")
# Python's own functions that do something have small letters, sympy's classes a large one.
_FUNCTION = re.compile(r"[A-Z]\w*|ceiling|floor|sqrt")
_ENUM = "__enum__"  # in the JSON of an argument's structure: the class is imported by its name
_ATTRIBUTE = re.compile(r"[A-Za-z_)]\s*\.|__")
_MOST_ENTRIES = 1 << 16
_ZIP_HEAD = b"PK\x03\x04"
_PROTO = 0x80  # the first byte of a pickle
# What a pickle of plain tensors names.
_PLAIN = re.compile(
    r"torch\._utils _rebuild_(tensor_v2|parameter)|collections OrderedDict|torch \w*Storage"
    r"|torch (Size|device|float16|float32|float64|bfloat16|int8|uint8|int16|int32|int64|bool)"
    r"|torch\.serialization _get_layout|torch\.storage (Typed|Untyped)Storage"
)


def refuse_code(path: str) -> None:
    """Refuse a file that makes PyTorch run code from it.

    Raises:
        Refused: It has such an entry, or is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _check_archive(archive)
            found = next(_code(archive), None)
    except (*DAMAGE, RecursionError, AttributeError, TypeError) as error:  # JSON of other types
        raise damaged(path, error) from error
    if found is not None:
        raise Refused(
            "model.unsafe",
            "the exported program contains code, or names it",
            where=path,
            why=found,
            fix="if you trust the author of the file: --trust-source",
        )


def _check_archive(archive: zipfile.ZipFile) -> None:
    """Check that PyTorch's reader sees the same entries: it ignores capital letters.

    Raises:
        ValueError: Two entries have the same name for it, or one is compressed, which PyTorch does
            not write.
    """
    names = [name.lower() for name in archive.namelist()]
    if len(names) > _MOST_ENTRIES or len(set(names)) < len(names):
        raise ValueError("two entries have the same name, or there are too many")
    odd = next((each for each in archive.infolist() if each.compress_type), None)
    if odd is not None:
        raise ValueError(f"{odd.filename} is compressed, which PyTorch does not do")
    if min((each.header_offset for each in archive.infolist()), default=0):
        raise ValueError("the archive begins within the file")


def damaged(path: str, error: BaseException) -> Refused:
    """Return the refusal of a file that cannot be read."""
    return Refused(
        "model.format",
        "the exported program of PyTorch cannot be read",
        where=path,
        why=" ".join(str(error).split())[:300] or type(error).__name__,
        fix="copy it again, or export it again: torch.export.save(program, 'model.pt2')",
    )


def is_plain(name: str) -> bool:
    """Whether a name of `pickled_names` belongs to tensors of weights."""
    return _PLAIN.fullmatch(name) is not None


def pickled_names(content: bytes) -> set[str]:
    """Return what a pickle imports when it is loaded: "module name", without loading it.

    Raises:
        ValueError: It is damaged.
    """
    names: set[str] = set()
    strings: list[str] = []  # STACK_GLOBAL takes its names from the stack
    # A file of PyTorch before 1.6 has several pickles, and the bytes of the weights behind them.
    for opcode, argument, _ in _opcodes(content):
        if opcode.name in ("GLOBAL", "INST"):
            names.add(str(argument))
        elif opcode.name == "STACK_GLOBAL":
            names.add(" ".join(strings[-2:]))
        elif isinstance(argument, str):
            strings.append(argument)
    return names


def _opcodes(content: bytes) -> Iterator[tuple[Any, Any, Any]]:
    stream, end = io.BytesIO(content), len(content)
    while stream.tell() < end and content[stream.tell()] == _PROTO:
        yield from pickletools.genops(stream)


def _code(archive: zipfile.ZipFile) -> Iterator[str]:
    """Yield what would run, in words."""
    for name in archive.namelist():
        inner, entry = name.partition("/")[2].lower(), name.lower()
        if re.match(r"data/aotinductor/|.*\.(so|py|pkl)$", inner):
            yield f"{name} is a program"
        elif re.match(r"data/constants/(custom_obj|opaque_obj)", inner):
            yield f"{name} is a pickled object"
        elif inner.endswith(".pt") or entry.endswith(".pt"):
            yield from _unpickled(archive, name)
        elif inner.endswith("_config.json"):
            yield from _pickled_payloads(archive, name)
        elif entry.endswith(".json"):
            yield from _named(json.loads(archive.read(name)))


def _pickled_payloads(archive: zipfile.ZipFile, name: str) -> Iterator[str]:
    folder = name.rpartition("/")[0]
    for payload in json.loads(archive.read(name))["config"].values():
        if payload["use_pickle"]:
            yield from _unpickled(archive, f"{folder}/{payload['path_name']}")


def _unpickled(archive: zipfile.ZipFile, name: str) -> Iterator[str]:
    """Yield what the pickle of a file of ``torch.save`` names besides tensors."""
    content = archive.read(name)
    if not content:
        return
    # PyTorch looks at the first bytes: with others it reads pickles, whatever follows them.
    if not content.startswith(_ZIP_HEAD):
        yield f"{name} is a bare pickle"
        return
    for each in sorted(_names_in(content)):
        if not is_plain(each):
            yield f"{name} imports {each.replace(' ', '.')}"


def _names_in(content: bytes) -> set[str]:
    with zipfile.ZipFile(io.BytesIO(content)) as inner:
        _check_archive(inner)
        entries = [each for each in inner.namelist() if each.lower().endswith(".pkl")]
        return {name for each in entries for name in pickled_names(inner.read(each))}


def _named(value: Any) -> Iterator[str]:  # noqa: ANN401 - JSON
    """Yield functions and expressions of a graph that are not those of networks."""
    if isinstance(value, list):
        for each in value:
            yield from _named(each)
    elif isinstance(value, dict):
        target, expression = value.get("target"), value.get("expr_str")
        if "inputs" in value and isinstance(target, str) and not _TARGET.fullmatch(target):
            yield f"the graph calls {target[:200]}"
        if expression is not None and not _is_harmless(str(expression)):
            yield f"a shape is the expression {str(expression)[:200]}"
        for name in value.get("range_constraints") or ():
            if not _is_harmless(str(name)):
                yield f"a shape is the expression {str(name)[:200]}"
        for each in value.values():
            yield from _named(each)
    elif isinstance(value, str) and _ENUM in value:
        yield f"{value[:200]} imports a module"


def _is_harmless(expression: str) -> bool:
    expression = _SYMBOL.sub("s", expression)
    return (
        _EXPRESSION.fullmatch(expression) is not None
        and _ATTRIBUTE.search(expression) is None
        and all(_FUNCTION.fullmatch(name) for name in _CALLED.findall(expression))
    )
