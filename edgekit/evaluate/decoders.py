# SPDX-License-Identifier: Apache-2.0
"""Choose decoders that read the outputs of several models as answers to one task."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Sequence

from edgekit.errors import UnsupportedModelError
from edgekit.tasks import NONE, DecodeOptions, Decoder, choose_decoder

if TYPE_CHECKING:
    from edgekit.runtime import Runner
    from edgekit.tasks import Prepared


def same_decoders(
    prepared: Sequence[Prepared],
    runners: Sequence[Runner],
    task: str | None = None,
    options: DecodeOptions | None = None,
) -> list[Decoder]:
    """Return one decoder for each model, all for one task, which may be clear from one model only.

    Raises:
        UsageError: There is no such task.
        UnsupportedModelError: The outputs cannot be those of ``task``.
        DataError: The anchors in ``options`` do not fit.
    """
    decoders = [choose_decoder(*each, task, options) for each in zip(prepared, runners)]
    tasks = {decoder.task for decoder in decoders}
    if task is not None or len(tasks) < 2:
        return decoders
    wanted = next(decoder.task for decoder in decoders if decoder.task != NONE)
    try:
        again = [choose_decoder(*each, wanted, options) for each in zip(prepared, runners)]
    except UnsupportedModelError:
        return [
            replace(choose_decoder(*each, NONE, options), why="the two models differ in their task")
            for each in zip(prepared, runners)
        ]
    return [replace(each, is_guess=True) for each in again]
