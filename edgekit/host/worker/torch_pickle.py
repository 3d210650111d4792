# SPDX-License-Identifier: Apache-2.0
"""Pickled networks of PyTorch (.pt, .pth) whose author the user trusts, and TorchScript."""

from __future__ import annotations

import inspect
import zipfile
from typing import Any

from edgekit.host.worker.importing import Imported
from edgekit.host.worker.refused import Refused
from edgekit.host.worker.source import short
from edgekit.host.worker.torch_source import TorchSource, import_packages

__all__ = ["import_packages", "open_source", "refuse_code"]
# Where training programs store the network in a checkpoint, the averaged one first.
_KEYS = ("ema", "model", "net", "network")


def refuse_code(path: str) -> None:
    """Refuse every file: to read it is to run it.

    Raises:
        Refused: Always.
    """
    raise Refused(
        "model.unsafe",
        "a pickle runs code when it is read",
        where=path,
        fix="if you trust the author of the file: --trust-source",
    )


def open_source(path: str) -> PickledSource:
    """Unpickle a network; the caller trusts the file.

    Raises:
        Refused: It is damaged, has weights only, or classes that are not installed.
    """
    import torch  # noqa: PLC0415

    try:
        found = (
            torch.jit.load(path, map_location="cpu")
            if _is_script(path)
            else torch.load(path, map_location="cpu", weights_only=False)
        )
    except ModuleNotFoundError as error:
        raise Refused(
            "tool.missing",
            f"the file needs the package {error.name}, which is not installed",
            where=path,
            why="a pickle has the names of the network's classes, not the classes",
            fix=f"if {error.name} is in this folder: --custom-objects {error.name}; or install it "
            "in an environment with litert-torch, and name its Python: --converter-python PATH; or "
            "export the network where it was trained",
        ) from error
    except Exception as error:  # a pickle raises what its classes raise
        raise Refused(
            "model.format",
            "the file of PyTorch cannot be read",
            where=path,
            why=short(error) or type(error).__name__,
            fix="copy it again, or save the network again",
        ) from error
    return PickledSource(path, _network(found, path))


class PickledSource:
    """A network as a Python object, which is exported when its shapes are known."""

    def __init__(self, path: str, module: Any) -> None:  # noqa: ANN401 - a torch.nn.Module
        self._path, self._module = path, module
        self._exported: TorchSource | None = None

    def describe(self) -> dict[str, Any]:
        """Return plain values for the parent; the shapes of the inputs are None."""
        import torch  # noqa: PLC0415

        module = self._module
        return {
            "loader": f"litert-torch from {type(module).__name__}, PyTorch {torch.__version__}",
            "inputs": [
                {"name": name, "shape": None, "dtype": "float32"} for name in _arguments(module)
            ],
            "outputs": [],
            "notes": [],
            "properties": {},
        }

    def to_float(self, shapes: list[list[int]]) -> Imported:
        """Convert the network with inputs of these shapes."""
        import torch  # noqa: PLC0415

        inputs = tuple(torch.zeros(shape) for shape in shapes)
        self._exported = TorchSource(self._path, _program(self._module, inputs))
        return self._exported.to_float(shapes)

    def answer(self, arrays: list[Any]) -> list[Any]:
        """Return the outputs of the network in PyTorch."""
        return self._required().answer(arrays)

    def trace(self, names: list[str], arrays: list[Any]) -> dict[str, Any]:
        """Return the values of tensors of the network in PyTorch, by name."""
        return self._required().trace(names, arrays)

    def _required(self) -> TorchSource:
        if self._exported is None:
            raise Refused("usage", "the network is not converted yet")
        return self._exported


def _program(module: Any, inputs: tuple[Any, ...]) -> Any:  # noqa: ANN401
    import torch  # noqa: PLC0415

    if isinstance(module, torch.jit.ScriptModule):
        from torch._export.converter import TS2EPConverter  # noqa: PLC0415

        return TS2EPConverter(module, inputs).convert()
    return torch.export.export(module, inputs)


def _is_script(path: str) -> bool:
    """Whether the file is TorchScript: an archive with code."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.partition("/")[2].startswith("code/") for name in archive.namelist())


def _network(found: Any, path: str) -> Any:  # noqa: ANN401
    """Return the network in what a file contained, in float32, for inference.

    Raises:
        Refused: There is none.
    """
    import torch  # noqa: PLC0415

    inside = found if isinstance(found, dict) else {}
    for each in (found, *(inside.get(key) for key in _KEYS)):
        if isinstance(each, torch.nn.Module):
            return each.float().eval()
    raise Refused(
        "model.format",
        "the file has weights only, not the network's operations",
        where=path,
        why=f"it contains {type(found).__name__} with {', '.join(map(str, list(inside)[:3]))} ...",
        fix="in Python: build the network, load_state_dict(torch.load(path)), and "
        "edgekit.convert(network, input_shape=..., data=..., output=...)",
    )


def _arguments(module: Any) -> list[str]:  # noqa: ANN401
    """Return the names of the arguments of ``forward`` that must be given."""
    import torch  # noqa: PLC0415

    if isinstance(module, torch.jit.ScriptModule):
        schema = module.forward.schema
        return [each.name for each in schema.arguments[1:] if not each.has_default_value()]
    parameters = inspect.signature(module.forward).parameters.values()
    plain = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    named = [each.name for each in parameters if each.kind in plain and each.default is each.empty]
    return named or ["input"]
