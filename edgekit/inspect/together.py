# SPDX-License-Identifier: Apache-2.0
"""Several compiled files on one chip: which share a token, and which fit together."""

from __future__ import annotations

import re

from edgekit.edgetpu.chip import MIB, PARAMETER_CACHE_BYTES
from edgekit.inspect.result import InspectResult, TokenGroup

# How the compiler names the parts of a pipeline.
_SEGMENT = re.compile(r"_segment_\d+_of_\d+_edgetpu")


def group_by_token(files: tuple[InspectResult, ...]) -> tuple[TokenGroup, ...]:
    """Return the compiled ones of ``files``, grouped by token."""
    tokens: dict[str, list[InspectResult]] = {}
    for each in files:
        for token in {package.parameter_caching_token for package in each.packages}:
            tokens.setdefault(token, []).append(each)
    return tuple(_group(token, members) for token, members in tokens.items())


def verdict(files: tuple[InspectResult, ...], groups: tuple[TokenGroup, ...]) -> str:
    """Return one sentence on how the files share a chip."""
    compiled = [each for each in files if each.packages]
    if len(compiled) < 2:
        return "fewer than two of the files are compiled: nothing to share"
    shared = [group for group in groups if len(group.models) > 1 and group.relation != "alone"]
    if not shared:
        return (
            "no two files share a token: each one evicts the parameters of the other, which are "
            "sent again at every switch; compile them together (edgekit compile A B)"
        )
    if len(groups) > 1:
        return "some files share a token; a switch to a file with another token reloads parameters"
    group = shared[0]
    if group.relation == "segments":
        return "the files are segments of one pipeline: each runs on its own Edge TPU"
    if not group.fits_together:
        return (
            f"the files share a token, but {group.cached_bytes / MIB:.2f} MiB of cached parameters "
            f"do not fit on the chip"
        )
    return "the files share a token and their cached parameters fit together: no reloading"


def _group(token: str, members: list[InspectResult]) -> TokenGroup:
    names = tuple(each.model for each in members)
    is_alone = len(members) < 2 or not int(token, 16)  # token 0 never shares
    cached_bytes = sum(
        package.cached_bytes
        for each in members
        for package in each.packages
        if package.parameter_caching_token == token
    )
    return TokenGroup(
        parameter_caching_token=token,
        models=names,
        relation="alone" if is_alone else _relation(members),
        cached_bytes=cached_bytes,
        fits_together=cached_bytes <= PARAMETER_CACHE_BYTES,
        room_bytes=PARAMETER_CACHE_BYTES,
    )


def _relation(members: list[InspectResult]) -> str:
    """Segments pass tensors on, by name; the compiler's file names also show it."""
    made = {tensor.name for each in members for tensor in each.outputs}
    taken = {tensor.name for each in members for tensor in each.inputs}
    named = all(_SEGMENT.search(each.model) for each in members)
    return "segments" if named or made & taken else "co-compiled"
