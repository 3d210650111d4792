# SPDX-License-Identifier: Apache-2.0
"""The printed pip commands name the distribution, checkout or wheel that this edgekit came from."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import edgekit
from edgekit import distribution
from edgekit.explain.library import BOARD_AREAS, HOST_AREAS

_HERE = Path(edgekit.__file__).parent


class _Site:
    """A folder of site-packages with the needed part of edgekit, and its metadata."""

    def __init__(self, folder: Path, *, whole: bool) -> None:
        self.folder = folder
        (folder / "edgekit").mkdir(parents=True)
        for name in ("__init__.py", "distribution.py", "lazy.py", "version.py"):
            shutil.copy(str(_HERE / name), str(folder / "edgekit" / name))
        if whole:
            (folder / "edgekit" / "host").mkdir()

    def install(self, stem: str, origin: object = None, first: str = "edgekit/__init__.py") -> None:
        info = self.folder / f"{stem}.dist-info"
        info.mkdir()
        (info / "RECORD").write_text(f"{first},sha256=x,1\n")
        if origin is not None:
            (info / "direct_url.json").write_text(json.dumps(origin))

    def says(self, expression: str) -> str:
        code = f"from edgekit import distribution as d; print({expression})"
        return subprocess.run(
            [sys.executable, "-c", code],
            cwd=str(self.folder),
            env={"PYTHONPATH": str(self.folder), "PATH": "/usr/bin:/bin"},
            stdout=subprocess.PIPE,
            check=True,
            timeout=60,
        ).stdout.decode()


@pytest.mark.parametrize(
    ("whole", "stem", "name"),
    [
        (True, "edgekit_coral-0.1.0", "edgekit-coral"),
        (False, "edgekit_coral_device-0.1.0", "edgekit-coral-device"),
    ],
)
def test_an_extra_is_one_of_the_installed_distribution(
    tmp_path: Path, whole: bool, stem: str, name: str
) -> None:
    site = _Site(tmp_path / "site", whole=whole)
    site.install(stem)
    said = site.says("d.install_command('sign')").strip()
    assert said == f"{sys.executable} -m pip install '{name}[sign]'"


def test_a_wheel_is_named_as_long_as_it_exists(tmp_path: Path) -> None:
    site = _Site(tmp_path / "site", whole=True)
    wheel = tmp_path / "my wheels" / "edgekit_coral-0.1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    wheel.write_bytes(b"")
    site.install("edgekit_coral-0.1.0", {"url": wheel.as_uri(), "archive_info": {}})
    assert site.says("d.install_command('sign')").endswith(f" install '{wheel}[sign]'\n")
    assert site.says("d.wheel_command(d.Path('w'))") == f"cp '{wheel}' w\n"
    wheel.unlink()
    assert site.says("d.install_command('sign')").endswith(" install 'edgekit-coral[sign]'\n")


def test_a_checkout_is_named_by_its_path_and_stays_editable(tmp_path: Path) -> None:
    site = _Site(tmp_path / "checkout", whole=True)
    (site.folder / "pyproject.toml").write_text("")
    assert site.says("d.install_command('ssh')").endswith(f" install '{site.folder}[ssh]'\n")
    origin = {"url": site.folder.as_uri(), "dir_info": {"editable": True}}
    site.install("edgekit_coral-0.1.0", origin)
    said = site.says("d.install_command('ssh')")
    assert said.endswith(f" install --editable '{site.folder}[ssh]'\n")
    assert site.says("d.wheel_command(d.Path('w'))").endswith(f"-dir w {site.folder}/device\n")


def test_extras_that_the_boards_distribution_lacks_are_not_suggested(tmp_path: Path) -> None:
    site = _Site(tmp_path / "site", whole=False)
    site.install("edgekit_coral_device-0.1.0")
    said = site.says("d.install_command('host')")
    assert said.startswith("run it on a computer with edgekit-coral[host]")


def test_two_distributions_in_one_place_are_found(tmp_path: Path) -> None:
    site = _Site(tmp_path / "site", whole=True)
    site.install("edgekit_coral-0.1.0")
    assert site.says("d.holders()") == "('edgekit-coral 0.1.0',)\n"
    site.install("edgekit_notes-3.0", first="edgekit_notes.py")
    assert site.says("d.holders()") == "('edgekit-coral 0.1.0',)\n"
    site.install("edgekit-0.1.1")
    assert site.says("d.holders()") == "('edgekit 0.1.1', 'edgekit-coral 0.1.0')\n"
    assert site.says("d.untangle_command(d.holders())") == (
        f"{sys.executable} -m pip uninstall --yes edgekit edgekit-coral\n"
    )


def test_every_command_warns_of_two_distributions(tmp_path: Path) -> None:
    site = tmp_path / "site"
    shutil.copytree(str(_HERE), str(site / "edgekit"), ignore=shutil.ignore_patterns("__pycache__"))
    for stem in ("edgekit_coral-0.1.0", "edgekit_coral_device-0.1.0"):
        (site / f"{stem}.dist-info").mkdir()
        (site / f"{stem}.dist-info" / "RECORD").write_text("edgekit/__init__.py,,\n")
    done = subprocess.run(
        [sys.executable, "-m", "edgekit", "--version"],
        cwd=str(site),
        env={"PYTHONPATH": str(site), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.decode() == f"edgekit {edgekit.__version__}\n"
    warned = done.stderr.decode()
    assert "warning: edgekit-coral 0.1.0 and edgekit-coral-device 0.1.0 are installed" in warned
    assert "pip uninstall --yes edgekit-coral edgekit-coral-device" in warned


def test_no_distribution_of_another_project_is_named() -> None:
    """The package index's "edgekit" is another project."""
    names = {distribution.WHOLE, distribution.PART}
    assert not names & set(distribution.EARLIER)
    assert distribution.name() in names


def test_the_boards_distribution_has_the_known_texts_that_it_reads() -> None:
    """It has no texts of the compiler and the converters, and no summary of compilations."""
    listed = (Path(__file__).parents[1] / "device" / "pyproject.toml").read_text()
    here = {path.name for path in (_HERE / "explain").glob("*.py")} - {"compilation.py"}
    here |= {f"texts/{area}.txt" for area in BOARD_AREAS}
    assert set(re.findall(r'^"../edgekit/explain/(.*?)" =', listed, re.MULTILINE)) == here
    every = {f"{area}.txt" for area in BOARD_AREAS + HOST_AREAS}
    assert every == {path.name for path in (_HERE / "explain" / "texts").glob("*")}
