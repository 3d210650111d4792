# SPDX-License-Identifier: Apache-2.0
"""Give the inputs and outputs of an imported network the order and the names of its source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from edgekit.formats.tflite import Model


def with_source_names(model: Model, inputs: Sequence[str], outputs: Sequence[str]) -> Model:
    """Return ``model`` with the source's names, where its signature only numbers them.

    litert-torch calls them ``args_0``, ``args_1`` and ``output_0``; a file has them in any order.

    Args:
        model: A float .tflite.
        inputs: The names in the source; those beyond keep the number.
        outputs: Likewise.
    """
    signature = next(iter(model.signature_defs), None)
    if signature is None:
        return model
    given = _numbered(signature.inputs, "args_")
    answers = _numbered(signature.outputs, "output_")
    if given is None or answers is None:
        return model
    names = [*_named(given, inputs, "input"), *_named(answers, outputs, "output")]
    tensors = list(model.main.tensors)
    for index, name in names:
        tensors[index] = replace(tensors[index], name=name)
    graph = replace(
        model.main,
        tensors=tuple(tensors),
        inputs=tuple(index for _, index in sorted(given.items())),
        outputs=tuple(index for _, index in sorted(answers.items())),
    )
    return replace(model, subgraphs=(graph, *model.subgraphs[1:]), signature_defs=())


def _numbered(names: Mapping[str, int], prefix: str) -> dict[int, int] | None:
    """Return number -> tensor; None if a name is not ``prefix`` and a number."""
    found = {}
    for name, index in names.items():
        number = name.removeprefix(prefix)
        if number == name or not number.isdigit():
            return None
        found[int(number)] = index
    return found


def _named(
    numbered: Mapping[int, int], names: Sequence[str], default: str
) -> list[tuple[int, str]]:
    """Return the tensors and their names."""
    return [
        (index, names[number] if number < len(names) else f"{default}_{number}")
        for number, index in numbered.items()
    ]
