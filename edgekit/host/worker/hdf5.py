# SPDX-License-Identifier: Apache-2.0
"""Refuse HDF5 files with arrays in other files, or with a declared size far above the stored one.

HDF5 can read an array from any other file (external storage, external and soft links, virtual
datasets), and can declare terabytes that are not stored. Keras writes neither.
"""

from __future__ import annotations

from typing import Any

from edgekit.host.worker.refused import Refused

DAMAGE = (
    AttributeError,
    KeyError,
    MemoryError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    TypeError,
    ValueError,
)
_MOST_OBJECTS = 100_000
# The declared size of arrays, each and together, may be this many times the stored size (HDF5
# compresses, but weights hardly shrink).
_MOST_FREE_BYTES, _MOST_RATIO = 256 << 20, 10


def check_storage(file: Any, path: str) -> None:  # noqa: ANN401 - a path or a binary stream
    """Refuse a file that reads other files or declares arrays that it does not contain.

    Args:
        file: The path or stream for h5py.
        path: The path for the message.

    Raises:
        Refused: The file does this, or is damaged.
    """
    import h5py  # noqa: PLC0415 - comes with TensorFlow

    try:
        with h5py.File(file, "r") as opened:
            problem = _problem(opened)
    except DAMAGE as error:
        raise Refused(
            "model.format",
            "the Keras file is damaged",
            where=path,
            why=f"HDF5: {error}",
            fix="copy it again and compare sizes, or save the model again",
        ) from error
    if problem:
        raise Refused(
            "model.unsafe",
            f"the weights are refused: {problem}",
            where=path,
            why="Keras does not write such files; loading one would read others or fill the memory",
            fix="save the model again: model.save(...)",
        )


def _problem(root: Any) -> str:  # noqa: ANN401 - a group of h5py
    """Return the problem of the first bad object; empty if all are good."""
    import h5py  # noqa: PLC0415

    groups, num_objects = [root], 0
    declared = stored = 0
    while groups:
        group = groups.pop()
        for name in group:
            num_objects += 1
            if num_objects > _MOST_OBJECTS:
                return f"more than {_MOST_OBJECTS} objects, or groups that contain each other"
            where = f"{group.name}/{name}".replace("//", "/")
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                return f"{where} is a link to another place"
            item = group[name]
            if isinstance(item, h5py.Group):
                groups.append(item)
            elif isinstance(item, h5py.Dataset):
                problem = _array_problem(item)
                if problem:
                    return f"{where} {problem}"
                declared, stored = declared + _declared(item), stored + item.id.get_storage_size()
    return _size_problem(declared, stored) and f"all together it {_size_problem(declared, stored)}"


def _array_problem(item: Any) -> str:  # noqa: ANN401 - a data set of h5py
    if item.external:
        return "is stored in another file"
    if getattr(item, "is_virtual", False):
        return "consists of data in other files"
    return _size_problem(_declared(item), item.id.get_storage_size())


def _declared(item: Any) -> int:  # noqa: ANN401 - a data set of h5py
    return int(item.size or 0) * int(item.dtype.itemsize)


def _size_problem(declared: int, stored: int) -> str:
    if declared > max(_MOST_FREE_BYTES, _MOST_RATIO * stored):
        return f"declares {declared} bytes and stores {stored}"
    return ""
