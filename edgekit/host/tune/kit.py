# SPDX-License-Identifier: Apache-2.0
"""What the workers of a cluster need to try recipes, and how they do it.

A worker reads the samples itself if it can, converts in its own process, and returns the model:
with the same packages these are the bytes that this computer would make.
"""

from __future__ import annotations

import copy
import os
import platform
import sys
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from importlib import metadata
from itertools import islice
from pathlib import Path
from typing import Any

from edgekit.data import Dataset, Preprocess, Sample, Unreadable, read_labels
from edgekit.data.dataset import identity_of
from edgekit.data.spread import classes_of, subset
from edgekit.distribution import WHOLE
from edgekit.errors import EdgeKitError
from edgekit.evaluate.desk import Desk, whoami
from edgekit.evaluate.shard import Failure, check_samples, read_there
from edgekit.formats.model_file import ModelFile
from edgekit.host.convert.child import Converters
from edgekit.host.convert.recipe import Recipe
from edgekit.host.tune.bench import Attempt, Bench
from edgekit.host.tune.kept import kept
from edgekit.host.tune.network import Network
from edgekit.host.tune.options import TuneOptions
from edgekit.host.tune.parts import open_data

# Packages that decide what a conversion and an evaluation compute.
_PACKAGES = ("numpy", "pillow", "ai-edge-litert", "tflite-runtime", "tensorflow", "tf-keras")
_MISSING = "missing"
_MOST_SENT = 2000  # calibration samples of data of unknown length: no recipe uses more


@dataclass(frozen=True)
class Given:
    """Samples for workers."""

    data: Any  # what `open_data` takes; the data set itself, if workers cannot open it
    split: str
    is_opened: bool
    identity: tuple[int | None, int | None]  # how many samples, and their identity, if known
    indices: tuple[int, ...] | None = None  # the samples that are used; None for all


@dataclass(frozen=True)
class Kit:
    """All that a worker needs to try recipes."""

    token: str  # of the run
    network: bytes  # what candidates are converted from
    is_source: bool
    reference: bytes
    options: TuneOptions
    calibration: Given
    search: Given


@dataclass(frozen=True)
class AttemptThere:
    """An attempt in another process, with the bytes of the model."""

    worker: str  # the process, see `desk.whoami`
    attempt: Attempt
    content: bytes


def packages() -> dict[str, str]:
    """Return what must be the same for a conversion to have the same bytes."""
    found = {"Python": platform.python_version(), "processor": platform.machine()}
    return {**found, **{name: _version(name) for name in _PACKAGES}}


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return _MISSING


def install_there(names: Sequence[str]) -> str:
    """Return how to make a worker equal where ``names`` of `packages` differ."""
    here = packages()
    if "processor" in names:
        return f"use workers with this processor ({here['processor']}), or tune without --cluster"
    if "Python" in names:
        return f"make the worker's environment with Python {here['Python']}, as here"
    wanted = [f"{name}=={here[name]}" for name in names if here[name] != _MISSING]
    extra = [name for name in names if here[name] == _MISSING]
    lines = [f"pip uninstall {' '.join(extra)}"] if extra else []
    if wanted:
        lines.append(f"pip install '{WHOLE}[host,cluster]' {' '.join(wanted)}")
    return f"{' && '.join(lines)}, in the Python that runs dask worker there"


def kit_of(network: Network, options: TuneOptions, calibration: Given, search: Given) -> Kit:
    """Return what workers need; a file with labels is read here."""
    labels = options.labels
    if isinstance(labels, (str, os.PathLike)):
        options = replace(options, labels=tuple(read_labels(labels)))
    return Kit(
        uuid.uuid4().hex,
        network.path.read_bytes(),
        network.is_source,
        network.reference.content,
        options,
        calibration,
        search,
    )


