# SPDX-License-Identifier: Apache-2.0
"""scripts/install-device.sh on a folder that replaces a machine.

Programs that change a system (groupadd, apt-get, ...) are small substitutes on PATH. They write
down their arguments and change a few files, which the script reads.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

_REPOSITORY = Path(__file__).resolve().parents[2]
_SCRIPT = _REPOSITORY / "scripts" / "install-device.sh"
pytestmark = pytest.mark.skipif(
    shutil.which("bash") is None or not sys.platform.startswith("linux"),
    reason="the script is for bash on Linux",
)
_PROGRAMS = {
    "sudo": 'exec "$@"',
    "id": 'case "$*" in -u) echo 1000 ;; -un) echo me ;; -nG*) cat "$STATE/member" ;; esac',
    "getent": 'grep -qx "$2" "$STATE/groups"',
    "groupadd": 'echo "$2" >>"$STATE/groups"',
    "groupdel": 'sed -i "/^$1$/d" "$STATE/groups"',
    "usermod": 'echo "$2" >>"$STATE/member"',
    "gpasswd": 'sed -i "/^$3$/d" "$STATE/member"',
    "dpkg-query": 'grep -qx "$4" "$STATE/packages" && echo "install ok installed"',
    "apt-get": """
        case $1 in
          install) shift 2; printf '%s\\n' "$@" >>"$STATE/packages" ;;
          remove) shift 2; for each; do sed -i "/^$each$/d" "$STATE/packages"; done ;;
        esac""",
    "curl": 'cat "$STATE/key"',
    # A virtual environment whose Python has edgekit after pip was run; or, without -I, from a
    # folder with edgekit's sources.
    "python3": """
        mkdir -p "$4/bin" && touch "$4/pyvenv.cfg" && cd "$4/bin"
        echo '#!/bin/sh' >python
        echo 'case "$*" in *install*) test ! -e "$STATE/offline" && touch "$0.has" ;;' >>python
        echo '-I*) test -e "$0.has" ;; *) test -e "$0.has" || test -e edgekit ;; esac' >>python
        chmod +x python""",
}
_ARMOURED = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nxsBN\n-----END PGP PUBLIC KEY BLOCK-----\n"


class Device:
    """A Debian machine in a folder."""

    def __init__(self, folder: Path, system: str = "ID=debian\n") -> None:
        self.root, self.state, programs = folder / "root", folder / "state", folder / "bin"
        for each in (self.root / "etc", self.state, programs):
            each.mkdir(parents=True)
        (self.root / "etc" / "os-release").write_text(system)
        for name in ("groups", "member", "packages", "log"):
            (self.state / name).touch()
        (self.state / "key").write_text(_ARMOURED)
        for name, body in _PROGRAMS.items():
            note = f'echo "{name} $*" >>"$STATE/log"\n'
            path = programs / name
            path.write_text(f"#!/usr/bin/env bash\n{note}{body}\n")
            path.chmod(0o755)
        self.env = {
            "PATH": f"{programs}:/usr/bin:/bin",
            "STATE": str(self.state),
            "EDGEKIT_INSTALL_ROOT": str(self.root),
        }

    def run(self, *args: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        command = ["bash", str(_SCRIPT), *args]
        return subprocess.run(
            command,
            env=self.env,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            cwd=_REPOSITORY,
        )

    def read(self, name: str) -> list[str]:
        return (self.state / name).read_text().split()

    def files(self) -> list[str]:
        found = (Path(at, name) for at, _, names in os.walk(self.root) for name in names)
        return sorted(str(path.relative_to(self.root)) for path in found)

    @property
    def has_changed(self) -> bool:
        changing = ("groupadd", "usermod", "apt-get", "python3", "curl", "sudo")
        log = (self.state / "log").read_text().splitlines()
        return any(line.split()[0] in changing for line in log)


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return Device(tmp_path)


def test_everything_is_set_up_without_a_question(device: Device) -> None:
    done = device.run("--yes")
    assert done.returncode == 0, done.stderr
    assert device.read("groups") == ["plugdev", "apex"]
    assert device.read("member") == ["plugdev", "apex"]
    assert device.read("packages") == ["libedgetpu1-std", "python3-venv"]
    rules = device.root / "etc/udev/rules.d/99-edgetpu.rules"
    assert rules.read_text() == (_REPOSITORY / "udev" / "99-edgetpu.rules").read_text()
    assert (
        "coral-edgetpu-stable"
        in (device.root / "etc/apt/sources.list.d/coral-edgetpu.list").read_text()
    )
    assert (device.root / "opt/edgekit/bin/python.has").exists()


@pytest.mark.parametrize(
    ("content", "suffix"), [(_ARMOURED.encode(), "asc"), (b"\x99\x01\x0d\x04\0\0key", "gpg")]
)
def test_googles_key_is_valid_only_for_googles_source(
    device: Device, content: bytes, suffix: str
) -> None:
    (device.state / "key").write_bytes(content)
    done = device.run("--yes", "--key-sha256", hashlib.sha256(content).hexdigest())
    assert done.returncode == 0, done.stderr
    key = f"etc/apt/keyrings/coral-edgetpu.{suffix}"
    assert (device.root / key).read_bytes() == content
    source = (device.root / "etc/apt/sources.list.d/coral-edgetpu.list").read_text()
    assert source.startswith(f"deb [signed-by=/{key}] https://packages.cloud.google.com/apt ")
    assert not (device.root / "etc/apt/trusted.gpg.d").exists()
    device.run("--uninstall", "--yes")
    assert device.files() == ["etc/os-release"]


@pytest.mark.parametrize("content", [b"<html>403 Forbidden</html>", b""])
def test_a_download_that_is_not_a_key_is_not_installed(device: Device, content: bytes) -> None:
    (device.state / "key").write_bytes(content)
    done = device.run("--yes")
    assert done.returncode == 5
    assert "gave no OpenPGP key" in done.stderr
    assert not any("apt" in name for name in device.files())


def test_a_key_with_another_hash_is_not_installed(device: Device) -> None:
    done = device.run("--yes", "--key-sha256", "0" * 64)
    assert done.returncode == 5
    assert "another SHA-256" in done.stderr
    assert not any("apt" in name for name in device.files())
    assert device.run("--yes", "--key-sha256", "abc").returncode == 2


def test_a_second_run_does_nothing(device: Device) -> None:
    device.run("--yes")
    before = device.files(), device.read("packages"), device.read("member")
    (device.state / "log").write_text("")
    done = device.run("--yes")
    assert done.stdout == "nothing to do: everything is installed\n"
    assert not device.has_changed
    assert (device.files(), device.read("packages"), device.read("member")) == before


def test_a_dry_run_only_shows_the_changes(device: Device) -> None:
    done = device.run("--dry-run")
    assert done.returncode == 0
    assert "sudo groupadd --system plugdev" in done.stdout
    assert not device.has_changed
    assert device.files() == ["etc/os-release"]


def test_the_script_asks_and_does_nothing_without_consent(device: Device) -> None:
    done = device.run(stdin="n\n")
    assert done.returncode == 130
    assert "nothing was done" in done.stderr
    assert not device.has_changed
    assert device.run(stdin="y\n").returncode == 0
    assert device.has_changed


def test_uninstall_undoes_only_its_own_changes(device: Device) -> None:
    (device.state / "groups").write_text("plugdev\n")
    (device.state / "packages").write_text("python3-venv\n")
    device.run("--yes")
    done = device.run("--uninstall", "--yes")
    assert done.returncode == 0, done.stderr
    assert device.files() == ["etc/os-release"]
    assert device.read("groups") == ["plugdev"]
    assert device.read("member") == []
    assert device.read("packages") == ["python3-venv"]
    assert device.run("--uninstall").stdout.startswith("nothing to do")


def test_after_a_failure_the_completed_steps_are_noted(device: Device) -> None:
    apt = Path(device.env["PATH"].split(":")[0]) / "apt-get"
    body = apt.read_text()
    apt.write_text("#!/bin/sh\nexit 100\n")
    done = device.run("--yes")
    assert done.returncode == 5
    assert "this command failed" in done.stderr
    apt.write_text(body)
    assert device.run("--yes").returncode == 0
    assert device.run("--uninstall", "--yes").returncode == 0
    assert device.files() == ["etc/os-release"]


def test_a_folder_with_other_things_never_becomes_a_virtual_environment(device: Device) -> None:
    """--uninstall would remove everything that was in the folder before."""
    photo = device.root / "home/pi/photo.jpg"
    photo.parent.mkdir(parents=True)
    photo.write_text("dear")
    done = device.run("--yes", "--venv", "/home/pi")
    assert done.returncode == 2
    assert "contains other files" in done.stderr
    assert not device.has_changed
    notes = device.root / "var/lib/edgekit/installed"
    notes.parent.mkdir(parents=True)
    notes.write_text("venv /home/pi\nvenv /\n")
    assert device.run("--uninstall", "--yes").returncode == 0
    assert photo.read_text() == "dear"


def test_an_empty_folder_becomes_a_virtual_environment(device: Device) -> None:
    (device.root / "srv/tpu").mkdir(parents=True)
    assert device.run("--yes", "--venv", "/srv/tpu").returncode == 0
    assert (device.root / "srv/tpu/bin/python.has").exists()


def test_the_runtime_for_python_fits_googles_library(device: Device) -> None:
    """Google's library crashes with 2.12 and newer; the newest for Python 3.9 is 2.14."""
    assert r"tflite-runtime\<2.12\;\ python_version\ \<\ \'3.10\'" in device.run("--dry-run").stdout
    assert "tflite-runtime" not in device.run("--dry-run", "--runtime", "none").stdout


