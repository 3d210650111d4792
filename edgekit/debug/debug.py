# SPDX-License-Identifier: Apache-2.0
"""Compare a float .tflite with its integer model, operator by operator."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Sequence

import numpy as np

from edgekit.debug.advice import Commands
from edgekit.debug.calibration import Calibrated, RangeReader, read_calibration
from edgekit.debug.causes import kinds_by_tensor, rank_causes, suspects_of
from edgekit.debug.errors import DIFFERENT, IS_COMPILED, NOT_FINITE, NOT_FLOAT, NOT_INTEGER
from edgekit.debug.matching import WEIGHTED, Match, Matcher, Matches
from edgekit.debug.measure import Measured, Meter, measure, params_of
from edgekit.debug.ranges import find_groups
from edgekit.debug.recorder import Recorder
from edgekit.debug.result import ROUNDING_FLOOR, DebugResult
from edgekit.debug.samples import Samples, float_shapes, pair_inputs, read_samples
from edgekit.debug.sums import decibels
from edgekit.debug.table import operator_errors, output_errors, whole_noise
from edgekit.debug.troubles import Place
from edgekit.debug.twin import float_twin
from edgekit.errors import DataError, UnsupportedModelError
from edgekit.formats.model_file import ModelFile, ModelSource, read_model_file
from edgekit.progress import Progress
from edgekit.rewrite import apply_rule, sparse
from edgekit.runtime.interpreters import load_library
from edgekit.tasks.prepare import prepare

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgekit.data import Preprocess
    from edgekit.formats.tflite import Model
    from edgekit.runtime.interpreters import InterpreterLibrary

_CODES = ("INT8", "UINT8", "INT16")
_MATCHED_ON = 6  # samples
_MOST_MATCHED_BYTES = 1 << 29
_GOOD = 0.02  # a mean difference of matched tensors with which no other twin is tried
_LEAST_MATCHED = 0.5  # of the operators with weights
_LEAST_ALIKE = 0.5
_LEAST_VARIANCE = 1e-9  # of the power of an output


@dataclass(frozen=True)
class DebugOptions:
    """The options of `debug_models`."""

    preprocess: str | Preprocess | None = None
    num_samples: int = 32
    runtime: str | None = None
    source: str = ""  # the float network's source, for the next commands


def debug_models(
    network: ModelSource,
    model: ModelSource,
    data: Any,  # noqa: ANN401 - anything that open_dataset takes
    options: DebugOptions,
    progress: Progress,
) -> DebugResult:
    """Find where an integer model loses accuracy.

    Args:
        network: A float .tflite.
        model: An integer .tflite of the same network.
        data: Samples, like those of real use.
        options: See `DebugOptions`.
        progress: Called with (steps done, steps in all).

    Raises:
        UnsupportedModelError: The files are not a float and an integer model of one network.
        DataError: The samples cannot be used.
        InputError: A file cannot be read.
    """
    float_file, int_file = read_model_file(network), read_model_file(model)
    float_model = _float_model(float_file)
    _refuse_not_integer(int_file)
    noted = prepare(int_file)
    pairs = pair_inputs(float_model, int_file.model, int_file.path)
    samples = read_samples(
        data,
        int_file.model,
        pairs,
        float_model,
        requested=options.preprocess,
        noted=(noted.notes.preprocess, noted.preprocess_reason),
        count=options.num_samples,
    )
    library = load_library(options.runtime)
    shapes = float_shapes(float_model, int_file.model, pairs)
    recorder = Recorder(float_model, library, float_file.path or "the float network", shapes=shapes)
    job = _Job(float_model, recorder, int_file, pairs, library)
    return job.run(samples, options, progress, float_file)


def _float_model(file: ModelFile) -> Model:
    """Return a float network, with dense weights.

    Raises:
        UnsupportedModelError: It is quantized or compiled, or has several subgraphs.
    """
    _refuse_compiled(file)
    model = apply_rule(sparse.RULE, file.model) or file.model
    graph = model.main
    codes = [t for t in graph.tensors if t.quantization and t.scale and t.dtype in _CODES]
    if codes:
        raise UnsupportedModelError(
            "the first file is not a float network",
            where=file.path,
            why=f"{len(codes)} of its tensors are quantized, for example {codes[0].name}",
            fix="give the float network first, then the int8 model: edgekit debug FLOAT INT8 "
            "--data DATA",
            code=NOT_FLOAT,
        )
    return model


def _refuse_not_integer(file: ModelFile) -> None:
    _refuse_compiled(file)
    graph = file.model.main
    if len(file.model.subgraphs) > 1:
        raise UnsupportedModelError(
            f"the model has {len(file.model.subgraphs)} subgraphs, expected 1",
            where=file.path,
            why="the operators of a loop or branch cannot be compared one by one",
            fix="unroll loops: convert recurrent layers with a fixed number of steps",
        )
    ends = {"QUANTIZE", "DEQUANTIZE"}
    inside = [
        op
        for op in graph.operators
        if op.opcode not in ends
        and any(i >= 0 and graph.tensors[i].dtype == "FLOAT32" for i in (*op.inputs, *op.outputs))
    ]
    has_codes = any(t.dtype in _CODES and t.scale for t in graph.tensors)
    if inside or not has_codes:
        first = f": {inside[0].label}" if inside else ""
        raise UnsupportedModelError(
            "the second file is not a full-integer model",
            where=file.path,
            why=f"{len(inside)} of its {len(graph.operators)} operators compute with real numbers"
            f"{first}",
            fix="give the int8 model second; edgekit convert FLOAT --data DATA -o INT8.tflite "
            "makes one",
            code=NOT_INTEGER,
        )


def _refuse_compiled(file: ModelFile) -> None:
    if file.is_compiled:
        raise UnsupportedModelError(
            "the model is compiled for the Edge TPU",
            where=file.path,
            why="its operators are inside one program, and their values cannot be read",
            fix="give the .tflite that it was compiled from; it computes the same",
            code=IS_COMPILED,
        )


class _Job:
    """The steps of one comparison."""

    def __init__(
        self,
        network: Model,
        recorder: Recorder,
        file: ModelFile,
        pairs: dict[int, Match],
        library: InterpreterLibrary,
    ) -> None:
        self._network, self._recorder, self._file = network, recorder, file
        self._model, self._pairs, self._library = file.model, pairs, library

    def run(
        self,
        samples: Samples,
        options: DebugOptions,
        progress: Progress,
        float_file: ModelFile,
    ) -> DebugResult:
        """Match, measure, rank."""
        inputs, left_out = self._finite(samples)
        twin, matches = self._match(inputs)
        meter = Meter(self._recorder, self._model, twin, matches, self._library)
        measured = measure(meter, inputs, progress)
        groups = find_groups(self._model, measured.tensors)
        group_of = {index: group for group in groups for index in group.tensors}
        made_by = {i: op for op in self._model.main.operators for i in op.outputs}
        places = [
            Place(index, sums, made_by.get(index), group_of.get(index))
            for index, sums in measured.tensors.items()
        ]
        suspects = suspects_of(self._model, places, measured)
        reader = RangeReader(self._recorder, self._model, matches, groups)
        calibrated = self._calibrated(reader, inputs)
        explicit = samples.preprocess if options.preprocess is not None else ""
        commands = Commands(
            options.source or float_file.path or "FLOAT",
            self._file.path or "INT8.tflite",
            str(samples.data.get("source", "DATA")),
            explicit,
            any(each.features is not None for each in self._pairs.values()),
        )
        kinds = kinds_by_tensor(suspects)
        return DebugResult(
            model=self._file.path,
            sha256=self._file.sha256,
            float_model=options.source or float_file.path,
            float_sha256=float_file.sha256,
            data=samples.data,
            preprocess=samples.preprocess,
            preprocess_reason=samples.reason,
            num_samples=len(inputs),
            num_left_out=left_out,
            num_effects=measured.num_effects,
            outputs=output_errors(self._model, measured),
            snr_db=decibels(1.0, whole_noise(self._model, measured)),
            sum_of_isolated_snr_db=decibels(1.0, sum(measured.effects.values())),
            rounding_floor=ROUNDING_FLOOR,
            num_matched=sum(1 for i in made_by if i in matches.found),
            num_operators=len(self._model.main.operators),
            operators=operator_errors(self._network, self._model, measured, matches, kinds),
            causes=tuple(rank_causes(suspects, calibrated, commands)),
            runtime=self._library.runtime,
            versions=self._library.versions,
            warnings=(*self._constant(measured), *_warnings(left_out, samples)),
        )

    def _constant(self, measured: Measured) -> list[str]:
        sums = [measured.tensors[i] for i in self._model.main.outputs if i in measured.tensors]
        if any(each.variance > _LEAST_VARIANCE * each.power for each in sums):
            return []
        return [
            "the float network returns the same answer for all samples, so that errors are shown "
            "where they arise and not at the outputs: check --preprocess and the data"
        ]

    def _finite(self, samples: Samples) -> tuple[list[list[NDArray[Any]]], int]:
        """Return the samples that the float network answers with finite numbers."""
        good = []
        outputs = self._network.main.outputs
        for each in samples.inputs:
            self._recorder.run(each)
            if all(np.isfinite(self._recorder.value(i)).all() for i in outputs):
                good.append(each)
        if not good:
            raise DataError(
                f"the float network answers all {len(samples.inputs)} samples with NaN or infinity",
                where=str(samples.data.get("source", "")),
                fix="check the network's training, the data and --preprocess",
                code=NOT_FINITE,
            )
        return good, len(samples.inputs) - len(good)

    def _match(self, inputs: Sequence[Sequence[NDArray[Any]]]) -> tuple[Model, Matches]:
        """Return the twin whose values are nearest to the float network's, and the matches.

        Raises:
            UnsupportedModelError: The two files are of different networks.
        """
        elements = sum(max(each.num_elements, 1) for each in self._network.main.tensors)
        count = min(_MATCHED_ON, max(2, _MOST_MATCHED_BYTES // (4 * elements)))
        chosen = inputs[:: max(len(inputs) // count, 1)][:count]
        if all(_equal(each, chosen[0]) for each in chosen):
            chosen = chosen[:1]  # the values of equal samples do not vary: compare by position
        matcher = Matcher(self._network, self._recorder, chosen, self._library)
        best: tuple[Model, Matches] | None = None
        plain, limited = (float_twin(self._model, with_limits=each) for each in (False, True))
        same = plain.main.operators == limited.main.operators
        for twin in (plain,) if same else (plain, limited):
            for factors in (False, True):
                found = matcher.match(twin, self._pairs, factors=factors)
                if found.scales(self._model.main.outputs):
                    continue  # an equalized network has the same outputs
                if best is None or found.explains_more(best[1]):
                    best = twin, found
                if best[1].cost < _GOOD * max(len(best[1].found), 1):
                    break
            if best is not None and best[1].cost < _GOOD * max(len(best[1].found), 1):
                break
        if best is None:
            raise ValueError("no twin was tried")
        twin, matches = best
        self._refuse_different(matches)
        return twin, self._with_outputs(matcher, matches)

    def _refuse_different(self, matches: Matches) -> None:
        graph = self._model.main
        weighted = [op.outputs[0] for op in graph.operators if op.opcode in WEIGHTED]
        alike = [
            index
            for index in weighted
            if index in matches.found and _is_alike(matches.found[index])
        ]
        same_outputs = len(graph.outputs) == len(self._network.main.outputs)
        if (weighted and len(alike) < _LEAST_MATCHED * len(weighted)) or not same_outputs:
            raise UnsupportedModelError(
                "the two files are of different networks",
                where=self._file.path,
                why=f"of {len(weighted)} operators with weights, {len(alike)} have the values or "
                f"weights of one in the float network; {len(graph.outputs)} outputs, and "
                f"{len(self._network.main.outputs)} in float",
                fix="give the float network that the integer model was made from",
                code=DIFFERENT,
            )

    def _with_outputs(self, matcher: Matcher, matches: Matches) -> Matches:
        """Match outputs that have no match with the float network's, by their place and size."""
        found = dict(matches.found)
        graph = self._model.main
        used = {found[i].source for i in graph.outputs if i in found}
        left = [i for i in self._network.main.outputs if i not in used]
        for index in graph.outputs:
            if index in found:
                continue
            size = graph.tensors[index].num_elements
            source = next((i for i in left if matcher.size_of(i) == size), None)
            if source is not None:
                left.remove(source)
                found[index] = Match(source, by_place=True, difference=1.0)
        return replace(matches, found=found)

    def _calibrated(
        self, reader: RangeReader, inputs: Sequence[Sequence[NDArray[Any]]]
    ) -> Calibrated:
        first = inputs[0][0]
        axis = None
        if first.ndim == 4:
            axis = 1 if first.shape[1] in (1, 3) and first.shape[3] not in (1, 3) else 3
            axis = axis if first.shape[axis] in (1, 3) else None
        index = self._model.main.inputs[0]
        stored = params_of(self._model.main.tensors[index])
        is_comparable = stored is not None and self._pairs[index].features is None
        ends = (stored.real_min, stored.real_max) if stored and is_comparable else None
        return read_calibration(reader, inputs, ends, axis)


def _equal(one: Sequence[NDArray[Any]], other: Sequence[NDArray[Any]]) -> bool:
    return all(np.array_equal(left, right) for left, right in zip(one, other))


def _is_alike(match: Match) -> bool:
    """Whether an operator's values or weights are about those of the float network."""
    return match.difference < _LEAST_ALIKE or match.has_weights


def _warnings(left_out: int, samples: Samples) -> tuple[str, ...]:
    found = []
    if left_out:
        found.append(
            f"{left_out} samples were left out, because the float network answers them with NaN or "
            "infinity"
        )
    if samples.data.get("kind") == "random":
        found.append("the samples are random numbers: ranges of real use may be others")
    return tuple(found)
