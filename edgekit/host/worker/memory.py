# SPDX-License-Identifier: Apache-2.0
"""The memory of a process: how much it used, and a limit for loading a file.

A few bytes of configuration can request gigabytes.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

from edgekit.host.worker.refused import Refused
from edgekit.host.worker.source import short

# Loading needs up to four copies of the weights, and the memory of Keras itself.
_FREE_BYTES, _COPIES = 1 << 30, 4
_EXHAUSTED = "ResourceExhaustedError"  # TensorFlow's


@contextlib.contextmanager
def bounded_memory(path: str) -> Iterator[None]:
    """Within the block, let this process allocate 1 GiB more and four times the size of ``path``.

    Only on Linux; on other systems it does nothing.

    Raises:
        Refused: TensorFlow or numpy reported that it needs more. Otherwise the process aborts.
    """
    try:
        import resource  # noqa: PLC0415 - not on Windows

        with open("/proc/self/statm") as stream:  # noqa: PTH123 - open() is enough here
            pages = int(stream.read().split()[5])
    except (ImportError, OSError):
        yield
        return
    old, hard = resource.getrlimit(resource.RLIMIT_DATA)
    most = pages * resource.getpagesize() + _FREE_BYTES + _COPIES * _size(path)
    is_lower = old == resource.RLIM_INFINITY or most < old
    if is_lower:
        resource.setrlimit(resource.RLIMIT_DATA, (most, hard))
    try:
        yield
    except Exception as error:
        if not isinstance(error, MemoryError) and type(error).__name__ != _EXHAUSTED:
            raise
        raise Refused(
            "model.unsupported",
            "loading the model needs far more memory than the size of its file",
            where=path,
            why=short(error),
            fix="check the sizes of its layers, or save the model again",
        ) from error
    finally:
        if is_lower:
            resource.setrlimit(resource.RLIMIT_DATA, (old, hard))


def peak_rss_bytes() -> int:
    """Return the most memory that this process had so far; 0 on systems that do not count it."""
    try:
        import resource  # noqa: PLC0415 - not on Windows
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak) * (1 if sys.platform == "darwin" else 1024)


def _size(path: str) -> int:
    """Return the size in bytes of a file, or of all files of a folder."""
    if os.path.isfile(path):  # noqa: PTH113
        return os.path.getsize(path)  # noqa: PTH202
    found = (os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names)  # noqa: PTH118
    return sum(os.path.getsize(each) for each in found if os.path.isfile(each))  # noqa: PTH113, PTH202
