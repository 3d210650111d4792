# SPDX-License-Identifier: Apache-2.0
"""One fault at a time on a working machine: the right check fails, with the right fix."""

from __future__ import annotations

import os
from typing import Callable

import pytest

from edgekit.doctor.checks import CHECKS
from edgekit.process import Finished
from tests.doctor.conftest import Tree, usable

Make = Callable[[str], Tree]


def _crashed(signal_number: int) -> Finished:
    return Finished(("python",), -signal_number, "", "", 0.5, False)


def test_numpy_2_breaks_an_old_runtime(make: Make) -> None:
    machine = make("dev_board")
    machine.facts["packages"] = {"numpy": "2.1.0", "tflite-runtime": "2.14.0"}
    check = machine.check("numpy")
    assert check.status == "failed"
    assert check.fix == "/usr/bin/python3 -m pip install 'numpy<2'"


def test_numpy_2_is_fine_with_litert(make: Make) -> None:
    machine = make("dev_board")
    machine.facts["packages"] = {"numpy": "2.1.0", "ai-edge-litert": "2.3.0"}
    assert machine.check("numpy").status == "ok"


def test_the_pycoral_of_pypi_is_recognized(make: Make) -> None:
    machine = make("dev_board")
    machine.facts["packages"]["pycoral"] = "0.2.0"
    machine.facts["pycoral"] = "/usr/lib/python3/dist-packages/pycoral"
    check = machine.check("pycoral")
    assert check.status == "warning"
    assert check.fix == "/usr/bin/python3 -m pip uninstall pycoral"
    machine.facts["pycoral_is_google"] = True
    assert machine.check("pycoral").status == "ok"


def test_a_folder_named_pycoral_is_recognized(make: Make) -> None:
    machine = make("dev_board")
    machine.facts["pycoral"] = "/home/mendel/pycoral"
    assert "hides Google's package" in machine.check("pycoral").why


def test_remnants_of_the_retired_api_are_reported(make: Make) -> None:
    machine = make("raspberry_pi_4")
    machine.install("python3-edgetpu", "14.1")
    machine.install("libedgetpu1-legacy-std", "15.0")
    assert (
        machine.check("legacy").fix == "sudo apt-get remove libedgetpu1-legacy-std python3-edgetpu"
    )


def test_a_missing_library_names_the_package(make: Make) -> None:
    machine = make("tree")
    machine.install("libc6", "2.31")
    check = machine.check("library")
    assert check.status == "failed"
    assert check.fix.endswith("sudo apt-get install libedgetpu1-std")
    machine.write("/etc/apt/sources.list.d/coral.list", "deb URL coral-edgetpu-stable main\n")
    assert machine.check("library").fix == "sudo apt-get install libedgetpu1-std"


def test_a_library_in_ld_library_path_is_used_first(make: Make) -> None:
    machine = make("dev_board")
    machine.install_library("16.0", folder="/opt/tpu")
    machine.env["LD_LIBRARY_PATH"] = "/opt/none:/opt/tpu"
    assert machine.check("library").seen.startswith("/opt/tpu/libedgetpu.so.1")


def test_a_library_for_another_processor_is_refused(make: Make) -> None:
    machine = make("tree")
    machine.install_library("16.0", folder="/usr/lib/aarch64-linux-gnu", machine="aarch64")
    check = machine.check("library.architecture")
    assert check.status == "failed"
    assert "is for aarch64, this Python for x86_64" in check.seen


def test_a_32_bit_python_on_a_64_bit_kernel_needs_a_32_bit_library(make: Make) -> None:
    machine = make("raspberry_pi_4")
    machine.facts["bits"] = 32
    assert "this Python for arm" in machine.check("library.architecture").seen


def test_a_failed_download_is_not_a_library(make: Make) -> None:
    machine = make("dev_board")
    machine.write("/usr/lib/aarch64-linux-gnu/libedgetpu.so.1", "<html>Not Found</html>")
    assert "is not a shared library" in machine.check("library.architecture").seen


def test_the_signal_of_a_library_that_crashes_is_reported(make: Make) -> None:
    machine = make("dev_board")
    machine.replies["library"] = _crashed(11)
    assert "SIGSEGV" in machine.check("library.version").seen


def test_a_library_that_is_not_a_delegate_is_refused(make: Make) -> None:
    machine = make("dev_board")
    missing = ["tflite_plugin_create_delegate"]
    machine.replies["library"] = {"loaded": True, "missing": missing, "version": ""}
    assert "not have tflite_plugin_create_delegate" in machine.check("library.version").seen


def test_an_old_library_cannot_run_models_of_the_last_compiler(make: Make) -> None:
    machine = make("dev_board")
    said = {"loaded": True, "missing": [], "version": "BuildLabel(x), RuntimeVersion(13)"}
    machine.replies["library"] = said
    check = machine.check("library.version")
    assert check.status == "warning"
    assert "runtime version 13" in check.seen


