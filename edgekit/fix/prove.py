# SPDX-License-Identifier: Apache-2.0
"""Models before and after a rewrite, run on the same inputs with reference kernels."""

from __future__ import annotations

import collections
import contextlib
import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Mapping, Sequence

import numpy as np

from edgekit.errors import MissingExtraError, UnsupportedModelError
from edgekit.fix.certificate import Agreement, Certificate
from edgekit.fix.samples import Samples, tensor_info
from edgekit.fix.worker import receive, send
from edgekit.formats.tflite import CUSTOM, Model, write_model
from edgekit.process import Conversation
from edgekit.runtime import TensorInfo

if TYPE_CHECKING:
    from numpy.typing import NDArray

_KERNELS = ("reference", "fast")
_KEPT_RUNS = 3  # the model before, the one after, and the original
Restore = Callable[[Sequence["NDArray[Any]"]], Sequence["NDArray[Any]"]]


@dataclass(frozen=True)
class _Run:
    """The real outputs of a model, for each sample."""

    outputs: tuple[tuple[NDArray[Any], ...], ...]
    infos: tuple[TensorInfo, ...]
    kernels: str


class Prover:
    """Runs models on the samples of one model, in a process of its own; a context manager."""

    def __init__(self, samples: Samples, runtime: str | None) -> None:
        self._samples, self._runtime = samples, runtime
        self._worker = _Worker()
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
            rule: What made the one of the other.
            before: Its outputs are the measure.
            after: Has the same inputs, perhaps of other types.
            exact: What the rule promises, for the record.
            restore: Makes outputs as those of ``before`` from those of ``after``.

        Raises:
            UnsupportedModelError: One of the two cannot be run here.
        """
        old, new = self._run_both(before, after)
        agreements = [Agreement(info.name, info.scale) for info in old.infos]
        for expected, actual in zip(old.outputs, new.outputs):
            whole = restore(actual) if restore else actual
            for agreement, *arrays in zip(agreements, expected, whole):
                agreement.add(*arrays)
        outputs = tuple(each.result() for each in agreements)
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
            for kernels in _KERNELS:
                try:
                    return self._run(cut(before), kernels), self._run(cut(after), kernels)
                except UnsupportedModelError as error:  # noqa: PERF203 - four rounds at most
                    failure = failure or error
        raise UnsupportedModelError(
            "the model cannot be run here, so nothing can be proved of a rewrite",
            why=failure.why if failure else "",
            fix="use another runtime (--runtime), or write it unproved (--unproved)",
        )

    def _run(self, model: Model, kernels: str) -> _Run:
        content = write_model(model)
        key = (content, kernels)
        if key not in self._runs:
            self._runs[key] = self._ask(model, content, kernels)
            if len(self._runs) > _KEPT_RUNS:
                self._runs.popitem(last=False)
        self._runs.move_to_end(key)
        return self._runs[key]

    def _ask(self, model: Model, content: bytes, kernels: str) -> _Run:
        infos = [tensor_info(model, index) for index in model.main.inputs]
        request = {
            "model": np.frombuffer(content, np.uint8),
            "kernels": np.array(kernels),
            "runtime": np.array(self._runtime or ""),
            "samples": np.array(len(self._samples)),
        }
        for sample in range(len(self._samples)):
            for number, raw in enumerate(self._samples.raw(sample, infos)):
                request[f"in_{sample}_{number}"] = raw
        answer = self._worker.ask(request)
        count = len(model.main.outputs)
        outputs = tuple(
            tuple(answer[f"out_{sample}_{number}"] for number in range(count))
            for sample in range(len(self._samples))
        )
        ends = tuple(tensor_info(model, index) for index in model.main.outputs)
        return _Run(outputs, ends, str(answer["kernels"]))

    def close(self) -> None:
        """End the process that runs the models."""
        self._worker.close()

    def __enter__(self) -> Prover:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Worker:
    """The process that runs models, started when it is needed, and again when it died."""

    def __init__(self) -> None:
        self._conversation: Conversation | None = None

    def ask(self, request: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The outputs.

        Raises:
            UnsupportedModelError: The interpreter refuses the model, or died of it.
            MissingExtraError: No runtime is installed.
        """
        if self._conversation is None:
            self._conversation = Conversation(
                [sys.executable, "-u", "-m", "edgekit.fix.worker"], env=_environment()
            )
        with contextlib.suppress(BrokenPipeError):
            send(self._conversation.stdin, request)
        answer = receive(self._conversation.stdout)
        if answer is None:
            raise self._death()
        if "refused" in answer:
            what, where, why, fix, missing = (str(text) for text in answer["refused"])
            kind = MissingExtraError if missing else UnsupportedModelError
            raise kind(what, where=where, why=why, fix=fix)
        return answer

    def close(self) -> None:
        if self._conversation is not None:
            self._conversation.__exit__(None, None, None)
            self._conversation = None

    def _death(self) -> UnsupportedModelError:
        finished = self._conversation.finish() if self._conversation else None
        self.close()
        cause = (finished.signal_name or f"exit status {finished.returncode}") if finished else ""
        lines = finished.stderr.strip().splitlines() if finished else []
        return UnsupportedModelError(
            "the interpreter died of the model",
            why=f"{cause}: {lines[-1] if lines else 'it printed nothing'}",
            fix="convert the model again; scales that kernels cannot work with are the usual cause",
        )


def _environment() -> dict[str, str]:
    """This process's, in which the child finds the same edgekit."""
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join(each for each in (root, os.environ.get("PYTHONPATH", "")) if each)
    return {**os.environ, "PYTHONPATH": path}


def operators_changed(before: Model, after: Model) -> dict[str, int]:
    """Opcode -> how many more there are after; without those whose number is the same."""
    old, new = (
        collections.Counter(op.label for op in model.main.operators) for model in (before, after)
    )
    return {name: new[name] - old[name] for name in sorted({*old, *new}) if new[name] != old[name]}


def without_custom(model: Model) -> Model:
    """``model`` up to its custom operators: what they read are its outputs instead."""
    graph = model.main
    custom = [op for op in graph.operators if op.opcode == CUSTOM]
    written: set[int] = set()
    kept = []
    for op in graph.operators:
        if op.opcode == CUSTOM or written.intersection(op.inputs):
            written.update(op.outputs)
        else:
            kept.append(op)
    computed = {index for op in kept for index in op.outputs}
    read = [index for op in custom for index in op.inputs if index in computed]
    rest = [index for index in graph.outputs if index in computed]
    outputs = tuple(dict.fromkeys([*read, *rest]))
    main = replace(graph, operators=tuple(kept), outputs=outputs or graph.outputs)
    return replace(model, subgraphs=(main, *model.subgraphs[1:]), signature_defs=())


def _as_it_is(model: Model) -> Model:
    return model
