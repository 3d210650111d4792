# SPDX-License-Identifier: Apache-2.0
"""Apply rules until none changes the model; compare each result with the model before it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Sequence

from edgekit.edgetpu.estimate import estimated_ms
from edgekit.errors import UnsupportedModelError
from edgekit.fix.certificate import Certificate
from edgekit.fix.prove import Prover, Restore, operators_changed
from edgekit.formats.tflite import Model, read_model, write_model
from edgekit.progress import Progress
from edgekit.rewrite import Rule, apply_rule

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MOST_PASSES = 8  # known models need two; the limit stops rules that undo each other


@dataclass(frozen=True)
class Step:
    """One rewrite that was accepted."""

    rule: Rule
    before: Model
    after: Model


class Fixing:
    """The state of one run over the rules."""

    def __init__(
        self, chosen: Sequence[Rule], prover: Prover, unproved: bool, progress: Progress
    ) -> None:
        self._rules, self._prover, self._unproved = list(chosen), prover, unproved
        self._progress = progress
        self.trusts_measurements = True
        self.steps: list[Step] = []
        self.certificates: list[Certificate] = []
        self.rejected: list[Certificate] = []

    def run(self, model: Model) -> Model:
        """Apply the rules repeatedly until none changes the model."""
        current = model
        for _ in range(_MOST_PASSES):
            start = current
            for rule in tuple(self._rules):
                current = self._apply(rule, current)
            if current is start:
                break
        return current

    def _apply(self, rule: Rule, model: Model) -> Model:
        changed = apply_rule(rule, model)
        if changed is None:
            return model
        # Compare the same bytes that will be written.
        after = read_model(write_model(changed))
        step = Step(rule, model, after)
        certificate = self._certify(rule.name, model, after, rule.exact, (step,))
        if rule.exact and self._contradicts(certificate):
            self.rejected.append(certificate)
            self._rules.remove(rule)
            return model
        self.steps.append(step)
        self.certificates.append(certificate)
        self._progress(len(self.certificates), None)
        return after

    def _contradicts(self, certificate: Certificate) -> bool:
        """Whether an exact rule changed outputs; only reference kernels count."""
        is_reference = certificate.kernels == "reference"
        return certificate.identical is False and is_reference and self.trusts_measurements

    def whole(self) -> Certificate:
        """Compare the first model with the last one."""
        first, last = self.steps[0].before, self.steps[-1].after
        exact = all(step.rule.exact for step in self.steps)
        return self._certify("whole", first, last, exact, self.steps)

    def _certify(
        self, name: str, before: Model, after: Model, exact: bool, steps: Sequence[Step]
    ) -> Certificate:
        times = estimated_ms(before), estimated_ms(after)
        try:
            found = self._prover.certify(
                name, before, after, exact=exact, restore=_restoring(steps)
            )
        except UnsupportedModelError as error:
            if not self._unproved:
                raise
            changed = operators_changed(before, after)
            note = f"not measured: {error.why or error.what}"
            found = Certificate(name, exact, None, (), changed, 0, 0, "", note)
        return replace(found, estimated_ms_before=times[0], estimated_ms_after=times[1])


def _restoring(steps: Sequence[Step]) -> Restore | None:
    """Return the function from the last model's outputs to the first's; last step first."""
    restoring = [step for step in steps if step.rule.restore is not None]
    if not restoring:
        return None

    def restore(outputs: Sequence[NDArray[Any]]) -> Sequence[NDArray[Any]]:
        for step in reversed(restoring):
            if step.rule.restore is not None:
                outputs = step.rule.restore(step.before, step.after, outputs)
        return outputs

    return restore
