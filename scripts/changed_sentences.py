# SPDX-License-Identifier: Apache-2.0
"""List the sentences that differ between two commits, old next to new, for a second reading.

    python scripts/changed_sentences.py OLD NEW [PATH...]

Sentences are read from docstrings, comments and text constants (messages, help texts) of Python
files, from comments of shell scripts, Makefiles, TOML, YAML and udev rules, and from Markdown
and text files outside of code blocks. OLD and NEW are commits; PATH limits the list to files or
folders. A renamed file is compared with its earlier content; a sentence that only moved is not
listed.
"""

from __future__ import annotations

import argparse
import ast
import io
import re
import shutil
import subprocess
import sys
import tokenize
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from difflib import SequenceMatcher
from pathlib import PurePosixPath
from typing import NamedTuple, TypeGuard

_PAGES = (".md", ".txt")
_COMMENTED = (".sh", ".toml", ".yml", ".yaml", ".rules", ".mk")
_COMMENTED_NAMES = ("Makefile", "run")
_END = re.compile(r"(?<=[.!?])[\"')`*]*\s+(?=[\"'(`*\[]*[A-Z0-9])")
# A line that begins a new text: a list item, an entry of Args or Raises, a heading, a row.
_STARTS = re.compile(r"\s*([-*#|>]|\d+\.\s|[\w*]+(\s\([^)]*\))?:\s|[A-Z]\w+:$|\.\.\s)")
_NO_COMMENTS = ("# SPDX", "# noqa", "# type:")
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


class Sentence(NamedTuple):
    """One sentence and its kind: docstring, comment, message or page."""

    kind: str
    text: str


class Change(NamedTuple):
    """Neighbouring sentences of one file that differ; one of the two sides may be empty."""

    path: str
    old: tuple[Sentence, ...]
    new: tuple[Sentence, ...]


def sentences(path: str, content: str) -> list[Sentence]:
    """Return the sentences of a file in order; empty for a file of another kind."""
    name = PurePosixPath(path)
    if name.suffix == ".py":
        return list(_of_python(content))
    if name.suffix in _PAGES:
        return list(_split("page", _prose(content)))
    if name.suffix in _COMMENTED or name.name in _COMMENTED_NAMES:
        lines = (line.strip() for line in content.splitlines())
        text = (line.lstrip("# ") if line.startswith("#") else "" for line in lines)
        return list(_split("comment", text))
    return []


def changes(files: Iterable[tuple[str, str, str, str]]) -> list[Change]:
    """Return the differences between the files.

    Args:
        files: For each file its old path, old content, new path and new content; the content is
            empty if the file does not exist.
    """
    found: list[Change] = []
    for old_path, old_content, new_path, new_content in files:
        old, new = sentences(old_path, old_content), sentences(new_path, new_content)
        steps = SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
        for kind, start, end, new_start, new_end in steps:
            if kind != "equal":
                gone, come = old[start:end], new[new_start:new_end]
                found.extend(_pairs(new_path, gone, come))
    return _without_moved(found)


def _pairs(path: str, old: list[Sentence], new: list[Sentence]) -> Iterator[Change]:
    """Pair sentences: one by one if both sides have the same number, else all of them."""
    if len(old) == len(new):
        for one, other in zip(old, new, strict=True):
            yield Change(path, (one,), (other,))
    else:
        yield Change(path, tuple(old), tuple(new))


def _without_moved(found: list[Change]) -> list[Change]:
    """Remove each sentence that was removed in one place and added in another."""
    removed = Counter(each.text for change in found for each in change.old)
    added = Counter(each.text for change in found for each in change.new)
    moved = removed & added
    from_old, from_new = Counter(moved), Counter(moved)
    kept = (
        Change(path, tuple(_left(old, from_old)), tuple(_left(new, from_new)))
        for path, old, new in found
    )
    return [change for change in kept if change.old or change.new]


def _left(side: Sequence[Sentence], moved: Counter[str]) -> Iterator[Sentence]:
    for each in side:
        if moved[each.text]:
            moved[each.text] -= 1
        else:
            yield each


