# SPDX-License-Identifier: Apache-2.0
"""What the shell completes for arguments: files of the right kind, names of devices.

If a function here returns an empty list, the shell completes file names itself.
"""

from __future__ import annotations

import os
import shlex
from typing import Callable, List

_MODELS = (".tflite", ".edgekit")
_NETWORKS = (".keras", ".h5", ".hdf5", ".pb")
_DEVICES = ("auto", "cpu", "emulator", "pci", "usb")


def files(*suffixes: str) -> Callable[[str], List[str]]:
    """Return a completion function for files with these suffixes and folders beside them."""

    def complete(incomplete: str) -> List[str]:
        folder, _, start = incomplete.rpartition("/")
        place = folder + "/" if "/" in incomplete else ""
        try:
            entries = sorted(os.scandir(place or "."), key=lambda each: each.name)
        except OSError:
            return []
        fitting = [each for each in entries if each.name.startswith(start)]
        if not start.startswith("."):
            fitting = [each for each in fitting if not each.name.startswith(".")]
        found = [place + each.name for each in fitting if each.name.lower().endswith(suffixes)]
        # For a single folder return an empty list: the shell then enters it.
        folders = [f"{place}{each.name}/" for each in fitting if each.is_dir()] if found else []
        answer = [*found, *(each for each in folders if each[:-1] not in found)]
        # The shells' scripts insert words without quotes; if a word needs them, the list is empty.
        return answer if all(shlex.quote(each) == each for each in answer) else []

    return complete


models = files(*_MODELS)
sources = files(*_NETWORKS, ".tflite")
checkable = files(*_NETWORKS, *_MODELS)
bundles = files(".edgekit")
results = files(".json")


def devices(incomplete: str) -> List[str]:
    """Return the names of devices that begin with ``incomplete``."""
    return [each for each in _DEVICES if each.startswith(incomplete)]
