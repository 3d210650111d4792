# SPDX-License-Identifier: Apache-2.0
"""Packages whose functions are imported on first use (PEP 562)."""

from __future__ import annotations

import importlib
import sys
import types

# Do not import typing: see `edgekit`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Mapping


def lazy_names(package: str, public: Mapping[str, str]) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of ``package``.

    A function keeps its name if a sub-module has the same name: importing the module
    ``edgekit.evaluate.run`` does not bind ``run`` in ``edgekit.evaluate`` to the module. The module
    can still be imported from (``from edgekit.evaluate.run import ...``).

    Args:
        package: The name of the package that is being imported.
        public: Name -> the module that defines it.
    """

    class Lazy(types.ModuleType):
        def __setattr__(self, name: str, value: object) -> None:
            if not (name in public and isinstance(value, types.ModuleType)):
                super().__setattr__(name, value)

    sys.modules[package].__class__ = Lazy

    def get(name: str) -> Any:  # noqa: ANN401 - PEP 562
        if name not in public:
            raise AttributeError(f"module '{package}' has no attribute '{name}'")
        return getattr(importlib.import_module(public[name]), name)

    return get
