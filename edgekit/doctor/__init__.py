# SPDX-License-Identifier: Apache-2.0
"""Find what a machine has for Edge TPU models, what is broken, and the commands to fix it."""

from __future__ import annotations

from edgekit.doctor.checks import doctor
from edgekit.doctor.result import CheckResult, DoctorResult
from edgekit.doctor.rules import UDEV_RULES

__all__ = ["UDEV_RULES", "CheckResult", "DoctorResult", "doctor"]
