# SPDX-License-Identifier: Apache-2.0
"""What a build did, in a hidden file of its folder: the next one repeats only what changed."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from edgekit import files
from edgekit.building.fingerprints import Fingerprints, Known

_NAME = ".edgekit-build"
_SCHEMA = "edgekit.building-record/1"


@dataclass(frozen=True)
class StepRecord:
    """A finished step."""

    key: str  # hash of everything that it depends on
    outputs: Mapping[str, str]  # name in the folder -> SHA-256
    time_s: float


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
        document = json.loads(path.read_bytes())
        if document["schema"] != _SCHEMA:
            return {}, {}, {}
        steps = {
            str(name): StepRecord(str(each["key"]), dict(each["outputs"]), float(each["time_s"]))
            for name, each in document["steps"].items()
        }
        begun = {str(name): str(key) for name, key in document["begun"].items()}
        known = {
            str(name): (int(size), int(changed), str(digest))
            for name, (size, changed, digest) in document["files"].items()
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}, {}, {}
    return steps, begun, known