def given(
    dataset: Dataset,
    data: Any,  # noqa: ANN401 - anything that `open_data` takes
    split: str,
    indices: Sequence[int] | None = None,
) -> Given:
    """Return samples in a form that can be sent to workers.

    Args:
        dataset: All samples.
        data: What it was opened from.
        split: As it was opened.
        indices: Those that are used; None for all.
    """
    source = read_there(dataset, data)
    used = None if indices is None else tuple(indices)
    if source is not None:
        return Given(source, split, False, _identity(dataset), used)
    if not hasattr(dataset, "chunk"):  # of a program
        dataset = SentSamples(dataset if used is None else subset(dataset, used))
        used = None
    return Given(dataset, split, True, (None, None), used)


def _identity(dataset: Dataset) -> tuple[int | None, int | None]:
    return dataset.num_samples, identity_of(dataset, dataset.num_samples)


class SentSamples:
    """The samples of a program, which are sent to workers: a `Selectable` data set."""

    def __init__(self, dataset: Dataset) -> None:
        count = dataset.num_samples
        self.samples = list(islice(dataset, count or _MOST_SENT))
        self.num_samples = None if count is None else len(self.samples)
        self.class_names, self.promised_range = dataset.class_names, dataset.promised_range
        self.classes = classes_of(dataset)
        self.may_reorder = bool(getattr(dataset, "may_reorder", False))
        self.unreadable: list[Unreadable] = []
        self._described = dataset.describe()

    def describe(self) -> dict[str, Any]:
        """As of the data set."""
        return self._described

    def subset(self, indices: Sequence[int]) -> SentSamples:
        """Return the samples ``indices``, in this order."""
        chosen = copy.copy(self)
        chosen.samples = [self.samples[index] for index in indices]
        chosen.num_samples = len(chosen.samples)
        chosen.classes = None if self.classes is None else [self.classes[i] for i in indices]
        return chosen

    def __iter__(self) -> Iterator[Sample]:
        return iter(self.samples)


class TrialRunner:
    """Tries recipes in a worker's process; one thread at a time uses it."""

    def __init__(self, kit: Kit) -> None:
        """Open the network and the samples.

        Raises:
            DataError: The samples here are not those of the run.
        """
        with ExitStack() as stack:
            made = tempfile.TemporaryDirectory(prefix="edgekit-", dir=_folder_of_worker())
            folder = Path(stack.enter_context(made))
            path = folder / "float.tflite"
            path.write_bytes(kit.network)
            network = Network(path, ModelFile(kit.reference), is_source=kit.is_source)
            how = kit.options.preprocess
            calibration = _opened(kit.calibration, network, how)
            search = _opened(kit.search, network, how)
            self._bench = Bench(network, kit.options, kept(calibration), search, folder)
            self._converters = Converters()
            stack.callback(self._converters.close)
            self._stack = stack.pop_all()

    def attempt(self, recipe: Recipe) -> AttemptThere:
        """Try a recipe."""
        with self._converters.used():
            found = self._bench.attempt(recipe)
        made = None if found.converted is None else self._bench.make(recipe).path
        content = b"" if made is None else made.read_bytes()
        return AttemptThere(whoami(), found, content)

    def close(self) -> None:
        """Remove the models, and end the processes."""
        self._stack.close()


def _opened(given: Given, network: Network, how: str | Preprocess | None) -> Dataset:
    if given.is_opened:
        dataset: Dataset = given.data
    else:
        dataset = open_data(given.data, network.reference, how, given.split)
        check_samples(dataset, given.identity, _identity(dataset))
    return dataset if given.indices is None else subset(dataset, given.indices)


def _folder_of_worker() -> str | None:
    """Return the folder of this Dask worker; None in another process.

    If the process is killed, the next worker on the same machine removes it.
    """
    dask = sys.modules.get("distributed")
    try:
        return None if dask is None else str(dask.get_worker().local_directory)
    except ValueError:
        return None


_DESK: Desk[TrialRunner] = Desk()


def try_there(kit: Kit, recipe: Recipe) -> AttemptThere | Failure:
    """Try a recipe, in a worker's process."""
    try:
        with _DESK.lent(kit.token, lambda _number: TrialRunner(kit)) as runner:
            return runner.attempt(recipe)
    except EdgeKitError as error:
        return Failure(whoami(), error)
    except Exception as error:  # noqa: BLE001 - named by the process that reads it
        return Failure(whoami(), None, f"{type(error).__name__}: {error}")
