# SPDX-License-Identifier: Apache-2.0
"""Printed commands are found and followed; a sample of other people's models is walked."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.follow_fixes import commands_in, follow, subjects, words_of

# Int8 models of the corpus for which `check` prints commands, and float sources for `convert`.
_SAMPLE = ("traffic_model.tflite", "ad01.h5", "frozen.pb")


def test_commands_are_found_between_words() -> None:
    text = (
        "GELU: edgekit convert --replace-activations gelu=mappable replaces it; or convert the "
        "part: edgekit convert 'my net.keras' --outputs a/b --data DATA -o OUT.tflite\n"
        "edgekit fix MODEL -o OUT.tflite makes it map. edgekit convert from the float network"
    )
    assert commands_in(text) == [
        "edgekit convert --replace-activations gelu=mappable",
        "edgekit convert 'my net.keras' --outputs a/b --data DATA -o OUT.tflite",
        "edgekit fix MODEL -o OUT.tflite",
    ]


def test_stand_ins_become_files(tmp_path: Path) -> None:
    model = tmp_path / "m.tflite"
    fix = words_of("edgekit fix MODEL -o OUT.tflite", model, tmp_path)
    assert fix == ["fix", str(model), "-o", str(tmp_path / "OUT.tflite")]
    option = words_of("edgekit convert --io int8", model, tmp_path)
    assert option[:4] == ["convert", str(model), "--io", "int8"]
    assert option[option.index("--data") + 1] == "random"


def test_a_file_that_cannot_be_read_has_nothing_to_follow(tmp_path: Path) -> None:
    (tmp_path / "bad.tflite").write_bytes(b"not a model")
    assert [each for path in subjects([tmp_path]) for each in follow(path)] == []


@pytest.mark.corpus
@pytest.mark.host
@pytest.mark.slow
@pytest.mark.parametrize("name", _SAMPLE)
def test_every_command_printed_for_a_model_of_the_corpus_works(corpus: Path, name: str) -> None:
    (path,) = subjects([corpus], name)
    followed = list(follow(path))
    assert [each.line for each in followed if each.problem] == []
