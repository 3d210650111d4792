# SPDX-License-Identifier: Apache-2.0
"""The unit of `edgekit service`: systemd accepts it, and its command serves."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from edgekit.errors import InputError, UsageError
from edgekit.integrations import install_service, remove_service


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file in a folder whose name systemd would read as something else."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    folder = tmp_path / 'a %h "b" $HOME'
    folder.mkdir()
    path = folder / "my model.tflite"
    path.write_bytes(b"a model")
    return path


def test_the_unit_is_one_for_systemd(model: Path, tmp_path: Path) -> None:
    result = install_service([model], ["--port", "8001"])
    assert (result.unit, result.token_path) == ("edgekit-my-model.service", "")
    path = Path(result.path)
    assert path.parent == tmp_path / "config" / "systemd" / "user"
    text = path.read_text()
    assert "Restart=on-failure" in text
    assert "NoNewPrivileges=yes" in text
    assert "a %%h" in text
    assert "$$HOME" in text
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed")
    (tmp_path / "run").mkdir()
    done = subprocess.run(
        [analyze, "verify", "--user", str(path)],
        capture_output=True,
        text=True,
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path / "run")},
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_token_is_kept_in_a_file_of_its_own(model: Path) -> None:
    first = install_service([model], [], name="front", token="a-token")
    token = Path(first.token_path)
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    content = token.read_text()
    assert content.startswith("EDGEKIT_TOKEN=")
    assert content.split("=")[1].strip() not in Path(first.path).read_text()
    install_service([model], ["--port", "9000"], name="front", token="another")
    assert token.read_text() == content
    removed = remove_service("front")
    assert not Path(removed.path).exists()
    assert not token.exists()
    with pytest.raises(InputError, match="no such service"):
        remove_service("front")


def test_names_and_models_are_checked(model: Path) -> None:
    with pytest.raises(UsageError, match="name of a service"):
        install_service([model], [], name="../x")
    with pytest.raises(InputError, match="does not exist") as caught:
        install_service([model.with_name("none.tflite")], [])
    assert caught.value.fix
    with pytest.raises(UsageError, match="no model"):
        install_service([], [])
