# SPDX-License-Identifier: Apache-2.0
"""--via docker: with a program named docker, whose containers are folders of this machine."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from edgekit.host.compiler.errors import CompilerError
from edgekit.host.compiler.run import compile as run_compile
from edgekit.host.compiler.run import compile_commands
from tests.host.compiler.conftest import StandIn

_SOURCE = """#!{python}
import json, pathlib, shutil, subprocess, sys

home = pathlib.Path(__file__).resolve().parent
verb, *words = sys.argv[1:]
with (home / "docker.jsonl").open("a") as stream:
    stream.write(json.dumps([verb, *words]) + "\\n")

def folder(name):
    return home / "containers" / name

def value(option):
    return words[words.index(option) + 1]

if verb == "create":
    image = next(word for word in words if word.startswith("image"))
    if image == "image-missing":
        print("Error response from daemon: No such image: image-missing", file=sys.stderr)
        sys.exit(125)
    place = folder(value("--name"))
    place.mkdir(parents=True)
    (place / "work").mkdir()
    command = [value("--entrypoint"), *words[words.index(image) + 1 :]]
    (place / "command.json").write_text(json.dumps(command))
elif verb == "cp":
    source, target = words
    if ":" in target:
        shutil.copy(source, folder(target.split(":")[0]) / "work")
    else:
        shutil.copytree(folder(source.split(":")[0]) / "work", target, dirs_exist_ok=True)
elif verb == "start":
    place = folder(words[-1])
    command = json.loads((place / "command.json").read_text())
    if not pathlib.Path(command[0]).exists():
        text = "Error response from daemon: exec: executable file not found in $PATH"
        print(text, file=sys.stderr)
        sys.exit(1)
    status = subprocess.call(command, cwd=place / "work")
    sys.exit(128 - status if status < 0 else status)
elif verb == "rm":
    shutil.rmtree(folder(words[-1]), ignore_errors=True)
"""


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a program named docker, first on PATH."""
    folder = tmp_path / "engine"
    folder.mkdir()
    program = folder / "docker"
    program.write_text(_SOURCE.format(python=sys.executable))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def _verbs(docker: Path) -> list[str]:
    return [json.loads(line)[0] for line in (docker / "docker.jsonl").read_text().splitlines()]


def _containers(docker: Path) -> list[Path]:
    return list((docker / "containers").glob("*"))


def test_the_result_is_the_same_as_on_this_machine(
    stand_in: StandIn, docker: Path, tmp_path: Path, model: Path, out: Path
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    stand_in.will(stand_in.success("net"))
    there = run_compile([model], out_dir=out, compiler=stand_in.path, via="docker:image:1")
    local = run_compile([model], out_dir=here, compiler=stand_in.path)
    for name in sorted(path.name for path in here.iterdir()):
        assert (out / name).read_bytes() == (here / name).read_bytes()
    assert sorted(path.name for path in out.iterdir()) == [p.name for p in sorted(here.iterdir())]
    assert [replace(each, output="") for each in there.models] == [
        replace(each, output="") for each in local.models
    ]
    assert there.via == "docker:image:1"
    assert _verbs(docker) == ["create", "cp", "start", "cp", "rm"]
    assert not _containers(docker)


def test_no_image_is_fetched_and_the_network_is_off(model: Path) -> None:
    create = compile_commands([model], via="docker:image").commands[0]
    words = " ".join(create)
    assert "--pull never" in words
    assert "--network none" in words


def test_a_failing_compiler_is_explained_and_its_container_removed(
    stand_in: StandIn, docker: Path, model: Path, out: Path
) -> None:
    stand_in.will({"stdout": "Model not quantized\n", "status": 1})
    with pytest.raises(CompilerError) as raised:
        run_compile([model], out_dir=out, compiler=stand_in.path, via="docker:image")
    assert raised.value.code == "compiler.not_quantized"
    assert not _containers(docker)


def test_an_image_that_is_not_here_is_an_error(docker: Path, model: Path, out: Path) -> None:
    with pytest.raises(CompilerError, match="docker create failed") as raised:
        run_compile([model], out_dir=out, via="docker:image-missing")
    assert raised.value.code == "compiler.remote"
    assert "No such image" in raised.value.why
    assert "docker pull" in raised.value.fix
    assert _verbs(docker)[-1] == "rm"


def test_an_image_without_the_compiler_is_an_error(docker: Path, model: Path, out: Path) -> None:
    with pytest.raises(CompilerError, match="does not contain /no/compiler") as raised:
        run_compile([model], out_dir=out, compiler="/no/compiler", via="docker:image")
    assert raised.value.code == "compiler.missing"
    assert not _containers(docker)


def test_the_deadline_removes_the_container(
    stand_in: StandIn, docker: Path, model: Path, out: Path
) -> None:
    stand_in.will({"hang": True})
    with pytest.raises(CompilerError) as raised:
        run_compile([model], out_dir=out, compiler=stand_in.path, via="docker:image", deadline_s=3)
    assert raised.value.code == "compiler.deadline"
    assert _verbs(docker)[-1] == "rm"
    assert not _containers(docker)


def test_ctrl_c_removes_the_container(
    stand_in: StandIn, docker: Path, model: Path, out: Path
) -> None:
    stand_in.will({"hang": True})
    words = ["compile", str(model), "-o", str(out), "--compiler", stand_in.path]
    child = subprocess.Popen(
        [sys.executable, "-m", "edgekit", *words, "--via", "docker:image"], stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 60
    while not stand_in.child_pid and time.monotonic() < deadline:
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=60)
    assert child.returncode == 130
    assert not _containers(docker)


def test_without_an_engine_there_is_an_error(
    model: Path, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CompilerError, match="docker is not on PATH") as raised:
        run_compile([model], out_dir=out, via="docker:image")
    assert raised.value.code == "compiler.remote"
