# SPDX-License-Identifier: Apache-2.0
"""SavedModels. Loading one runs TensorFlow operations of its graph, never Python from it.

Operations that would write files are refused first (`graph_ops`).
"""

from __future__ import annotations

from typing import Any

from edgekit.host.worker.graph_ops import refuse_side_effects, refuse_stray_savers
from edgekit.host.worker.refused import Refused
from edgekit.host.worker.source import Function, Source, TensorSpec, short


def load_saved_model(path: str, *, signature: str | None, trust_source: bool) -> Source:
    """Load a SavedModel and its signature: the named one, ``serving_default``, or the only one.

    Raises:
        Refused: The folder is damaged, its graph would write files, or the choice is not clear.
    """
    import tensorflow as tf  # noqa: PLC0415
    from tensorflow.python.saved_model import loader_impl  # noqa: PLC0415

    try:
        if not trust_source:
            parsed = loader_impl.parse_saved_model(path)
            refuse_side_effects((meta.graph_def for meta in parsed.meta_graphs), path)
            refuse_stray_savers(parsed.meta_graphs, path)
        loaded = tf.saved_model.load(path)
    except (OSError, ValueError, RuntimeError, KeyError, tf.errors.OpError) as error:
        raise Refused(
            "model.format",
            "the SavedModel cannot be loaded",
            where=path,
            why=f"{type(error).__name__}: {short(error)}",
            fix="check that variables/ is next to saved_model.pb, or export the model again",
        ) from error
    name = _choose(list(loaded.signatures), signature, path)
    function = loaded.signatures[name]
    specs = _specs(function)

    def trace(static: list[TensorSpec]) -> Function:
        def call(*tensors: Any) -> Any:  # noqa: ANN401
            # This reference keeps ``loaded`` alive: it owns the variables.
            outputs = loaded.signatures[name](**dict(zip(specs, tensors)))  # noqa: B905
            return [outputs[key] for key in sorted(outputs)]

        return tf.function(call).get_concrete_function(*static)

    outputs = sorted(function.structured_outputs)
    loader = f"tensorflow {tf.__version__}, signature {name}"
    return Source(loader, list(specs.values()), outputs, trace, [])


def _specs(function: Function) -> dict[str, TensorSpec]:
    import tensorflow as tf  # noqa: PLC0415

    named = function.structured_input_signature[1]
    return {key: tf.TensorSpec(spec.shape, spec.dtype, name=key) for key, spec in named.items()}


def _choose(names: list[str], wanted: str | None, path: str) -> str:
    default = "serving_default"
    if wanted is None and (default in names or len(names) == 1):
        return default if default in names else names[0]
    if wanted in names and wanted is not None:
        return wanted
    if not names:
        raise Refused(
            "model.unsupported",
            "the SavedModel does not have a signature",
            where=path,
            fix="export it with one: tf.saved_model.save(model, FOLDER, signatures=...), or "
            "model.export(FOLDER)",
        )
    missing = "is not clear" if wanted is None else f"{wanted!r} does not exist"
    raise Refused(
        "model.unsupported" if wanted is None else "usage",
        f"the signature to convert {missing}",
        where=path,
        why=f"the SavedModel has {sorted(names)}",
        fix=f"--signature {sorted(names)[0]}",
    )
