# SPDX-License-Identifier: Apache-2.0
"""Check the Python environment: interpreter packages, numpy, the two packages named pycoral."""

from __future__ import annotations

from edgekit.distribution import PART, WHOLE, untangle_command
from edgekit.doctor.machine import FAILED, NOT_APPLICABLE, OK, WARNING, Machine
from edgekit.doctor.result import CheckResult
from edgekit.extras import RUNTIME_PACKAGES
from edgekit.versions import TFLITE_RUNTIME, parse_version

_OLDEST_PYTHON = (3, 7)
# tflite-runtime up to this version was built for numpy 1 and cannot be imported with numpy 2.
_LAST_WITH_NUMPY_1 = (2, 17)


def runtime_of(machine: Machine) -> tuple[str, str]:
    """Return the TensorFlow Lite runtime that edgekit would use, and its version, or ("", "")."""
    packages = machine.facts.packages
    for runtime, (_, _, distribution) in RUNTIME_PACKAGES.items():
        if distribution in packages:
            return runtime, packages[distribution]
    return "", ""


def check_python(machine: Machine) -> CheckResult:
    """Check that the Python responds and is new enough."""
    code, facts = "python", machine.facts
    if not facts.python:
        failure = machine.query("facts").failure or "it did not respond"
        return CheckResult(
            code,
            FAILED,
            f"Python does not run edgekit: {failure}",
            fix=f"install {WHOLE} or {PART} for it, or name another interpreter: --python",
        )
    version = ".".join(map(str, facts.python))
    seen = f"Python {version}, {facts.bits} bit, {facts.executable}"
    if facts.python < _OLDEST_PYTHON:
        return CheckResult(code, FAILED, seen, "edgekit needs Python 3.7 or newer")
    return CheckResult(code, OK, seen)


def check_installation(machine: Machine) -> CheckResult:
    """Check that only one distribution contains edgekit: two overwrite each other's files."""
    code, found = "installation", machine.facts.edgekit
    if not found:
        return CheckResult(code, NOT_APPLICABLE, "edgekit runs from a folder, not installed by pip")
    if len(found) == 1:
        return CheckResult(code, OK, found[0])
    return CheckResult(
        code,
        FAILED,
        f"{' and '.join(found)} are installed in one place",
        "they overwrite each other's files, so what runs is a mixture of both",
        untangle_command(found, machine.facts.executable)
        + f", then install {WHOLE} or {PART} again, not both",
    )


def check_runtime(machine: Machine) -> CheckResult:
    """Check that a package with TensorFlow Lite's interpreter is installed."""
    code = "runtime"
    packages, python = machine.facts.packages, machine.facts.python
    there = [
        f"{distribution} {packages[distribution]}"
        for _, _, distribution in RUNTIME_PACKAGES.values()
        if distribution in packages
    ]
    if there:
        return CheckResult(code, OK, ", ".join(there))
    # The same versions as the extra "device" has.
    package = "ai-edge-litert" if python[:2] >= (3, 10) else f"'{TFLITE_RUNTIME}'"
    return CheckResult(
        code,
        FAILED,
        "no TensorFlow Lite runtime is installed",
        "nothing can run a model",
        machine.facts.device_extra or f"{_pip(machine)} install {package}",
    )


def check_numpy(machine: Machine) -> CheckResult:
    """Check that numpy is installed and is not too new for the runtime."""
    code, packages = "numpy", machine.facts.packages
    version = packages.get("numpy", "")
    if not version:
        return CheckResult(
            code, FAILED, "numpy is not installed", fix=f"{_pip(machine)} install numpy"
        )
    old = packages.get("tflite-runtime", "")
    seen = f"numpy {version}" + (f", tflite-runtime {old}" if old else "")
    if old and parse_version(version) >= (2,) and parse_version(old)[:2] <= _LAST_WITH_NUMPY_1:
        return CheckResult(
            code,
            FAILED,
            seen,
            f"tflite-runtime {old} was built for numpy 1 and fails to import with numpy 2 "
            "(_ARRAY_API not found)",
            f"{_pip(machine)} install 'numpy<2'",
        )
    return CheckResult(code, OK, seen)


def check_pycoral(machine: Machine) -> CheckResult:
    """Check that the package pycoral is Google's, not the one of that name on PyPI."""
    code, facts = "pycoral", machine.facts
    if not facts.pycoral:
        return CheckResult(code, NOT_APPLICABLE, "not installed, and not needed")
    version = facts.packages.get("pycoral", "")
    seen = f"pycoral {version}".strip() + f" in {facts.pycoral}"
    if facts.pycoral_is_google:
        return CheckResult(code, OK, seen)
    if not version:
        return CheckResult(
            code,
            WARNING,
            seen,
            "a folder named pycoral hides Google's package from the import",
            "leave this folder, or rename the other one",
        )
    return CheckResult(
        code,
        WARNING,
        seen,
        "PyPI's pycoral is a tool for the Allen Coral Atlas; Google's is not on PyPI",
        f"{_pip(machine)} uninstall pycoral",
    )


def check_legacy(machine: Machine) -> CheckResult:
    """Check that python3-edgetpu and its library, retired in 2020, are not installed."""
    code, packages = "legacy", machine.debian_packages
    names = sorted(
        name
        for name in packages
        if name == "python3-edgetpu" or name.startswith("libedgetpu1-legacy")
    )
    if names:
        return CheckResult(
            code,
            WARNING,
            ", ".join(f"{name} {packages[name]}" for name in names),
            "the retired API runs only models up to runtime version 13 and conflicts with "
            "libedgetpu1-std",
            f"sudo apt-get remove {' '.join(names)}",
        )
    if machine.facts.edgetpu:
        return CheckResult(
            code,
            WARNING,
            f"the edgetpu module in {machine.facts.edgetpu}",
            "the retired API runs models up to runtime version 13 only",
            f"{_pip(machine)} uninstall edgetpu",
        )
    return CheckResult(code, OK, "python3-edgetpu is not installed")


def _pip(machine: Machine) -> str:
    return f"{machine.facts.executable or 'python3'} -m pip"
