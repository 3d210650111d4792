# SPDX-License-Identifier: Apache-2.0
"""Records the models that ran without a crash, in the user's cache folder.

Each model and runtime has an empty file, named by a hash: a look-up is one `stat`. If the folder
cannot be written, each process repeats the trial.
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

# The first bytes of each buffer are hashed. Kernels abort because of structure, scales and small
# constants (shapes, axes, paddings), not because of weights; to hash those would take longer than
# everything else.
_BUFFER_BYTES = 512
_MOST_FILES = 4096
_VERSION = b"1"  # of the trial itself
_here: set[str] = set()  # of this process


def cache_folder() -> Path:
    """The folder for what edgekit can compute again: ``XDG_CACHE_HOME/edgekit``."""
    place = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    return Path(place or Path("~", ".cache").expanduser()) / "edgekit"


def identity(content: bytes, model: Model, *how: object) -> str:
    """Return a hash of the parts of ``model`` that can crash an interpreter, and of how it is run.

    Args:
        content: The file; only the first 512 bytes of each buffer are hashed.
        model: The model read from it; its buffers are views into ``content``.
        how: Runtime, version, kernels and other options that matter, in a fixed order.
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
    return int(array.__array_interface__["data"][0])  # not .ctypes, which is slower


def is_proven(key: str) -> bool:
    """Whether an earlier trial of this `identity` succeeded."""
    if key not in _here and (_folder() / key).exists():
        _here.add(key)
    return key in _here


def record_success(key: str, *, for_good: bool = True) -> None:
    """Record that it succeeded; for this process only unless ``for_good``."""
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
