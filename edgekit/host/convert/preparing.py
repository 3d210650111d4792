# SPDX-License-Identifier: Apache-2.0
"""The rewrites before quantization, each with the estimated time before and after it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from edgekit.formats.tflite import Model
from edgekit.host.convert.as_integers import as_integers
from edgekit.host.convert.on_host import OnHost
from edgekit.host.convert.times import certain_ms
from edgekit.result import Result


@dataclass(frozen=True)
class Prepared(Result):
    """A rewrite of the float network; times are of the whole network, as if it were integers."""

    rule: str
    estimated_ms_before: float
    estimated_ms_after: float


@dataclass
class Start:
    """The network before every rewrite, and what was done to it before quantization.

    ``on_host`` is what was cut off before.
    """

    network: Model
    io: str
    on_host: OnHost | None = None
    _steps: dict[str, Prepared] = field(default_factory=dict)

    def watch(self, rule: str, before: Model, after: Model) -> None:
        """Take note of a rewrite."""
        after_ms = self._whole_ms(after)
        known = self._steps.get(rule)
        if known is None:
            self._steps[rule] = Prepared(rule, self._whole_ms(before), after_ms)
        else:
            self._steps[rule] = replace(known, estimated_ms_after=after_ms)

    def _whole_ms(self, model: Model) -> float:
        host_ms = 0.0 if self.on_host is None else self.on_host.estimated_ms
        return certain_ms(as_integers(model, self.io)) + host_ms

    @property
    def prepared(self) -> tuple[Prepared, ...]:
        """The rewrites, in their order."""
        return tuple(self._steps.values())
