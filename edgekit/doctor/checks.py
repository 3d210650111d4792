# SPDX-License-Identifier: Apache-2.0
"""Run all of the doctor's checks in order; a failed check does not stop the others."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Callable, Mapping

from edgekit.doctor.access import group_id, group_name, holders, join_group, may_write
from edgekit.doctor.library import (
    check_architecture,
    check_library,
    check_loads,
    check_pair,
    find_library,
    package_version,
)
from edgekit.doctor.machine import (
    FAILED,
    NOT_APPLICABLE,
    OK,
    WARNING,
    CommandRunner,
    Machine,
)
from edgekit.doctor.pcie import (
    apex_nodes,
    check_pcie_device,
    check_pcie_driver,
    check_pcie_node,
    check_temperature,
    find_pcie,
)
from edgekit.doctor.python_env import (
    check_installation,
    check_legacy,
    check_numpy,
    check_pycoral,
    check_python,
    check_runtime,
    runtime_of,
)
from edgekit.doctor.result import CheckResult, DoctorResult, next_step
from edgekit.doctor.system import check_compiler, check_container, check_page_size
from edgekit.doctor.udev import check_udev
from edgekit.doctor.usb import check_usb_access, check_usb_device, check_usb_speed, find_usb
from edgekit.errors import EdgeKitError

Check = Callable[[Machine], CheckResult]
_TIMEOUT_S = 120.0


def check_groups(machine: Machine) -> CheckResult:
    """Check that the user is in the groups of the devices here."""
    code = "groups"
    if not machine.is_linux:
        return CheckResult(code, NOT_APPLICABLE, "only Linux has these groups")
    if machine.facts.uid == 0:
        return CheckResult(code, NOT_APPLICABLE, "root does not need a group")
    nodes = _nodes(machine)
    wanted = {"apex" if "apex" in node else "plugdev" for node in nodes} or {"plugdev", "apex"}
    missing = sorted(g for g in wanted if group_id(machine, g) not in machine.facts.gids)
    member = ", ".join(group_name(machine, gid) for gid in machine.facts.gids)
    if not missing:
        return CheckResult(code, OK, f"member of {member}")
    seen = f"not in {' and '.join(missing)}, but in {member}"
    if not nodes:
        return CheckResult(
            code, WARNING, seen, "no device is here yet", join_group(machine, missing[0])
        )
    if all(machine.has(node) and may_write(machine, node) for node in nodes):
        return CheckResult(code, OK, f"{seen}; but this user may open the device")
    return CheckResult(code, FAILED, seen, "", join_group(machine, missing[0]))


def check_owner(machine: Machine) -> CheckResult:
    """Check that no other process has the device open."""
    code, nodes = "owner", _nodes(machine)
    if not nodes:
        return CheckResult(code, NOT_APPLICABLE, "no device node")
    found, complete = holders(machine, nodes)
    if found:
        return CheckResult(
            code,
            FAILED,
            "; ".join(f"process {pid} ({command}) has it open" for pid, command in found),
            "only one process at a time can use an Edge TPU",
            f"sudo kill {found[0][0]}",
        )
    if not complete:
        seen = "no process of this user has it open; others' are hidden"
        return CheckResult(code, OK, seen)
    return CheckResult(code, OK, "no process has it open")


def check_pi_pages(machine: Machine) -> CheckResult:
    """See `check_page_size`."""
    return check_page_size(machine, bool(find_pcie(machine)))


def check_cpu_inference(machine: Machine) -> CheckResult:
    """Check that a small integer network gives the right answer on the CPU, in a child process."""
    code, answer = "inference.cpu", machine.query("inference", timeout_s=_TIMEOUT_S)
    reply = answer.document
    fix = machine.facts.device_extra
    if answer.failure:
        return CheckResult(code, FAILED, answer.failure, "the runtime does not work", fix)
    if not reply.get("ok"):
        return CheckResult(code, FAILED, str(reply.get("error")), fix=fix)
    version = next(iter(reply.get("versions", {}).values()), "")
    return CheckResult(code, OK, f"right answer from {reply['runtime']} {version}")


def check_delegate(machine: Machine) -> CheckResult:
    """Check that the runtime's delegate opens an Edge TPU, in a child process."""
    code, place = "inference.edgetpu", find_library(machine)
    runtime, version = runtime_of(machine)
    if not place or not runtime:
        return CheckResult(
            code, FAILED, "not tried: " + ("no runtime" if place else "no libedgetpu")
        )
    answer = machine.query("delegate", place, timeout_s=_TIMEOUT_S)
    pair = check_pair(machine)
    if answer.failure:
        seen = f"opening the Edge TPU: {answer.failure}"
        return CheckResult(code, FAILED, seen, pair.why or pair.seen, pair.fix)
    reply = answer.document
    if reply.get("opened"):
        return CheckResult(code, OK, f"opened through {place} by {runtime} {version}")
    here = bool(find_usb(machine) or find_pcie(machine))
    why = "the cause is a failed check above, or the device hangs" if here else "no device is here"
    fix = "unplug the device and plug it in again, or switch the machine off and on" if here else ""
    return CheckResult(
        code, FAILED, str(reply.get("error") or "refused without a reason"), why, fix
    )


