# SPDX-License-Identifier: Apache-2.0
"""The same word for the same option in every command, earlier spellings, suggestions."""

from __future__ import annotations

import enum
import inspect
import sys
from collections import defaultdict
from importlib import import_module
from pathlib import Path
from typing import Any, Iterator

import pytest

from edgekit.cli import estimate, fix, options
from edgekit.cli.grammar import Formerly
from edgekit.cli.main import build
from edgekit.edgetpu.calibration import DEVICES
from edgekit.extras import RUNTIME_PACKAGES
from edgekit.rewrite import IO_KINDS
from edgekit.runtime import cpu
from edgekit.tasks import TASKS
from tests.command import edgekit

# Options that accept other words in one command, and why.
_OTHER_WORDS = {
    "--device": {"estimate", "plan"},  # the connection of a chip that may be elsewhere
    "--io": {"fix"},  # can also keep the types
}


class _Option:
    """An option of a command, as its annotation declares it."""

    def __init__(self, command: str, name: str, hint: Any) -> None:  # noqa: ANN401
        info = next(each for each in hint.__metadata__ if hasattr(each, "param_decls"))
        given = [info.default, *(info.param_decls or ())]
        self.command = command
        self.spellings = [each for each in given if isinstance(each, str) and each[:1] == "-"]
        longs = [each for each in self.spellings if each.startswith("--")]
        self.long = (longs or [f"--{name.replace('_', '-')}"])[0].partition("/")[0]
        self.shorts = [each for each in self.spellings if not each.startswith("--")]
        self.metavar = info.metavar
        base = hint.__origin__
        self.kinds = [each for each in getattr(base, "__args__", (base,)) if each is not type(None)]
        self.choices = tuple(
            member.value
            for kind in self.kinds
            if isinstance(kind, type(enum.Enum))
            for member in kind
        )
        self.earlier = [
            word
            for each in hint.__metadata__
            if isinstance(each, Formerly)
            for word in each.spellings
        ]


def _options() -> Iterator[_Option]:
    for command in build().registered_commands:
        assert command.callback is not None
        for name, hint in command.callback.__annotations__.items():
            infos = [type(each).__name__ for each in getattr(hint, "__metadata__", ())]
            if "OptionInfo" in infos:
                yield _Option(str(command.name), name, hint)


_ALL = list(_options())


def test_every_command_is_checked() -> None:
    assert len({each.command for each in _ALL}) == len(build().registered_commands)


def test_an_option_accepts_the_same_words_in_every_command() -> None:
    seen = defaultdict(set)
    for each in _ALL:
        if each.command not in _OTHER_WORDS.get(each.long, ()) and each.long != "--output":
            seen[each.long].add((each.metavar, each.choices))
    assert {word: found for word, found in seen.items() if len(found) > 1} == {}


def test_the_exceptions_are_used() -> None:
    for word, commands in _OTHER_WORDS.items():
        assert commands < {each.command for each in _ALL if each.long == word}


def test_a_short_option_means_the_same_in_every_command() -> None:
    seen = defaultdict(set)
    for each in _ALL:
        for letter in each.shorts:
            seen[letter].add(each.long)
    assert {letter: words for letter, words in seen.items() if len(words) > 1} == {}


def test_the_option_for_outputs_is_the_same_everywhere() -> None:
    outputs = [each for each in _ALL if each.long == "--output"]
    assert {each.metavar for each in outputs} == {"FILE", "FOLDER"}
    assert all(each.shorts == ["-o"] for each in outputs)


def test_help_shows_what_an_option_accepts() -> None:
    """A choice lists its words; the metavar of texts, paths and numbers names their kind."""
    for each in _ALL:
        if not each.choices and {str, Path, int, float} & set(each.kinds):
            assert each.metavar, (each.command, each.long)
        if each.long.endswith("-sec"):
            assert each.metavar == "SECONDS", (each.command, each.long)


def test_the_list_of_commands_shows_each_description_whole() -> None:
    """At 80 columns, on a terminal and in a file: longer descriptions are wrapped, not cut."""
    shown = " ".join(edgekit("--help").stdout.split())
    for command in build().registered_commands:
        name = str(command.name)
        text = inspect.getdoc(vars(import_module(f"edgekit.cli.{name}"))[name])
        assert text is not None
        first = " ".join(text.partition("\n\n")[0].split())
        assert f" {name} {first} " in f"{shown} "


