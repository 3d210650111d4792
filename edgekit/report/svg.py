# SPDX-License-Identifier: Apache-2.0
"""Make a matplotlib figure into SVG inside a page, with the page's colours and hover texts.

Placeholder colours are replaced by CSS variables, so that a chart follows light and dark mode;
``<title>`` contains the hover text of a mark; classes let the page hide a series.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from edgekit.extras import require

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Placeholder -> CSS variable; charts do not use these colours for anything else.
COLOURS: Mapping[str, str] = {
    "#010101": "--fg",
    "#010102": "--dim",
    "#010103": "--line",
    "#010104": "--s0",
    "#010105": "--s1",
    "#010106": "--s2",
    "#010107": "--s3",
    "#010108": "--card",
}
FG, DIM, LINE, S0, S1, S2, S3, CARD = COLOURS
SERIES = (S0, S1, S2, S3)
_POINTS_PER_INCH = 72
_STYLE: Mapping[str, Any] = {
    "svg.fonttype": "none",
    "path.simplify_threshold": 0.5,
    "font.family": "DejaVu Sans",  # ships with matplotlib; the page uses its own font
    "font.size": 9,
    "axes.edgecolor": LINE,
    "axes.labelcolor": DIM,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "text.color": FG,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": DIM,
    "ytick.labelcolor": DIM,
    "grid.color": LINE,
    "grid.alpha": 0.35,
    "grid.linewidth": 0.6,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}


@dataclass(frozen=True)
class Mark:
    """An artist's hover text and the class of its series."""

    title: str = ""
    css: str = ""


class Canvas:
    """A figure that is being drawn; ``name`` is unique in the page."""

    def __init__(self, name: str, width_in: float = 5.0, height_in: float = 2.6) -> None:
        """Begin a figure whose text is readable at a phone's width.

        Raises:
            MissingExtraError: matplotlib is not installed.
        """
        purpose = "draw the report's charts"
        self.name = name
        self._matplotlib = require("matplotlib", extra="report", purpose=purpose)
        module = require("matplotlib.figure", extra="report", purpose=purpose)
        with self._matplotlib.rc_context(dict(_STYLE)):
            self.figure: Figure = module.Figure(figsize=(width_in, height_in), layout="constrained")
            self.axes: Any = self.figure.subplots()
        text_class: type = require("matplotlib.text", extra="report", purpose=purpose).Text
        self._is_text = lambda artist: isinstance(artist, text_class)
        self._marks: dict[str, Mark] = {}

    def mark(self, artist: Any, title: str = "", css: str = "") -> None:  # noqa: ANN401
        """Give an artist a hover text, a class, or both."""
        key = f"m{len(self._marks)}"
        artist.set_gid(key)
        self._marks[key] = Mark(title, css)

    def svg(self, label: str) -> str:
        """Return the chart as an ``<svg>`` element; ``label`` is its text alternative."""
        buffer = io.BytesIO()
        texts: list[Any] = self.figure.findobj(self._is_text)
        for text in texts:
            text.set_parse_math(False)  # a "$" in a name is not a formula
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        salted = {**_STYLE, "svg.hashsalt": self.name}
        with self._matplotlib.rc_context(salted), warnings.catch_warnings():
            # The page draws the text with its own font; matplotlib only measures it.
            warnings.filterwarnings("ignore", "Glyph .* missing from")
            self.figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
        return self._inline(buffer.getvalue(), label)

    def _inline(self, content: bytes, label: str) -> str:
        root = ET.fromstring(content)  # noqa: S314 - what matplotlib just wrote
        for parent in list(root.iter()):
            for child in list(parent):
                if child.tag.rpartition("}")[2] in {"metadata", "style"}:
                    parent.remove(child)
        for element in root.iter():
            self._adapt(element)
        for size in ("width", "height", "version"):
            root.attrib.pop(size, None)
        root.attrib.update({"class": "chart", "role": "img", "aria-label": label})
        text = ET.tostring(root, encoding="unicode", short_empty_elements=True)
        return _with_variables(text)

    def _adapt(self, element: ET.Element) -> None:
        """Remove namespaces, make ids unique in the page, and add the marks' texts."""
        element.tag = element.tag.rpartition("}")[2]
        for key in list(element.attrib):
            value = element.attrib.pop(key)
            name = key.rpartition("}")[2]
            if name == "id":
                mark = self._marks.get(value)
                if mark is not None:
                    self._apply(element, mark)
                value = f"{self.name}-{value}"
            value = re.sub(r"url\(#", f"url(#{self.name}-", value)
            if name == "href" and value.startswith("#"):
                value = f"#{self.name}-{value[1:]}"
            element.attrib[name] = value

    def _apply(self, element: ET.Element, mark: Mark) -> None:
        if mark.css:
            element.attrib["class"] = mark.css
        if mark.title:
            title = ET.Element("title")
            title.text = mark.title
            element.insert(0, title)


def _with_variables(text: str) -> str:
    for colour, variable in COLOURS.items():
        text = text.replace(colour, f"var({variable})")
    return text
