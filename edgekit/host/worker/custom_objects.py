# SPDX-License-Identifier: Apache-2.0
"""Classes that a Keras file names and Keras does not have: the user's, and TensorFlow Hub's."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from edgekit.host.worker.refused import Refused
from edgekit.host.worker.source import short

_HUB_LAYER = "KerasLayer"
_REMOTE = ("http://", "https://", "gs://")


def custom_objects(modules: Sequence[str], folder: str) -> dict[str, Any]:
    """Import the user's modules; return the classes and functions defined in them, by name.

    Args:
        modules: Their names, such as ``package.module``.
        folder: Where to look for modules that are not installed.

    Raises:
        Refused: One cannot be imported, or defines nothing.
    """
    if modules and folder not in sys.path:
        sys.path.append(folder)  # behind the installed ones, so that it hides none of them
    found: dict[str, Any] = {}
    for name in modules:
        try:
            module = importlib.import_module(name)
        except Exception as error:  # what the user's code raises
            raise Refused(
                "usage",
                f"--custom-objects: the module {name} cannot be imported",
                why=f"{type(error).__name__}: {short(error)}",
                fix="give the name as in an import statement (package.module), from the folder "
                "that contains it, or install the package for the converter's Python",
            ) from error
        own = dict(_defined_in(module))
        if not own:
            raise Refused(
                "usage",
                f"--custom-objects: the module {name} defines no class or function",
                why=f"it is {module.__file__}",
                fix="name the module that defines the layers",
            )
        found.update(own)
    return found


def _defined_in(module: Any) -> Iterator[tuple[str, Any]]:  # noqa: ANN401
    """Yield classes and functions of a module or package, not those that it imports."""
    inside = (module.__name__, f"{module.__name__}.")
    for name, value in vars(module).items():
        if not (inspect.isclass(value) or inspect.isfunction(value)):
            continue
        if value.__module__ == inside[0] or value.__module__.startswith(inside[1]):
            yield name, value


def hub_objects(config: Any, path: str) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """Return TensorFlow Hub's layer class if a network has such layers; empty if not.

    Raises:
        Refused: tensorflow_hub is missing, or a layer's network would have to be downloaded.
    """
    handles = list(_handles(config))
    if not handles:
        return {}
    try:
        hub = importlib.import_module("tensorflow_hub")
    except ImportError as error:
        raise Refused(
            "tool.missing",
            "the file has layers of TensorFlow Hub (hub.KerasLayer), and tensorflow_hub is not "
            "installed",
            where=path,
            why=str(error),
            fix="pip install 'edgekit[hub]'",
        ) from error
    for handle in handles:
        if handle.startswith(_REMOTE) and not os.path.isdir(_cached(handle)):  # noqa: PTH112
            raise Refused(
                "model.unsupported",
                "a layer's network is not in TensorFlow Hub's cache",
                where=path,
                why=f"it is {handle}, and edgekit downloads nothing",
                fix=f'download it once: python3 -c "import tensorflow_hub; tensorflow_hub.resolve('
                f"'{handle}')\" (TFHUB_CACHE_DIR names the cache)",
            )
    return {_HUB_LAYER: hub.KerasLayer}


def _handles(config: Any) -> Iterator[str]:  # noqa: ANN401
    pending = [config]
    while pending:
        node = pending.pop()
        if isinstance(node, list):
            pending.extend(node)
        elif isinstance(node, dict):
            fields = node.get("config")
            if node.get("class_name") == _HUB_LAYER and isinstance(fields, dict):
                yield str(fields.get("handle", ""))
            pending.extend(node.values())


def _cached(handle: str) -> str:
    """Return the folder in the hub's cache for a handle (tensorflow_hub/resolver.py)."""
    from tensorflow_hub import resolver  # noqa: PLC0415

    cache = resolver.tfhub_cache_dir(use_temp=True)
    name = hashlib.sha1(handle.encode(), usedforsecurity=False).hexdigest()
    return os.path.join(cache, name)  # noqa: PTH118
