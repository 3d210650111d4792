# SPDX-License-Identifier: Apache-2.0
"""How to use a converted model: preprocessing and class names in its metadata."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from edgekit.data import Dataset
from edgekit.data.describe import with_notes
from edgekit.evaluate.class_names import are_numbers, folders_of
from edgekit.files import PathLike
from edgekit.formats.bundle.archive import write_archive
from edgekit.formats.tflite import Model
from edgekit.formats.tflite_metadata import Notes, read_files
from edgekit.tasks import fit_labels


def check_labels(labels: PathLike | Sequence[str] | None, model: Model) -> tuple[str, ...]:
    """Return the names in ``labels``; empty if it is None.

    Raises:
        DataError: ``model`` is a classifier with another number of classes.
        InputError: The file cannot be read.
    """
    return tuple(fit_labels(labels, num_classes(model)))


def num_classes(model: Model) -> int:
    """Return the number of classes of a model with one output (1, N): 2 if N is 1; else 0."""
    outputs = [model.main.tensors[index] for index in model.main.outputs]
    if len(outputs) != 1 or len(outputs[0].shape) != 2:
        return 0
    return max(2, outputs[0].shape[1])


def names_of(model: Model, noted: Sequence[str], dataset: Dataset | None) -> tuple[str, ...]:
    """Return the source's class names, else the folders'; only if their number is the classes'."""
    given = [tuple(noted), tuple(dataset.class_names) if dataset else ()]
    return next((names for names in given if names and len(names) == num_classes(model)), ())


def order_notes(labels: Sequence[str], dataset: Dataset | None) -> Iterator[str]:
    """Warn if ``labels`` are numbered folders, because Keras sorts them as text."""
    folders = folders_of(dataset) if dataset else {}
    names = list(folders.values())
    if not are_numbers(folders) or sorted(names, key=int) != list(labels):
        return
    if sorted(names) != list(labels):
        yield (
            f"the numbers of the {len(names)} class folders were written as class indices (class "
            "2 is the folder 2); image_dataset_from_directory and ImageFolder sort the folders as "
            f"text ({', '.join(sorted(names)[:4])}, ...): if they trained the network, give "
            "--labels, a file with the names in that order"
        )


def folder_notes(model: Model, dataset: Dataset | None) -> Iterator[str]:
    """Warn if the data have more class folders than ``model`` has classes.

    Fewer are usual: samples of some classes are enough to calibrate.
    """
    folders, count = folders_of(dataset) if dataset else {}, num_classes(model)
    if are_numbers(folders) or not 2 <= count < len(folders):
        return
    yield (
        f"the data have {len(folders)} class folders ({', '.join([*folders.values()][:8])}), the "
        f"network has {count} classes: the folders' names are not written as class names, and "
        "their labels are not used; move folders that are not classes elsewhere, or give the names "
        "of the network's classes with --labels"
    )


def with_use(
    content: bytes,
    kept: Mapping[str, bytes],
    preprocess: str,
    labels: Sequence[str],
    warn: Callable[[str], None],
) -> bytes:
    """Return the model ``content`` with preprocessing and labels in its metadata.

    Args:
        content: The converted model.
        kept: Files of the source to attach, by name.
        preprocess: ``--preprocess`` text; may be empty.
        labels: Class names; may be empty.
        warn: Called with the reason if nothing can be added to the model.
    """
    if kept and not read_files(content):
        content = write_archive(sorted(kept.items()), behind=content)
    return with_notes(content, Notes(preprocess, tuple(labels)), warn)
