# SPDX-License-Identifier: Apache-2.0
"""ONNX files: made float32 and static, converted by onnx2tf, run by onnxruntime."""

from __future__ import annotations

import json
import os
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.host.worker.importing import Imported
from edgekit.host.worker.memory import bounded_memory
from edgekit.host.worker.onnx_ranges import Ranges, without_quantization
from edgekit.host.worker.refused import Refused
from edgekit.host.worker.source import short

# ONNX's own operators, and those that onnxruntime's quantizer and exporters add.
_DOMAINS = ("", "ai.onnx")
_IMAGE_RANK, _COLOURS = 4, (1, 3, 4)
_FLOAT16, _FLOAT = 10, 1  # onnx.TensorProto


def import_packages() -> None:
    """Import what `open_source` needs.

    Raises:
        ImportError: It is missing or broken.
    """
    import onnx2tf  # noqa: F401, PLC0415
    import onnxruntime  # noqa: F401, PLC0415


def refuse_code(path: str) -> None:
    """Do nothing: an ONNX file has no code."""


def open_source(path: str) -> OnnxSource:
    """Read an ONNX file, with the weights in files beside it.

    Raises:
        Refused: It is damaged, names files elsewhere, or has operators that are not ONNX's.
    """
    import onnx  # noqa: PLC0415

    with bounded_memory(os.path.dirname(path) if _has_weights_beside(path) else path):  # noqa: PTH120
        try:
            model = onnx.load(path, load_external_data=False)
        except Exception as error:
            raise _damaged(path, error) from error
        _check_external(model, path)
        try:
            onnx.load_external_data_for_model(model, os.path.dirname(path))  # noqa: PTH120
            onnx.checker.check_model(model)
        except Exception as error:
            raise _damaged(path, error) from error
    model, ranges = without_quantization(model)
    foreign = [node for node in model.graph.node if node.domain not in _DOMAINS]
    if foreign:
        node = foreign[0]
        raise Refused(
            "model.unsupported",
            f"the operator {node.op_type} of {node.domain} is not one of ONNX's",
            where=f"{path}, {node.name or node.output[0]}",
            why=f"{len(foreign)} of {len(model.graph.node)} operators are of other domains",
            fix="export the network without onnxruntime's optimizations and without custom "
            "operators, or end it before them",
        )
    return OnnxSource(path, model, ranges)


