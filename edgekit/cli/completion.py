# SPDX-License-Identifier: Apache-2.0
"""What the shell's completion offers for arguments: files of the right kind, names of devices.

An empty answer makes the shell complete file names by itself.
"""

from __future__ import annotations

import os
import shlex
from typing import Callable, List

_MODELS = (".tflite", ".edgekit")
_NETWORKS = (".keras", ".h5", ".hdf5", ".pb")
_DEVICES = ("auto", "cpu", "emulator", "pci", "usb")


def files(*suffixes: str) -> Callable[[str], List[str]]:
    """A completion that offers files with these suffixes, and folders beside them."""

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
        # A single folder is left to the shell, which goes into it instead of ending the word.
        folders = [f"{place}{each.name}/" for each in fitting if each.is_dir()] if found else []
        answer = [*found, *(each for each in folders if each[:-1] not in found)]
        # The scripts of the shells insert words as they are; what needs a quote is left to them.
        return answer if all(shlex.quote(each) == each for each in answer) else []

    return complete


models = files(*_MODELS)
sources = files(*_NETWORKS, ".tflite")
checkable = files(*_NETWORKS, *_MODELS)
bundles = files(".edgekit")
results = files(".json")


def devices(incomplete: str) -> List[str]:
    """The names of devices that begin so."""
    return [each for each in _DEVICES if each.startswith(incomplete)]
