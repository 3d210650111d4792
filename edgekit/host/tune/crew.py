# SPDX-License-Identifier: Apache-2.0
"""Trials on the workers of a cluster: those that will probably be next begin before their turn.

The search takes one decision after the other, as on one computer. While it waits for a trial, free
workers try the recipes that come next if this trial changes nothing; what was tried in vain is in
the journal too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Protocol

from edgekit.errors import EdgeKitError, ExternalToolError
from edgekit.host.convert.recipe import Recipe
from edgekit.host.tune.bench import Attempt, Bench
from edgekit.host.tune.kit import AttemptThere, Kit, install_there, packages, try_there

_AHEAD = 2  # recipes per slot that are tried before their turn


class Calls(Protocol):
    """Calls that are running, by name; see `edgekit.fleet.cluster.calls`."""

    num_slots: int

    def send(self, name: Recipe, *args: object) -> None:
        """Start a call."""

    def receive(self) -> Any:  # noqa: ANN401 - an `Answer`
        """Wait for one call to end."""

    def give_up(self, name: Recipe) -> None:
        """Forget a call."""

    def close(self) -> None:
        """Forget all calls."""


class Workers(Protocol):
    """The workers of a cluster; `edgekit.cluster` returns them."""

    @property
    def shares_folder(self) -> bool:
        """Whether relative paths mean the same files there as here."""

    def require(
        self, facts: Callable[[], Mapping[str, str]], fix: Callable[[Sequence[str]], str]
    ) -> None:
        """Check that ``facts()`` is the same on all workers as here."""

    def choose_for(self, device: str) -> None:
        """Choose the workers that have the device."""

    def calls(self, function: Callable[..., Any], shared: object) -> Calls:
        """Return an empty set of calls ``function(shared, *args)``."""

    def value_of(self, answer: Any) -> Any:  # noqa: ANN401 - an `Answer`, and what was returned
        """Return what a call returned, or raise its error."""

    def name_of(self, identity: str) -> str:
        """Return the name of a worker's process; check it first if it has joined meanwhile."""


class Crew:
    """Tries recipes on the workers of a cluster."""

    def __init__(self, workers: Workers, kit: Kit, bench: Bench) -> None:
        """Check that all workers convert as this computer does.

        Raises:
            ExternalToolError: A worker has other packages.
        """
        workers.require(packages, install_there)
        workers.choose_for("cpu")
        self._workers, self._bench = workers, bench
        self._calls = workers.calls(try_there, kit)
        self._sent: set[Recipe] = set()
        self._ended: dict[Recipe, Attempt] = {}  # without those that were returned
        self._failed: dict[Recipe, EdgeKitError] = {}  # matter when it is their turn

    def expect(self, recipes: Iterable[Recipe]) -> None:
        """Start trials of the first of ``recipes``, and give up others that have not begun."""
        wanted = list(islice(dict.fromkeys(recipes), _AHEAD * self._calls.num_slots))
        for recipe in self._sent.difference(wanted):
            self._sent.remove(recipe)
            self._calls.give_up(recipe)
        for recipe in wanted:
            self._send(recipe)

    def attempt(self, recipe: Recipe) -> Attempt:
        """Try a recipe; see `Bench.attempt`."""
        self._send(recipe)
        while recipe not in self._ended:
            if recipe in self._failed:
                raise self._failed[recipe]
            self._receive()
        return self._ended.pop(recipe)

    def others(self) -> Iterator[tuple[Recipe, Attempt]]:
        """Yield, once, those that were expected and ended before it was their turn."""
        while self._ended:
            yield self._ended.popitem()

    def _send(self, recipe: Recipe) -> None:
        if not (recipe in self._sent or recipe in self._ended or recipe in self._failed):
            self._sent.add(recipe)
            self._calls.send(recipe, recipe)

    def _receive(self) -> None:
        answer = self._calls.receive()
        self._sent.discard(answer.name)
        if answer.is_killer:  # a trial like one that fails: the search goes on without it
            self._ended[answer.name] = Attempt(None, None, _died(), 0.0)
            return
        try:
            found: AttemptThere = self._workers.value_of(answer)
        except EdgeKitError as error:
            self._failed[answer.name] = error
            return
        self._workers.name_of(found.worker)
        if found.attempt.converted is not None:
            self._bench.keep(answer.name, found.content, found.attempt.converted)
        self._ended[answer.name] = found.attempt

    def close(self) -> None:
        """Give up what is running."""
        self._calls.close()


def _died() -> ExternalToolError:
    return ExternalToolError(
        "the worker's process ended",
        why="each time that this recipe was tried, also alone; perhaps the memory is not enough",
    )