def test_sources_in_this_folder_are_not_an_installation(device: Device) -> None:
    (device.state / "offline").touch()
    assert device.run("--yes").returncode == 5
    (device.state / "offline").unlink()
    assert device.run("--yes").returncode == 0
    assert (device.root / "opt/edgekit/bin/python.has").exists()


def test_googles_source_is_added_only_if_a_package_is_missing(device: Device) -> None:
    (device.state / "packages").write_text("libedgetpu1-std\n")
    done = device.run("--yes", "--runtime", "std")
    assert done.returncode == 0
    assert device.read("packages") == ["libedgetpu1-std", "python3-venv"]
    assert not (device.root / "etc/apt/sources.list.d/coral-edgetpu.list").exists()


def test_without_python_a_next_command_is_still_printed(device: Device) -> None:
    done = device.run("--yes", "--venv", "none")
    assert done.stdout.rstrip().endswith("then: edgekit doctor")


def test_the_driver_for_cards_is_installed_with_the_kernels_headers(device: Device) -> None:
    device.run("--yes", "--pcie", "--runtime", "none", "--venv", "none")
    kernel = os.uname().release
    assert device.read("packages") == ["gasket-dkms", f"linux-headers-{kernel}"]


@pytest.mark.parametrize(
    ("system", "args", "status"),
    [
        ("ID=fedora\n", [], 3),
        ("", [], 3),
        ("ID=debian\n", ["--runtime", "fast"], 2),
        ("ID=debian\n", ["--venv", "relative"], 2),
        ("ID=debian\n", ["--nonsense"], 2),
        ("ID=debian\n", ["--user"], 2),
    ],
)
def test_invalid_options_are_refused_before_any_change(
    tmp_path: Path, system: str, args: list[str], status: int
) -> None:
    device = Device(tmp_path, system)
    done = device.run("--yes", *args)
    assert done.returncode == status
    assert done.stderr.startswith("error: ")
    assert not device.has_changed


@pytest.mark.parametrize(
    "system", ["ID=mendel\n", "ID=raspbian\nID_LIKE=debian\n", 'ID=ubuntu\nID_LIKE="debian"\n']
)
def test_distributions_derived_from_debian_are_supported(tmp_path: Path, system: str) -> None:
    assert Device(tmp_path, system).run("--dry-run").returncode == 0
