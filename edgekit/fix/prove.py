# SPDX-License-Identifier: Apache-2.0
"""Run models before and after a rewrite on the same inputs, with reference kernels."""

from __future__ import annotations

import collections
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, Sequence

import numpy as np

from edgekit.errors import UnsupportedModelError
from edgekit.fix.certificate import Certificate
from edgekit.fix.interpreter import KERNELS, Interpreter
from edgekit.fix.samples import Samples, tensor_info
from edgekit.formats.tflite import Model, write_model
from edgekit.quant import dequantize
from edgekit.rewrite.without_custom import without_custom
from edgekit.runtime import TensorInfo
from edgekit.runtime.agreement import DifferenceSums

if TYPE_CHECKING:
    from numpy.typing import NDArray

_KEPT_RUNS = 3  # the model before, the one after, and the original
Restore = Callable[[Sequence["NDArray[Any]"]], Sequence["NDArray[Any]"]]


@dataclass(frozen=True)
class _Run:
    """The real outputs of a model, for each sample."""

    outputs: tuple[tuple[NDArray[Any], ...], ...]
    infos: tuple[TensorInfo, ...]
    kernels: str


class Prover:
    """Runs models on the samples of one model in a child process; a context manager."""

    def __init__(self, samples: Samples, runtime: str | None) -> None:
        self._samples = samples
        self._interpreter = Interpreter(runtime)
        self._runs: collections.OrderedDict[tuple[bytes, str], _Run] = collections.OrderedDict()

    def certify(
        self,
        rule: str,
        before: Model,
        after: Model,
        *,
        exact: bool,
        restore: Restore | None = None,
    ) -> Certificate:
        """Compare two models.

        Args:
            rule: The name of the rewrite from ``before`` to ``after``.
            before: The model whose outputs are the reference.
            after: A model with the same inputs, perhaps of other types.
            exact: Whether the rule is exact, for the record.
            restore: Converts outputs of ``after`` to the form of those of ``before``.

        Raises:
            UnsupportedModelError: One of the two cannot be run here.
        """
        old, new = self._run_both(before, after)
        differences = [DifferenceSums(info) for info in old.infos]
        for expected, actual in zip(old.outputs, new.outputs):
            whole = restore(actual) if restore else actual
            for sums, *arrays in zip(differences, expected, whole):
                sums.add(*(np.asarray(each)[None] for each in arrays))  # one sample
        outputs = tuple(sums.record() for sums in differences)
        return Certificate(
            rule=rule,
            exact_by_construction=exact,
            identical=all(each.identical for each in outputs),
            outputs=outputs,
            operators=operators_changed(before, after),
            num_random=self._samples.num_random,
            num_data=self._samples.num_data,
            kernels=old.kernels,
            note="" if old.kernels == "reference" else "reference kernels cannot run the model",
        )

    def _run_both(self, before: Model, after: Model) -> tuple[_Run, _Run]:
        failure: UnsupportedModelError | None = None
        for cut in (_as_it_is, without_custom):
            for kernels in KERNELS:
                try:
                    return self._run(cut(before), kernels), self._run(cut(after), kernels)
                except UnsupportedModelError as error:  # noqa: PERF203 - four rounds at most
                    failure = failure or error
        raise UnsupportedModelError(
            "the model cannot be run here, so a rewrite cannot be proved",
            why=failure.why if failure else "",
            fix="use another runtime (--runtime), or write it unproved (--unproved)",
        )

    def _run(self, model: Model, kernels: str) -> _Run:
        key = (write_model(model), kernels)
        if key not in self._runs:
            self._runs[key] = self._ask(model, kernels)
            if len(self._runs) > _KEPT_RUNS:
                self._runs.popitem(last=False)
        self._runs.move_to_end(key)
        return self._runs[key]

    def _ask(self, model: Model, kernels: str) -> _Run:
        infos = [tensor_info(model, index) for index in model.main.inputs]
        raw = [self._samples.raw(number, infos) for number in range(len(self._samples))]
        run = self._interpreter.run(model, raw, kernels)
        ends = tuple(tensor_info(model, index) for index in model.main.outputs)
        real = tuple(
            tuple(
                values if info.params is None else dequantize(values, info.params)
                for values, info in zip(outputs, ends)
            )
            for outputs in run.outputs
        )
        return _Run(real, ends, run.kernels)

    def close(self) -> None:
        """End the process that runs the models."""
        self._interpreter.close()

    def __enter__(self) -> Prover:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def operators_changed(before: Model, after: Model) -> dict[str, int]:
    """Return opcode -> how many more there are after; opcodes without a change are omitted."""
    old, new = (collections.Counter(model.operator_counts()) for model in (before, after))
    return {name: new[name] - old[name] for name in sorted({*old, *new}) if new[name] != old[name]}


def _as_it_is(model: Model) -> Model:
    return model
