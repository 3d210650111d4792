# SPDX-License-Identifier: Apache-2.0
"""All expected failures, each with what happened, where, why and how to fix it.

EdgeKitError
├── UsageError               exit status 2: arguments that contradict each other
├── InputError               exit status 3: what the user gave cannot be used
│   ├── ModelFormatError     the file is damaged or has another format
│   ├── UnsupportedModelError  a valid model that cannot become an Edge TPU model
│   │   └── UnsafeModelError   loading it would run code or write files
│   ├── QuantizationError    a value, range or parameter that integers cannot represent
│   ├── DataError            calibration or evaluation data that cannot be used
│   ├── BundleError          a bundle that is damaged or does not belong together
│   └── OutputError          a result that could not be written
├── GateError                exit status 4: the answer is no (a gate was not met)
├── ExternalToolError        exit status 5: a tool outside edgekit failed or is missing
│   └── MissingExtraError    an optional Python dependency is not installed
└── DeviceError              exit status 6: no usable device
    └── DeviceLostError      the device was lost during a run
"""

from __future__ import annotations

from typing import ClassVar


class EdgeKitError(Exception):
    """Base of every expected failure: what happened, where, why, how to fix it."""

    # Stable, in the documentation and in JSON; an instance may have a more specific code.
    code: str = "edgekit"
    exit_status: ClassVar[int] = 3

    def __init__(
        self, what: str, *, where: str = "", why: str = "", fix: str = "", code: str = ""
    ) -> None:
        super().__init__(what)
        self.what, self.where, self.why, self.fix = what, where, why, fix
        if code:
            self.code = code

    def __str__(self) -> str:
        rows = (("where", self.where), ("why", self.why), ("fix", self.fix))
        return "\n".join([self.what, *(f"  {label}: {text}" for label, text in rows if text)])

    def to_dict(self) -> dict[str, str]:
        """Return the document ``edgekit.error/1``, which ``--json`` prints instead of a result."""
        return {
            "schema": "edgekit.error/1",
            "code": self.code,
            "what": self.what,
            "where": self.where,
            "why": self.why,
            "fix": self.fix,
        }


class UsageError(EdgeKitError):
    """Arguments that contradict each other or name something that does not exist."""

    code = "usage"
    exit_status = 2


class InputError(EdgeKitError):
    """What the user gave cannot be used."""

    code = "input"


class ModelFormatError(InputError):
    """The file is damaged or has another format."""

    code = "model.format"


class UnsupportedModelError(InputError):
    """A valid model that cannot become, or is not, what is required."""

    code = "model.unsupported"


class UnsafeModelError(UnsupportedModelError):
    """Loading the model would run code that it contains, or access files that it names."""

    code = "model.unsafe"


class QuantizationError(InputError):
    """A value, range or parameter that integers cannot represent."""

    code = "quant"


class DataError(InputError):
    """Calibration or evaluation data that cannot be used."""

    code = "data"


class BundleError(InputError):
    """A bundle that is damaged or whose parts do not belong together."""

    code = "bundle"


class OutputError(InputError):
    """A result could not be written; the file that was there before is unchanged."""

    code = "output"


class GateError(EdgeKitError):
    """The run succeeded, but the answer is no: a gate that the user set was not met."""

    code = "gate"
    exit_status = 4


class ExternalToolError(EdgeKitError):
    """A program or library outside edgekit is missing or failed."""

    code = "tool"
    exit_status = 5


class MissingExtraError(ExternalToolError):
    """An optional Python dependency is not installed."""

    code = "tool.missing"


class DeviceError(EdgeKitError):
    """No usable Edge TPU."""

    code = "device"
    exit_status = 6


class DeviceLostError(DeviceError):
    """The device was lost while it was in use."""

    code = "device.lost"