def _of_python(source: str) -> Iterator[Sentence]:
    """Yield docstrings, comments and texts, in the order of their lines."""
    found: list[tuple[int, str, list[str]]] = []
    tree = ast.parse(source)
    skipped: set[ast.AST] = set()  # docstrings, and the parts of an f-string
    for node in ast.walk(tree):
        if isinstance(node, _DOCUMENTED) and ast.get_docstring(node) is not None:
            skipped.update(ast.walk(node.body[0]))
            text = ast.get_docstring(node) or ""
            found.append((node.body[0].lineno, "docstring", text.splitlines()))
        elif isinstance(node, ast.JoinedStr) and node not in skipped:
            skipped.update(ast.walk(node))
            found.append((node.lineno, "message", [_template(node)]))
        elif isinstance(node, ast.Constant) and node not in skipped and _is_text(node.value):
            found.append((node.lineno, "message", node.value.splitlines()))
    found.extend(_comments(source))
    for _, kind, lines in sorted(found, key=lambda each: each[0]):
        yield from _split(kind, lines)


def _is_text(value: object) -> TypeGuard[str]:
    """Return whether a constant has several words."""
    return isinstance(value, str) and " " in value.strip()


def _template(node: ast.JoinedStr) -> str:
    """Return an f-string's text with ``{...}`` for each value."""
    return "".join(
        str(each.value) if isinstance(each, ast.Constant) else "{...}" for each in node.values
    )


def _comments(source: str) -> Iterator[tuple[int, str, list[str]]]:
    """Yield comments; adjacent lines with only comments are one comment."""
    start, last, lines = 0, 0, list[str]()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT or token.string.startswith(_NO_COMMENTS):
            continue
        line, text = token.start[0], token.string.lstrip("#").strip()
        if token.line.strip() != token.string:  # after code
            yield line, "comment", [text]
        elif lines and line == last + 1:
            lines.append(text)
            last = line
        else:
            yield start, "comment", lines
            start, last, lines = line, line, [text]
    yield start, "comment", lines


def _prose(markdown: str) -> Iterator[str]:
    """Yield the lines of a page; code blocks and HTML comments are empty lines."""
    in_code = False
    for line in markdown.splitlines():
        is_fence = line.lstrip().startswith("```")
        yield "" if in_code or is_fence or line.startswith("<!--") else line
        in_code ^= is_fence


def _split(kind: str, lines: Iterable[str]) -> Iterator[Sentence]:
    """Join lines to paragraphs and cut these into sentences."""
    paragraph: list[str] = []
    for line in [*lines, ""]:
        if paragraph and (not line.strip() or _STARTS.match(line)):
            text = " ".join(" ".join(paragraph).split())
            yield from (Sentence(kind, each) for each in _END.split(text) if re.search(r"\w", each))
            paragraph = []
        if line.strip():
            paragraph.append(line)


def _git(*arguments: str) -> str:
    """Return the output of git.

    Raises:
        SystemExit: git fails; the message is that of git.
    """
    command = [shutil.which("git") or "git", *arguments]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        sys.exit(f"error: git {arguments[0]}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout.decode("utf-8", errors="replace")


def _files(old: str, new: str, paths: Sequence[str]) -> Iterator[tuple[str, str, str, str]]:
    """Yield old path, old content, new path and new content of each file that differs."""
    words = _git("diff", "--name-status", "-z", "-M", old, new, "--", *paths).split("\0")[:-1]
    while words:
        status = words.pop(0)
        before = words.pop(0)
        after = words.pop(0) if status[0] in "RC" else before
        if not sentences_are_read(after):
            continue
        old_content = "" if status == "A" else _git("show", f"{old}:./{before}")
        new_content = "" if status == "D" else _git("show", f"{new}:./{after}")
        yield before, old_content, after, new_content


def sentences_are_read(path: str) -> bool:
    """Return whether a file of this name has sentences that the script reads."""
    name = PurePosixPath(path)
    return name.suffix in (".py", *_PAGES, *_COMMENTED) or name.name in _COMMENTED_NAMES


def main() -> None:
    """Print the changes, file by file, and their number."""
    parser = argparse.ArgumentParser(description="List sentences that differ between two commits")
    parser.add_argument("old", help="the earlier commit")
    parser.add_argument("new", help="the later commit")
    parser.add_argument("paths", nargs="*", metavar="PATH", help="only these files or folders")
    arguments = parser.parse_args()
    found = changes(_files(arguments.old, arguments.new, arguments.paths))
    last = ""
    for path, old, new in found:
        if path != last:
            print(f"{path}\n")
            last = path
        for sign, side in (("-", old), ("+", new)):
            for each in side:
                print(f"  {sign} {each.kind:9} {each.text}")
        print()
    print(f"{len(found)} changes in {len({each.path for each in found})} files")


if __name__ == "__main__":
    main()
