# SPDX-License-Identifier: Apache-2.0
"""Complete machines: the doctor's conclusion and next command for each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable

import pytest

if TYPE_CHECKING:
    from tests.doctor.conftest import Tree

Make = Callable[[str], "Tree"]
_HEALTHY = (
    "dev_board",
    "dev_board_mini",
    "raspberry_pi_4",
    "raspberry_pi_5",
    "pc_with_m2",
    "macos",
    "windows",
)


@pytest.mark.parametrize("name", _HEALTHY)
def test_no_check_fails_on_a_working_machine(make: Make, name: str) -> None:
    result = make(name).examine()
    assert result.with_status("failed") == ()
    assert result.edge_tpu_usable
    assert result.cpu_usable


@pytest.mark.parametrize("name", ["tree", "docker_without_device", "lxc_without_device"])
def test_a_machine_without_its_device_can_still_run_on_the_cpu(make: Make, name: str) -> None:
    result = make(name).examine()
    assert not result.edge_tpu_usable
    assert result.cpu_usable
    assert result.next_step


def test_the_dev_board_is_named_and_measured(make: Make) -> None:
    result = make("dev_board").examine()
    seen = {check.code: check.seen for check in result.checks}
    assert result.board == "Freescale i.MX8MQ Phanbell"
    assert seen["pcie.device"] == "1ac1:089a at 0000:01:00.0"
    assert seen["temperature"] == "apex_0 48.0 °C"
    assert seen["library.pair"] == "libedgetpu 16.0 with tflite-runtime 2.5.0.post1"


def test_usb_2_is_not_a_fault_on_a_dev_board_mini(make: Make) -> None:
    check = make("dev_board_mini").check("usb.speed")
    assert (check.status, check.seen) == (
        "ok",
        "2-1: USB 2 (480 Mbit/s), as on every Dev Board Mini",
    )


def test_usb_2_is_reported_on_a_raspberry_pi(make: Make) -> None:
    machine = make("raspberry_pi_4")
    machine.usb("1a6e", "089a", speed="480")
    check = machine.check("usb.speed")
    assert check.status == "warning"
    assert "USB 2 (480 Mbit/s)" in check.seen
    assert "USB 3 port" in check.fix


def test_a_device_before_its_firmware_is_recognized(make: Make) -> None:
    assert "1a6e:089a at 2-1, as Global Unichip" in make("raspberry_pi_4").check("usb.device").seen


def test_16_kib_pages_matter_only_for_a_card(make: Make) -> None:
    machine = make("raspberry_pi_5")
    assert machine.check("page_size").status == "ok"
    machine.pcie(driver="")
    check = machine.check("page_size")
    assert check.status == "failed"
    assert "kernel=kernel8.img" in check.fix


def test_the_last_compiler_is_found_on_a_pc(make: Make) -> None:
    assert make("pc_with_m2").check("compiler").seen == "/usr/bin/edgetpu_compiler 16.0.384591198"


def test_the_compiler_is_not_recommended_on_an_arm_board(make: Make) -> None:
    assert make("raspberry_pi_4").check("compiler").status == "not_applicable"


def test_the_fix_in_docker_passes_the_usb_bus(make: Make) -> None:
    result = make("docker_without_device").examine()
    checks = {check.code: check for check in result.checks}
    assert checks["container"].status == "warning"
    assert checks["usb.access"].status == "failed"
    assert checks["usb.access"].fix == (
        "docker run --device-cgroup-rule='c 189:* rmw' -v /dev/bus/usb:/dev/bus/usb IMAGE"
    )
    assert result.next_step == checks["usb.access"].fix


def test_the_fix_in_lxc_passes_the_card(make: Make) -> None:
    check = make("lxc_without_device").check("pcie.node")
    assert check.status == "failed"
    assert "lxc.mount.entry: /dev/apex_0" in check.fix


def test_macos_speeds_come_from_ioreg(make: Make) -> None:
    result = make("macos").examine()
    seen = {check.code: check.seen for check in result.checks}
    assert seen["usb.device"] == "18d1:9302 at port 14400000, as Google (its firmware is loaded)"
    assert seen["usb.speed"] == "port 14400000: USB 3 (5000 Mbit/s)"
    assert {check.code for check in result.with_status("not_applicable")} >= {"udev", "groups"}


def test_windows_finds_usb_and_the_library_on_path(make: Make) -> None:
    result = make("windows").examine()
    seen = {check.code: check.seen for check in result.checks}
    assert seen["usb.device"].startswith("18d1:9302")
    assert seen["library"] == "C:\\edgetpu/edgetpu.dll"


def test_with_cpu_the_next_step_is_about_the_cpu(make: Make) -> None:
    machine = make("tree")
    assert machine.examine(cpu=True).next_step == ""
    machine.facts["packages"] = {"numpy": "1.19.5"}
    machine.facts["python"] = [3, 11, 2]
    result = machine.examine(cpu=True)
    assert result.next_step == "/usr/bin/python3 -m pip install ai-edge-litert"


def test_a_python_that_does_not_respond_does_not_stop_the_checks(make: Make) -> None:
    machine = make("dev_board")
    machine.facts = "Segmentation fault\n"  # type: ignore[assignment] # the output of such a Python
    result = machine.examine()
    assert result.checks[0].status == "failed"
    assert not result.edge_tpu_usable
    assert len(result.checks) == len(make("tree").examine().checks)
