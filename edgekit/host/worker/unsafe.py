# SPDX-License-Identifier: Apache-2.0
"""Code hidden in a Keras file: found in its configuration, before Keras is let near it."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from typing import Any

from edgekit.host.worker.refused import Refused

# Classes whose configuration holds marshalled or pickled code, or a path to load more from.
_CODE_CLASSES = {
    "Lambda": "a Lambda layer holds Python code",
    "__lambda__": "a lambda is Python code",
    "TorchModuleWrapper": "it holds a pickled PyTorch module",
    "TFSMLayer": "it loads another SavedModel from a path",
    "JaxLayer": "it holds serialized JAX code",
    "FlaxLayer": "it holds serialized JAX code",
}
# Keras imports the module that a configuration names; only its own are free of side effects.
_KERAS_MODULE = re.compile(r"(keras|tf_keras|tensorflow\.keras|tensorflow\.python\.keras)(\.|$)")
# keras.utils reads and downloads files; no model needs it.
_KERAS_UTILS = re.compile(r"(tf_)?keras(\.src)?\.(utils|saving|models|legacy)(\.|$)")
# Functions of TensorFlow that Keras 2 calls by name while it rebuilds a network (TFOpLambda).
_TF_FUNCTION = re.compile(
    r"(math|nn|image|linalg|signal|bitwise|quantization|__operators__|compat\.v1)\.\w+(\.\w+)?$|\w+$"
)
_TF_FORBIDDEN = re.compile(r"(.*\.)?(py_func\w*|numpy_function|load_\w*library|function|print)$")


def read_config(path: str) -> tuple[dict[str, Any], str]:
    """The network's configuration and the Keras version that wrote it ("" if the file is mute).

    Raises:
        Refused: The file is damaged, or holds weights only.
    """
    if zipfile.is_zipfile(path):
        return _read_zip(path)
    return _read_hdf5(path)


def refuse_code(config: dict[str, Any], path: str) -> None:
    """Refuse a configuration that makes Keras run code from the file.

    Raises:
        Refused: It does; the message names each layer.
    """
    found = list(dict.fromkeys(_code_in(config, "")))
    if found:
        raise Refused(
            "model.unsafe",
            "loading this file would run code that it carries: " + "; ".join(found),
            where=path,
            why="anybody who made the file chose that code",
            fix="replace the layer by built-in ones (Rescaling, keras.ops), or, if you trust "
            "whoever made the file: --trust-source",
        )


def _code_in(node: Any, layer: str) -> Iterator[str]:  # noqa: ANN401 - a walk over JSON
    if isinstance(node, list):
        for item in node:
            yield from _code_in(item, layer)
    if not isinstance(node, dict):
        return
    name = node.get("class_name")
    config = node.get("config")
    if isinstance(config, dict) and isinstance(config.get("name"), str):
        layer = config["name"]
    if isinstance(name, str):
        yield from (f"{layer or name} ({reason})" for reason in _reasons(name, node))
    for item in node.values():
        yield from _code_in(item, layer)


def _reasons(name: str, node: dict[str, Any]) -> Iterator[str]:
    module, config = node.get("module"), node.get("config")
    if name in _CODE_CLASSES:
        yield _CODE_CLASSES[name]
    elif isinstance(module, str) and module != "builtins" and not _KERAS_MODULE.match(module):
        yield f"{name} would be imported from the module {module}"
    elif isinstance(module, str) and name == "function" and _KERAS_UTILS.match(module):
        yield f"{config} of {module} is no part of a network"
    if name in ("TFOpLambda", "SlicingOpLambda") and isinstance(config, dict):
        function = str(config.get("function", ""))
        if not _TF_FUNCTION.match(function) or _TF_FORBIDDEN.match(function):
            yield f"it calls tf.{function}"


def _read_zip(path: str) -> tuple[dict[str, Any], str]:
    try:
        with zipfile.ZipFile(path) as archive:
            config = json.loads(archive.read("config.json"))
            metadata = json.loads(archive.read("metadata.json"))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile, NotImplementedError) as error:
        raise _damaged(path, f"its config.json cannot be read: {error}") from error
    if not isinstance(config, dict) or not isinstance(metadata, dict):
        raise _damaged(path, "config.json holds no network")
    return config, str(metadata.get("keras_version", ""))


def _read_hdf5(path: str) -> tuple[dict[str, Any], str]:
    import h5py  # noqa: PLC0415 - comes with TensorFlow; .keras files do without

    try:
        with h5py.File(path, "r") as file:
            raw, version = file.attrs.get("model_config"), file.attrs.get("keras_version", "")
            has_weights = "layer_names" in file.attrs
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise _damaged(path, str(error)) from error
    if raw is None:
        raise Refused(
            "model.format",
            "the file holds weights but no network" if has_weights else "no Keras network in it",
            where=path,
            why="there is no model_config in the HDF5 file",
            fix="build the network in Python, load the weights, and save it whole: model.save(...)",
        )
    try:
        config = json.loads(raw.decode() if isinstance(raw, bytes) else raw)
    except ValueError as error:
        raise _damaged(path, f"its model_config is no JSON: {error}") from error
    if not isinstance(config, dict):
        raise _damaged(path, "model_config holds no network")
    return config, version.decode() if isinstance(version, bytes) else str(version)


def _damaged(path: str, why: str) -> Refused:
    return Refused(
        "model.format",
        "the Keras file is damaged",
        where=path,
        why=why,
        fix="copy it again and compare sizes, or save the model again",
    )
