# SPDX-License-Identifier: Apache-2.0
"""Rewrite a quantized model so that more of it maps; its outputs stay bit-identical."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from edgekit.edgetpu.macs import model_macs
from edgekit.errors import UnsupportedModelError
from edgekit.fix.apply import Fixing
from edgekit.fix.certificate import Certificate
from edgekit.fix.choose import choose_rules
from edgekit.fix.mapping import num_mapped
from edgekit.fix.prove import Prover
from edgekit.fix.samples import Samples
from edgekit.formats.tflite import Model, Operator, Subgraph, read_model, write_model
from edgekit.host.convert.times import certain_ms
from edgekit.progress import no_progress
from edgekit.rewrite import Rule, apply_rule

# The model would have other inputs or outputs than the network.
_CHANGES_ENDS = ("channels-last", "outputs")
_MOST_PASSES = 8
_MOST_SAMPLES = 8
_MACS = 2_000_000_000  # of all samples: reference kernels take some 10 s for so many
_SLOWER = 1.02  # smaller differences are rounding of the estimate


@dataclass(frozen=True)
class Rewritten:
    """A rewritten model, and the evidence that its outputs are the same."""

    model: Model
    certificates: tuple[Certificate, ...] = ()
    notes: tuple[str, ...] = ()
    offer: Model | None = None  # what `edgekit fix` would make of it, if more of that maps


def apply_rewrites(
    model: Model, rules: Sequence[Rule] | None = None, *, proves: bool = True
) -> Rewritten:
    """Return ``model`` with every rewrite whose outputs are bit-identical.

    A rewrite that makes the model slower by the estimate is left out, unless more operators map.
    Exact rules are applied together if that makes the model better, and the result is compared with
    ``model`` on random inputs and reference kernels. If it differs, they are applied and compared
    one by one. Exact rules also stay if reference kernels cannot run the model. Other rules stay if
    the same comparison finds no difference and fewer operators are left to the CPU.

    Args:
        model: Integer, as the quantizer made it.
        rules: The rules to try; None takes all that keep inputs and outputs.
        proves: Compare the results of exact rules too.

    Returns:
        The rewritten model with its evidence; ``model`` itself if no rewrite stays.
    """
    if rules is None:
        rules = choose_rules((), _CHANGES_ENDS, "keep")
    exact = [each for each in rules if each.exact]
    others = [each for each in rules if not each.exact]
    samples = Samples(model, num_random=_num_samples(model))
    try:
        with Prover(samples, None) as prover:
            return _Rewriting(prover, exact, others, proves=proves).run(model)
    except UnsupportedModelError as error:
        why = error.why or error.what
        return Rewritten(model, notes=(f"no rewrite was tried, because none can be proved: {why}",))


class _Rewriting:
    """The state of one run."""

    def __init__(
        self, prover: Prover, exact: Sequence[Rule], others: Sequence[Rule], *, proves: bool
    ) -> None:
        self._prover, self._exact, self._others = prover, list(exact), others
        self._proves = proves
        self._certificates: list[Certificate] = []
        self._notes: list[str] = []

    def run(self, model: Model) -> Rewritten:
        current = self._with_exact(model)
        for rule in self._others:
            changed = self._with_measured(rule, current)
            if changed is not current:
                current = self._with_exact(changed)
        return Rewritten(current, tuple(self._certificates), tuple(self._notes), _offer(current))

    def _with_exact(self, model: Model) -> Model:
        changed, names = _applied(self._exact, model)
        for name in names:
            if not _is_slower(model, changed):
                break
            rest = [each for each in self._exact if each.name != name]
            without = _applied(rest, model)
            if not _is_slower(model, without[0]):
                self._notes.append(f"the rewrite {name} would make the model slower: left out")
                self._exact, (changed, names) = rest, without
        if not names or _is_slower(model, changed) or not _is_better(model, changed):
            return model
        if not self._proves:
            return changed
        certificate = self._prover.certify("+".join(names), model, changed, exact=True)
        if certificate.identical or certificate.kernels != "reference":
            self._certificates.append(_timed(certificate, model, changed))
            return changed
        job = Fixing(self._exact, self._prover, unproved=False, progress=no_progress)
        rewritten = job.run(model)
        self._certificates.extend(job.certificates)
        self._notes.extend(
            f"the rewrite {each.rule} must give equal outputs, but they differed: left out"
            for each in job.rejected
        )
        self._exact = [each for each in self._exact if each.name not in _names(job.rejected)]
        return rewritten

    def _with_measured(self, rule: Rule, model: Model) -> Model:
        changed = apply_rule(rule, model)
        if changed is None:
            return model
        changed = read_model(write_model(changed))
        if _num_left(changed) >= _num_left(model):
            return model
        # Outputs hide small differences behind them (a pooling, a softmax), so compare there too.
        shown = _with_replaced_outputs(model, changed)
        if shown is None:
            return model
        certificate = self._prover.certify(rule.name, *shown, exact=False)
        if not certificate.identical:
            return model
        self._certificates.append(_timed(certificate, model, changed))
        return changed


def _timed(certificate: Certificate, before: Model, after: Model) -> Certificate:
    times = certain_ms(before), certain_ms(after)
    return replace(certificate, estimated_ms_before=times[0], estimated_ms_after=times[1])


def _with_replaced_outputs(before: Model, after: Model) -> tuple[Model, Model] | None:
    """Return both models with the results of replaced operators as additional outputs.

    None if such a tensor is no longer in ``after``, or changed its type or shape.
    """
    old, new = before.main, after.main
    kept = {_described(op, new) for op in new.operators}
    replaced = [
        index
        for op in old.operators
        if _described(op, old) not in kept
        for index in op.outputs
        if index not in old.outputs
    ]
    made = {new.tensors[i].name: i for op in new.operators for i in op.outputs}
    places = [made.get(old.tensors[index].name) for index in replaced]
    more = [index for index in places if index is not None]
    shapes = [
        [(graph.tensors[index].dtype, graph.tensors[index].shape) for index in indices]
        for graph, indices in ((old, replaced), (new, more))
    ]
    if shapes[0] != shapes[1]:
        return None
    return _with_outputs(before, replaced), _with_outputs(after, more)


def _described(op: Operator, graph: Subgraph) -> tuple[str, tuple[str, ...]]:
    return op.opcode, tuple(graph.tensors[index].name for index in op.outputs)


def _with_outputs(model: Model, more: Sequence[int]) -> Model:
    graph = replace(model.main, outputs=(*model.main.outputs, *more))
    return replace(model, subgraphs=(graph, *model.subgraphs[1:]), signature_defs=())


def _offer(model: Model) -> Model | None:
    """Return the result of all rules of `edgekit fix`, which may change values, if more maps."""
    changed, names = _applied(choose_rules((), (), "auto"), model)
    return changed if names and _num_left(changed) < _num_left(model) else None


def _applied(rules: Sequence[Rule], model: Model) -> tuple[Model, list[str]]:
    """Return ``model`` after ``rules``, as it is read from a file, and the rules' names."""
    current, names = model, []
    for _ in range(_MOST_PASSES):
        start = current
        for rule in rules:
            changed = apply_rule(rule, current)
            if changed is not None:
                current = changed
                names.append(rule.name)
        if current is start:
            break
    unique = list(dict.fromkeys(names))
    return (read_model(write_model(current)), unique) if unique else (model, [])


def _num_left(model: Model) -> int:
    """Return how many operators do not map."""
    return len(model.main.operators) - num_mapped(model)


def _is_slower(before: Model, after: Model) -> bool:
    if _num_left(after) < _num_left(before):
        return False  # worth it; the result is compared as a whole
    return certain_ms(after) > _SLOWER * certain_ms(before)


def _is_better(before: Model, after: Model) -> bool:
    """Whether fewer operators are left to the CPU, there are fewer, or the estimate falls."""
    return (
        _num_left(after) < _num_left(before)
        or len(after.main.operators) < len(before.main.operators)
        or _SLOWER * certain_ms(after) < certain_ms(before)
    )


def _num_samples(model: Model) -> int:
    return min(_MOST_SAMPLES, max(1, _MACS // max(model_macs(model), 1)))


def _names(certificates: Sequence[Certificate]) -> set[str]:
    return {each.rule for each in certificates}
