# SPDX-License-Identifier: Apache-2.0
"""Follow every command that edgekit prints about models, and list those that do not work.

    python -m scripts.follow_fixes FILE_OR_FOLDER... [--only TEXT] [--cluster ADDRESS]
        [-o failures.txt]

Int8 models are checked, and everything else is converted with random samples. Each `edgekit
convert`, `fix` and `split` in the answers is run as printed, with files for its stand-ins (MODEL,
DATA, OUT.tflite). It must succeed and do what it is printed for: more operators map, or the reason
that it was printed for is gone.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import re
import shlex
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit import files
from edgekit.checking import check
from edgekit.cli.main import main as edgekit
from edgekit.errors import EdgeKitError
from edgekit.formats.model_file import read_model_file
from edgekit.formats.tflite import is_compiled
from scripts.sweep import add_cluster, trials

_WORD = r"(?:'[^']*'|[^\s;,()']+)"
_PATH = r"(?:'[^']*'|MODEL|[^\s;,()']*[/.][^\s;,()']*[^\s;,().'])"
_COMMAND = re.compile(
    rf"edgekit (?:convert|fix|split)(?: (?:-o {_WORD}|--[a-z-]+ {_WORD}|{_PATH}))+"
)
_SOURCES = (".h5", ".hdf5", ".keras", ".pb", ".tflite")
_FEW = ["--num-samples", "4"]
_INTEGERS = ("INT8", "UINT8", "INT16")


@dataclass(frozen=True)
class Followed:
    """One printed command, and what became of it; ``problem`` is empty if it worked."""

    source: Path
    command: str
    problem: str

    @property
    def line(self) -> str:
        """One line of the list."""
        return f"{self.problem or 'works'}: {self.command}  [{self.source.name}]"


def commands_in(text: str) -> list[str]:
    """Return the commands that a text contains, without the words around them."""
    return list(dict.fromkeys(_COMMAND.findall(text)))


def run(words: list[str]) -> tuple[int, str, str]:
    """Run edgekit with these arguments; return its exit status, stdout and stderr."""
    out, err = io.StringIO(), io.StringIO()
    status = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            edgekit(words)
        except SystemExit as error:
            status = error.code if isinstance(error.code, int) else 1
    return status, out.getvalue(), err.getvalue()


def words_of(command: str, model: Path, folder: Path) -> list[str]:
    """Return the arguments of a printed command: ``model`` is what it was printed for.

    Outputs go to ``folder``; an earlier output there is an input with its printed name.
    """
    words = shlex.split(command)[1:]
    for place, word in enumerate(words):
        kept = folder / Path(word).name
        if word == "MODEL":
            words[place] = str(model)
        elif word == "DATA":
            words[place] = "random"
        elif words[place - 1] == "-o" or (place == 1 and not Path(word).exists() and kept.exists()):
            words[place] = str(kept)
    if len(words) < 2 or words[1].startswith("-"):
        words.insert(1, str(model))
    if words[0] == "convert" and "float" not in words:
        words += [*(() if "--data" in words else ("--data", "random")), *_FEW]
    if "-o" not in words:
        words += ["-o", str(folder / "OUT.tflite")]
    return words


def follow_source(source: Path) -> Iterator[Followed]:
    """Convert ``source`` with random samples, and follow what is printed."""
    with tempfile.TemporaryDirectory() as temporary:
        made = Path(temporary) / "made.tflite"
        base = ["convert", str(source), "--data", "random", *_FEW, "-o", str(made)]
        status, out, err = run([*base, "--json"])
        if status not in (0, 3, 5):
            yield Followed(source, shlex.join(base[:2]), f"exit status {status}: {err[-200:]}")
            return
        answer = json.loads(out)
        for text, reason in _texts_of_convert(answer, made):
            for command in commands_in(text):
                problem = _tried(command, source, made, Path(temporary), reason)
                yield Followed(source, command, problem)


def _texts_of_convert(answer: dict[str, Any], made: Path) -> Iterator[tuple[str, str]]:
    """Yield (text, the start of the reason that should be gone)."""
    for issue in answer.get("issues", ()):
        yield issue["fix"], issue["message"].split(":", maxsplit=1)[0].split(" ")[0]
    if not answer.get("issues"):
        yield answer.get("fix", ""), ""
    elif "or convert the part" in answer.get("fix", ""):
        yield answer["fix"].split("or convert the part")[1], ""
    outcome = answer.get("outcome") or {}
    for each in outcome.get("unmapped", ()):
        for option in each["options"]:
            yield option, each["opcode"]
    if outcome.get("with_fix"):
        yield f"edgekit fix {shlex.quote(str(made))} -o FIXED.tflite", ""


def _tried(command: str, source: Path, made: Path, folder: Path, reason: str) -> str:
    """Run one command of `convert`; return the problem, empty if there is none."""
    model = source if command.startswith("edgekit convert") or not made.exists() else made
    words = words_of(command, model, folder)
    status, out, err = run(words)
    text = out + err
    if status == 3 and reason and words[0] == "convert" and reason not in _why(text):
        return ""  # other reasons are left, which were printed too
    return _failure(status, text) or _kept_promise(words, model if model == made else None)


def _failure(status: int, text: str) -> str:
    """Return the exit status and the reason of a command that failed; empty if it did not."""
    return f"exit status {status}: {_why(text)[:200]}" if status else ""


def _why(text: str) -> str:
    """Return the reasons in an error's text."""
    found = re.search(r"\n  why: (.*?)(?=\n  fix:|\Z)", text, re.DOTALL)
    return (found[1] if found else text).strip()


