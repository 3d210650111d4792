# SPDX-License-Identifier: Apache-2.0
"""The script that lists changed sentences: which it reads, how it pairs them, which it omits."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.version_info < (3, 10), reason="the scripts need Python 3.10")
_SCRIPT = Path(__file__).parents[2] / "scripts" / "changed_sentences.py"
# In both pages, so that git finds them to be one page under two names.
_TITLE = "# Title\n\nThe first sentence of the page stays. The second sentence stays too.\n\n"
_OLD = {
    "code.py": '''"""The model is no file. It stays."""

LIMIT = 3  # of them
# One comment
# in two lines.


def load(path: str) -> str:
    """Load it.

    Raises:
        ValueError: It is mute.
    """
    return f"{path} is no "  "model"
''',
    "page.md": _TITLE
    + "Same here. The old\nsentence.\n\n```\nold output line\n```\n\nThis moves away.\n",
    "other.md": "Nothing here.\n",
}
_NEW = {
    "code.py": '''"""The model is not a file. It stays."""

LIMIT = 3  # the largest number
# A single comment
# in two lines.


def load(path: str) -> str:
    """Return its text.

    Raises:
        ValueError: It does not have a name.
    """
    return f"{path} is not a model"
''',
    "renamed.md": _TITLE + "Same here. The new sentence.\n\n```\nnew output line\n```\n",
    "other.md": "Nothing here.\n\nThis moves away.\n",
}
_LISTED = """\
code.py

  - docstring The model is no file.
  + docstring The model is not a file.

  - comment   of them
  + comment   the largest number

  - comment   One comment in two lines.
  + comment   A single comment in two lines.

  - docstring Load it.
  + docstring Return its text.

  - docstring ValueError: It is mute.
  + docstring ValueError: It does not have a name.

  - message   {...} is no model
  + message   {...} is not a model

renamed.md

  - page      The old sentence.
  + page      The new sentence.

7 changes in 2 files
"""


def _git(folder: Path, *words: str) -> None:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True)


def _commit(folder: Path, files: dict[str, str]) -> None:
    for each in folder.iterdir():
        if each.is_file():
            each.unlink()
    for name, text in files.items():
        (folder / name).write_text(text)
    _git(folder, "add", "--all")
    _git(folder, "commit", "--quiet", "--message", "commit")


@pytest.fixture(name="repository")
def _repository(tmp_path: Path) -> Path:
    _git(tmp_path, "init", "--quiet")
    _commit(tmp_path, _OLD)
    _commit(tmp_path, _NEW)
    return tmp_path


def _run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(_SCRIPT), *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_changed_sentences_are_listed_old_next_to_new_without_code_and_moves(
    repository: Path,
) -> None:
    done = _run(repository, "HEAD~1", "HEAD")
    assert (done.stdout, done.stderr, done.returncode) == (_LISTED, "", 0)


def test_the_same_commit_has_no_changes(repository: Path) -> None:
    assert _run(repository, "HEAD", "HEAD").stdout == "0 changes in 0 files\n"


def test_a_path_limits_the_list(repository: Path) -> None:
    done = _run(repository, "HEAD~1", "HEAD", "code.py")
    assert done.stdout.endswith("\n6 changes in 1 files\n")


def test_an_unknown_commit_is_an_error_with_gits_reason(repository: Path) -> None:
    done = _run(repository, "no-such-commit", "HEAD")
    assert done.returncode == 1
    assert done.stderr.startswith("error: git diff: fatal: ")