class OnnxSource:
    """A network in ONNX."""

    def __init__(
        self,
        path: str,
        model: Any,  # noqa: ANN401 - a ModelProto
        ranges: Ranges,
    ) -> None:
        self._path = path
        self._notes: list[str] = []
        self._opset = max(
            (each.version for each in model.opset_import if not each.domain), default=0
        )
        self._properties = {each.key: each.value for each in model.metadata_props}
        self._producer = model.producer_name
        self._ranges = ranges
        if self._ranges:
            self._notes.append(
                f"the ranges of {len(self._ranges)} tensors are those of the quantized ONNX file "
                "(QuantizeLinear), not of the calibration samples"
            )
        if _to_float32(model):
            self._notes.append("the network is in float16; it was converted in float32")
        self._model = model
        self._static: Any = None
        self._sessions: dict[tuple[str, ...], Any] = {}

    def describe(self) -> dict[str, Any]:
        """Return plain values for the parent; unknown dimensions are None."""
        loader = f"onnx2tf from ONNX, opset {self._opset}"
        return {
            "loader": loader + (f", by {self._producer}" if self._producer else ""),
            "inputs": [_described(each) for each in self._inputs(self._model)],
            "outputs": [each.name for each in self._model.graph.output],
            "notes": self._notes,
            "properties": self._properties,
        }

    def to_float(self, shapes: list[list[int]]) -> Imported:
        """Convert the network with inputs of these shapes."""
        self._static = model = self._with_shapes(shapes)
        with tempfile.TemporaryDirectory(prefix="edgekit-onnx-") as folder:
            return self._converted(model, Path(folder))

    def answer(self, arrays: list[Any]) -> list[Any]:
        """Return the outputs of the network in onnxruntime."""
        return [np.asarray(each) for each in self._run((), arrays)]

    def trace(self, names: list[str], arrays: list[Any]) -> dict[str, Any]:
        """Return the values of tensors of the network in onnxruntime, by name."""
        values = self._run(tuple(names), arrays)
        return {name: np.asarray(each) for name, each in zip(names, values)}  # noqa: B905

    def _run(self, names: tuple[str, ...], arrays: list[Any]) -> list[Any]:
        import onnx  # noqa: PLC0415
        import onnxruntime  # noqa: PLC0415

        if names not in self._sessions:
            model = onnx.ModelProto()
            model.CopyFrom(self._static)
            if names:
                del model.graph.output[:]
                model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
            options = onnxruntime.SessionOptions()
            options.log_severity_level = 3
            try:
                self._sessions[names] = onnxruntime.InferenceSession(
                    model.SerializeToString(), options, providers=["CPUExecutionProvider"]
                )
            except Exception as error:  # onnxruntime's errors have no common base
                raise Refused(
                    "model.unsupported",
                    "onnxruntime cannot run the network",
                    where=self._path,
                    why=short(error),
                    fix="export it again; check the file: onnx.checker.check_model",
                ) from error
        session = self._sessions[names]
        inputs = self._inputs(self._static)
        feeds = {each.name: array for each, array in zip(inputs, arrays)}  # noqa: B905
        answers: list[Any] = session.run(list(names) or None, feeds)
        return answers

    def _converted(self, model: Any, folder: Path) -> Imported:  # noqa: ANN401
        import onnx  # noqa: PLC0415
        import onnx2tf  # noqa: PLC0415

        source = folder / "model.onnx"
        onnx.save(model, str(source))
        # The converter writes files with relative names: not into the user's folder. It starts
        # onnxsim, which is in its own environment, by name.
        os.chdir(folder)
        programs = sysconfig.get_path("scripts")
        os.environ["PATH"] = os.pathsep.join([programs, os.environ.get("PATH", os.defpath)])
        try:
            onnx2tf.convert(
                input_onnx_file_path=str(source),
                output_folder_path=str(folder / "out"),
                copy_onnx_input_output_names_to_tflite=True,
                keep_shape_absolutely_input_names=self._kept_as_they_are(model) or None,
                non_verbose=True,
                verbosity="error",
            )
        except SystemExit as error:
            raise RuntimeError(f"onnx2tf ended with status {error.code}") from error
        finally:
            os.chdir("/")
        found = sorted((folder / "out").glob("*_float32.tflite"))
        if not found:
            raise RuntimeError("onnx2tf wrote no float32 .tflite")
        operations = _operations(folder / "out", model)
        in_tflite = {name: there for name, _, there, _ in operations}
        ranges = {in_tflite.get(name, name): each for name, each in self._ranges.items()}
        return Imported(found[0].read_bytes(), [], operations, ranges)

    def _with_shapes(self, shapes: list[list[int]]) -> Any:  # noqa: ANN401
        """Return the network with static inputs; its other shapes are inferred."""
        import onnx  # noqa: PLC0415

        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        for each, shape in zip(self._inputs(model), shapes):  # noqa: B905
            dims = each.type.tensor_type.shape
            del dims.dim[:]
            for size in shape:
                dims.dim.add().dim_value = size
        # Shapes of the source may hold for another batch only.
        del model.graph.value_info[:]
        for each in model.graph.output:
            for dim in each.type.tensor_type.shape.dim:
                dim.Clear()
        try:
            return onnx.shape_inference.infer_shapes(model, data_prop=True)
        except Exception as error:
            raise Refused(
                "model.unsupported",
                f"the network does not work with inputs of shape {shapes}",
                where=self._path,
                why=short(error),
                fix="give the shape that it was exported with: --input-shape",
            ) from error

    def _kept_as_they_are(self, model: Any) -> list[str]:  # noqa: ANN401 - a ModelProto
        """Return the inputs whose axes must stay: the converter takes all for channels first.

        Of the others, images in NCHW, nobody could mistake the shape before for that after it.
        """
        shapes = {
            each.name: [dim.dim_value for dim in each.type.tensor_type.shape.dim]
            for each in self._inputs(model)
        }
        return [name for name, shape in shapes.items() if not _is_channels_first(shape)]

    @staticmethod
    def _inputs(model: Any) -> list[Any]:  # noqa: ANN401
        stored = {each.name for each in model.graph.initializer}
        return [each for each in model.graph.input if each.name not in stored]


