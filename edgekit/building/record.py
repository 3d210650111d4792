# SPDX-License-Identifier: Apache-2.0
"""What a build did, in a hidden file of its folder: the next one repeats only what changed."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgekit import files
from edgekit.building.fingerprints import Fingerprints, Known
from edgekit.errors import InputError, OutputError
from edgekit.formats.damage import JSON_DAMAGE
from edgekit.formats.json_text import parse_json

_NAME, _LOCK = ".edgekit-build", ".edgekit-lock"
_SCHEMA = "edgekit.building-record/1"


@dataclass(frozen=True)
class StepRecord:
    """A finished step."""

    key: str  # hash of everything that it depends on
    outputs: Mapping[str, str]  # name in the folder -> SHA-256
    time_s: float


@contextlib.contextmanager
def one_build(folder: Path) -> Iterator[None]:
    """Hold ``folder`` for this build until the block ends.

    Raises:
        OutputError: Another build uses it now.
    """
    path = folder / _LOCK
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NONBLOCK", 0)  # not to wait for a pipe
    try:
        stream = os.fdopen(os.open(path, flags, 0o666), "r+b")
    except OSError as error:
        raise files.output_error(path, error) from error
    with stream:
        if not files.try_lock(stream):
            raise OutputError(
                "another build writes into this folder now",
                where=str(folder),
                fix="wait until it has ended, or name another folder",
            )
        yield


class Record:
    """The finished steps of a build in ``folder``, and the hashes of its inputs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / _NAME
        self._steps, self._begun, known = _read(self._path)
        self.fingerprints = Fingerprints(known)

    def kept(self, step: str, key: str) -> StepRecord | None:
        """Return the step if it was done with the same ``key`` and its outputs are unchanged."""
        done = self._steps.get(step)
        return done if done is not None and done.key == key and self._is_whole(done) else None

    def begin(self, step: str, key: str) -> bool:
        """Begin a step; return whether it was begun before with this ``key``, but not finished."""
        self._forget(step)
        is_continued = self._begun == {step: key}
        self._begun = {step: key}
        self._save()
        return is_continued

    def keep_only(self, steps: Collection[str]) -> None:
        """Forget all other steps and remove their outputs."""
        for step in set(self._steps) - set(steps):
            self._forget(step)
        self._save()

    def finish(self, step: str, key: str, outputs: Iterable[str], time_s: float) -> None:
        """Keep a step that is done, with its outputs as they are now.

        Raises:
            OutputError: The file cannot be written.
        """
        hashes = {name: self.fingerprints.of(self._folder / name) or "" for name in outputs}
        self._steps[step] = StepRecord(key, hashes, time_s)
        self._begun = {}
        self._save()

    def _forget(self, step: str) -> None:
        """Remove the outputs of a step, unless somebody changed them since."""
        done = self._steps.pop(step, None)
        for name, digest in done.outputs.items() if done is not None else ():
            path = self._folder / name
            if path.is_file() and self.fingerprints.of(path) == digest:
                path.unlink()

    def _is_whole(self, done: StepRecord) -> bool:
        return all(
            self.fingerprints.of(self._folder / name) == digest
            for name, digest in done.outputs.items()
        )

    def _save(self) -> None:
        document = {
            "schema": _SCHEMA,
            "steps": {name: asdict(step) for name, step in self._steps.items()},
            "begun": self._begun,
            "files": self.fingerprints.in_use(),
        }
        files.write_text(self._path, json.dumps(document, indent=1, sort_keys=True) + "\n")


def _read(path: Path) -> tuple[dict[str, StepRecord], dict[str, str], Known]:
    """Read the file; if it is missing or damaged, everything is done again."""
    try:
        document = parse_json(files.read_bytes(path, "record", files.MOST_TEXT_BYTES))
        if document["schema"] != _SCHEMA:
            return {}, {}, {}
        steps = {
            str(name): StepRecord(str(each["key"]), _outputs(each), float(each["time_s"]))
            for name, each in document["steps"].items()
        }
        begun = {str(name): str(key) for name, key in document["begun"].items()}
        known = {
            str(name): (int(size), int(changed), str(digest))
            for name, (size, changed, digest) in document["files"].items()
        }
    except (InputError, *JSON_DAMAGE, TypeError, LookupError, AttributeError, OverflowError):
        return {}, {}, {}
    return steps, begun, known


def _outputs(step: Mapping[str, Any]) -> dict[str, str]:
    """Return the hash of each output.

    Raises:
        ValueError: One is not a name in the folder: files elsewhere must not be removed.
    """
    found = {str(name): str(digest) for name, digest in step["outputs"].items()}
    if any(name in ("", ".", "..") or Path(name).name != name for name in found):
        raise ValueError("an output is not in the folder")
    return found