def _kept_promise(words: list[str], before: Path | None) -> str:
    made = Path(words[words.index("-o") + 1])
    if words[0] == "split":
        head = next(iter(made.glob("*head*.tflite")), None)
        return "" if head and check(head).num_mapped else "no operator of the head maps"
    if "float" in words or before is None:
        return "" if made.exists() else "nothing was written"
    old, new = check(before), check(made)
    return "" if new.num_mapped > old.num_mapped else f"{old.num_mapped} mapped, then no more"


def follow_model(model: Path) -> Iterator[Followed]:
    """Check an int8 ``model``, and follow what is printed."""
    before = check(model)
    issues = [each for each in before.issues if commands_in(each.fix)]
    texts = [each.fix for each in issues] + [each.fix for each in before.operators]
    commands = dict.fromkeys(command for text in texts for command in commands_in(text))
    for command in commands:
        if command.startswith("edgekit convert --"):
            continue  # an option for the source of the model
        with tempfile.TemporaryDirectory() as temporary:
            words = words_of(command, model, Path(temporary))
            status, out, err = run(words)
            problem = _failure(status, out + err)
            if not status and words[0] == "fix":
                after = check(Path(words[words.index("-o") + 1]))
                codes = {each.code for each in after.issues}
                gone = [each.code for each in issues if each.code not in codes]
                if not gone and after.num_mapped <= before.num_mapped:
                    problem = f"{before.num_mapped} mapped, then no more; no issue is gone"
            yield Followed(model, command, problem)


def follow(path: Path) -> Iterator[Followed]:
    """Follow what is printed about one file; errors of `check` and `convert` too."""
    if path.suffix != ".tflite":
        yield from follow_source(path)
        return
    try:
        model = read_model_file(path).model
        if is_compiled(model):
            return
        dtypes = {tensor.dtype for tensor in model.main.tensors}
        is_integer = any(
            operator.opcode in ("CONV_2D", "FULLY_CONNECTED", "DEPTHWISE_CONV_2D")
            and model.main.tensors[operator.inputs[0]].dtype in _INTEGERS
            for operator in model.main.operators
        )
        yield from (
            follow_model(path) if is_integer or dtypes <= {*_INTEGERS} else follow_source(path)
        )
    except EdgeKitError as error:
        for command in commands_in(error.fix):
            with tempfile.TemporaryDirectory() as temporary:
                status, out, err = run(words_of(command, path, Path(temporary)))
                yield Followed(path, command, _failure(status, out + err))


def subjects(places: Iterable[Path], only: str = "") -> list[Path]:
    """Return the files and SavedModel folders below ``places``."""
    found: dict[Path, None] = {}
    for place in places:
        every = [place] if place.is_file() else sorted(place.rglob("*"))
        for path in every:
            subject = path.parent if path.name == "saved_model.pb" else path
            if path.suffix in _SOURCES and only in str(path):
                found[subject] = None
    return list(found)


def _followed(path: Path) -> list[Followed]:
    return list(follow(path))


def main() -> int:
    """Follow everything; print each command; return 1 if one does not work."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("places", nargs="+", type=Path)
    parser.add_argument("--only", default="", help="files whose path contains this")
    parser.add_argument("-o", "--output", type=Path, help="write the commands that fail here")
    add_cluster(parser)
    words = parser.parse_args()
    failed: list[str] = []
    count = 0
    chosen = subjects(words.places, words.only)
    for _path, found in trials(_followed, chosen, words.cluster):
        for each in found:
            count += 1
            print(each.line, flush=True)
            if each.problem:
                failed.append(f"{each.source}\n  {each.command}\n  {each.problem}")
    print(f"{len(chosen)} files, {count} commands, {len(failed)} do not work")
    if words.output is not None:
        files.write_text(words.output, "\n".join(failed) + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