def test_no_spelling_with_an_underscore_is_shown() -> None:
    assert not [each.long for each in _ALL if any("_" in word for word in each.spellings)]


def test_earlier_spellings_are_not_current_options() -> None:
    for each in _ALL:
        mine = {other.long for other in _ALL if other.command == each.command}
        assert not mine & set(each.earlier)


def test_choices_are_the_words_of_the_library() -> None:
    assert sorted(options.TASKS) == sorted(TASKS)
    assert tuple(RUNTIME_PACKAGES) == options.RUNTIMES
    assert sorted(options.KERNELS) == sorted(cpu.KERNELS)
    assert DEVICES == estimate.CONNECTIONS
    assert sorted(fix.IO) == sorted(IO_KINDS)


@pytest.mark.skipif(sys.version_info < (3, 10), reason="convert is the host's")
def test_choices_of_convert_are_the_words_of_the_library() -> None:
    from edgekit.cli import convert  # noqa: PLC0415 - of the host's Python
    from edgekit.host.convert.conversion import MODES  # noqa: PLC0415
    from edgekit.host.convert.enforce import IO_TYPES  # noqa: PLC0415
    from edgekit.host.convert.options import QUANTIZERS  # noqa: PLC0415

    assert MODES == convert.MODES
    assert IO_TYPES == convert.IO
    assert QUANTIZERS == convert.QUANTIZERS


def test_help_and_errors_list_the_choices(int8_path: Path) -> None:
    assert "fast|reference" in edgekit("run", "--help").stdout
    done = edgekit("run", int8_path, "a.png", "--kernels", "fats")
    assert done.returncode == 2
    assert "Invalid value for '--kernels': 'fats' is not one of 'fast', 'reference'" in done.stderr


def test_an_earlier_spelling_is_accepted_and_not_shown(int8_path: Path) -> None:
    today = edgekit("check", int8_path, "--min-runtime-version", "10")
    assert "(runtime 10)" in today.stdout
    for words in (("--target", "10"), ("--target=10",)):
        assert edgekit("check", int8_path, *words).stdout == today.stdout
    assert "--target" not in edgekit("check", "--help").stdout
    # Behind a bare -- it is a file name.
    assert edgekit("check", int8_path, "--", "--target").returncode == 3


@pytest.mark.skipif(sys.version_info < (3, 10), reason="compile is the host's")
def test_the_compilers_own_spellings_are_accepted(tmp_path: Path) -> None:
    words = ("--out_dir", tmp_path / "no", "--num_segments=2", "--show_operations", "--dry-run")
    for spelled in (words, [str(each).replace("_", "-") for each in words]):
        done = edgekit("compile", tmp_path / "net.tflite", *spelled)
        assert "No such option" not in done.stderr, done.stderr
    assert "--out" not in edgekit("compile", "--help").stdout.replace("--output", "")


def test_the_error_for_a_misspelling_suggests_the_command_or_the_option() -> None:
    done = edgekit("evalute", "net.tflite")
    assert done.returncode == 2
    assert "No such command 'evalute'. Did you mean 'evaluate'?" in done.stderr
    done = edgekit("run", "a", "b", "--devise", "cpu")
    assert done.returncode == 2
    assert "--device" in done.stderr


def test_a_command_is_the_same_alone_as_among_all() -> None:
    """``edgekit run`` reads the options of run only; twice in one process, too."""
    for name in ("run", "fix"):
        for _ in range(2):
            (alone,) = build(name).registered_commands
            among = next(each for each in build().registered_commands if each.name == name)
            assert alone.callback is not None
            assert among.callback is not None
            assert alone.callback.__annotations__ == among.callback.__annotations__


def test_the_list_of_commands_has_the_first_sentence_of_each() -> None:
    listed = edgekit("--help").stdout
    for command in build().registered_commands:
        assert f"\n  {command.name} " in listed
    assert "Measure a model's accuracy and latency over a data set." in listed
