# SPDX-License-Identifier: Apache-2.0
"""``edgekit deploy`` against a real sshd on this machine's loopback."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from edgekit import __version__
from edgekit.bundle import bundle as write_bundle
from edgekit.errors import BundleError, DataError, InputError, UsageError
from edgekit.evaluate import benchmark, evaluate
from edgekit.files import sha256_hex
from edgekit.fleet import BoardResult, DeployResult, deploy
from edgekit.formats.tflite import Model
from tests.command import edgekit
from tests.fleet.conftest import Board, Cable, make_bundle, make_wheel
from tests.sshd import another_sshd, needs_sshd, wait

pytest.importorskip("asyncssh", reason="asyncssh is not installed (the extra ssh)")


def _deploy(net: Path, board: Board, name: str = "", **options: Any) -> DeployResult:  # noqa: ANN401
    options = {"device": "cpu", "benchmark": False, **options}
    where = {"folder": str(board.folder), "python": str(board.python)}
    return deploy(net, name or board.name, **{**where, **options})


def _only(result: DeployResult) -> BoardResult:
    (found,) = result.boards
    return found


def _good(result: DeployResult) -> BoardResult:
    found = _only(result)
    assert found.error is None
    assert found.state == "deployed"
    return found


@needs_sshd
def test_a_bundle_is_copied_and_its_results_are_fetched(
    net: Path, board: Board, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "results"
    result = _deploy(net, board, data=data, benchmark=True, num_runs=3, output=out)
    found = _good(result)
    assert Path(found.path).read_bytes() == net.read_bytes()
    assert result.bundle_sha256 == sha256_hex(net.read_bytes())
    assert found.copied is not None
    assert found.copied.sent_bytes == found.copied.bytes == net.stat().st_size + data.stat().st_size
    assert found.doctor is not None
    assert found.doctor["schema"] == "edgekit.doctor/1"
    assert found.evaluate is not None
    assert found.evaluate["num_samples"] == 40
    assert found.benchmark is not None
    assert found.benchmark["runs"] == 3
    kinds = {path.name.split(".")[-2] for path in out.iterdir()}
    assert kinds == {"benchmark", "doctor", "evaluate"}
    document = json.loads(next(out.glob("*.evaluate.json")).read_text())
    assert document == found.evaluate


@needs_sshd
def test_files_that_are_already_there_are_not_copied_again(
    net: Path, board: Board, data: Path
) -> None:
    _good(_deploy(net, board, data=data))
    copied = _good(_deploy(net, board, data=data)).copied
    assert copied is not None
    assert (copied.files, copied.files_same, copied.sent_bytes) == (2, 2, 0)


@needs_sshd
def test_of_a_changed_bundle_only_the_changed_pieces_are_copied(
    net: Path, board: Board, tmp_path: Path, int8_model: Model
) -> None:
    _good(_deploy(net, board))
    result = tmp_path / "benchmark.json"
    result.write_text(benchmark(tmp_path / "net.tflite", num_runs=1).to_json())
    make_bundle(tmp_path, int8_model, result)
    found = _good(_deploy(net, board))
    assert Path(found.path).read_bytes() == net.read_bytes()
    assert found.copied is not None
    assert found.copied.sent_bytes < 20_000
    assert found.copied.reused_bytes + found.copied.sent_bytes == net.stat().st_size


@needs_sshd
def test_an_interrupted_copy_keeps_the_old_file_and_the_next_run_continues(
    net: Path, board: Board, cable: Cable
) -> None:
    name = board.name.replace(str(board.server.port), str(cable.port))
    cut = _only(_deploy(net, board, name, reconnects=0))
    assert cut.error is not None
    assert cut.error["code"] == "ssh.unreachable"
    assert cut.exit_status == 5
    assert not (board.folder / "net.edgekit").exists()
    assert (board.folder / ".net.edgekit.part").exists()
    found = _good(_deploy(net, board, name))
    assert (board.folder / "net.edgekit").read_bytes() == net.read_bytes()
    assert not (board.folder / ".net.edgekit.part").exists()
    assert found.copied is not None
    assert found.copied.resumed_bytes > 300_000
    assert found.copied.sent_bytes + found.copied.resumed_bytes == net.stat().st_size


@needs_sshd
def test_an_interrupted_copy_is_continued_by_the_same_run(
    net: Path, board: Board, cable: Cable
) -> None:
    cable.breaks = 2
    name = board.name.replace(str(board.server.port), str(cable.port))
    found = _good(_deploy(net, board, name))
    assert found.reconnects == 2
    assert (board.folder / "net.edgekit").read_bytes() == net.read_bytes()
    assert found.copied is not None
    assert found.copied.sent_bytes < 2 * net.stat().st_size


@needs_sshd
def test_a_damaged_part_is_copied_again(net: Path, board: Board, cable: Cable) -> None:
    name = board.name.replace(str(board.server.port), str(cable.port))
    _deploy(net, board, name, reconnects=0)
    part = board.folder / ".net.edgekit.part"
    part.write_bytes(bytes(255 - byte for byte in part.read_bytes()))
    found = _good(_deploy(net, board))
    assert Path(found.path).read_bytes() == net.read_bytes()
    assert found.copied is not None
    assert found.copied.resumed_bytes == 0


@needs_sshd
def test_a_folder_of_data_there_becomes_equal_to_the_one_here(
    net: Path, board: Board, tmp_path: Path
) -> None:
    image = pytest.importorskip("PIL.Image")
    for name in ("a/1.png", "a/2.png", "b/1.png", "b/.hidden"):
        path = tmp_path / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image.new("L", (8, 8), len(name)).save(str(path), "PNG")
    first = _good(_deploy(net, board, data=tmp_path / "pictures"))
    (tmp_path / "pictures" / "a" / "2.png").unlink()
    second = _good(_deploy(net, board, data=tmp_path / "pictures"))
    assert first.evaluate is not None
    assert second.evaluate is not None
    assert (first.evaluate["num_samples"], second.evaluate["num_samples"]) == (3, 2)


@needs_sshd
def test_a_folder_that_deploy_did_not_create_is_not_changed(
    net: Path, board: Board, tmp_path: Path
) -> None:
    mine = board.folder / "data" / "pictures" / "mine.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    (pictures / "1.png").write_bytes(b"1")
    found = _only(_deploy(net, board, data=pictures))
    assert found.error is not None
    assert found.error["code"] == "deploy.copy"
    assert "edgekit deploy did not create it" in found.error["what"]
    assert mine.read_text() == "mine"


@needs_sshd
def test_the_error_of_a_board_that_cannot_store_a_file_has_the_reason(
    net: Path, board: Board, tmp_path: Path
) -> None:
    limit = 'ulimit -f 1000; exec sh -c "$SSH_ORIGINAL_COMMAND"'
    with another_sshd(tmp_path, f"ForceCommand {limit}") as narrow:
        found = _only(_deploy(net, board, narrow.name))
    assert found.error is not None
    assert found.error["code"] == "deploy.copy"
    assert "File too large" in found.error["what"]
    assert found.reconnects == 0
    assert not (board.folder / "net.edgekit").exists()


@needs_sshd
@pytest.mark.slow
def test_edgekit_is_installed_only_from_wheels_and_only_once(
    net: Path, board: Board, wheel_dir: Path, tmp_path: Path
) -> None:
    bare = shutil.which("python3", path="/usr/bin:/usr/local/bin") or sys.executable
    has_venv = subprocess.run([bare, "-c", "import ensurepip"], check=False, capture_output=True)
    same = f"import sys; sys.exit(sys.version_info[:2] != {sys.version_info[:2]})"
    if has_venv.returncode or subprocess.run([bare, "-c", same], check=False).returncode:
        pytest.skip(f"{bare} has no venv, or is another Python than this one")
    (tmp_path / "foreign").mkdir()
    (wheel_dir / "other-1.0-cp27-cp27m-linux_mips.whl").write_bytes(b"no zip at all")
    steps: list[str] = []
    options: dict[str, Any] = {"on_step": lambda _board, text: steps.append(text)}
    found = _good(_deploy(net, board, python=bare, install=wheel_dir, **options))
    assert found.installed
    assert any(step.endswith("is there, " + __version__ + " here") for step in steps)
    assert found.python == str(board.folder / "venv/bin/python")
    assert not list((board.folder / "wheels").glob("other*"))
    again = _good(_deploy(net, board, python=bare, install=wheel_dir))
    assert not again.installed
    assert again.copied is not None
    assert again.copied.sent_bytes == 0
    make_wheel(wheel_dir, "edgekit-coral-device")
    assert _good(_deploy(net, board, python=bare, install=wheel_dir)).installed
    packages = board.folder.glob("venv/lib/python*/site-packages/edgekit*.dist-info")
    assert [each.name for each in packages] == ["edgekit_coral_device-9.9.9.dist-info"]


@needs_sshd
def test_a_board_without_edgekit_is_an_error_with_the_way_to_install_it(
    net: Path, board: Board
) -> None:
    board.python.write_text(f'#!/bin/sh\ncd /; exec {sys.executable} -S -I "$@"\n')
    found = _only(_deploy(net, board))
    assert found.error is not None
    assert found.error["code"] == "deploy.missing"
    assert "--install" in found.error["fix"]
    assert found.exit_status == 5


@needs_sshd
def test_an_invalid_reply_of_another_edgekit_there_is_an_error(net: Path, board: Board) -> None:
    first, last = board.python.read_text().splitlines()
    says = 'case "$*" in *doctor*) echo \'{"schema": "edgekit.doctor/2"}\'; exit 0;; esac'
    board.python.write_text("\n".join((first, says, last)) + "\n")
    found = _only(_deploy(net, board))
    assert found.error is not None
    assert found.error["code"] == "deploy.remote"
    assert found.exit_status == 5


@needs_sshd
def test_a_board_without_that_python_is_an_error(net: Path, board: Board) -> None:
    found = _only(_deploy(net, board, python="/no/python"))
    assert found.error is not None
    assert found.error["code"] == "deploy.python"
    assert "--python" in found.error["fix"]


@needs_sshd
def test_a_missing_edge_tpu_is_status_6_before_anything_is_copied(net: Path, board: Board) -> None:
    found = _only(_deploy(net, board, device="usb"))
    assert found.doctor is not None
    if found.doctor["edge_tpu_usable"]:
        pytest.skip("this machine has an Edge TPU")
    assert found.exit_status == 6
    assert found.error is not None
    assert found.error["code"] == "device"
    assert not (board.folder / "net.edgekit").exists()
    assert _good(_deploy(net, board, device="auto")).device == "cpu"


@needs_sshd
@pytest.mark.corpus
def test_a_usable_edge_tpu_is_used_for_a_compiled_model(
    board: Board, corpus: Path, tmp_path: Path
) -> None:
    """A fake doctor reports an Edge TPU; the commands after it are real and do not find one."""
    stem = corpus / "compiled/google-coral__test_data/mobilenet_v1_0.75_192_quant"
    compiled = tmp_path / "compiled.edgekit"
    write_bundle(f"{stem}.tflite", output=compiled, compiled=f"{stem}_edgetpu.tflite")
    answer = {"schema": "edgekit.doctor/1", "edge_tpu_usable": True, "checks": []}
    first, last = board.python.read_text().splitlines()
    says = f"case \"$*\" in *doctor*) echo '{json.dumps(answer)}'; exit 0;; esac"
    board.python.write_text("\n".join((first, says, last)) + "\n")
    found = _only(_deploy(compiled, board, device="auto", benchmark=True))
    assert found.device == ":0"
    assert found.exit_status == 6
    assert found.error is not None
    assert found.error["where"].startswith(board.name)
    assert Path(found.path).read_bytes() == compiled.read_bytes()


@needs_sshd
def test_an_error_of_edgekit_there_is_reported_here(
    net: Path, board: Board, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.npz"
    bad.write_bytes(b"PK\x03\x04 no archive")
    found = _only(_deploy(net, board, data=bad))
    assert found.exit_status == 3
    assert found.error is not None
    assert found.error["where"].startswith(board.name)
    assert found.path


@needs_sshd
def test_an_unknown_host_key_is_refused_with_any_settings(net: Path, board: Board) -> None:
    board.server.known_hosts.write_text("")
    config = board.server.home / ".ssh" / "config"
    for settings in ("", "Host *\n  StrictHostKeyChecking no\n  UserKnownHostsFile none\n"):
        config.write_text(settings)
        found = _only(_deploy(net, board))
        assert found.error is not None
        assert found.error["code"] == "ssh.host_key"
        assert found.exit_status == 5
    assert not board.folder.exists()


@needs_sshd
def test_a_name_of_the_ssh_settings_is_accepted(net: Path, board: Board) -> None:
    user, _, address = board.name.partition("@")
    host, _, port = address.partition(":")
    known = board.server.known_hosts.read_text()
    (board.server.home / ".ssh" / "config").write_text(
        f"Host Coral\n  HostName {host}\n  Port {port}\n  User {user}\n"
    )
    assert known
    assert _good(_deploy(net, board, "Coral")).board == "Coral"


@needs_sshd
def test_several_boards_are_one_table_and_a_failed_one_does_not_stop_the_others(
    net: Path, board: Board, tmp_path: Path
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        nobody = f"127.0.0.1:{probe.getsockname()[1]}"
    words = [*board.words()[2:], "--no-benchmark", "--folder", "here"]
    with ExitStack() as stack:
        names = []
        for place in ("one", "two"):
            (tmp_path / place).mkdir()
            # The first line is output that a board's .bashrc may print.
            force = f'cd {tmp_path / place}; echo Welcome; sh -c "$SSH_ORIGINAL_COMMAND"'
            started = stack.enter_context(another_sshd(tmp_path, f"ForceCommand {force}"))
            names.append(started.name)
        done = _edgekit("deploy", str(net), *names, nobody, *words)
        written = _edgekit("deploy", str(net), *names, nobody, *words, "--json")
    assert done.returncode == written.returncode == 5
    assert "Traceback" not in done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    states = [row[1] for row in rows if row and row[0] in {*names, nobody}]
    assert states[:3] == ["deployed", "deployed", "failed"]
    for place in ("one", "two"):
        assert (tmp_path / place / "here" / "net.edgekit").read_bytes() == net.read_bytes()
    document = json.loads(written.stdout)
    assert document["schema"] == "edgekit.deploy/2"
    assert [each["state"] for each in document["boards"]] == ["deployed", "deployed", "failed"]
    assert [each["board"] for each in document["boards"]] == [*names, nobody]
    assert document["boards"][2]["error"]["code"] == "ssh.unreachable"


@needs_sshd
def test_ctrl_c_ends_the_processes_there(net: Path, board: Board, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    source = board.python.read_text().splitlines()
    hang = f'case "$*" in *benchmark*) echo $$ > {note}; exec sleep 600;; esac'
    board.python.write_text("\n".join((source[0], hang, source[1])) + "\n")
    child = subprocess.Popen(
        [sys.executable, "-m", "edgekit", "deploy", str(net), board.name, *board.words()],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    assert wait(
        lambda: (note.exists() and note.read_text().strip()) or child.poll() is not None, 60
    )
    child.send_signal(signal.SIGINT)
    _, stderr = child.communicate(timeout=60)
    assert child.returncode == 130, stderr
    assert "Traceback" not in stderr
    assert wait(lambda: not Path(f"/proc/{note.read_text().strip()}").exists())


@pytest.mark.parametrize(
    "boards", [[], ["u:secret@h"], ["-oProxyCommand=x"], ["h/path"], ["a", "a"], [""]]
)
def test_invalid_boards_are_a_usage_error(net: Path, boards: list[str]) -> None:
    with pytest.raises(UsageError) as raised:
        deploy(net, boards)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("device", ["", "gpu", "usb:x", "cpu --cpu", ":"])
def test_an_invalid_device_is_a_usage_error(net: Path, device: str) -> None:
    with pytest.raises(UsageError, match="there is no device"):
        deploy(net, "board", device=device)


@pytest.mark.parametrize("folder", ["", "/", "~", "a/../..", "."])
def test_a_folder_that_is_not_its_own_is_a_usage_error(net: Path, folder: str) -> None:
    with pytest.raises(UsageError):
        deploy(net, "board", folder=folder)


def test_invalid_arguments_are_found_before_a_connection(net: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty"):
        deploy(net, "board", data=tmp_path / "empty")
    with pytest.raises(DataError, match="does not exist"):
        deploy(net, "board", data=tmp_path / "none")
    with pytest.raises(InputError, match="has no wheel of edgekit"):
        deploy(net, "board", install=tmp_path / "empty")
    with pytest.raises(InputError, match="not a bundle"):
        deploy(tmp_path / "net.tflite", "board")
    net.write_bytes(net.read_bytes()[:-9])
    with pytest.raises(BundleError):
        deploy(net, "board")


def _edgekit(*words: str) -> subprocess.CompletedProcess[str]:
    return edgekit(*words, env={"COLUMNS": "200"})


@needs_sshd
@pytest.mark.corpus
def test_a_coco_json_gives_the_same_evaluation_there_as_here(
    board: Board, corpus: Path, tmp_path: Path
) -> None:
    model = corpus / "coral" / "coco_ssd_mobilenet_v1_1.0_quant_2018_06_29.tflite"
    annotations = corpus / "coco" / "instances_val2017_64.json"
    write_bundle(model, output=tmp_path / "ssd.edgekit")
    options: dict[str, Any] = {"data": annotations, "num_samples": 6}
    found = _good(_deploy(tmp_path / "ssd.edgekit", board, **options))
    here = evaluate(tmp_path / "ssd.edgekit", annotations, num_samples=6)
    assert found.evaluate is not None
    assert found.evaluate["metrics"] == here.metrics
    assert found.evaluate["num_samples"] == 6


@needs_sshd
def test_boards_share_the_data_and_the_parts_are_added_up(
    net: Path, board: Board, data: Path, tmp_path: Path
) -> None:
    """The part of a board that fails is done by another."""
    alone = evaluate(net, data)
    with ExitStack() as stack:
        names = []
        for place in ("one", "two"):
            (tmp_path / place).mkdir()
            force = f'cd {tmp_path / place}; echo Welcome; sh -c "$SSH_ORIGINAL_COMMAND"'
            started = stack.enter_context(another_sshd(tmp_path, f"ForceCommand {force}"))
            names.append(started.name)
        nobody = f"nobody-at-all@{names[0].partition('@')[2]}"
        for boards in (names, [nobody, *names]):
            options = {"device": "cpu", "benchmark": False, "reconnects": 0}
            result = deploy(
                net,
                boards,
                data=data,
                share=True,
                folder="here",
                python=str(board.python),
                **options,  # type: ignore[arg-type] # of several types
            )
            whole = result.evaluate
            assert whole is not None
            assert (whole.metrics, whole.left_out, whole.confusion) == (
                alone.metrics,
                alone.left_out,
                alone.confusion,
            )
            assert whole.data["fingerprint"] == alone.data["fingerprint"]
            assert sum(each.num_samples for each in whole.workers) == 40
            assert {each.worker for each in whole.workers} == set(names)
            assert [each.error is None for each in result.boards] == [
                each in names for each in boards
            ]


def test_boards_cannot_share_what_is_not_given(net: Path) -> None:
    with pytest.raises(UsageError, match="--share without --data"):
        deploy(net, "board", share=True)
