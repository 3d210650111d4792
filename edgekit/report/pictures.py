# SPDX-License-Identifier: Apache-2.0
"""Make small pictures of answers for the page, embedded as data, within a budget."""

from __future__ import annotations

import base64
import io
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

from edgekit.data.images import open_image, upright
from edgekit.formats.damage import IMAGE_DAMAGE, reason_of
from edgekit.report.evidence import Evidence
from edgekit.report.node import Node, printable
from edgekit.report.words import file_name

MAX_PICTURES = 24
_BUDGET_BYTES = 1_800_000  # of all pictures together, as base64
_LONGEST_PX = 1100
_KEPT_BYTES = 150_000
_JPEG_QUALITY = 82
_MAX_PIXELS = 64_000_000
_NAMED_ANSWERS = 3


@dataclass(frozen=True)
class Picture:
    """An image for the page."""

    caption: str
    data_uri: str
    width: int
    height: int
    is_sheet: bool  # whether it shows many samples, so that its small text must be legible


@dataclass(frozen=True)
class AnswerRow:
    """Each model's answer to one input."""

    source: str
    answers: tuple[tuple[str, str], ...]  # model, its answer as text


def pictures(evidence: Evidence) -> tuple[list[Picture], int]:
    """Return the pictures that results name, then the folder's; and how many were left out."""
    shown: list[Picture] = []
    sheets = {file_name(each.node.text("picture")) for each in evidence.of("demo")}
    spent = num_unreadable = 0
    paths = _ordered(evidence)
    for path in paths:
        if len(shown) == MAX_PICTURES or spent >= _BUDGET_BYTES:
            break
        picture = _picture(path, evidence)
        if picture is None:
            num_unreadable += 1
        elif spent + len(picture.data_uri) <= _BUDGET_BYTES:
            spent += len(picture.data_uri)
            shown.append(replace(picture, is_sheet=path.name in sheets))
    return shown, len(paths) - len(shown) - num_unreadable


def answers(evidence: Evidence) -> list[AnswerRow]:
    """Return each model's answers in `run`, by input."""
    by_source: dict[str, list[tuple[str, str]]] = {}
    for document in evidence.of("run"):
        model = file_name(document.node.text("model"))
        for entry in document.node.entries("answers"):
            words = _words(entry)
            if words:
                by_source.setdefault(file_name(entry.text("source")), []).append((model, words))
    rows = [AnswerRow(source, tuple(found)) for source, found in by_source.items()]
    return rows[: 4 * MAX_PICTURES]


def _ordered(evidence: Evidence) -> list[Path]:
    named = {
        file_name(entry.text("picture"))
        for document in evidence.of("run")
        for entry in document.node.entries("answers")
    }
    named |= {file_name(each.node.text("picture")) for each in evidence.of("demo")}
    return sorted(
        evidence.pictures,
        key=lambda path: (path.name not in named, path.parent != evidence.folder),
    )


def _picture(path: Path, evidence: Evidence) -> Picture | None:
    name = path.relative_to(evidence.folder).as_posix()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content, kind, (width, height) = _small(path)
    except IMAGE_DAMAGE as error:
        evidence.remarks.append(f"{name}: this picture cannot be read: {reason_of(error)}")
        return None
    data = base64.b64encode(content).decode()
    return Picture(printable(name), f"data:image/{kind};base64,{data}", width, height, False)


def _small(path: Path) -> tuple[bytes, str, tuple[int, int]]:
    """Return the file itself if it is small, else a smaller copy."""
    with open_image(path) as image:
        kind = (image.format or "").lower()
        if image.width * image.height > _MAX_PIXELS:
            raise ValueError(f"it has {image.width} x {image.height} pixels")
        turned = upright(image)  # as browsers show the file itself
        if path.stat().st_size <= _KEPT_BYTES and kind in {"png", "jpeg", "webp"}:
            return path.read_bytes(), kind, turned.size
        copy = turned.convert("RGB")
        copy.thumbnail((_LONGEST_PX, _LONGEST_PX))
        buffer = io.BytesIO()
        copy.save(buffer, "JPEG", quality=_JPEG_QUALITY)
        return buffer.getvalue(), "jpeg", copy.size


def _words(entry: Node) -> str:
    return ", ".join(_named(entry.entries("top")) or _named(entry.entries("objects")))


def _named(scores: list[Node]) -> list[str]:
    return [_scored(each) for each in scores[:_NAMED_ANSWERS]]


def _scored(entry: Node) -> str:
    name = entry.text("label") or f"class {entry.count('index')}"
    score = entry.number("score")
    return name if score is None else f"{name} ({score:.3g})"
