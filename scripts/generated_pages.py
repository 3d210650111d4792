# SPDX-License-Identifier: Apache-2.0
"""Write the pages that a script generates, or with ``--check`` name the stale ones."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from pathlib import Path

_REPOSITORY = Path(__file__).resolve().parents[1]


def update(pages: Mapping[Path, str], script: str, present: Iterable[Path] = ()) -> int:
    """Read the command line and make the files equal to ``pages``; return the exit status.

    Args:
        pages: The content of each page.
        script: The path of the script that generates them.
        present: Pages that the script wrote before; those without content now are removed.
    """
    name = Path(script).relative_to(_REPOSITORY).as_posix()
    parser = argparse.ArgumentParser(description=f"Write the pages that {name} generates.")
    parser.add_argument("--check", action="store_true", help="write nothing, fail if one is stale")
    check = parser.parse_args().check
    stale = [path for path, text in pages.items() if _text(path) != text]
    stale += [path for path in present if path not in pages]
    for path in stale:
        if check:
            print(f"{path.relative_to(_REPOSITORY)} is stale: run python {name}")
        elif path in pages:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(pages[path])
        else:
            path.unlink()
    if not check:
        print(f"{len(stale)} of {len(pages)} pages written or removed")
    return 1 if check and stale else 0


def _text(path: Path) -> str | None:
    return path.read_text() if path.is_file() else None
