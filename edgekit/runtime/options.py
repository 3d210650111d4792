# SPDX-License-Identifier: Apache-2.0
"""How a model is run: the options of a Runner, in one value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgekit.errors import UsageError
from edgekit.formats.model_file import ModelSource
from edgekit.runtime.devices import CPU, EMULATOR


@dataclass(frozen=True)
class RunnerOptions:
    """The options of `Runner`; every function that runs models accepts them too.

    Attributes:
        device: ``cpu``; an Edge TPU in pycoral's words: ``usb``, ``usb:0``, ``pci``, ``pci:1``,
            ``:0``; ``auto`` uses an Edge TPU if one works, else the CPU; ``emulator`` runs a
            compiled model's program in software, with the same values as the chip.
        runtime: ``litert``, ``tflite-runtime`` or ``tensorflow``; None uses the first that is
            installed.
        kernels: ``fast`` is XNNPACK where the runtime has it: for convolutions (depthwise too),
            dense layers and additions it computes the same values as the Edge TPU; ``reference`` is
            slow and bit-identical across runtimes.
        num_threads: The number of threads of one inference.
        fallback: If a compiled model cannot run on ``device``, run the plain model on the CPU:
            the one in its bundle, or the file beside it without ``_edgetpu`` in its name.
        recover: If the Edge TPU is lost during a run, open it again and repeat the inference.
        timeout_s: How long to wait for an Edge TPU when it is opened, and in each inference; None
            waits without limit.
        strict_sync: On the emulator also check counters, queue capacities and fences, and stop at
            the first fault.
        unproven: On the emulator, also run programs with forms of instructions that are in no
            program that was compared with its source; `Environment.kernels_note` then says so.
        source: On the emulator, the plain model that was compiled: path or content. Each program is
            compared with it layer by layer, once, on random inputs; see `Environment.kernels_note`.
    """

    device: str = CPU
    runtime: str | None = None
    kernels: str = "fast"
    num_threads: int = 1
    fallback: bool = False
    recover: bool = False
    timeout_s: float | None = None
    strict_sync: bool = False
    unproven: bool = False
    source: ModelSource | None = None

    def __post_init__(self) -> None:
        if self.num_threads < 1:
            raise UsageError(f"num_threads is {self.num_threads}, expected at least 1")
        if self.timeout_s is not None and self.timeout_s <= 0:
            raise UsageError(f"timeout_s is {self.timeout_s}, expected more than 0")
        if self.source is not None and self.device != EMULATOR:
            raise UsageError(
                "a source is compared in the emulator only", fix="give the device emulator"
            )

    @classmethod
    def given(cls, options: RunnerOptions | None, **keywords: Any) -> RunnerOptions:  # noqa: ANN401
        """Return ``options``, or new ones from ``keywords``.

        Raises:
            UsageError: Both are given.
        """
        if options is None:
            return cls(**keywords)
        given = [name for name, value in keywords.items() if value != getattr(cls(), name)]
        if given:
            raise UsageError(
                f"{given[0]} is given together with options",
                fix=f"give it in the options: dataclasses.replace(options, {given[0]}=...)",
            )
        return options