def _is_channels_first(shape: list[int]) -> bool:
    if len(shape) != _IMAGE_RANK or len(set(shape[1:])) == 1:
        return False
    return shape[1] in _COLOURS or shape[-1] not in _COLOURS


def _has_weights_beside(path: str) -> bool:
    return any(os.path.exists(path + suffix) for suffix in (".data", "_data"))  # noqa: PTH110


def _damaged(path: str, error: Exception) -> Refused:
    return Refused(
        "model.format",
        "the ONNX file cannot be read",
        where=path,
        why=short(error),
        fix="copy it again with the weights beside it (.data), or export the network again",
    )


def _check_external(model: Any, path: str) -> None:  # noqa: ANN401
    """Refuse weights in files outside of the folder of the model."""
    from onnx.external_data_helper import (  # noqa: PLC0415
        ExternalDataInfo,
        uses_external_data,
    )

    folder = Path(path).resolve().parent
    for tensor in model.graph.initializer:
        if not uses_external_data(tensor):
            continue
        place = (folder / ExternalDataInfo(tensor).location).resolve()
        if folder not in place.parents:
            raise Refused(
                "model.unsafe",
                "the ONNX file names weights outside of its folder",
                where=path,
                why=f"{tensor.name} is in {place}",
                fix="save it again with its weights in the file or beside it",
            )
        if not place.is_file():
            raise Refused(
                "model.format",
                "the file with the weights is missing",
                where=str(place),
                why=f"{tensor.name} of {path} is stored there",
                fix="copy it beside the .onnx, or save the model as one file",
            )


def _described(info: Any) -> dict[str, Any]:  # noqa: ANN401 - a ValueInfoProto
    import onnx  # noqa: PLC0415

    kind = info.type.tensor_type
    shape = None
    if kind.HasField("shape"):
        shape = [each.dim_value if each.dim_value > 0 else None for each in kind.shape.dim]
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
    return {"name": info.name, "shape": shape, "dtype": np.dtype(dtype).name}


def _operations(
    folder: Path,
    model: Any,  # noqa: ANN401 - a ModelProto
) -> list[tuple[str, str, str, list[str]]]:
    """Return onnx2tf's record of which tensor of the .tflite is which of the source."""
    found = sorted(folder.glob("*_tensor_correspondence_report.json"))
    records = json.loads(found[0].read_text())["records"] if found else []
    computed = {name for node in model.graph.node for name in node.output}
    return [
        (
            each["onnx_output_name"],
            f"{each['onnx_op_type']} {each['onnx_op_name']}".strip(),
            each["resolved_tflite_tensor_name"],
            [],
        )
        for each in records
        # The converter simplifies the network first, and gives some tensors names of its own.
        if each["exists_in_final_model"] and each["onnx_output_name"] in computed
    ]


def _to_float32(model: Any) -> bool:  # noqa: ANN401
    """Replace float16 by float32 in the main graph; return whether there was any."""
    import onnx  # noqa: PLC0415
    from onnx import numpy_helper  # noqa: PLC0415

    def widen(tensor: Any) -> bool:  # noqa: ANN401
        if tensor.data_type != _FLOAT16:
            return False
        name = tensor.name
        tensor.CopyFrom(
            numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), name)
        )
        return True

    graph = model.graph
    found = [widen(each) for each in graph.initializer]
    for info in (*graph.input, *graph.output, *graph.value_info):
        if info.type.tensor_type.elem_type == _FLOAT16:
            info.type.tensor_type.elem_type = _FLOAT
            found.append(True)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                found.append(widen(attribute.t))
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == _FLOAT16:
                attribute.i = _FLOAT
                found.append(True)
    return any(found)
