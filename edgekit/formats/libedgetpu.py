# SPDX-License-Identifier: Apache-2.0
"""Libedgetpu on this system: its name, the packages that contain it, and its version text."""

from __future__ import annotations

import re
from typing import Iterator

# sys.platform -> the name by which the loader finds it.
LIBRARY_NAMES = {
    "linux": "libedgetpu.so.1",
    "darwin": "libedgetpu.1.dylib",
    "win32": "edgetpu.dll",
}
# The environment variable that names another file: a user's build, or a path that the loader does
# not search.
LIBRARY_VARIABLE = "EDGEKIT_LIBEDGETPU"
LIBRARY_PACKAGES = ("libedgetpu1-std", "libedgetpu1-max")
# In the result of edgetpu_version(): "BuildLabel(...), RuntimeVersion(14)".
_RUNTIME_VERSION = re.compile(r"RuntimeVersion\((\d+)\)")
_PACKAGE = re.compile(r"^(Package|Status|Version): (.*)$", re.MULTILINE)


def runtime_version_in(text: str) -> int:
    """Return the runtime version in a library's version ``text``; 0 if it does not contain one."""
    match = _RUNTIME_VERSION.search(text)
    return int(match.group(1)) if match else 0


def debian_packages(status: str) -> Iterator[tuple[str, str]]:
    """Yield installed packages and their versions from the text of dpkg's status file."""
    for paragraph in status.split("\n\n"):
        fields = dict(_PACKAGE.findall(paragraph))
        if fields.get("Status", "").endswith(" installed"):
            yield fields.get("Package", ""), fields.get("Version", "")
