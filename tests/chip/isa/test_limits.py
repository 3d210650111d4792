# SPDX-License-Identifier: Apache-2.0
"""Limits come from the machine, and their message does not call a large program damaged."""

from __future__ import annotations

import subprocess
import sys

import pytest

from edgekit.chip.isa import EmulationError
from edgekit.chip.isa.limits import check_memory, memory_bytes


def test_what_fits_into_half_of_the_memory_passes() -> None:
    check_memory(memory_bytes() // 64, 64, "steps")


def test_what_does_not_fit_is_too_large_and_not_damaged() -> None:
    with pytest.raises(EmulationError, match="too large for this machine") as caught:
        check_memory(memory_bytes() // 64 + 1, 64, "steps", "pc 3")
    assert caught.value.where == "pc 3"
    assert "damaged" not in str(caught.value)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit of address space")
def test_a_limit_of_the_process_counts() -> None:
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30));"
        "from edgekit.chip.isa.limits import memory_bytes; print(memory_bytes())"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE)
    assert int(done.stdout) <= 1 << 30
