# SPDX-License-Identifier: Apache-2.0
"""The package ``tflite`` (the schema's generated classes) without what nobody asks of it.

Its ``__init__`` imports all of its 190 modules, which is half of what a Runner costs to import; a
model takes some 30 of them. Here the package stands without having run, and finds each name's
module by the name: ``ModelAddVersion`` is in ``Model``. Whatever is not found so makes it run after
all, so that others who import it miss nothing.
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
    """The package, its names bound on first use."""

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
        # The import of tflite.Model would bind the module where the package has the class.
        if not (isinstance(value, types.ModuleType) and name[:1].isupper()):
            super().__setattr__(name, value)

    def _home(self, name: str) -> str:
        """The module with the longest name that ``name`` begins with; "" if there is none."""
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
        return importlib.import_module(_NAME)  # here already, or the error that it is not
    return _light_package(spec)


tflite = _load()
