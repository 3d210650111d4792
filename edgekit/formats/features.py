# SPDX-License-Identifier: Apache-2.0
"""Inputs that store their features normalized; a metadata entry of edgekit's own states how.

One scale serves a whole input tensor. Where features have very different ranges, `convert
--normalize-inputs` stores ``(value - mean) / std`` of each, and the weights undo it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Mapping

import numpy as np

from edgekit.errors import ModelFormatError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgekit.formats.tflite import Model

FEATURES_NAME = "EDGEKIT_FEATURES"


@dataclass(frozen=True)
class Features:
    """How the features (the last axis) of an input are normalized before they are stored."""

    mean: tuple[float, ...]
    std: tuple[float, ...]  # each above 0

    def normalized(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Return real values (..., features) as the input stores them, before quantization."""
        return np.asarray((values - np.asarray(self.mean)) / np.asarray(self.std), np.float32)


def read_features(model: Model) -> dict[int, Features]:
    """Return input tensor -> how its features are normalized; inputs without it are left out.

    Raises:
        ModelFormatError: The entry is damaged.
    """
    entry = model.metadata.get(FEATURES_NAME)
    if entry is None:
        return {}
    import json  # noqa: PLC0415 - few models have the entry, and every Runner loads this module

    graph = model.main
    try:
        stated = json.loads(model.buffers[entry].tobytes())
        named = {name: _read(values) for name, values in stated.items()}
        found = {
            i: named[graph.tensors[i].name] for i in graph.inputs if graph.tensors[i].name in named
        }
        is_whole = all(len(each.mean) == graph.tensors[i].shape[-1] for i, each in found.items())
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise _damaged(repr(error)[:100]) from error
    if not is_whole:
        raise _damaged("the number of features is not that of the input")
    return found


def with_features(model: Model, features: Mapping[str, Features]) -> Model:
    """Return ``model`` with the entry for some inputs, by name."""
    metadata, buffers = dict(model.metadata), list(model.buffers)
    metadata[FEATURES_NAME] = len(buffers)
    buffers.append(np.frombuffer(features_entry(features), np.uint8))
    return replace(model, metadata=metadata, buffers=tuple(buffers))


def features_entry(features: Mapping[str, Features]) -> bytes:
    """Return the content of the entry for some inputs, by name."""
    import json  # noqa: PLC0415 - as in `read_features`

    stated = {name: {"mean": each.mean, "std": each.std} for name, each in features.items()}
    return json.dumps(stated, sort_keys=True).encode()


def _read(values: Any) -> Features:  # noqa: ANN401 - JSON
    mean, std = (tuple(float(each) for each in values[name]) for name in ("mean", "std"))
    if len(mean) != len(std) or not np.isfinite([*mean, *std]).all() or min(std) <= 0:
        raise ValueError("mean and std do not fit")
    return Features(mean, std)


def _damaged(why: str) -> ModelFormatError:
    return ModelFormatError(
        f"the metadata entry {FEATURES_NAME} is damaged",
        why=why,
        fix="convert the network again with --normalize-inputs",
    )
