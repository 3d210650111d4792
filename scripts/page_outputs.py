# SPDX-License-Identifier: Apache-2.0
"""Run the commands in the README and the pages, and write their outputs into the pages.

    python scripts/page_outputs.py [--check] [PAGE...]

The commands of a page run from top to bottom, in the page's own folder:

- ``<!-- run -->`` before a ``console`` block: bash runs each line after ``$ ``, and the lines below
  it are replaced by its output. ``<!-- run, status 4 -->``: the last command has this exit status.
- A block with ``title="FILE"`` is written to that file first.
- ``<!-- prepare: COMMAND -->`` is also run, but its output is not shown.
- ``<!-- continues: PAGE -->`` starts in a copy of the other page's final folder.

``examples/`` of this checkout is linked into each folder. For commands other than edgekit, only
stdout is shown, because TensorFlow reports the processor on stderr. ``--check`` does not write, and
fails if a page is stale. That comparison ignores numbers with a decimal point, times, hashes and
sizes from 1,000 on (see `comparable`), because training, clocks and versions change them.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# A page that continues another comes after it.
PAGES = (
    "docs/tutorials/photographs.md",
    "README.md",
    "docs/quick-start.md",
    "docs/tutorials/mnist.md",
    "docs/guides/build.md",
    "docs/guides/convert.md",
    "docs/guides/check.md",
    "docs/guides/compile.md",
    "docs/guides/confirm.md",
    "docs/guides/evaluate.md",
    "docs/guides/debug.md",
    "docs/guides/boards.md",
    "docs/guides/frigate.md",
    "docs/guides/ci.md",
)
_RUN = re.compile(r"<!-- run(?:, status (\d+))? -->")
_PREPARE = re.compile(r"<!-- prepare: (.+) -->")
_CONTINUES = re.compile(r"<!-- continues: (\S+) -->")
_FENCE = re.compile(r'```(\w+)(?: title="([\w./-]+)")?')
_LIMIT_S = 600


class CommandError(Exception):
    """A command of a page has another exit status than the page states."""


def comparable(text: str) -> list[str]:
    """Return the lines of a page without values that differ between machines and trainings."""
    text = re.sub(r"\b[0-9a-f]{12,64}\b", "<hash>", text)
    text = re.sub(r"[+-]?\d[\d,]*\.\d[\d.]*|\d+(,\d{3})+", "<number>", text)
    text = re.sub(r"\b\d[\d,]*(?= ?(ms|s|seconds|dB|MiB|%)(\W|$))", "<number>", text)
    text = re.sub(r"\b\d+ of \d+(?= scores)", "<number> of <number>", text)
    text = re.sub(r"is right on \d+ of \d+", "is right on <number> of <number>", text)
    text = re.sub(r"\b\d+(?= (false|single inferences)\b)", "<number>", text)
    text = re.sub(r"zero point -?\d+", "zero point <number>", text)
    return [" ".join(line.split()) for line in text.splitlines()]


def page_with_outputs(page: str, text: str, folder: Path) -> str:
    """Return ``text`` of the page with fresh outputs; its commands run in ``folder``.

    Raises:
        CommandError: A command has another exit status than the page states.
    """
    lines = iter(text.splitlines())
    written: list[str] = []
    status: int | None = None  # of the next block, if it must be run
    for line in lines:
        written.append(line)
        if found := _PREPARE.fullmatch(line):
            _run(page, found[1], folder, 0)
        elif found := _RUN.fullmatch(line):
            status = int(found[1] or 0)
        elif found := _FENCE.fullmatch(line):
            block = list(_until_fence(lines))
            if found[2]:
                (folder / found[2]).write_text("\n".join(block) + "\n")
            if status is not None:
                block = list(_fresh(page, block, folder, status))
                status = None
            written += [*block, "```"]
    return "\n".join(written) + "\n"


def _until_fence(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        if line == "```":
            return
        yield line


def _fresh(page: str, block: Sequence[str], folder: Path, status: int) -> Iterator[str]:
    commands = _commands(block)
    for number, command in enumerate(commands, 1):
        yield f"$ {command}"
        expected = status if number == len(commands) else 0
        output = _run(page, command, folder, expected)
        yield from output.rstrip("\n").splitlines()


def _commands(block: Sequence[str]) -> list[str]:
    """Return the commands of a console block; a backslash at the end continues a command."""
    commands: list[str] = []
    goes_on = False
    for line in block:
        if goes_on:
            commands[-1] += f"\n{line}"
        elif line.startswith("$ "):
            commands.append(line[2:])
        else:
            continue
        goes_on = line.endswith("\\")
    return commands


def _run(page: str, command: str, folder: Path, expected: int) -> str:
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "COLUMNS": "100",
    }
    is_edgekit = shlex.split(command, comments=True)[0] == "edgekit"
    done = subprocess.run(
        ["/bin/bash", "-o", "pipefail", "-c", command],
        cwd=folder,
        env=environment,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if is_edgekit else subprocess.PIPE,
        timeout=_LIMIT_S,
        check=False,
    )
    if done.returncode != expected:
        raise CommandError(
            f"{page}: {command!r} ended with {done.returncode}, not {expected}:\n"
            f"{done.stdout}{done.stderr or ''}"
        )
    return done.stdout


def fresh_pages(names: Sequence[str], work: Path) -> Iterator[tuple[str, str, str]]:
    """Yield (page, its text, its text with fresh outputs) for each page and those it continues."""
    for name in names:
        text = (ROOT / name).read_text()
        if "<!-- run" not in text:
            continue
        folder = work / name
        if folder.exists():
            continue
        if found := _CONTINUES.search(text):
            yield from fresh_pages([found[1]], work)
            shutil.copytree(work / found[1], folder, symlinks=True)
        else:
            folder.mkdir(parents=True)
            (folder / "examples").symlink_to(ROOT / "examples")
        yield name, text, page_with_outputs(name, text, folder)


def main() -> int:
    """Write the outputs, or with ``--check`` report which pages are stale."""
    parser = argparse.ArgumentParser(description="Run the pages' commands, write their outputs")
    parser.add_argument("pages", nargs="*", metavar="PAGE", help="written in any case")
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    stale = 0
    with tempfile.TemporaryDirectory() as work:
        for name, text, fresh in fresh_pages(arguments.pages or PAGES, Path(work)):
            is_fresh = comparable(text) == comparable(fresh)
            if is_fresh and (arguments.check or name not in arguments.pages):
                print(f"{name}: up to date")
                continue
            stale += 1
            if arguments.check:
                print(f"{name}: stale; run python scripts/page_outputs.py {name}")
            else:
                (ROOT / name).write_text(fresh)
                print(f"{name}: written")
    return 1 if arguments.check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
