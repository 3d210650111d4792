# SPDX-License-Identifier: Apache-2.0
"""PyTorch's modules and exported programs as objects of this process."""

from __future__ import annotations

import contextlib
import inspect
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from edgekit.errors import InputError, UsageError
from edgekit.host.convert.shapes import Shape


def is_torch(model: Any) -> bool:  # noqa: ANN401 - any object
    """Whether ``model`` is a module or an exported program of PyTorch; this imports nothing."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(model, (torch.nn.Module, torch.export.ExportedProgram))


def save_program(model: Any, shapes: Mapping[str, Shape], path: Path) -> None:  # noqa: ANN401
    """Write a module or an exported program as a .pt2 file.

    Args:
        model: A module is exported as it works in ``eval`` mode; its own mode stays.
        shapes: By the argument of ``forward``; "" is the only one. The inputs are float32.
        path: The file.

    Raises:
        UsageError: The shape of an input is not given.
        InputError: PyTorch cannot export the module.
    """
    import torch  # noqa: PLC0415

    program = model
    if isinstance(model, torch.nn.Module):
        inputs = tuple(torch.zeros(shape) for shape in _shapes_of(model, shapes))
        with _for_inference(model):
            try:
                program = torch.export.export(model, inputs)
            except Exception as error:  # what the module raises, and what torch.export does
                raise InputError(
                    f"PyTorch cannot export {type(model).__name__}",
                    why=" ".join(str(error).split())[:600],
                    fix="check the input shape; export the module yourself "
                    "(torch.export.export), and give the program",
                ) from error
    torch.export.save(program, str(path))


def _shapes_of(module: Any, given: Mapping[str, Shape]) -> list[Shape]:  # noqa: ANN401
    """Return the shapes in the order of the arguments of ``forward``."""
    if set(given) == {""}:
        return [given[""]]
    names = list(inspect.signature(module.forward).parameters)
    unknown = [name for name in given if name not in names]
    if not given or unknown:
        raise UsageError(
            f"{type(module).__name__} has no input {unknown[0]!r}"
            if unknown
            else "a module of PyTorch does not say the shape of its input",
            why=f"its forward has the arguments {', '.join(names)}",
            fix="give it, as the module takes it: input_shape=(1, 3, 224, 224), or for several "
            "inputs input_shape=['left=1,8', 'right=1,4']",
        )
    return [given[name] for name in names if name in given]


@contextlib.contextmanager
def _for_inference(module: Any) -> Iterator[None]:  # noqa: ANN401
    """Let ``module`` work as in inference within the block, and as before after it."""
    training = [each for each in module.modules() if each.training]
    module.eval()
    try:
        yield
    finally:
        for each in training:
            each.training = True
