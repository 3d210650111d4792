# SPDX-License-Identifier: Apache-2.0
"""edgekit-coral-device: the boards' wheel contains everything that its commands need."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import grimp
import pytest
from packaging.requirements import Requirement

from edgekit import distribution, versions

tomllib = pytest.importorskip("tomllib", reason="Python 3.11 brings it")
_REPOSITORY = Path(__file__).resolve().parents[2]
# Imported with require_part, or only if edgekit.rewrite exists, or by the whole edgekit only.
_LEFT_OUT = (
    "edgekit.edgetpu.lints",
    "edgekit.edgetpu.structure",
    "edgekit.chip",
    "edgekit.rewrite",
    "edgekit.explain.compilation",
)


def _project(folder: Path) -> dict[str, Any]:
    text = (folder / "pyproject.toml").read_text(encoding="utf-8")
    project: dict[str, Any] = tomllib.loads(text)
    return project


def _included() -> dict[Path, str]:
    """Each file that goes into the wheel, and its name there."""
    wheel = _project(_REPOSITORY / "device")["tool"]["hatch"]["build"]["targets"]["wheel"]
    files = {}
    for source, name in wheel["force-include"].items():
        path = (_REPOSITORY / "device" / source).resolve()
        for each in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            files[each] = (Path(name) / each.relative_to(path)).as_posix()
    return files


def test_the_code_uses_the_names_of_both_wheels() -> None:
    whole, part = (_project(folder)["project"] for folder in (_REPOSITORY, _REPOSITORY / "device"))
    assert (whole["name"], part["name"]) == (distribution.WHOLE, distribution.PART)
    assert tuple(sorted(part["optional-dependencies"])) == distribution.PART_EXTRAS


def test_both_wheels_contain_the_marker_of_types() -> None:
    assert "edgekit/py.typed" in _included().values()
    assert (_REPOSITORY / "edgekit" / "py.typed").is_file()


def test_the_host_extra_includes_report_and_ssh() -> None:
    extras = _project(_REPOSITORY)["project"]["optional-dependencies"]
    assert {*extras["report"], *extras["ssh"]} <= set(extras["host"])


def test_the_device_extra_fits_the_library_that_the_doctor_expects() -> None:
    extra = _project(_REPOSITORY)["project"]["optional-dependencies"]["device"]
    asked = next(each for each in map(Requirement, extra) if each.name == "tflite-runtime")
    doctor = Requirement(versions.TFLITE_RUNTIME)
    for version in ("2.5.0", "2.11.0", "2.11.1", "2.12.0", "2.14.0"):
        assert asked.specifier.contains(version) == doctor.specifier.contains(version)


def _module(name: str) -> str:
    return name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def test_every_import_of_a_module_in_the_wheel_is_in_the_wheel() -> None:
    graph = grimp.build_graph("edgekit", exclude_type_checking_imports=True)
    there = {_module(name) for name in _included().values() if name.endswith(".py")}
    missing = {
        f"{module} imports {imported}"
        for module in there
        for imported in graph.find_modules_directly_imported_by(module)
        if imported not in there and not imported.startswith(_LEFT_OUT)
    }
    # main imports its commands by name; the wheel leaves some of them out on purpose.
    assert not missing


def test_the_wheel_requires_the_same_packages_as_edgekit() -> None:
    whole, part = (_project(folder)["project"] for folder in (_REPOSITORY, _REPOSITORY / "device"))
    assert part["dependencies"] == whole["dependencies"]
    assert part["requires-python"] == whole["requires-python"]
    extras = part["optional-dependencies"]
    assert extras == {name: whole["optional-dependencies"][name] for name in extras}


@pytest.mark.parametrize("folder", [_REPOSITORY, _REPOSITORY / "device"], ids=["whole", "part"])
def test_a_runtime_of_numpy_1_is_not_installed_with_numpy_2(folder: Path) -> None:
    """Python 3.9 would get numpy 2.0.2, with which tflite-runtime 2.14.0 cannot load a model."""
    project = _project(folder)["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["device"]]
    old = {"python_version": "3.9", "python_full_version": "3.9.2"}
    asked = {
        each.name: each
        for each in map(Requirement, wanted)
        if each.marker is None or each.marker.evaluate(old)
    }
    assert "tflite-runtime" in asked
    assert not asked["numpy"].specifier.contains("2.0.2")
    assert asked["numpy"].specifier.contains("1.26.4")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the content of the wheel, and nothing else of edgekit."""
    folder = tmp_path_factory.mktemp("site")
    for path, name in _included().items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(path)
    return folder


def _python(site: Path, *words: str) -> subprocess.CompletedProcess[str]:
    # The folder is before the installed edgekit on the path; check that it is imported.
    return subprocess.run(
        [sys.executable, *words],
        cwd=site,
        env={"PYTHONPATH": str(site), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_commands_of_the_host_name_the_distribution_that_has_them(site: Path) -> None:
    done = _python(site, "-m", "edgekit", "convert", "net.keras", "--data", "x.npz")
    assert done.returncode == 5
    assert "edgekit-coral-device does not have convert" in done.stderr
    assert "run it on a computer with edgekit-coral" in done.stderr
    helped = _python(site, "-m", "edgekit", "--help").stdout
    assert "benchmark" in helped
    assert "convert" not in helped


def test_the_boards_commands_all_load(site: Path) -> None:
    for command in ("run", "evaluate", "benchmark", "compare", "doctor", "bundle", "verify"):
        done = _python(site, "-m", "edgekit", command, "--help")
        assert (done.returncode, command in done.stdout) == (0, True), done.stderr


def test_functions_of_the_host_are_not_attributes(site: Path) -> None:
    code = "import edgekit; print(edgekit.__file__, hasattr(edgekit, 'convert'), edgekit.run)"
    done = _python(site, "-c", code)
    assert done.stdout.startswith(f"{site}/edgekit/__init__.py False <function run"), done.stderr


def test_the_error_for_the_missing_emulator_names_it(site: Path) -> None:
    done = _python(site, "-c", "import edgekit; edgekit.emulate(b'', [])")
    assert "edgekit-coral-device does not have emulator" in done.stderr
