# SPDX-License-Identifier: Apache-2.0
"""Find code that a Keras file contains or names in its configuration, before Keras loads it.

Keras finds a class or function by ``module`` and ``class_name`` ("keras" with "layers.Lambda" is
also a Lambda), by ``registered_name``, and for ``"class_name": "function"`` by ``config``. All of
these must be in a list of the parts of networks.
"""

from __future__ import annotations

import builtins
import re
from collections.abc import Iterator
from typing import Any

from edgekit.host.worker.refused import Refused

# Classes whose configuration contains marshalled or pickled code, a path to load more from, or the
# name of an attribute to call.
_CODE_CLASSES = {
    "Lambda": "a Lambda layer contains Python code",
    "__lambda__": "a lambda is Python code",
    "TorchModuleWrapper": "it contains a pickled PyTorch module",
    "TFSMLayer": "it loads another SavedModel from a path",
    "JaxLayer": "it contains serialized JAX code",
    "FlaxLayer": "it contains serialized JAX code",
    "ClassMethod": "it calls a method by its name",
    "InstanceMethod": "it calls a method by its name",
    "InstanceProperty": "it reads an attribute by its name",
}
# Keras imports the module that a configuration names. Only Keras's own modules for the parts of
# networks have no side effects: keras.utils, keras.saving and keras.config read files, download,
# and switch off Keras's own safe mode (CVE-2025-8747, CVE-2025-9906).
_KERAS = re.compile(
    r"(tensorflow\.|tensorflow\.python\.)?(tf_)?keras(\.src|\.api|\._tf_keras\.keras)*\."
)
_KERAS_PARTS = frozenset(
    (
        "activations",
        "backend.common",
        "constraints",
        "dtype_policies",
        "engine",
        "feature_column",
        "initializers",
        "layers",
        "legacy.layers",
        "losses",
        "metrics",
        "mixed_precision",
        "models",
        "nn",
        "ops",
        "optimizers",
        "premade_models",
        "quantizers",
        "random",
        "regularizers",
        "trainers",
    )
)
_ROOT_CLASS = re.compile(r"[A-Z]\w*")  # keras.Sequential, keras.DTypePolicy
# Besides its classes, keras.models has functions that load files.
_FILE_FUNCTION = re.compile(r"(load|save|clone|model_from)(_\w+)?|get_file")
# Functions of TensorFlow that Keras 2 calls by name while it rebuilds a network (TFOpLambda).
_TF_FUNCTION = re.compile(
    r"(compat\.v1\.)?((math|nn|image|linalg|signal|bitwise|quantization|__operators__|dtypes|random"
    r"|strings|sets|sparse|ragged|experimental\.numpy|keras\.backend|keras\.activations)\.)?"
    r"[a-z_]\w*"
)
_TF_FORBIDDEN = re.compile(
    r"(.*\.)?(py_func\w*|py_function|numpy_function|load_\w+|function|print|map_fn|\w*read_file"
    r"|\w*write_file|matching_files|save\w*|restore\w*|import_\w+|device|assert_\w+_file\w*)"
)
_CALLS_TF = ("TFOpLambda", "SlicingOpLambda")
_VOCABULARIES = ("StringLookup", "IntegerLookup", "TextVectorization", "IndexLookup")


def refuse_code(config: dict[str, Any], path: str, known: frozenset[str] = frozenset()) -> None:
    """Refuse a configuration that makes Keras run code from the file or chosen by it.

    Args:
        config: The network.
        path: The file, for the message.
        known: Names of classes and functions that are given to Keras, which looks there first.

    Raises:
        Refused: The configuration does this; the message names each layer.
    """
    found = list(dict.fromkeys(_code_in(config, known)))
    if found:
        raise Refused(
            "model.unsafe",
            "loading this file would run code that it contains: " + "; ".join(found),
            where=path,
            why="the author of the file chose that code",
            fix="replace the layer by built-in ones (Rescaling, keras.ops), or, if you trust the "
            "author of the file: --trust-source",
        )


def _code_in(root: Any, known: frozenset[str]) -> Iterator[str]:  # noqa: ANN401 - a walk over JSON
    """Yield the problems in the order of the file; nesting may be deeper than Python's stack."""
    pending: list[tuple[Any, str]] = [(root, "")]
    while pending:
        node, layer = pending.pop()
        if isinstance(node, list):
            pending.extend((item, layer) for item in reversed(node))
        if not isinstance(node, dict):
            continue
        config = node.get("config")
        if isinstance(config, dict) and isinstance(config.get("name"), str):
            layer = config["name"]
        title = layer or str(node.get("class_name", ""))
        yield from (f"{title} ({reason})" for reason in _reasons(node, known))
        pending.extend((item, layer) for item in reversed(list(node.values())))


def _reasons(node: dict[str, Any], known: frozenset[str]) -> Iterator[str]:
    # Every name by which Keras may find the class.
    keys = ("class_name", "registered_name", "spec_name")
    names = [node[key] for key in keys if isinstance(node.get(key), str)]
    plain = [re.split(r"[.>]", name)[-1] for name in names]
    config = node.get("config")
    yield from dict.fromkeys(_CODE_CLASSES[name] for name in plain if name in _CODE_CLASSES)
    # In wrapper cells of Keras 2 and in Lambda, a field *_type announces code.
    for key, value in node.items():
        if key.endswith("_type") and value == "lambda":
            yield f"its {key} is a lambda"
    module = node.get("module")
    if isinstance(module, str) and names and not any(name in _CODE_CLASSES for name in plain):
        called = config if node.get("class_name") == "function" else None
        for name in [str(called)] if called is not None else names:
            if re.split(r"[.>]", name)[-1] in known:
                continue
            yield from _import_reasons(module, name)
    fields = config if isinstance(config, dict) else {}
    if any(name in _CALLS_TF for name in plain):
        function = str(fields.get("function", ""))
        if not _TF_FUNCTION.fullmatch(function) or _TF_FORBIDDEN.fullmatch(function):
            yield f"it calls tf.{function}"
    if any(name in _VOCABULARIES for name in plain) and isinstance(fields.get("vocabulary"), str):
        yield f"it reads the file {fields['vocabulary']}"


def _import_reasons(module: str, name: str) -> Iterator[str]:
    """Yield why Keras must not look up ``name`` in ``module``."""
    plain = name.rpartition(">")[2]
    if not plain.isidentifier():  # Keras 2 would follow "os.system" in any module's globals
        yield f"{name} is not the name of a class or function"
        return
    if module == "builtins":  # Keras's name for its own functions; old versions import it
        if hasattr(builtins, plain):
            yield f"{name} is a function of Python"
        return
    prefix = _KERAS.match(f"{module}.")
    if prefix is None:
        yield f"{name} would be imported from the module {module}"
        return
    inside = f"{module}."[prefix.end() :]
    is_known = any(inside.startswith(f"{part}.") for part in _KERAS_PARTS)
    is_root_class = not inside and _ROOT_CLASS.fullmatch(plain)
    if not (is_known or is_root_class) or _FILE_FUNCTION.fullmatch(plain):
        yield f"{name} of {module} is not a part of a network"
