# SPDX-License-Identifier: Apache-2.0
"""Check from the installed versions whether a bundle can be used on this machine."""

from __future__ import annotations

from dataclasses import dataclass

from edgekit.formats.bundle import Manifest
from edgekit.result import Result
from edgekit.runtime.installed import installed_library, installed_runtime
from edgekit.version import __version__
from edgekit.versions import parse_version

# ai-edge-litert has its own version numbers; its first release corresponds to TensorFlow 2.17.
_LITERT_BEGAN_AT = (2, 17)


@dataclass(frozen=True)
class Fit(Result):
    """One requirement of a bundle, and the version that this machine has."""

    what: str  # edgekit | tensorflow_lite | edgetpu_runtime
    needs: str
    has: str
    usable: bool | None  # None if this is unknown


def compare_with_here(manifest: Manifest) -> tuple[Fit, ...]:
    """Compare the bundle's requirements with this edgekit, its runtime and libedgetpu.

    libedgetpu is looked for only if the bundle has a compiled model.
    """
    fits = [_edgekit(manifest.edgekit), _lite(str(manifest.requires.get("tensorflow_lite") or ""))]
    wanted = manifest.requires.get("edgetpu_runtime")
    return (*fits, *([_edge_tpu(wanted)] if isinstance(wanted, int) else []))


def _edgekit(version: str) -> Fit:
    newer = parse_version(version) > parse_version(__version__)
    return Fit(
        "edgekit",
        f"made by edgekit {version}",
        f"edgekit here is {__version__}" + (", which may not read all of it" if newer else ""),
        None if newer else True,
    )


def _lite(needed: str) -> Fit:
    here = installed_runtime()
    needs = f"needs TensorFlow Lite {needed} or newer" if needed else "needs TensorFlow Lite"
    if not here.runtime:
        return Fit("tensorflow_lite", needs, "no runtime can be imported here", usable=False)
    has = f"{here.runtime} here is {here.version}"
    wanted = parse_version(needed)
    usable: bool | None = parse_version(here.version) >= wanted
    if here.runtime == "litert" and not usable:
        usable = None
    if here.runtime == "litert" and wanted <= _LITERT_BEGAN_AT:
        usable = True
    return Fit("tensorflow_lite", needs, has, usable)


def _edge_tpu(wanted: int) -> Fit:
    needs = f"needs Edge TPU runtime {wanted} or newer"
    library = installed_library()
    if not library.path:
        why = f": {library.why}" if "No such file" not in library.why else ""
        return Fit("edgetpu_runtime", needs, f"no libedgetpu here{why}", usable=None)
    if not library.runtime_version:
        return Fit("edgetpu_runtime", needs, f"{library.path} does not report its version", None)
    has = f"libedgetpu here is runtime {library.runtime_version}"
    return Fit("edgetpu_runtime", needs, has, library.runtime_version >= wanted)
