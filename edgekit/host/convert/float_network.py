# SPDX-License-Identifier: Apache-2.0
"""Read the float network of a conversion: cut, with static shapes, and with the data opened."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from edgekit.data.network_start import (
    Wanted,
    first_steps,
    may_be_pixels,
    steps_from,
    wanted_by,
    wanted_by_weights,
    wanted_pixels,
)
from edgekit.edgetpu.advice import replacement_advice
from edgekit.formats.model_file import ModelFile, read_model_file
from edgekit.formats.tflite import CUSTOM, Model
from edgekit.formats.tflite_metadata import read_files
from edgekit.host.convert.activations import (
    keep_replacements,
    normalization_option,
    parse_replacements,
    replaceable,
    with_replacements,
)
from edgekit.host.convert.blockers import find_blockers
from edgekit.host.convert.child import ConverterChild, Loaded
from edgekit.host.convert.enforce import refuse
from edgekit.host.convert.float_tflite import (
    cut,
    float_model_of,
    refuse_unquantizable,
    tflite_inputs,
    without_hints,
)
from edgekit.host.convert.importer import ImportedModel, ImporterChild
from edgekit.host.convert.on_host import OnHost, on_host
from edgekit.host.convert.options import ConvertOptions
from edgekit.host.convert.preparing import Start
from edgekit.host.convert.samples import Samples
from edgekit.host.convert.shapes import RawInput, parse_input_shapes, static_shapes
from edgekit.host.convert.source_check import (
    SourceAgreement,
    compare_with_source,
    source_inputs,
)
from edgekit.host.convert.source_names import with_source_names
from edgekit.host.convert.sources import SourceFile
from edgekit.host.convert.static_tflite import make_static, require_runnable
from edgekit.host.convert.trained_ranges import stored_ranges, trained_notes
from edgekit.host.convert.ultralytics import UltralyticsNotes, ultralytics_notes
from edgekit.host.convert.ultralytics_head import CutHead, cut_head
from edgekit.host.convert.way_out import FLOAT_FILE, cut_command, tensor_names
from edgekit.rewrite import channels_last, prepare, turn_inputs
from edgekit.rewrite.edit import shapes_hold
from edgekit.tasks.prepare import ULTRALYTICS_REASON, maker_preprocess

_ROOTS = ("RSQRT", "SQRT")  # in normalizations
_COMPARED = 4  # batches to compare with the source


class FloatNetwork:
    """The float network of one source, and what was found when it was read.

    Attributes:
        loader: The library that read the source.
        trained: The ranges of quantization-aware training, by the name of the tensor.
        turned: The names of inputs that are in NHWC now, in NCHW in the source.
        start: The network before every rewrite; None until it is read, or if none is made.
        prepared: The network that is quantized; None until it is read.
        importer: The packages that read the source, if these are not TensorFlow's.
        importer_peak_bytes: The memory of the process that read it.
        source_agreement: How the float .tflite differs from the source in its own runtime.
        noted: What Ultralytics' exporter noted about the network; None for others.
        head: The head of an Ultralytics network without its decoding; None if it is whole.
        stop_early: Whether to refuse a network for rules that the quantized model could break.
    """

    def __init__(
        self,
        source: SourceFile,
        where: str,
        options: ConvertOptions,
        samples: Samples,
        notes: list[str],
    ) -> None:
        self._source, self._where, self._options = source, where, options
        self._samples, self._notes = samples, notes
        self._tflite: ModelFile | None = None  # the source, if it is one
        self.loader = "tflite"
        self.trained: dict[str, tuple[float, float]] = {}
        self.turned: set[str] = set()
        self.start: Start | None = None
        self.prepared: Model | None = None
        self._names: frozenset[str] | None = None  # of the tensors before rewrites
        self.importer: dict[str, str] = {}
        self.importer_peak_bytes = 0
        self.source_agreement: SourceAgreement | None = None
        self.stop_early = True
        self.noted: UltralyticsNotes | None = None
        self.head: CutHead | None = None

    def read(self, child: ConverterChild) -> ModelFile:
        """Return the float .tflite with static shapes; mode ``dynamic`` has int8 weights."""
        if self._source.kind == "tflite":
            return self._read_tflite()
        return self._imported() if self._source.is_foreign else self._to_float(child)

    @property
    def kept_files(self) -> Mapping[str, bytes]:
        """What to attach to the model: the label files of a .tflite, notes of the exporter."""
        if self.noted is not None:
            return self.noted.files(None if self.head is None else self.head.raw)
        source = self.whole_source
        return {} if source is None else read_files(source.given)

    @property
    def on_host(self) -> OnHost | None:
        """What of the network was left to the host; None if nothing was."""
        return None if self.head is None else on_host(self.head.decoding)

    @property
    def whole_source(self) -> ModelFile | None:
        """The source .tflite; None if only a part of it, or another format, is converted."""
        is_cut = self._options.inputs or self._options.outputs
        return None if is_cut else self._tflite

    # -- from a source of TensorFlow

    def _to_float(self, child: ConverterChild) -> ModelFile:
        """Return the float .tflite of a network that TensorFlow reads."""
        options, where = self._options, self._where
        loaded = child.load(options.job(self._source))
        self.loader = loaded.loader
        raw = _raw_inputs(loaded)
        given = parse_input_shapes(options.input_shape)
        shapes = static_shapes(raw, given, options.batch_size, where)
        if not (options.cuts_float(self._source) and options.inputs):
            # Report unusable data before the conversion.
            self._samples.open(raw, shapes, self.turned)
        converted = child.to_float(shapes)
        self._notes.extend(converted.notes)
        self._take_trained(converted.ranges)
        network = ModelFile(converted.content)
        self._names = tensor_names(network.model)
        if options.cuts_float(self._source):
            part = cut(
                network.model, options.inputs, options.outputs, where, self._listing_command()
            )
            return self._from_float(part, tflite_inputs(part))
        model = self._channels_last(network.model, raw)
        if model is not network.model:
            network, shapes = ModelFile.of(model), _input_shapes(model)
            self._samples.open(raw, shapes, self.turned)
        wanted = [wanted_pixels(steps_from(each)) for each in converted.network_start]
        self._samples.pixels.take_others(_other_images(raw, shapes, wanted))
        if shapes and may_be_pixels(shapes[0]):
            first = wanted[0] if wanted else None
            if self._samples.pixels.take_network(first or wanted_by_weights(network.model)):
                self._samples.open(raw, shapes, self.turned)
        return network

    # -- from a source of another framework

    def _imported(self) -> ModelFile:
        """Return the float .tflite of a source that another program converts, compared with it."""
        options, where = self._options, self._where
        source = replace(self._source, trusted=self._source.trusted or options.trust_source)
        with ImporterChild(source, options.converter_python, options.timeout_s, where) as child:
            opened = child.open(options.custom_objects)
            self.loader = opened.loader
            self.noted = ultralytics_notes(opened.properties)
            if self.noted is not None:
                self._samples.pixels.take_noted(self.noted.preprocess, ULTRALYTICS_REASON)
            given = parse_input_shapes(options.input_shape)
            shapes = static_shapes(opened.inputs, given, options.batch_size, where)
            imported = child.to_float(shapes)
            self.importer = child.versions
            self.importer_peak_bytes = child.peak_rss_bytes
            self._notes.extend((*opened.notes, *imported.notes))
            self.trained = imported.ranges
            whole = without_hints(ModelFile(imported.content).model)
            refuse_unquantizable(whole, where)
            whole = with_source_names(whole, [each.name for each in opened.inputs], opened.outputs)
            whole = make_static(whole, _input_shapes(whole), where)
            by_name = dict(zip((each.name for each in opened.inputs), shapes, strict=True))
            raw = tflite_inputs(whole)
            self.turned |= {each.name for each in raw if each.shape != by_name.get(each.name)}
            part = cut(whole, options.inputs, options.outputs, where, self._listing_command())
            part = self._without_decoding(part)
            network = self._from_float(part, tflite_inputs(part))
            self._compare(child, whole, imported, [(each.name, by_name[each.name]) for each in raw])
        return network

    def _without_decoding(self, model: Model) -> Model:
        """End the head of an Ultralytics network before its decoding, unless the user cuts it."""
        options = self._options
        is_asked = options.mode == "int8" and options.fix
        if self.noted is None or options.inputs or options.outputs or not is_asked:
            return model
        self.head = cut_head(model, self.noted.values)
        return model if self.head is None else self.head.model

    def _compare(
        self,
        child: ImporterChild,
        whole: Model,
        imported: ImportedModel,
        inputs: Sequence[tuple[str, tuple[int, ...]]],
    ) -> None:
        """Compare the float .tflite with the source on the first samples, if there are any."""
        if self._samples.calibration is None or self._options.inputs:
            return
        shapes = _input_shapes(whole)
        samples = []
        for batch in itertools.islice(self._samples.calibration.same_batches(), _COMPARED):
            given = source_inputs(batch, [shape for _, shape in inputs])
            samples.append((given, source_inputs(batch, shapes)))
        self.source_agreement = compare_with_source(
            child, whole, imported.operations, samples, self._where
        )

    # -- from a .tflite

    def _read_tflite(self) -> ModelFile:
        """Return a float .tflite, cut and made static as the options require."""
        options, where = self._options, self._where
        file = self._tflite = read_model_file(self._source.file or self._source.path)
        model = float_model_of(file, options.mode)
        self._take_trained({} if file.is_bundle else stored_ranges(file.content))
        noted = maker_preprocess(file, model)
        self._samples.pixels.take_noted(*(("", "") if options.inputs else noted))
        model = cut(model, options.inputs, options.outputs, where, self._listing_command())
        self._names = tensor_names(model)
        if shapes_hold(model):  # else its operators can be judged with true shapes only
            self._require_valid(file if model is file.model else ModelFile.of(model))
            self.refuse(self.replaced(self._turned(model))[0], open_shapes=True)
        refuse_unquantizable(model, where)
        raw = tflite_inputs(model)
        given = parse_input_shapes(options.input_shape)
        shapes = static_shapes(raw, given, options.batch_size, where)
        return self._from_float(make_static(model, shapes, where), raw)

    def _require_valid(self, file: ModelFile) -> None:
        """Refuse operators that no interpreter takes: rewrites and rules rely on sound ones."""
        has_custom = any(op.opcode == CUSTOM for _, _, op in file.model.operators())
        if self._options.mode == "int8" and not has_custom:
            require_runnable(file, self._where)

    def _take_trained(self, ranges: dict[str, tuple[float, float]]) -> None:
        """Keep the ranges of quantization-aware training."""
        self.trained = ranges
        if ranges:
            self._notes.extend(trained_notes(len(ranges), self._options))

    def _listing_command(self) -> str:
        """Return the commands that list the tensors of the source."""
        if self._source.kind == "tflite":
            return f"edgekit inspect {shlex.quote(self._where)}"
        first = f"convert(..., mode='float', output='{FLOAT_FILE}')"  # for a model object
        if self._is_file:
            first = self._options.float_command(self._where)
        return f"{first}, then edgekit inspect {FLOAT_FILE}"

    def measuring_commands(self, output: Path) -> str:
        """Return the commands that compare the model with the float model on other data."""
        is_whole = not (self.turned or self._options.inputs or self._options.outputs)
        has_reference = self._is_file and is_whole
        is_tflite = self._source.kind == "tflite"
        reference = self._where if is_tflite else FLOAT_FILE
        against = ["--against", reference] if has_reference else []
        command = shlex.join(["edgekit", "evaluate", str(output), *against, "--data", "DATA"])
        if is_tflite or not has_reference:
            return command
        return f"{self._options.float_command(self._where)}, then {command}"

    @property
    def _is_file(self) -> bool:
        """Whether the source is a file or folder, not a model object."""
        return str(self._source.path) == self._where

    def _from_float(self, model: Model, raw: Sequence[RawInput]) -> ModelFile:
        """Return a float model with static shapes, and open the data for it."""
        model = self._channels_last(model, raw)
        shapes = _input_shapes(model)
        self._samples.pixels.take_network(wanted_by(model))
        starts = [wanted_pixels(first_steps(model, place)) for place in range(len(raw))]
        self._samples.pixels.take_others(_other_images(raw, shapes, starts))
        self._samples.open(raw, shapes, self.turned)
        return ModelFile.of(model)

    def _channels_last(self, model: Model, raw: Sequence[RawInput]) -> Model:
        """Return ``model`` with inputs in NHWC where NCHW would keep it on the CPU."""
        if self._options.mode != "int8" or not self._options.fix:
            return model
        self.start = Start(model, self._options.io, self.on_host)
        turned = self._turned(model)
        if turned is not model:
            self.start.watch(channels_last.RULE.name, model, turned)
        ends = zip(raw, model.main.inputs, turned.main.inputs, strict=True)
        for each, old, new in ends:
            before, after = model.main.tensors[old], turned.main.tensors[new]
            if before.shape != after.shape:
                self.turned.add(each.name)
                self._notes.append(
                    f"the input {each.name} is {list(after.shape)} now (channels last), in the "
                    f"source {list(before.shape)}: a TRANSPOSE there would keep the network on "
                    "the CPU; --no-fix leaves it"
                )
        return turned

    def _turned(self, model: Model) -> Model:
        fixes = self._options.mode == "int8" and self._options.fix
        return (turn_inputs(model) if fixes else None) or model

    def replaced(self, model: Model) -> tuple[Model, list[str]]:
        """Return ``model`` with activations replaced, and in the forms that can be quantized."""
        forms = parse_replacements(self._options.replace_activations)
        prepared, notes = with_replacements(model, forms, self._prepared, self._watch_replaced)
        self.prepared = prepared
        return prepared, notes

    def _watch_replaced(self, before: Model, after: Model) -> None:
        if self.start is not None:
            self.start.watch("replace-activations", before, after)

    def _prepared(self, model: Model) -> Model:
        prepares = self._options.mode == "int8" and self._options.fix
        watch = None if self.start is None else self.start.watch
        return prepare(model, watch) if prepares else model

    def refuse(self, model: Model, *, open_shapes: bool = False) -> None:
        """Refuse a network that cannot become an Edge TPU model.

        Raises:
            NotEdgeTpuModelError: It cannot; ``issues`` lists all reasons.
        """
        if self._options.mode != "int8":
            return
        io = self._options.io
        found = find_blockers(model, io, open_shapes=open_shapes)
        certain = [each for each in found if not each[1].code.startswith(("quant.", "io."))]
        if not found or not (certain or self.stop_early):
            return  # rules for the quantized model are checked on it
        blockers = {index for index, _ in found if index is not None}
        given = self._options.replace_activations
        kinds = replaceable(model, blockers)
        issues = []
        for index, each in found:
            fix = each.fix
            if index in kinds:
                fix = replacement_advice(model.main.operators[index].label, kinds[index])
            issues.append(replace(each, fix=keep_replacements(fix, given)))
        refuse(issues, self._where, way_out=self._way_out(model, blockers))

    def advice(self, opcode: str, fix: str) -> str:
        """Return what to print as the fix for an operator of the int8 model that does not map."""
        if opcode in _ROOTS and self.prepared is not None:
            option = normalization_option(self.prepared)
            fix = f"{opcode}: {option}" if option else fix
        return keep_replacements(fix, self._options.replace_activations)

    def _way_out(self, model: Model, blockers: set[int]) -> str:
        """Return the commands that convert the part without ``blockers``; empty if none do."""
        options = self._options
        is_frozen = self._source.kind == "frozen_graph"  # it is cut by its own graph's names
        if options.inputs or options.outputs or self.turned or not self._is_file:
            return ""
        part = cut_command(
            model,
            blockers,
            options.io,
            FLOAT_FILE if is_frozen else self._where,
            options.part_words(self._source),
            self._names,
        )
        first = f"{options.float_command(self._where)}, then " if is_frozen else ""
        return f"or convert the part without these: {first}{part}" if part else ""


def _other_images(
    raw: Sequence[RawInput], shapes: Sequence[tuple[int, ...]], wanted: Sequence[Wanted | None]
) -> dict[int, tuple[str, Wanted | None]]:
    """Return the inputs after the first that can be images: by index, name and what each shows."""
    return {
        place: (raw[place].name, wanted[place])
        for place in range(1, min(len(raw), len(wanted)))
        if may_be_pixels(shapes[place])
    }


def _raw_inputs(loaded: Loaded) -> list[RawInput]:
    return [
        RawInput(
            each["name"], None if each["shape"] is None else tuple(each["shape"]), each["dtype"]
        )
        for each in loaded.inputs
    ]


def _input_shapes(model: Model) -> list[tuple[int, ...]]:
    return [model.main.tensors[index].shape for index in model.main.inputs]
