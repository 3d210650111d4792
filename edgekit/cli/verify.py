# SPDX-License-Identifier: Apache-2.0
"""``edgekit verify``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Iterator, Optional

import typer
from typing_extensions import Annotated

from edgekit.cli import completion
from edgekit.cli.bundle import render_manifest
from edgekit.cli.output import JsonOption, emit, note

if TYPE_CHECKING:
    from edgekit.bundle import VerifyResult

_VERDICTS = {True: "fits here", False: "NOT HERE", None: "unknown"}


def verify(
    bundle: Annotated[
        Path,
        typer.Argument(
            metavar="BUNDLE", help="A .edgekit file.", autocompletion=completion.bundles
        ),
    ],
    verify_key: Annotated[
        Optional[Path],
        typer.Option(
            metavar="KEY", help="Require a signature that this Ed25519 public key verifies."
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Check a bundle: hashes, signature, versions, and whether its models belong together."""
    from edgekit.bundle import verify as check

    result = check(bundle, verify_key=verify_key)
    for fit in result.here:
        if fit.usable is False:
            note(f"warning: not usable here: {fit.needs}; {fit.has}")
    emit(result, lambda: "\n".join(render(result)), as_json=json)


def render(result: VerifyResult) -> Iterator[str]:
    """Yield the result for people, line by line."""
    yield f"good       {result.bundle}: {result.bytes:,} bytes"
    yield f"sha256     {result.bundle_sha256}"
    yield f"signature  {result.signature}"
    for line in result.checked:
        yield f"checked    {line}"
    for fit in result.here:
        yield f"{_VERDICTS[fit.usable]:10} {fit.needs}; {fit.has}"
    yield from render_manifest(result.manifest)
