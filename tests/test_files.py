# SPDX-License-Identifier: Apache-2.0
"""Outputs are complete or absent."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from edgekit import files
from edgekit.errors import InputError, OutputError, UsageError
from edgekit.files import (
    check_writable,
    open_input,
    read_bytes,
    refuse_overwriting,
    replacing,
    write_bytes,
    write_text,
)


def _write_half_and_stop(target: Path) -> None:
    with replacing(target) as temporary:
        temporary.write_bytes(b"half")
        raise KeyboardInterrupt


def test_an_interrupted_write_leaves_only_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "out.bin"
    write_bytes(target, b"old")
    with pytest.raises(KeyboardInterrupt):
        _write_half_and_stop(target)
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["out.bin"]


def test_a_missing_folder_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot write out"):
        write_text(tmp_path / "no" / "out.txt", "x")


def test_a_folder_is_not_replaced(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="it is a folder"):
        write_text(tmp_path, "x")


def test_a_full_disk_leaves_no_file(tmp_path: Path) -> None:
    """A file size limit replaces the full disk: both cause an OSError during a write."""
    program = (
        "import resource, signal, sys\n"
        "from edgekit.files import write_bytes\n"
        "from edgekit.errors import OutputError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try:\n    write_bytes(sys.argv[1], bytes(100_000))\n"
        "except OutputError as error:\n    print(error.what)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "big")],
        stdout=subprocess.PIPE,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    assert b"cannot write big: File too large" in ran.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_new_file_gets_the_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"")
    write_bytes(tmp_path / "atomic", b"")
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_the_error_for_a_folder_names_the_expected_kind_of_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read the model: Is a directory"):
        read_bytes(tmp_path, "model")


def _null_device(tmp_path: Path) -> Path:
    """The test's own null device if it may create one; else the system's."""
    device = tmp_path / "null"
    try:
        os.mknod(str(device), 0o666 | stat.S_IFCHR, Path(os.devnull).stat().st_rdev)
    except PermissionError:
        return Path(os.devnull)
    device.chmod(stat.S_IMODE(Path(os.devnull).stat().st_mode))
    return device


def test_the_null_device_stays_a_device(tmp_path: Path) -> None:
    device = _null_device(tmp_path)
    check_writable(device)
    write_bytes(device, b"x" * 100)
    assert stat.S_ISCHR(device.stat().st_mode)


def test_a_fifo_is_written_to(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(str(fifo))
    with pytest.raises(OutputError, match="No such device"):  # no process reads
        write_bytes(fifo, b"x")
    reader = os.open(str(fifo), os.O_RDONLY | os.O_NONBLOCK)
    write_bytes(fifo, b"content")
    assert os.read(reader, 100) == b"content"
    os.close(reader)
    assert stat.S_ISFIFO(fifo.stat().st_mode)


def test_sockets_and_other_devices_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        for place in (path, Path("/dev/zero")):
            with pytest.raises(OutputError, match=r"device or a socket[\s\S]*fix: name a file;"):
                write_bytes(place, b"x")
            with pytest.raises(OutputError, match="device or a socket"):
                check_writable(place)
    assert stat.S_ISSOCK(path.stat().st_mode)


@pytest.mark.parametrize("exists", [True, False])
def test_a_symbolic_link_stays_and_its_target_is_written(tmp_path: Path, exists: bool) -> None:
    (tmp_path / "far").mkdir()
    target, link = tmp_path / "far" / "target", tmp_path / "link"
    if exists:
        target.write_bytes(b"old")
    link.symlink_to(Path("far") / "target")
    write_bytes(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    assert [path.name for path in (tmp_path / "far").iterdir()] == ["target"]


def test_links_that_form_a_cycle_are_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OutputError):
        write_bytes(tmp_path / "a", b"x")


def test_the_longest_file_name_is_written(tmp_path: Path) -> None:
    write_bytes(tmp_path / ("n" * 255), b"x")
    assert (tmp_path / ("n" * 255)).read_bytes() == b"x"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_folders_and_files_are_output_errors(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")
    (tmp_path / "file").chmod(0o444)
    with pytest.raises(OutputError, match="read-only"):
        write_bytes(tmp_path / "file", b"new")
    tmp_path.chmod(0o555)
    with pytest.raises(OutputError, match="Permission denied"):
        write_bytes(tmp_path / "other", b"new")
    tmp_path.chmod(0o755)


@pytest.mark.parametrize("name", ["source", "hard", "soft", "sub/../source"])
def test_a_source_is_never_overwritten_under_another_name(tmp_path: Path, name: str) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"x")
    (tmp_path / "sub").mkdir()
    os.link(str(source), str(tmp_path / "hard"))
    (tmp_path / "soft").symlink_to("source")
    with pytest.raises(UsageError, match="would overwrite source"):
        refuse_overwriting(tmp_path / name, None, "random", tmp_path / "absent", source)


def test_nothing_is_written_into_a_saved_model(tmp_path: Path) -> None:
    (tmp_path / "model" / "variables").mkdir(parents=True)
    (tmp_path / "model" / "saved_model.pb").write_bytes(b"x")
    (tmp_path / "link").symlink_to("model")
    for place in ("model/saved_model.pb", "model/variables/new", "link/m.tflite"):
        with pytest.raises(UsageError, match="would overwrite model"):
            refuse_overwriting(tmp_path / place, tmp_path / "model")
    refuse_overwriting(tmp_path / "m.tflite", tmp_path / "model")


def test_in_a_folder_of_data_only_results_are_replaced(tmp_path: Path) -> None:
    for name in ("0.png", "labels.txt", "m.tflite"):
        (tmp_path / name).write_bytes(b"x")
    for name in ("0.png", "labels.txt"):
        with pytest.raises(UsageError, match="would overwrite"):
            refuse_overwriting(tmp_path / name, str(tmp_path))
    for name in ("m.tflite", "new.tflite"):
        refuse_overwriting(tmp_path / name, str(tmp_path))


def test_parallel_writers_leave_one_whole_file(tmp_path: Path) -> None:
    """Eight processes replace one file 50 times each, with contents of one letter."""
    program = (
        "import sys\n"
        "from edgekit.files import write_bytes\n"
        "for _ in range(50):\n    write_bytes(sys.argv[1], sys.argv[2].encode() * 100_000)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    target = tmp_path / "out"
    started = [
        subprocess.Popen([sys.executable, "-c", program, str(target), each], env=environment)
        for each in "abcdefgh"
    ]
    while any(each.poll() is None for each in started):
        if target.exists():
            content = target.read_bytes()
            assert content == content[:1] * 100_000
    assert [each.returncode for each in started] == [0] * 8
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_files_larger_than_the_limit_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as stream:
        stream.truncate(3 << 30)
    with pytest.raises(InputError, match="too large: more than 805,306,368 bytes"):
        read_bytes(path)
    path.write_bytes(bytes(101))
    with pytest.raises(InputError, match="log is too large: more than 100 bytes"):
        read_bytes(path, "log", 100)


def test_devices_are_refused_as_inputs_and_pipes_are_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="it is a device"):
        read_bytes("/dev/zero", "model")
    fifo = tmp_path / "fifo"
    os.mkfifo(str(fifo))
    with subprocess.Popen(["sh", "-c", f"printf content > '{fifo}'"]):
        assert read_bytes(fifo) == b"content"


def test_an_invalid_path_is_an_input_error() -> None:
    with pytest.raises(InputError, match="null"):
        read_bytes("a\0b")


def test_a_fifo_without_a_writer_is_refused(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(str(fifo))
    with pytest.raises(InputError, match="a pipe, and no program wrote into it"):
        read_bytes(fifo, "model")


def test_a_slow_writer_of_a_fifo_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_WRITER_S", 0.01)
    fifo = tmp_path / "fifo"
    os.mkfifo(str(fifo))
    script = f"exec 3> '{fifo}'; echo open; sleep 0.3; printf content >&3"
    # With a reader, the writer can open its end before `read_bytes` opens the FIFO.
    with os.fdopen(os.open(str(fifo), os.O_RDONLY | os.O_NONBLOCK), "rb"), subprocess.Popen(
        ["sh", "-c", script], stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"open\n"
        assert read_bytes(fifo) == b"content"


def test_a_socket_is_refused_as_an_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the names of sockets are short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        with pytest.raises(InputError, match="it is a socket"):
            read_bytes("socket", "model")


def test_a_pipe_is_refused_if_the_file_is_read_twice(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(str(fifo))
    with pytest.raises(OSError, match="read more than once"):
        open_input(fifo, is_pipe_read=False)


def test_parallel_commands_leave_one_whole_file(tmp_path: Path) -> None:
    """Two processes, fifty times the same file, while a third reads it."""
    path, size = tmp_path / "out", 200_000
    program = (
        "import sys; from edgekit.files import write_bytes\n"
        "for _ in range(50): write_bytes(sys.argv[1], sys.argv[2].encode() * int(sys.argv[3]))"
    )
    write_bytes(path, b"a" * size)
    writers = [
        subprocess.Popen([sys.executable, "-c", program, str(path), letter, str(size)])
        for letter in "ab"
    ]
    while any(each.poll() is None for each in writers):
        content = path.read_bytes()
        assert content == content[:1] * size
    assert [each.returncode for each in writers] == [0, 0]
    assert [each.name for each in tmp_path.iterdir()] == ["out"]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_a_file_that_states_no_size_is_read_to_its_end_and_to_the_limit() -> None:
    assert read_bytes("/proc/self/status").startswith(b"Name:")
    with pytest.raises(InputError, match="too large: more than 16 bytes"):
        read_bytes("/proc/self/status", most_bytes=16)
