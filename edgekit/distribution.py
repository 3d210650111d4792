# SPDX-License-Identifier: Apache-2.0
"""The distribution from which this edgekit was installed, and pip commands to extend it.

Two distributions contain the package ``edgekit``: `WHOLE`, and `PART` for boards. The package
index's "edgekit" is another project, so printed commands must not name it.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

WHOLE = "edgekit-coral"
PART = "edgekit-coral-device"
# Earlier names of the two; a board may still have them.
EARLIER = ("edgekit", "edgekit-device")
# The extras of PART; WHOLE has these and more.
PART_EXTRAS = ("coco", "device", "sign", "video")

ROOT = Path(__file__).absolute().parents[1]
_FIRST_FILE = "edgekit/__init__.py"


def name() -> str:
    """Return this package's distribution, by its content, because metadata may be missing."""
    return WHOLE if (ROOT / "edgekit" / "host").is_dir() else PART


def install_command(extra: str) -> str:
    """Return the command that adds the optional dependencies ``extra`` to this installation.

    It names the checkout or wheel that this edgekit was installed from if it still exists, else the
    distribution, which pip finds installed and does not change.
    """
    own = name()
    if own == PART and extra not in PART_EXTRAS:
        return f"run it on a computer with {WHOLE}[{extra}]; {PART} does not have this extra"
    return install_words(*_requirement(own, extra))


def install_words(*words: str) -> str:
    """Return the command that installs ``words`` for this Python, quoted for a POSIX shell."""
    python = sys.executable or "python3"
    quoted = " ".join(map(shlex.quote, words))
    if find_spec("pip") is None:  # an environment that uv made
        return f"uv pip install --python {shlex.quote(python)} {quoted}"
    return f"{shlex.quote(python)} -m pip install {quoted}"


def wheel_command(folder: Path) -> str:
    """Return the command that puts a wheel of edgekit, if possible the boards', into a folder."""
    python = shlex.quote(sys.executable or "python3")
    target = shlex.quote(str(folder))
    if (ROOT / "pyproject.toml").is_file():
        source = shlex.quote(str(ROOT / "device"))
        return f"{python} -m pip wheel --no-deps --wheel-dir {target} {source}"
    source_path = _local_source(_dist_info(name()))
    if source_path is not None and source_path.is_file():
        return f"cp {shlex.quote(str(source_path))} {target}"
    return f"{python} -m pip download --no-deps --dest {target} {PART}"


def holders() -> tuple[str, ...]:
    """Return the distributions that contain this package, such as ``edgekit-coral 0.1.0``, sorted.

    If there are several, the one installed last has overwritten the files of the others.
    """
    try:
        names = [each for each in os.listdir(ROOT) if _may_hold(each)]  # noqa: PTH208 - at each start
    except OSError:
        return ()
    found = []
    for each in sorted(names):
        stem, _, version = each[: -len(".dist-info")].partition("-")
        if len(names) == 1 or _records_package(ROOT / each):
            found.append(f"{stem.replace('_', '-')} {version}")
    return tuple(found)


def untangle_command(found: tuple[str, ...], python: str = "") -> str:
    """Return the command that removes all of `holders`, so that one can be installed again."""
    names = " ".join(each.partition(" ")[0] for each in found)
    return f"{shlex.quote(python or sys.executable or 'python3')} -m pip uninstall --yes {names}"


def _may_hold(entry: str) -> bool:
    return entry.startswith("edgekit") and entry.endswith(".dist-info")


def _records_package(info: Path) -> bool:
    try:
        lines = (info / "RECORD").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return False
    return any(line.startswith(_FIRST_FILE + ",") for line in lines)


def _requirement(own: str, extra: str) -> tuple[str, ...]:
    if (ROOT / "pyproject.toml").is_file():
        editable = any(_is_editable(info) for info in _dist_infos(own, *sys.path))
        return (*(["--editable"] if editable else []), f"{ROOT}[{extra}]")
    source = _local_source(_dist_info(own))
    return (f"{source if source is not None else own}[{extra}]",)


def _dist_info(own: str) -> Path | None:
    return next(iter(_dist_infos(own, str(ROOT))), None)


def _dist_infos(own: str, *folders: str) -> list[Path]:
    pattern = f"{own.replace('-', '_')}-*.dist-info"
    return [info for folder in folders for info in sorted(Path(folder or ".").glob(pattern))]


def _is_editable(info: Path) -> bool:
    document = _direct_url(info)
    directory = document.get("dir_info")
    is_editable = isinstance(directory, dict) and bool(directory.get("editable"))
    source = _path_of(document)
    return is_editable and source is not None and source.resolve() == ROOT.resolve()


def _local_source(info: Path | None) -> Path | None:
    """Return the wheel that pip installed, if its file still exists."""
    path = None if info is None else _path_of(_direct_url(info))
    return path if path is not None and path.suffix == ".whl" and path.is_file() else None


def _direct_url(info: Path) -> dict[str, object]:
    """Return PEP 610's record of an installation's source; empty if it was an index."""
    try:
        document = json.loads((info / "direct_url.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def _path_of(document: dict[str, object]) -> Path | None:
    parts = urlsplit(str(document.get("url", "")))
    return Path(unquote(parts.path)) if parts.scheme == "file" else None
