# SPDX-License-Identifier: Apache-2.0
"""Convert a trained network to a checked int8 model: all of `edgekit convert`."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from edgekit import files
from edgekit.data import Dataset, Preprocess, read_labels
from edgekit.edgetpu.macs import model_macs
from edgekit.errors import EdgeKitError, UsageError
from edgekit.evaluate.gates import Gates
from edgekit.evaluate.outputs import Agreement
from edgekit.formats.model_file import ModelFile
from edgekit.formats.tflite import Model, write_model
from edgekit.host.convert.calibration import Calibration, num_trials
from edgekit.host.convert.child import ConverterChild, LayerStatistics
from edgekit.host.convert.enforce import enforce, lower_versions
from edgekit.host.convert.float_network import FloatNetwork
from edgekit.host.convert.improve.improve import Improvement, Improver
from edgekit.host.convert.improve.limits import limit_values
from edgekit.host.convert.improve.trial import wide_outputs
from edgekit.host.convert.judging import Judging, open_notes
from edgekit.host.convert.options import CALIBRATED, MODES, ConvertOptions, shape_words
from edgekit.host.convert.outcome import Outcome, outcome_of, slower_note
from edgekit.host.convert.quantizers import Quantizer, choose_quantizer
from edgekit.host.convert.recipe import Recipe
from edgekit.host.convert.result import ConvertResult, endpoints
from edgekit.host.convert.rewriting import Rewritten, apply_rewrites
from edgekit.host.convert.samples import Samples
from edgekit.host.convert.sources import SourceFile, find_source, saved_object
from edgekit.host.convert.static_tflite import (
    fold_constants,
    refuse_nan,
    require_runnable,
)
from edgekit.host.convert.suspect import Batches, with_suspect
from edgekit.host.convert.trained_ranges import with_trained_ranges
from edgekit.host.convert.training_data import LEAST_SAMPLES, unlike_training
from edgekit.host.convert.use import check_labels, folder_notes, names_of, order_notes, with_use
from edgekit.host.worker.trained_statistics import SpreadSamples
from edgekit.progress import Progress, no_progress
from edgekit.rewrite import (
    changes_scale,
    fix_copied_scales,
    slice_partial_splits,
)
from edgekit.rewrite.outputs import separate_outputs
from edgekit.rewrite.saturation import drop_unreachable_bounds
from edgekit.version import __version__

_FEW = 4  # batches to prove changes on
_SOME = 32  # batches that show which scores are far beyond what matters

__all__ = ["MODES", "ConvertOptions", "ConvertResult", "convert"]


def convert(  # noqa: PLR0913 - public: its options are keywords
    source: Any,  # noqa: ANN401 - a path, or a model of Keras or PyTorch
    *,
    data: Any = None,  # noqa: ANN401 - anything that open_dataset takes
    output: files.PathLike,
    preprocess: str | Preprocess | None = None,
    num_samples: int = 100,
    batch_size: int = 1,
    input_shape: str | Sequence[str] | Sequence[int] | None = None,
    signature: str | None = None,
    inputs: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    io: str = "uint8",
    mode: str = "int8",
    converter_python: files.PathLike | None = None,
    trust_source: bool = False,
    timeout_s: float | None = None,
    replace_activations: str | None = None,
    min_agreement: float | None = None,
    min_snr_db: float | None = None,
    labels: files.PathLike | Sequence[str] | None = None,
    progress: Progress | None = None,
    fix: bool = True,
    stop_early: bool = True,
    plain: bool = False,
    clip_logits: bool = False,
    normalize_inputs: bool = False,
    ranges: str = "minmax",
    recipe: Recipe | files.PathLike | None = None,
    quantizer: str = "auto",
    custom_objects: Sequence[str] | None = None,
) -> ConvertResult:
    """Convert a network to an integer-only .tflite that the Edge TPU compiler can read.

    TensorFlow runs in a child process: if that crashes, this raises an error. ``output`` is
    written only after the new model has passed every rule (only mode int8 has rules).

    Args:
        source: A ``.keras``, ``.h5`` or frozen ``.pb`` file, a SavedModel's folder, a float
            ``.tflite``, an ``.onnx``, an exported program of PyTorch (``.pt2``), or an object: a
            Keras model, a ``torch.nn.Module`` (with ``input_shape``) or an exported program.
            Loading a SavedModel runs operations of its graph, but no Python from it.
        data: Calibration samples: anything that `open_dataset` takes. Required for ``int8`` and
            ``float-fallback``.
        output: The .tflite to write.
        preprocess: How pixels become the network's input (``unit``, ``tf``, ``raw``, ...).
        num_samples: How many samples to calibrate with, spread over the data and its classes.
        batch_size: The value for an unknown first dimension.
        input_shape: Unknown dimensions: (1, 224, 224, 3), "1,224,224,3", or for several inputs
            ["left=1,8", "right=1,4,4,2"].
        signature: The signature of a SavedModel.
        inputs: Tensors to feed instead of the inputs, by their names in the float .tflite or in a
            frozen graph; or layers, for their outputs. ``name=value`` fixes a placeholder of a
            frozen graph.
        outputs: Tensors to compute instead of the outputs.
        io: Type of the model's inputs and outputs: ``uint8``, ``int8``, ``float32``.
        mode: ``int8``, or another mode of the tutorial: ``float``, ``dynamic``,
            ``float-fallback``.
        converter_python: The Python interpreter of another environment whose TensorFlow, onnx2tf
            or litert-torch to use.
        trust_source: Allow code that a source carries to run: Lambda layers of a Keras file, the
            pickle of a ``.pt`` or ``.pth``.
        timeout_s: Stop the conversion after this many seconds.
        replace_activations: ``mappable``, ``relu`` or ``relu6`` for all activations that do not
            map, or ``gelu=relu6,elu=mappable`` for some; done before calibration.
        labels: A text file with one class per line, or the names, for the model's metadata; None
            uses the names of the data's class folders if their number is that of the classes.
        min_agreement: The share of the float model's answers that the int8 model must keep: the
            same classes (close calls included), F1 of objects and of scores, the overlap of masks.
        min_snr_db: The smallest allowed ratio of every output's signal, about each element's
            mean, to its error, in dB.
        progress: Called with (samples done, samples in all).
        fix: Apply every rewrite that makes more of the model map and whose outputs are
            bit-identical; otherwise the file stays as the quantizer made it, except for its silent
            errors and for versions that compiler 16 cannot read.
        stop_early: Before calibration, refuse a network that cannot become an Edge TPU model.
            Otherwise it is quantized first, so that the error contains the ``model``.
        plain: Quantize the network as it is, without what improves it.
        clip_logits: Limit scores (logits) far beyond -16 to 16 to that range.
        normalize_inputs: Let the model read ``(value - mean) / std`` of each feature of its inputs
            of real numbers, with weights that undo it. Mean and std are in its metadata, by which
            edgekit's commands and `Runner` normalize; other code must do so itself.
        ranges: How the ranges of tensors come from the values on the samples: ``minmax``, ``mse``,
            ``entropy``, ``percentile:P`` (of the values), such as ``percentile:99.99``, or
            ``samples:P`` (of the samples), such as ``samples:95``.
        recipe: A recipe of `tune`, or its file: it states ``num_samples``, ``replace_activations``,
            ``clip_logits``, ``ranges``, and which improvements to apply.
        quantizer: ``edgekit``, ``tensorflow``, or ``auto``: edgekit's if it knows every operator.
            It makes the same model in less time and memory, without TensorFlow.
        custom_objects: Modules (``package.module``) that define classes which a Keras file or a
            trusted pickle of PyTorch names; they are imported.

    Raises:
        GateError: ``min_agreement`` or ``min_snr_db`` is not met; nothing is written.
        NotEdgeTpuModelError: The converted model breaks rules; ``issues`` lists all of them.
        InputError: The source or the data cannot be used.
        OutputError: ``output`` cannot be written.
        ExternalToolError: TensorFlow is missing, crashed or was killed.
        UsageError: The arguments contradict each other or the model.
    """
    options = ConvertOptions(
        mode=mode,
        io=io,
        num_samples=num_samples,
        batch_size=batch_size,
        input_shape=shape_words(input_shape),
        signature=signature,
        inputs=tuple(inputs or ()),
        outputs=tuple(outputs or ()),
        converter_python=None if converter_python is None else str(converter_python),
        trust_source=trust_source,
        timeout_s=timeout_s,
        replace_activations=replace_activations,
        gates=Gates(min_agreement, min_snr_db),
        labels=labels,
        fix=fix,
        plain=plain,
        clip_logits=clip_logits,
        normalize_inputs=normalize_inputs,
        ranges=ranges,
        quantizer=quantizer,
        custom_objects=tuple(custom_objects or ()),
    )
    if recipe is not None:
        options = options.with_recipe(recipe)
    if isinstance(labels, (str, Path)):
        read_labels(labels)  # report an unreadable file before the long steps
    if data is None and mode in CALIBRATED:
        raise UsageError(
            f"--mode {mode} needs calibration data", fix="--data FOLDER|NPZ|MODULE:FUNCTION"
        )
    files.check_writable(output)
    with _opened(source, options.input_shape) as file:
        options.refuse_unused(file)
        files.refuse_overwriting(output, file.path, data, labels)
        samples = Samples(
            data, preprocess, options.num_samples, progress or no_progress, options.sample_set
        )
        job = _Conversion(file, _name_of(source), options, samples)
        job.float_network.stop_early = stop_early
        return job.run(Path(output))


def convert_trial(
    source: Path, data: Dataset, output: Path, options: ConvertOptions, how: str | Preprocess | None
) -> ConvertResult:
    """Convert a float .tflite to the same integers as `convert`, without measuring the result.

    Rewrites that are exact by construction are not proved, and there is no agreement.

    Args:
        source: The network.
        data: The calibration samples.
        output: The .tflite to write.
        options: With a recipe.
        how: How pixels become the network's input; None for the default.

    Raises:
        EdgeKitError: As `convert`.
    """
    samples = Samples(data, how, options.num_samples, no_progress, options.sample_set)
    job = _Conversion(find_source(source), str(source), options, samples)
    job.measures = False
    return job.run(output)


class _Conversion:
    """The state of one conversion, from the source to the result."""

    def __init__(
        self, source: SourceFile, where: str, options: ConvertOptions, samples: Samples
    ) -> None:
        self._source, self._where, self._options = source, where, options
        self._samples = samples
        self._notes: list[str] = []
        self.float_network = FloatNetwork(source, where, options, samples, self._notes)
        self._judging = Judging(samples, options.gates, where, self._notes)
        self._labels: tuple[str, ...] = ()
        self._improver: Improver | None = None
        self._separate: tuple[Improvement, ...] = ()
        self._float_bytes: int | None = None
        self._outcome: Outcome | None = None
        self._quantizer: Quantizer | None = None
        self._quantizer_reason = ""
        self.measures = True  # prove rewrites, and compare the model with the float model
        self._start = time.monotonic()

    def run(self, output: Path) -> ConvertResult:
        options = self._options
        with ConverterChild(
            options.tensorflow_python(self._source), options.timeout_s, self._where
        ) as child:
            network = self.float_network.read(child)
            quantizable, made = None, network
            if options.mode in CALIBRATED:
                refuse_nan(network.model, self._where)
                quantizable = self._quantizable(self._replace_activations(network))
                made = self._quantize(child, quantizable)
                if self._samples.calibration is not None:
                    self._compare_statistics(child.statistics, self._samples.calibration)
                self._judging.has_trained_ranges = bool(self.float_network.trained)
        if options.mode == "int8":
            made = self._mapped(made)
        self._labels = self._find_labels(made.model)
        agreement = None
        if quantizable is not None:
            self._float_bytes = len(quantizable.content)
            # Replaced activations change the network too: compare with the network as trained.
            is_same = options.replace_activations is None
            reference = quantizable if is_same else network
            if self._improver is not None:
                reference = self._improver.limited(reference)
            elif options.clip_logits and self.float_network.trained:
                reference = self._limited(reference)
            if self.measures:
                agreement = self._judging.agreement(reference, made, output, self._labels)
                commands = self.float_network.measuring_commands(output)
                self._notes.extend(open_notes(agreement, commands))
        content = self._with_use(made)
        files.write_bytes(output, content)
        return self._result(output, content, made, agreement, child)

    def _limited(self, network: ModelFile) -> ModelFile:
        """Return the float network with limits on scores far beyond -16 to 16."""
        batches = itertools.islice(self._samples.required().same_batches(), _SOME)
        wide = wide_outputs(network, batches)
        return ModelFile.of(limit_values(network.model, wide)) if wide else network

    def _compare_statistics(
        self, statistics: Sequence[LayerStatistics], calibration: Calibration
    ) -> None:
        """Compare the samples with the training data by the network's statistics of it."""
        judging = self._judging
        judging.unlike = unlike_training(statistics, calibration.count)
        judging.has_statistics = bool(statistics) and calibration.count >= LEAST_SAMPLES
        calibration.is_like_training = judging.has_statistics and not judging.unlike

    def _result(
        self,
        output: Path,
        content: bytes,
        made: ModelFile,
        agreement: Agreement | None,
        child: ConverterChild,
    ) -> ConvertResult:
        options, samples, calibration = self._options, self._samples, self._samples.calibration
        judged = calibration if agreement else None
        ranges = calibration.ranges if calibration and calibration.count else []
        inputs, outputs = endpoints(made.model, ranges)
        used = self._quantizer
        return ConvertResult(
            source=self._where,
            source_kind=self._source.kind,
            source_sha256=self._source.sha256(),
            loader=self.float_network.loader,
            output=str(output),
            sha256=files.sha256_hex(content),
            bytes=len(content),
            float_bytes=self._float_bytes,
            mode=options.mode,
            enforced=options.mode == "int8",
            inputs=inputs,
            outputs=outputs,
            operators=made.model.operator_counts(),
            num_samples=calibration.count if calibration else 0,
            samples_per_class=calibration.samples_per_class if calibration else {},
            promised_range=calibration.promised_range if calibration else None,
            num_judged=judged.num_judged if judged else 0,
            held_out=judged.is_held_out if judged else None,
            like_training=self._judging.like_training(agreement),
            shown_by=self._judging.shown_by() if agreement else "",
            measured_with=self.float_network.measuring_commands(output) if agreement else "",
            label_check=self._judging.label_check,
            target_check=self._judging.target_check,
            data=samples.dataset.describe() if samples.dataset else {},
            agreement=agreement,
            source_agreement=self.float_network.source_agreement,
            network=str(self.float_network.noted or ""),
            versions={"edgekit": __version__, **self._versions(child)},
            time_s=time.monotonic() - self._start,
            peak_rss_bytes=max(
                child.peak_rss_bytes,
                self.float_network.importer_peak_bytes,
                used.peak_rss_bytes if used else 0,
            ),
            warnings=(
                *(calibration.warnings if calibration and ranges else ()),
                *samples.pixels.warnings(ranges, samples.dataset),
                *self._notes,
            ),
            preprocess=samples.pixels.used_for(samples.dataset),
            preprocess_reason=samples.pixels.reason,
            labels=self._labels,
            improvements=(*(self._improver.applied if self._improver else ()), *self._separate),
            asked=options.requested_options(),
            outcome=self._outcome,
            quantizer=used.name if used else "",
            quantizer_reason=self._quantizer_reason,
        )

    def _with_use(self, made: ModelFile) -> bytes:
        """Return the model with preprocessing and labels in its metadata."""
        how = self._samples.pixels.used_for(self._samples.dataset)
        kept = self.float_network.kept_files
        return with_use(made.content, kept, how, self._labels, self._notes.append)

    def _find_labels(self, model: Model) -> tuple[str, ...]:
        """Return the class names: as given, else the source's, else those of the data's folders."""
        source = self.float_network.whole_source
        noted = source.notes.labels if source is not None else ()
        asked = check_labels(self._options.labels, model)
        labels = asked or names_of(model, noted, self._samples.dataset)
        if not asked:
            self._notes.extend(order_notes(labels, self._samples.dataset))
        if not labels:
            self._notes.extend(folder_notes(model, self._samples.dataset))
        return labels

    # -- from the float network to an int8 model

    def _replace_activations(self, network: ModelFile) -> ModelFile:
        check_labels(self._options.labels, network.model)
        replaced, notes = self.float_network.replaced(network.model)
        self._notes.extend(notes)
        return network if replaced is network.model else ModelFile.of(replaced)

    def _quantizable(self, network: ModelFile) -> ModelFile:
        """Rewrite operators that the quantizer would leave in real numbers; values stay the same.

        These are operations on constants only, and splits with an unused part.

        Raises:
            NotEdgeTpuModelError: The network cannot become an Edge TPU model.
        """
        if self._options.mode != "int8":
            return network
        self.float_network.refuse(network.model)
        better = slice_partial_splits(fold_constants(network.model, self._where))
        quantizable = network if better is network.model else ModelFile.of(better)
        require_runnable(quantizable, self._where)
        return quantizable

    def _quantize(self, child: ConverterChild, network: ModelFile) -> ModelFile:
        quantizer, reason = choose_quantizer(self._options, network.model, child)
        self._quantizer, self._quantizer_reason = quantizer, reason
        try:
            if self._options.improves and not self.float_network.trained:
                return ModelFile(self._improved(child, quantizer, network))
            return ModelFile(self._quantized(child, quantizer, network, self._samples.batches))
        except EdgeKitError as error:
            if not child.ended_by_itself:
                raise
            raise with_suspect(error, network.content, self._quantize_part) from error

    def _quantize_part(self, content: bytes, batches: Batches, seconds: float) -> None:
        part = ModelFile(content)
        with ConverterChild(
            self._options.tensorflow_python(self._source), seconds, self._where
        ) as child:
            quantizer, _ = choose_quantizer(self._options, part.model, child)
            self._quantized(child, quantizer, part, batches)

    def _improved(self, child: ConverterChild, quantizer: Quantizer, network: ModelFile) -> bytes:
        """Return the integer model of the network with what improves it."""
        calibration = self._samples.required()
        if self._options.normalize_inputs and self._samples.pixels.used_for(self._samples.dataset):
            raise UsageError(
                "--normalize-inputs is for features, and the data are pixels",
                fix="leave it out: --preprocess states how pixels become the input",
            )
        improver = Improver(
            network,
            self._options.choice,
            quantizer.quantize,
            list(itertools.islice(calibration.same_batches(), _FEW)),
        )
        calibrated = self._calibrated(
            child, quantizer, improver.calibrated, lambda: improver.watch(self._samples.batches())
        )
        samples = calibration.trial_batches(num_trials(model_macs(network.model)))
        made = improver.quantized(calibrated, samples, calibration.same_batches)
        self._improver = improver
        self._notes.extend(improver.notes)
        return made

    def _quantized(
        self, child: ConverterChild, quantizer: Quantizer, network: ModelFile, batches: Batches
    ) -> bytes:
        calibrated = self._calibrated(child, quantizer, network, batches)
        return quantizer.quantize(with_trained_ranges(calibrated, self.float_network.trained))

    def _calibrated(
        self, child: ConverterChild, quantizer: Quantizer, network: ModelFile, batches: Batches
    ) -> Model:
        """Calibrate, and compare the samples with the training data."""
        some = SpreadSamples()
        calibrated = quantizer.calibrate(network, lambda: some.watch(batches()))
        child.compare([] if self._options.inputs else some.kept)
        return calibrated

    def _versions(self, child: ConverterChild) -> dict[str, str]:
        """Return the packages that read the source and that quantized."""
        return {
            **(self._quantizer.versions if self._quantizer else {}),
            **self.float_network.importer,
            **child.versions,
        }

    def _mapped(self, made: ModelFile) -> ModelFile:
        """Return the int8 model as it is written; store how much of it maps.

        Raises:
            NotEdgeTpuModelError: It breaks a rule.
        """
        options = self._options
        made = quantized = self._separated(self._fix_model(made))
        rewritten = (
            apply_rewrites(made.model, proves=self.measures)
            if options.fix
            else Rewritten(made.model)
        )
        self._notes.extend(rewritten.notes)
        made = made if rewritten.model is made.model else ModelFile.of(rewritten.model)
        enforce(made.model, options.io, self._where)
        network = self.float_network
        self._outcome = outcome_of(quantized, made, rewritten, network.start, network.advice)
        self._notes.extend(filter(None, [slower_note(self._outcome)]))
        return made

    def _fix_model(self, made: ModelFile) -> ModelFile:
        """Fix the quantizer's silent errors, and versions that compiler 16 cannot read."""
        fixed = model = made.model
        graph = model.main
        wrong = [each.label for each in graph.operators if changes_scale(each, graph.tensors)]
        if wrong:
            fixed = fix_copied_scales(model)
            self._notes.append(
                f"TensorFlow gave the output of {', '.join(wrong)} another scale than its input, "
                "which makes every value wrong; edgekit put a QUANTIZE there"
            )
        fixed = lower_versions(drop_unreachable_bounds(fixed) or fixed)
        return made if fixed is model else ModelFile(write_model(fixed))

    def _separated(self, made: ModelFile) -> ModelFile:
        """Give boxes and scores that are joined in an output outputs and scales of their own."""
        wanted = self._options.choice.wants("outputs") and self._options.fix
        separated = separate_outputs(made.model) if wanted else None
        if separated is None:
            return made
        before, after = (len(each.main.outputs) for each in (made.model, separated))
        self._separate = (
            Improvement(
                "outputs",
                f"{before} outputs became {after}: values of very different ranges have outputs "
                "and scales of their own, in the order in which they were joined",
                exact=True,
                float_snr_db=None,
                before_db=(),
                after_db=(),
            ),
        )
        return ModelFile.of(separated)


@contextlib.contextmanager
def _opened(source: Any, shapes: Sequence[str]) -> Iterator[SourceFile]:  # noqa: ANN401
    if isinstance(source, (str, Path)):
        yield find_source(source)
        return
    with saved_object(source, shapes) as file:
        yield file


def _name_of(source: Any) -> str:  # noqa: ANN401
    if isinstance(source, (str, Path)):
        return str(source)
    return f"Keras model {source.name}" if hasattr(source, "name") else type(source).__name__
