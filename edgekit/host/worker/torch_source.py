# SPDX-License-Identifier: Apache-2.0
"""PyTorch: exported programs and trusted pickles, converted by litert-torch, run by torch."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.host.worker.importing import Imported
from edgekit.host.worker.refused import Refused
from edgekit.host.worker.torch_archive import damaged
from edgekit.host.worker.torch_archive import refuse_code as refuse_code_in

__all__ = ["TorchSource", "import_packages", "open_source", "refuse_code"]
_HALF = ("float16", "bfloat16")
# If PyTorch's safe reader refuses a pickle, `torch.export.load` reads it again without that reader.
# This variable of PyTorch makes the refusal final.
_SAFE_PICKLES = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
_UNSAFE = "Weights only load failed"  # in the refusal's message


def refuse_code(path: str) -> None:
    """Refuse a file that contains code or names it, and let PyTorch read plain tensors only.

    Raises:
        Refused: It has such an entry, or is damaged.
    """
    refuse_code_in(path)
    os.environ[_SAFE_PICKLES] = "1"


def import_packages() -> None:
    """Import what `open_source` needs.

    Raises:
        ImportError: It is missing or broken.
    """
    import litert_torch  # noqa: F401, PLC0415


def open_source(path: str) -> TorchSource:
    """Read an exported program (.pt2).

    Raises:
        Refused: It is damaged, of a newer PyTorch, or has inputs that are not tensors.
    """
    import torch  # noqa: PLC0415

    _register_others()
    try:
        program = torch.export.load(path)
    except Exception as error:  # of the JSON, the archive, the schema, the operators
        if _UNSAFE in str(error):
            raise Refused(
                "model.unsafe",
                "a pickle in the exported program contains more than tensors",
                where=path,
                why="PyTorch's safe reader refuses it",
                fix="if you trust the author of the file: --trust-source",
            ) from error
        raise damaged(path, error) from error
    return TorchSource(path, program)


class TorchSource:
    """A network as an exported program."""

    def __init__(self, path: str, program: Any) -> None:  # noqa: ANN401 - an ExportedProgram
        self._path, self._program = path, program
        self._notes: list[str] = []
        self._inputs = _tensor_inputs(program, path)
        self._graph: Any = None  # with static shapes, in float32

    def describe(self) -> dict[str, Any]:
        """Return plain values for the parent; unknown dimensions are None."""
        import torch  # noqa: PLC0415

        return {
            "loader": f"litert-torch from an exported program of PyTorch {torch.__version__}",
            "inputs": [
                {
                    "name": name,
                    "shape": [size if isinstance(size, int) else None for size in value.shape],
                    "dtype": _dtype_name(value.dtype),
                }
                for name, value in self._inputs
            ],
            "outputs": _output_names(self._program),
            "notes": self._notes,
            "properties": {},
        }

    def to_float(self, shapes: list[list[int]]) -> Imported:
        """Convert the network with inputs of these shapes."""
        import litert_torch  # noqa: PLC0415
        import torch  # noqa: PLC0415

        module = self._program.module()
        is_half = _to_float32(module)
        if is_half:
            self._notes.append("the network is in float16; it was converted in float32")
        inputs = tuple(
            torch.zeros(shape, dtype=torch.float32 if _is_half(value.dtype) else value.dtype)
            for shape, (_, value) in zip(shapes, self._inputs)  # noqa: B905
        )
        is_dynamic = any(
            not isinstance(size, int) for _, value in self._inputs for size in value.shape
        )
        if is_half or is_dynamic:
            module = torch.export.export(module, inputs).module()
        self._graph = module
        with tempfile.TemporaryDirectory(prefix="edgekit-torch-") as folder:
            path = Path(folder, "model.tflite")
            litert_torch.convert(_flat(module), inputs).export(str(path))
            content = path.read_bytes()
        return Imported(content, [], _operations(module.graph), {})

    def answer(self, arrays: list[Any]) -> list[Any]:
        """Return the outputs of the network in PyTorch."""
        import torch  # noqa: PLC0415

        with torch.no_grad():
            answers = _flat(self._graph)(*_tensors(arrays))
        return [each.numpy() for each in answers]

    def trace(self, names: list[str], arrays: list[Any]) -> dict[str, Any]:
        """Return the values of tensors of the network in PyTorch, by name."""
        import torch  # noqa: PLC0415

        wanted, values = set(names), {}

        class Recorder(torch.fx.Interpreter):  # type: ignore[misc] # torch has no types here
            def run_node(self, n: Any) -> Any:  # noqa: ANN401
                value = super().run_node(n)
                if n.name in wanted:
                    values[n.name] = value.numpy().copy()
                return value

        with torch.no_grad():
            Recorder(self._graph).run(*_tensors(arrays))
        return {name: values[name] for name in names}


def _register_others() -> None:
    """Import packages whose operators a program can name."""
    try:
        import torchvision  # noqa: F401, PLC0415
    except (ImportError, RuntimeError):  # another version than torch's
        return


def _tensor_inputs(program: Any, path: str) -> list[tuple[str, Any]]:  # noqa: ANN401
    """Return the name and the value's description of each input.

    Raises:
        Refused: One is not a tensor.
    """
    nodes = {each.name: each for each in program.graph.nodes if each.op == "placeholder"}
    found = []
    for name in program.graph_signature.user_inputs:
        value = nodes[name].meta.get("val") if isinstance(name, str) else name
        if not hasattr(value, "dtype"):
            raise Refused(
                "model.unsupported",
                f"the input {name} is not a tensor",
                where=path,
                why=f"it is {type(value).__name__}",
                fix="export the network with tensors as inputs only",
            )
        found.append((name, value))
    return found


def _output_names(program: Any) -> list[str]:  # noqa: ANN401
    """Return a name for each output: its key or number in what the network returns."""
    from torch.utils import _pytree as pytree  # noqa: PLC0415

    spec = program.call_spec.out_spec
    leaves = pytree.tree_unflatten([0] * spec.num_leaves, spec)
    paths, _ = pytree.tree_flatten_with_path(leaves)
    # An answer can have numbers and None among its tensors.
    is_tensor = [isinstance(name, str) for name in program.graph_signature.user_outputs]
    keys = [
        "_".join(str(getattr(each, "key", getattr(each, "idx", each))) for each in path)
        for (path, _), wanted in zip(paths, is_tensor)  # noqa: B905
        if wanted
    ]
    return [f"output_{key}" if key.isdigit() else key or "output" for key in keys]


def _to_float32(module: Any) -> bool:  # noqa: ANN401
    """Replace half precision by float32 in a graph module; return whether there was any."""
    import torch  # noqa: PLC0415

    tensors = [*module.parameters(), *module.buffers()]
    found = any(_is_half(each.dtype) for each in tensors)

    def widened(value: Any) -> Any:  # noqa: ANN401
        nonlocal found
        if not isinstance(value, torch.dtype) or not _is_half(value):
            return value
        found = True
        return torch.float32

    for node in module.graph.nodes:
        if node.op == "placeholder" and _is_half(getattr(node.meta.get("val"), "dtype", None)):
            found = True
        node.args = torch.fx.node.map_aggregate(node.args, widened)
        node.kwargs = torch.fx.node.map_aggregate(node.kwargs, widened)
    if found:
        module.float()
        module.recompile()
    return found


def _operations(graph: Any) -> list[tuple[str, str, str, list[str]]]:  # noqa: ANN401
    """Return the operations whose results are real numbers; where they are is not known."""
    import torch  # noqa: PLC0415

    found = []
    for node in graph.nodes:
        value = node.meta.get("val")
        if node.op != "call_function" or not isinstance(value, torch.Tensor):
            continue
        if value.dtype.is_floating_point:
            inputs = [each.name for each in node.all_input_nodes]
            found.append((node.name, _label(node), "", inputs))
    return found


def _label(node: Any) -> str:  # noqa: ANN401
    """Return the operation and its module: "conv2d of features.0.0"."""
    kind = str(node.target).removeprefix("aten.").partition(".")[0]
    stack = [path for path, _ in (node.meta.get("nn_module_stack") or {}).values()]
    module = str(stack[-1]).removeprefix("L['self'].") if stack else ""
    return f"{kind} of {module}" if module else f"{kind} ({node.name})"


def _tensors(arrays: list[Any]) -> list[Any]:
    import torch  # noqa: PLC0415

    return [torch.from_numpy(np.array(each)) for each in arrays]


def _flat(module: Any) -> Any:  # noqa: ANN401
    """Return a module with a tuple of tensors as its answer, in the order of `_output_names`."""
    import torch  # noqa: PLC0415
    from torch.utils import _pytree as pytree  # noqa: PLC0415

    class Flat(torch.nn.Module):  # type: ignore[misc] # torch has no types here
        def __init__(self) -> None:
            super().__init__()
            self.network = module

        def forward(self, *inputs: Any) -> tuple[Any, ...]:  # noqa: ANN401
            leaves = pytree.tree_leaves(self.network(*inputs))
            return tuple(each for each in leaves if isinstance(each, torch.Tensor))

    # The converter names tensors after the class: "network;12", without a module.
    Flat.__module__, Flat.__qualname__ = "builtins", "network"
    return Flat()


def _is_half(dtype: Any) -> bool:  # noqa: ANN401
    return _dtype_name(dtype) in _HALF


def _dtype_name(dtype: Any) -> str:  # noqa: ANN401
    return str(dtype).removeprefix("torch.")
