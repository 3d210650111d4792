# SPDX-License-Identifier: Apache-2.0
"""Each code of a finding or a cause has a page."""

from __future__ import annotations

import re
from pathlib import Path

import edgekit
from edgekit.evaluate.decoded import LIMITS
from edgekit.explain import CODES

_ROOT = Path(edgekit.__file__).parent
_CODE = re.compile(r'"((?:quality|cause)\.[a-z_]+)"')


def test_every_code_of_an_agreement_has_a_page_and_every_page_a_code() -> None:
    files = [_ROOT / "evaluate" / "causes.py", _ROOT / "runtime" / "quality.py"]
    files += sorted((_ROOT / "host" / "convert").glob("*.py"))
    given = {code for file in files for code in _CODE.findall(file.read_text(encoding="utf-8"))}
    given |= {f"quality.{task}" for task in LIMITS}
    pages = {code for code in CODES if code.startswith(("quality.", "cause."))}
    assert given == pages