def test_a_crash_at_the_device_reports_both_versions_and_a_pair_that_works(make: Make) -> None:
    machine = make("raspberry_pi_4")
    machine.facts["packages"]["tflite-runtime"] = "2.14.0"
    machine.replies["delegate"] = _crashed(11)
    result = machine.examine()
    check = next(each for each in result.checks if each.code == "inference.edgetpu")
    assert "SIGSEGV" in check.seen
    assert "libedgetpu 16.0 (TensorFlow 2.5.0) and tflite-runtime 2.14.0" in check.why
    assert check.fix == "python3 -m pip install 'tflite-runtime==2.11.0' 'numpy<2'"
    assert result.next_step == check.fix


def test_a_device_that_hangs_is_abandoned(make: Make) -> None:
    machine = make("raspberry_pi_4")
    machine.replies["delegate"] = Finished(("python",), -15, "", "", 120.0, timed_out=True)
    assert "did not respond within 120 s" in machine.check("inference.edgetpu").seen


def test_the_fix_for_a_user_outside_plugdev_is_to_join(make: Make) -> None:
    machine = make("raspberry_pi_4")
    machine.facts["gids"] = []
    machine.usb("1a6e", "089a", node=0o660)
    checks = {check.code: check for check in machine.examine().checks}
    assert checks["usb.access"].status == checks["groups"].status == "failed"
    assert "sudo usermod -aG plugdev mendel" in checks["usb.access"].fix


def test_a_device_that_only_root_may_open_needs_a_rule(make: Make) -> None:
    machine = make("raspberry_pi_4")
    machine.usb("18d1", "9302", node=0o600)
    assert machine.check("usb.access").fix.startswith("edgekit doctor --print-udev | sudo tee")


@pytest.mark.parametrize(
    ("rules", "missing"),
    [
        ("", "USB before firmware, USB after firmware"),
        ('#SUBSYSTEM=="usb", ATTR{idVendor}=="1a6e"\n', "USB before firmware, USB after firmware"),
        ('SUBSYSTEM=="usb", ATTR{idVendor}=="1a6e"\n', "USB after firmware"),
    ],
)
def test_a_missing_rule_is_reported(make: Make, rules: str, missing: str) -> None:
    machine = make("raspberry_pi_4")
    machine.write("/lib/udev/rules.d/60-libedgetpu1-std.rules", rules)
    check = machine.check("udev")
    assert check.status == "failed"
    assert check.seen == f"no rule for: {missing}"


def test_the_fix_for_a_driver_that_is_not_loaded_loads_it(make: Make) -> None:
    machine = make("tree")
    machine.pcie(driver="", node=None)
    machine.write("/lib/modules/6.1.0-18-amd64/updates/dkms/apex.ko")
    assert machine.check("pcie.driver").fix == "sudo modprobe apex"


@pytest.mark.parametrize(
    ("kernel", "why"),
    [
        ("6.8.0-31-generic", "compiles only on kernels before 6.4"),
        ("6.12.10-amd64", "no released driver compiles on kernel 6.12 or newer"),
    ],
)
def test_a_kernel_too_new_for_the_driver_is_reported(make: Make, kernel: str, why: str) -> None:
    machine = make("tree")
    machine.facts["kernel"] = kernel
    machine.install("gasket-dkms", "1.0-18")
    machine.pcie(driver="", node=None)
    machine.write("/var/lib/dkms/gasket/1.0/build/make.log", "error: 'no_llseek' undeclared\n")
    check = machine.check("pcie.driver")
    assert check.status == "failed"
    assert why in check.why
    assert "no_llseek" in check.why


def test_missing_kernel_headers_are_reported(make: Make) -> None:
    machine = make("tree")
    machine.install("gasket-dkms", "1.0-18")
    machine.pcie(driver="", node=None)
    fix = "sudo apt-get install linux-headers-6.1.0-18-amd64 && sudo dkms autoinstall"
    assert machine.check("pcie.driver").fix == fix


def test_a_card_bound_to_another_driver_is_reported(make: Make) -> None:
    machine = make("pc_with_m2")
    link = machine.root / "sys/bus/pci/devices/0000:01:00.0/driver"
    link.unlink()
    link.symlink_to("../../drivers/vfio-pci")
    assert "has driver vfio-pci" in machine.check("pcie.driver").seen


def test_the_process_that_holds_the_device_is_named(make: Make) -> None:
    machine = make("pc_with_m2")
    machine.write("/proc/4711/cmdline", "python3\0-m\0frigate\0")
    machine.link("/proc/4711/fd/9", "/dev/apex_0")
    machine.write("/proc/4712/cmdline", "cat\0")
    machine.link("/proc/4712/fd/0", "/dev/null")
    check = machine.check("owner")
    assert check.status == "failed"
    assert check.seen == "process 4711 (python3 -m frigate) has it open"
    assert check.fix == "sudo kill 4711"


