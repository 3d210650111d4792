# SPDX-License-Identifier: Apache-2.0
"""The models that ran without a crash, noted in the user's cache folder.

One empty file for each model and runtime, named by a hash: a look-up is one `stat`. If the folder
cannot be written, each process makes the trial again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgekit.formats.tflite import Model

# Bytes of each buffer that count. Kernels abort because of structure, scales and small constants
# (shapes, axes, paddings), not because of weights, whose hash would take longer than all the rest.
_BUFFER_BYTES = 512
_MOST_FILES = 4096
_VERSION = b"1"  # of the trial itself
_here: set[str] = set()  # of this process


def cache_folder() -> Path:
    """The folder for what edgekit can compute again: ``XDG_CACHE_HOME/edgekit``."""
    place = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    return Path(place or Path("~", ".cache").expanduser()) / "edgekit"


def identity(content: bytes, model: Model, *how: object) -> str:
    """A hash of the parts of ``model`` that can crash an interpreter, and of how it is run.

    Args:
        content: The file; the parts of buffers beyond 512 bytes do not count.
        model: The same, read: its buffers are views into ``content``.
        how: Runtime, version, kernels and whatever else matters, in a fixed order.
    """
    digest = hashlib.sha256(repr((_VERSION, platform.machine(), len(content), how)).encode())
    base, whole = _address(np.frombuffer(content, np.uint8)), memoryview(content)
    large = [each for each in model.buffers if len(each) > _BUFFER_BYTES]
    places = sorted([(_address(each) - base, len(each)) for each in large])
    done = 0
    for start, size in places:
        if done <= start < len(content):
            digest.update(whole[done : start + _BUFFER_BYTES])
            done = start + size
    digest.update(whole[done:])
    return digest.hexdigest()


def _address(array: NDArray[np.uint8]) -> int:
    return int(array.ctypes.data)


def is_proven(key: str) -> bool:
    """Whether the trial of this `identity` went well before."""
    return key in _here or (_folder() / key).exists()


def remember(key: str, *, for_good: bool = True) -> None:
    """Note that it went well; in this process only unless ``for_good``."""
    _here.add(key)
    if not for_good:
        return
    folder = _folder()
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / key).touch()
        files = list(folder.iterdir())
        if len(files) > _MOST_FILES:
            _drop_half(files)


def _folder() -> Path:
    return cache_folder() / "proven"


def _drop_half(files: list[Path]) -> None:
    """Delete the older half; another process may do so at the same time."""
    ages = []
    for file in files:
        with contextlib.suppress(OSError):
            ages.append((file.stat().st_mtime, file))
    for _, file in sorted(ages)[: len(ages) // 2]:
        with contextlib.suppress(OSError):
            file.unlink()
