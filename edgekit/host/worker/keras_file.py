# SPDX-License-Identifier: Apache-2.0
"""Load Keras files of every version: with Keras 3, or with tf_keras if Keras 3 refuses."""

from __future__ import annotations

import importlib
import inspect
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

from edgekit.host.worker.custom_objects import custom_objects, hub_objects
from edgekit.host.worker.keras_config import SUFFIXES, read_config
from edgekit.host.worker.refused import Refused
from edgekit.host.worker.source import Function, Source, TensorSpec, short
from edgekit.host.worker.unsafe import refuse_code

# What Keras raises on files of another major version: the first error that its code runs into.
_REFUSALS = (
    ArithmeticError,
    AttributeError,
    ImportError,
    LookupError,
    NotImplementedError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
)
# The messages with which the versions of Keras refuse to run code from the file.
_SAFE_MODE = re.compile(r"safe_mode=False|enable_unsafe_deserialization|not a modeling function")
_UNKNOWN_CLASS = re.compile(r"(?:Unknown layer:|Could not locate class) '?([\w>]+)")


def load_keras(
    path: str, *, trust_source: bool, modules: Sequence[str] = (), folder: str = ""
) -> Source:
    """Load a ``.keras`` or HDF5 file.

    Args:
        path: The file.
        trust_source: Whether code in it may run.
        modules: The user's modules with classes that it names.
        folder: Where such modules may be.

    Raises:
        Refused: The file contains code, is damaged, or no installed Keras can read it.
    """
    config = read_config(path)
    known = {**hub_objects(config.network, path), **custom_objects(modules, folder)}
    if not trust_source:
        refuse_code(config.network, path, frozenset(known))
    failures: list[tuple[str, BaseException]] = []
    # Keras chooses its reader by the suffix, so use the suffix of the checked container.
    with tempfile.TemporaryDirectory(prefix="edgekit-") as folder:
        named = os.path.join(folder, "model" + SUFFIXES[config.container])  # noqa: PTH118
        _link(path, named)
        for keras in _generations():
            try:
                model = _load(keras, named, trust_source, known)
            except _REFUSALS as error:
                if not trust_source and _SAFE_MODE.search(str(error)):
                    raise _refused_by_keras(path, keras, error) from error
                failures.append((_name(keras), error))
                continue
            return _source(keras, model, path)
    raise _unreadable(path, config.version, failures)


def _link(path: str, name: str) -> None:
    try:
        os.symlink(os.path.abspath(path), name)  # noqa: PTH100, PTH211
    except OSError:  # Windows, without the privilege
        import shutil  # noqa: PLC0415

        shutil.copyfile(path, name)


def _refused_by_keras(path: str, keras: Any, error: BaseException) -> Refused:  # noqa: ANN401
    """Return a final error: another Keras, which checks less, must not load the file."""
    return Refused(
        "model.unsafe",
        f"{_name(keras)} refuses the file because it would run code",
        where=path,
        why=short(error),
        fix="replace the layer by built-in ones (Rescaling, keras.ops), or, if you trust the "
        "author of the file: --trust-source",
    )


def _generations() -> Iterator[Any]:
    """Yield every Keras of this environment, the newest first."""
    import tensorflow as tf  # noqa: PLC0415

    seen = set()
    for load in (lambda: tf.keras, lambda: importlib.import_module("tf_keras")):
        try:
            keras = load()
        except ImportError:
            continue
        if keras.__version__ not in seen:
            seen.add(keras.__version__)
            yield keras


def _name(keras: Any) -> str:  # noqa: ANN401
    return f"{'keras' if keras.__version__[0] >= '3' else 'tf_keras'} {keras.__version__}"


def _load(keras: Any, path: str, trust_source: bool, known: dict[str, Any]) -> Any:  # noqa: ANN401
    options: dict[str, Any] = {"compile": False, "custom_objects": known}
    if "safe_mode" in inspect.signature(keras.models.load_model).parameters:
        options["safe_mode"] = not trust_source
    return keras.models.load_model(path, **options)


def _source(keras: Any, model: Any, path: str) -> Source:  # noqa: ANN401
    import tensorflow as tf  # noqa: PLC0415

    if not getattr(model, "inputs", None):
        raise Refused(
            "model.unsupported",
            "the model has no defined inputs",
            where=path,
            why="it was saved before it was built",
            fix="call it once on data, or give it an Input, and save it again",
        )
    layers = list(getattr(model, "_flatten_layers", lambda: model.layers)())
    specs = [
        tf.TensorSpec(tensor.shape, tensor.dtype, name=str(tensor.name).split(":")[0])
        for tensor in model.inputs
    ]

    def trace(static: list[TensorSpec]) -> Function:
        _unroll(layers)
        return tf.function(_caller(model)).get_concrete_function(*static)

    names = [(str(layer.name), type(layer).__name__) for layer in layers]
    outputs = [str(name) for name in getattr(model, "output_names", [])]
    return Source(_name(keras), specs, outputs, trace, names)


def _caller(model: Any) -> Any:  # noqa: ANN401
    import tensorflow as tf  # noqa: PLC0415

    # The network's own input structure: a tensor, a list or a dict. No public attribute has it.
    structure = getattr(model, "_inputs_struct", getattr(model, "_nested_inputs", None))

    def call(*tensors: Any) -> Any:  # noqa: ANN401
        if structure is not None:
            inputs = tf.nest.pack_sequence_as(structure, list(tensors))
        else:
            inputs = tensors[0] if len(tensors) == 1 else list(tensors)
        return tf.nest.flatten(model(inputs, training=False))

    return call


def _unroll(layers: list[Any]) -> None:
    """Unroll recurrent layers of fixed length, because the quantizer crashes on loops."""
    for layer in layers:
        if not hasattr(layer, "unroll"):
            continue
        if getattr(layer, "stateful", False):
            raise Refused(
                "model.unsupported",
                f"the layer {layer.name} ({type(layer).__name__}) is stateful",
                why="an Edge TPU model does not keep state between inferences",
                fix="make the state an input and an output of the network, or set stateful=False",
            )
        layer.unroll = True
        # Otherwise the layer uses a fused kernel, which cannot be unrolled (Keras 3; Keras 2).
        if hasattr(layer, "use_cudnn"):
            layer.use_cudnn = False
        if hasattr(layer, "_could_use_gpu_kernel"):
            layer._could_use_gpu_kernel = False  # noqa: SLF001 - there is no public way


def _unreadable(path: str, version: str, failures: list[tuple[str, BaseException]]) -> Refused:
    why = "; ".join(f"{name}: {type(error).__name__}: {short(error)}" for name, error in failures)
    written = f" (written by Keras {version})" if version else ""
    unknown = next(
        (m for _, error in failures for m in [_UNKNOWN_CLASS.search(str(error))] if m), None
    )
    if unknown is not None:
        return Refused(
            "model.unsupported",
            f"the file needs the class {unknown.group(1)}, which is not part of Keras{written}",
            where=path,
            why=why,
            fix="name the module that defines it: --custom-objects package.module; or convert the "
            "model object from Python: edgekit.convert(model, ...); or export a SavedModel: "
            "model.export(FOLDER)",
        )
    return Refused(
        "model.format",
        f"no Keras in this environment can load the file{written}",
        where=path,
        why=why,
        fix="give --converter-python an environment with the Keras that saved it, or save it there "
        "as a SavedModel: model.export(FOLDER)",
    )