# Each check with its code, and whether it matters on a machine that uses only the CPU.
CHECKS: tuple[tuple[str, Check, bool], ...] = (
    ("python", check_python, True),
    ("installation", check_installation, True),
    ("runtime", check_runtime, True),
    ("numpy", check_numpy, True),
    ("pycoral", check_pycoral, False),
    ("legacy", check_legacy, False),
    ("library", check_library, False),
    ("library.architecture", check_architecture, False),
    ("library.version", check_loads, False),
    ("library.pair", check_pair, False),
    ("usb.device", check_usb_device, False),
    ("usb.speed", check_usb_speed, False),
    ("usb.access", check_usb_access, False),
    ("udev", check_udev, False),
    ("groups", check_groups, False),
    ("pcie.device", check_pcie_device, False),
    ("pcie.driver", check_pcie_driver, False),
    ("pcie.node", check_pcie_node, False),
    ("owner", check_owner, False),
    ("temperature", check_temperature, False),
    ("page_size", check_pi_pages, False),
    ("container", check_container, False),
    ("compiler", check_compiler, False),
    ("inference.cpu", check_cpu_inference, True),
    ("inference.edgetpu", check_delegate, False),
)


def doctor(
    *,
    model: str = "",
    cpu: bool = False,
    root: Path = Path("/"),
    env: Mapping[str, str] | None = None,
    run: CommandRunner | None = None,
    python: str = "",
) -> DoctorResult:
    """Check the machine: Python, libedgetpu, devices, drivers, and a real inference.

    It does not change anything, and a failed check does not stop the next one.

    Args:
        model: A model of the user to run too: a compiled one on the Edge TPU, another on the CPU.
        cpu: Choose the next step for a machine that runs models on its CPU.
        root: The folder that stands for ``/``.
        env: The environment; None uses this process's.
        run: Runs commands; None runs them here.
        python: The Python that runs models; "" uses the one that runs edgekit.
    """
    machine = Machine(root, env, run, python)
    checks = [
        dataclasses.replace(_checked(code, check, machine), concerns_cpu=concerns_cpu)
        for code, check, concerns_cpu in CHECKS
    ]
    if model:
        checks.append(_check_model(machine, model))
    status = {check.code: check.status for check in checks}
    works = status.get("inference.model", OK) == OK
    found = tuple(checks)
    return DoctorResult(
        system=machine.facts.system,
        board=machine.board,
        python=".".join(map(str, machine.facts.python)),
        checks=found,
        edge_tpu_usable=works and status["inference.edgetpu"] == OK,
        cpu_usable=works and status["inference.cpu"] == OK,
        next_step=next_step(found, cpu=cpu),
        versions=_versions(machine),
    )


def _checked(code: str, check: Check, machine: Machine) -> CheckResult:
    """Return the result of a check; an exception in it becomes a failed result."""
    try:
        return check(machine)
    except (OSError, ValueError, LookupError, EdgeKitError) as error:
        seen = f"the check itself failed: {type(error).__name__}: {error}"
        return CheckResult(code, FAILED, seen)


def _check_model(machine: Machine, model: str) -> CheckResult:
    code = "inference.model"
    answer = machine.query("model", model, find_library(machine), timeout_s=_TIMEOUT_S)
    reply = answer.document
    if answer.failure or not reply.get("ok"):
        seen = f"{model}: {answer.failure or reply.get('error')}"
        return CheckResult(code, FAILED, seen, concerns_cpu=True)
    return CheckResult(code, OK, f"{model} ran on {reply.get('device')}", concerns_cpu=True)


def _nodes(machine: Machine) -> list[str]:
    return [each.node for each in find_usb(machine) if each.node] + apex_nodes(machine)


def _versions(machine: Machine) -> Mapping[str, str]:
    runtime, version = runtime_of(machine)
    versions = {
        "edgekit": machine.facts.packages.get("edgekit", ""),
        runtime: version,
        "libedgetpu": package_version(machine),
    }
    return {name: value for name, value in versions.items() if name and value}
