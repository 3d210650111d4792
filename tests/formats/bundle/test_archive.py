# SPDX-License-Identifier: Apache-2.0
"""Archives: the same bytes for the same files, and every archive read is checked."""

from __future__ import annotations

import io
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.errors import BundleError
from edgekit.formats.bundle import read_archive, write_archive

_NAMES = st.from_regex(r"[a-z0-9_][a-z0-9._-]{0,8}(/[a-z0-9]{1,5})?", fullmatch=True)
_FILES = st.dictionaries(_NAMES, st.binary(max_size=60), max_size=6)


def _zip(*members: tuple[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name), content, compression)
    return stream.getvalue()


@given(_FILES)
def test_files_are_read_in_the_order_in_which_they_were_written(files: dict[str, bytes]) -> None:
    content = write_archive(files.items())
    assert list(read_archive(content).items()) == list(files.items())
    assert write_archive(files.items()) == content


@given(_FILES, st.binary(min_size=1, max_size=50))
def test_an_archive_after_other_bytes_is_found_by_any_reader(
    files: dict[str, bytes], before: bytes
) -> None:
    content = write_archive(files.items(), behind=before)
    assert content.startswith(before)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == files
        assert all(each.header_offset >= len(before) for each in archive.infolist())


@pytest.mark.parametrize(
    "name",
    ["../evil", "/etc/passwd", "a/../../b", "C:\\evil", "a\\..\\b", "a//b", "./a", "", "a/"],
)
def test_a_path_outside_the_archive_is_refused(name: str) -> None:
    with pytest.raises(BundleError):
        read_archive(_zip(("good", b"x"), (name, b"x")))


def test_a_name_that_continues_after_a_nul_is_refused() -> None:
    with pytest.raises(BundleError):
        read_archive(_zip(("a#b", b"x")).replace(b"a#b", b"a\0b"))


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("second", ["model.tflite", "MODEL.tflite"])
def test_the_same_path_twice_is_refused(second: str) -> None:
    with pytest.raises(BundleError, match="twice"):
        read_archive(_zip(("model.tflite", b"one"), (second, b"two")))


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    bomb = _zip(("model.tflite", bytes(50 << 20)), compression=zipfile.ZIP_DEFLATED)
    assert len(bomb) < 100_000
    with pytest.raises(BundleError, match="compressed"):
        read_archive(bomb)


def test_files_that_share_their_bytes_are_refused() -> None:
    """Directory entries that all point to one place multiply it without compression."""
    content = _zip(*((f"f{i}", bytes(1000)) for i in range(20)))
    directory = content.index(b"PK\x01\x02")
    head, tail = content[: directory // 20], bytearray(content[directory:])
    position = 0
    for _ in range(20):
        tail[position + 42 : position + 46] = (0).to_bytes(4, "little")
        position = tail.find(b"PK\x01\x02", position + 4)
    tail[-6:-2] = len(head).to_bytes(4, "little")
    with pytest.raises(BundleError):
        read_archive(head + bytes(tail))


def test_a_link_is_refused() -> None:
    info = zipfile.ZipInfo("model.tflite")
    info.external_attr = 0o120777 << 16
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(BundleError, match="link"):
        read_archive(stream.getvalue())


def test_too_many_files_are_refused() -> None:
    with pytest.raises(BundleError, match="at most 256"):
        read_archive(_zip(*((f"f{i}", b"") for i in range(257))))


def test_every_truncation_is_refused() -> None:
    content = write_archive([("a", b"1" * 40), ("b/c", b"2" * 40)])
    for size in range(len(content)):
        with pytest.raises(BundleError):
            read_archive(content[:size])


@given(st.data())
def test_a_changed_byte_is_refused_or_removes_whole_files(data: st.DataObject) -> None:
    files = {"a": b"1" * 40, "b/c": b"2" * 40}
    content = bytearray(write_archive(files.items()))
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= data.draw(st.integers(1, 255))
    try:
        found = read_archive(bytes(content))
    except BundleError:
        return
    # Only a manifest shows that a file is missing.
    assert all(files.get(name) == each for name, each in found.items())
