# SPDX-License-Identifier: Apache-2.0
"""Import the package ``tflite`` (the schema's generated classes) without its unused modules.

Its ``__init__`` imports all of its 190 modules, which is half of the import time of a Runner; a
model needs about 30 of them. Here the package is registered without running ``__init__``, and the
module of each name is found from the name: ``ModelAddVersion`` is in ``Model``. If a name is not
found in this way, ``__init__`` runs after all, so that other code that imports the package works.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

_NAME = "tflite"


class _Package(types.ModuleType):
    """The package, with names bound on first use."""

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - classes and functions of the schema
        spec = self.__dict__["__spec__"]
        home = "" if name.startswith("_") else self._home(name)
        if home:
            module = importlib.import_module(f"{_NAME}.{home}")
            if hasattr(module, name):
                self.__dict__[name] = getattr(module, name)
                return self.__dict__[name]
        if not self.__dict__.get("_has_run"):
            self.__dict__["_has_run"] = True
            spec.loader.exec_module(self)
        if name in self.__dict__:
            return self.__dict__[name]
        raise AttributeError(f"module {_NAME!r} has no attribute {name!r}")

    def __setattr__(self, name: str, value: object) -> None:
        # The import of tflite.Model would bind the module to the name of the class.
        if not (isinstance(value, types.ModuleType) and name[:1].isupper()):
            super().__setattr__(name, value)

    def _home(self, name: str) -> str:
        """Return the longest module name that is a prefix of ``name``; empty if there is none."""
        if "_stems" not in self.__dict__:
            folders = self.__dict__["__path__"]
            files = (file for folder in folders for file in Path(folder).glob("[A-Z]*.py"))
            self.__dict__["_stems"] = {file.stem for file in files}
        stems = self.__dict__["_stems"]
        ends = range(len(name), 0, -1)
        return next((name[:end] for end in ends if name[:end] in stems), "")


def _light_package(spec: ModuleSpec) -> types.ModuleType:
    package = _Package(_NAME)
    package.__dict__.update(
        __spec__=spec,
        __path__=spec.submodule_search_locations,
        __file__=spec.origin,
        __loader__=spec.loader,
        __package__=_NAME,
    )
    sys.modules[_NAME] = package
    return package


def _load() -> Any:  # noqa: ANN401 - the package carries no types
    spec = None if _NAME in sys.modules else importlib.util.find_spec(_NAME)
    if spec is None or not spec.submodule_search_locations:
        return importlib.import_module(_NAME)  # already imported, or the usual error if missing
    return _light_package(spec)


tflite = _load()