@pytest.mark.parametrize(
    ("temperature", "status"), [("84999", "ok"), ("85000", "warning"), ("-89700", "failed")]
)
def test_heat_and_a_chip_that_does_not_respond_are_reported(
    make: Make, temperature: str, status: str
) -> None:
    machine = make("dev_board")
    machine.write("/sys/class/apex/apex_0/temp", f"{temperature}\n")
    assert machine.check("temperature").status == status


def test_a_compiler_that_does_not_respond_is_a_failure(make: Make) -> None:
    machine = make("pc_with_m2")
    machine.replies["edgetpu_compiler"] = Finished(("x",), 127, "", "not found", 0.0, False)
    assert machine.check("compiler").status == "failed"


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every folder")
def test_an_unreadable_folder_does_not_stop_the_checks(make: Make) -> None:
    machine = make("dev_board")
    folder = machine.root / "sys/bus/pci/devices"
    folder.chmod(0)
    try:
        assert machine.check("pcie.device").status == "not_applicable"
    finally:
        folder.chmod(0o755)


def test_an_unreadable_folder_on_path_is_skipped(make: Make) -> None:
    machine = make("pc_with_m2")
    machine.env["PATH"] = "/opt/bin:/usr/bin"
    folder = machine.root / "root"
    (folder / "bin").mkdir(parents=True)
    folder.chmod(0)
    try:
        assert machine.check("compiler").status == "ok"
    finally:
        folder.chmod(0o755)


def test_the_library_that_the_environment_names_is_used(make: Make) -> None:
    machine = make("dev_board")
    machine.install_library("16.0", folder="/opt/mine")
    machine.env["EDGEKIT_LIBEDGETPU"] = "/opt/mine/libedgetpu.so.1"
    assert machine.check("library").seen.startswith("/opt/mine/libedgetpu.so.1")
    machine.env["EDGEKIT_LIBEDGETPU"] = "/opt/none/libedgetpu.so.1"
    check = machine.check("library")
    assert (check.status, check.fix) == ("failed", "unset EDGEKIT_LIBEDGETPU")
    assert "/opt/none/libedgetpu.so.1" in check.seen


@pytest.mark.parametrize("length", range(0, 20, 3))
def test_a_truncated_library_is_not_a_library(make: Make, length: int) -> None:
    machine = make("pc_with_m2")
    library = next(machine.root.rglob("libedgetpu.so.1"))
    library.write_bytes(library.read_bytes()[:length])
    assert "is not a shared library" in machine.check("library.architecture").seen


@pytest.mark.parametrize("odd", ["\u00b2", "--5", "5.", "x", ""])
def test_values_that_are_not_numbers_do_not_stop_the_checks(make: Make, odd: str) -> None:
    usb = make("raspberry_pi_4")
    usb.usb("1a6e", "089a", speed=odd)
    usb.write("/etc/group", f"plugdev:x:{odd}:\n")
    card = make("pc_with_m2")
    for name in ("temp", "trip_point0_temp"):
        card.write(f"/sys/class/apex/apex_0/{name}", odd)
    for machine in (usb, card):
        result = machine.examine()
        assert not [each.seen for each in result.checks if "the check itself" in each.seen]


def test_a_check_that_fails_itself_keeps_its_code(make: Make) -> None:
    machine = make("dev_board")
    machine.replies["inference"] = {"ok": True, "versions": {}}  # the runtime is unknown
    check = machine.check("inference.cpu")
    assert (check.status, machine.examine().cpu_usable) == ("failed", False)
    assert "the check itself failed: KeyError: 'runtime'" in check.seen


def test_every_check_returns_its_own_code(make: Make) -> None:
    for name in ("dev_board", "raspberry_pi_5", "docker_without_device", "windows"):
        machine = make(name)
        assert [each.code for each in machine.examine().checks] == [code for code, _, _ in CHECKS]


def test_an_edge_tpu_that_refuses_has_a_next_step(make: Make) -> None:
    machine = usable(make("pc_with_m2"))
    machine.replies["delegate"] = {"opened": False, "error": ""}
    check = machine.check("inference.edgetpu")
    assert check.seen == "refused without a reason"
    assert "switch the machine off and on" in check.fix


def test_two_distributions_of_edgekit_in_one_place_fail(make: Make) -> None:
    machine = make("dev_board")
    machine.facts["edgekit"] = ["edgekit-coral 0.1.0"]
    assert machine.check("installation").status == "ok"
    machine.facts["edgekit"] = ["edgekit-coral 0.1.0", "edgekit-coral-device 0.1.0"]
    check = machine.check("installation")
    assert check.status == "failed"
    assert check.fix.startswith(
        "/usr/bin/python3 -m pip uninstall --yes edgekit-coral edgekit-coral-device, then install"
    )


def test_a_missing_runtime_is_installed_as_an_extra_of_what_is_there(make: Make) -> None:
    machine = make("dev_board")
    machine.facts["packages"] = {"numpy": "1.21.6"}
    command = "/usr/bin/python3 -m pip install 'edgekit-coral-device[device]'"
    machine.facts["device_extra"] = command
    assert machine.check("runtime").fix == command
