# SPDX-License-Identifier: Apache-2.0
"""Libedgetpu on this system: its name, the packages that bring it, what it says of itself."""

from __future__ import annotations

import re
from typing import Iterator

# sys.platform -> the name by which the loader finds it.
LIBRARY_NAMES = {
    "linux": "libedgetpu.so.1",
    "darwin": "libedgetpu.1.dylib",
    "win32": "edgetpu.dll",
}
# The environment variable that names another file: a build of one's own, or a place that the
# loader does not know.
LIBRARY_VARIABLE = "EDGEKIT_LIBEDGETPU"
LIBRARY_PACKAGES = ("libedgetpu1-std", "libedgetpu1-max")
# Of edgetpu_version(): "BuildLabel(...), RuntimeVersion(14)".
_RUNTIME_VERSION = re.compile(r"RuntimeVersion\((\d+)\)")
_PACKAGE = re.compile(r"^(Package|Status|Version): (.*)$", re.MULTILINE)


def runtime_version_in(text: str) -> int:
    """The runtime version that a library names in ``text``; 0 where it does not."""
    match = _RUNTIME_VERSION.search(text)
    return int(match.group(1)) if match else 0


def debian_packages(status: str) -> Iterator[tuple[str, str]]:
    """Installed packages and their versions, out of the text of dpkg's status file."""
    for paragraph in status.split("\n\n"):
        fields = dict(_PACKAGE.findall(paragraph))
        if fields.get("Status", "").endswith(" installed"):
            yield fields.get("Package", ""), fields.get("Version", "")
