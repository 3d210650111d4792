# SPDX-License-Identifier: Apache-2.0
"""edgekit: run trained Keras networks on the Coral Edge TPU, with proof.

One function per command, imported on first use (PEP 562), so that ``import edgekit`` is fast.
"""

from __future__ import annotations

from edgekit.lazy import lazy_names
from edgekit.version import __version__

# Do not import typing: ``python -m edgekit`` still has the current folder on its path here, and a
# typing.py there would be imported (`__main__` removes the folder from the path).
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from edgekit.building.build import build
    from edgekit.building.demo import demo
    from edgekit.bundle.pack import bundle
    from edgekit.bundle.verify import verify
    from edgekit.checking import check
    from edgekit.chip.isa.listing import disasm
    from edgekit.compiling import compile  # noqa: A004 - the command's name
    from edgekit.confirm import confirm
    from edgekit.data import open_dataset
    from edgekit.debugging import debug
    from edgekit.doctor.checks import doctor
    from edgekit.errors import EdgeKitError
    from edgekit.evaluate import benchmark, compare, emulate, evaluate, run
    from edgekit.evaluate.live import open_live
    from edgekit.explain.explain import explain
    from edgekit.fix.fix import fix
    from edgekit.fix.split import split
    from edgekit.fleet.cluster.pool import cluster
    from edgekit.fleet.deploy import deploy
    from edgekit.formats.tflite import read_model
    from edgekit.host.convert.conversion import convert
    from edgekit.host.convert.environments import sources
    from edgekit.host.train.train import train
    from edgekit.host.tune.tuning import tune
    from edgekit.inspect.inspect import inspect
    from edgekit.integrations.frigate import frigate
    from edgekit.opencompiler.estimate import estimate
    from edgekit.opencompiler.plan import plan
    from edgekit.report.page import report
    from edgekit.runtime import Runner
    from edgekit.serve.server import serve

__all__ = [
    "EdgeKitError",
    "Runner",
    "__version__",
    "benchmark",
    "build",
    "bundle",
    "check",
    "cluster",
    "compare",
    "compile",
    "confirm",
    "convert",
    "debug",
    "demo",
    "deploy",
    "disasm",
    "doctor",
    "emulate",
    "estimate",
    "evaluate",
    "explain",
    "fix",
    "frigate",
    "inspect",
    "open_dataset",
    "open_live",
    "plan",
    "read_model",
    "report",
    "run",
    "serve",
    "sources",
    "split",
    "train",
    "tune",
    "verify",
]

_PUBLIC = {
    "EdgeKitError": "edgekit.errors",
    "Runner": "edgekit.runtime",
    "benchmark": "edgekit.evaluate",
    "build": "edgekit.building",
    "bundle": "edgekit.bundle",
    "check": "edgekit.checking",
    "cluster": "edgekit.fleet.cluster",
    "compare": "edgekit.evaluate",
    "compile": "edgekit.compiling",
    "confirm": "edgekit.confirm",
    "convert": "edgekit.host.convert",
    "debug": "edgekit.debugging",
    "demo": "edgekit.building.demo",
    "deploy": "edgekit.fleet",
    "disasm": "edgekit.chip.isa",
    "doctor": "edgekit.doctor",
    "emulate": "edgekit.evaluate",
    "estimate": "edgekit.opencompiler.estimate",
    "evaluate": "edgekit.evaluate",
    "explain": "edgekit.explain",
    "fix": "edgekit.fix",
    "frigate": "edgekit.integrations",
    "inspect": "edgekit.inspect",
    "open_dataset": "edgekit.data",
    "open_live": "edgekit.evaluate.live",
    "plan": "edgekit.opencompiler.plan",
    "read_model": "edgekit.formats.tflite",
    "report": "edgekit.report.page",
    "run": "edgekit.evaluate",
    "serve": "edgekit.serve",
    "sources": "edgekit.host.convert.environments",
    "split": "edgekit.fix",
    "train": "edgekit.host.train",
    "tune": "edgekit.host.tune",
    "verify": "edgekit.bundle",
}


_get = lazy_names(__name__, _PUBLIC)


if not TYPE_CHECKING:  # so that type checkers refuse names that are not imported above

    def __getattr__(name: str) -> Any:  # noqa: ANN401 - PEP 562
        try:
            return _get(name)
        except ModuleNotFoundError as error:
            if error.name is None or not _PUBLIC[name].startswith(error.name):
                raise
            raise AttributeError(
                f"edgekit-coral-device does not have '{name}'; edgekit-coral has it"
            ) from error


def __dir__() -> list[str]:
    return sorted(__all__)
