# SPDX-License-Identifier: Apache-2.0
"""Streams over HTTP: cut, stalled, garbage, and what an error says; cameras that are not there."""

from __future__ import annotations

import contextlib
import io
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
from PIL import Image

from edgekit.errors import DataError, MissingExtraError, UsageError
from edgekit.evaluate.live import LiveOptions, is_live, open_live
from edgekit.evaluate.live.diagnose import why_not_an_address
from edgekit.evaluate.live.sources import hide_password
from edgekit.evaluate.session import Asked

Make = Callable[..., bytes]


def _jpeg(colour: tuple[int, int, int]) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (64, 48), colour).save(stream, "JPEG")
    return stream.getvalue()


class _Camera(BaseHTTPRequestHandler):
    """Sends an MJPEG stream; the path says what happens after some frames."""

    frames = (_jpeg((255, 0, 0)), _jpeg((0, 255, 0)))
    clients = 0

    def log_message(self, *_: Any) -> None:  # noqa: ANN401 - the base class's
        pass

    def do_GET(self) -> None:
        if not self.path.startswith("/cam"):
            self.send_error(int(self.path[1:]) if self.path[1:].isdigit() else 404)
            return
        _Camera.clients += 1
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        with contextlib.suppress(OSError):  # the client has gone
            self._stream()

    def _stream(self) -> None:
        # The first two connections fail after some frames, as the path says.
        is_steady = _Camera.clients > 2
        for index in range(10**6):
            content = self.frames[0 if not is_steady else 1]
            if index == 12 and not is_steady:
                if "stall" in self.path:
                    time.sleep(20)
                if "garbage" in self.path:
                    content = bytes(range(256)) * 40
                else:
                    return
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(content)}\r\n\r\n"
            self.wfile.write(head.encode() + content + b"\r\n")
            time.sleep(0.01)


@pytest.fixture
def server() -> Iterator[str]:
    _Camera.clients = 0
    made = ThreadingHTTPServer(("127.0.0.1", 0), _Camera)
    made.daemon_threads = True
    thread = threading.Thread(target=made.serve_forever)
    thread.start()
    yield f"http://admin:geheim@127.0.0.1:{made.server_address[1]}"
    made.shutdown()
    thread.join()
    made.server_close()


@pytest.mark.parametrize("fault", ["cut", "stall", "garbage"])
def test_a_stream_that_fails_is_opened_again(
    make_classifier: Make, server: str, fault: str, tmp_path: Path
) -> None:
    pytest.importorskip("cv2", reason="OpenCV is not installed (edgekit[video])")
    notes: list[str] = []
    options = LiveOptions(stall_s=2, output=tmp_path, draw="video")
    asked = Asked(task="classification")
    source = f"{server}/cam-{fault}"
    with open_live(make_classifier(), [source], asked=asked, live=options) as live:
        live.on_note = notes.append
        for frame in live:
            if frame.reconnects >= 2:
                live.stop()
        counts = live.counts[0]
    assert counts.reconnects == 2
    # One frame may have come and not been taken.
    assert counts.received - counts.answered - counts.dropped - counts.failed in {0, 1}
    assert frame.top[0].index == 1  # green: the frames of the third connection
    assert any("gave no frame" in each if fault == "stall" else "ended" in each for each in notes)
    assert any("it is back" in each for each in notes)
    assert not any("geheim" in each for each in (*notes, frame.to_json_line()))
    assert list(tmp_path.iterdir()) == [Path(frame.picture)]
    assert Path(frame.picture).suffix == ".mp4"


def test_old_frames_are_dropped_or_all_are_run(make_classifier: Make, server: str) -> None:
    pytest.importorskip("cv2", reason="OpenCV is not installed (edgekit[video])")
    _Camera.clients = 2  # from now on, streams are steady
    for every in (False, True):
        options = LiveOptions(every_frame=every, max_frames=4)
        indices = []
        with open_live(make_classifier(), [f"{server}/cam"], live=options) as live:
            for frame in live:
                indices.append(frame.frame_index)
                time.sleep(0.2)
        assert (indices == [0, 1, 2, 3]) is every
        assert (frame.dropped > 0) is not every


def test_a_lost_stream_is_given_up(make_classifier: Make, server: str) -> None:
    pytest.importorskip("cv2", reason="OpenCV is not installed (edgekit[video])")
    options = LiveOptions(give_up_s=0)
    with open_live(make_classifier(), [f"{server}/cam-cut"], live=options) as live, pytest.raises(
        DataError, match="the stream ended"
    ):
        list(live)


def test_the_latest_picture_is_one_file(make_classifier: Make, server: str, tmp_path: Path) -> None:
    pytest.importorskip("cv2", reason="OpenCV is not installed (edgekit[video])")
    options = LiveOptions(max_frames=3, output=tmp_path, draw="latest")
    with open_live(make_classifier(), [f"{server}/cam"], live=options) as live:
        pictures = {frame.picture for frame in live}
    assert [str(each) for each in tmp_path.iterdir()] == list(pictures)
    with Image.open(str(next(tmp_path.iterdir()))) as picture:
        picture.load()


def test_a_first_connection_that_fails_is_an_error(make_classifier: Make, server: str) -> None:
    pytest.importorskip("cv2", reason="OpenCV is not installed (edgekit[video])")
    with open_live(make_classifier(), [f"{server}/403"]) as live, pytest.raises(
        DataError, match="cannot read a stream"
    ) as caught:
        list(live)
    assert caught.value.why == "the server answers 403 Forbidden"
    assert "geheim" not in str(caught.value)


def test_the_reason_why_an_address_fails_is_found(server: str) -> None:
    assert "another user and password" in why_not_an_address(f"{server}/401", 5)
    assert why_not_an_address(f"{server}/404", 5) == "the server answers 404 Not Found"
    assert "not answer as an RTSP server" in why_not_an_address(server.replace("http", "rtsp"), 5)
    with socket.socket() as closed, socket.socket() as silent:
        closed.bind(("127.0.0.1", 0))
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        ports = [each.getsockname()[1] for each in (closed, silent)]
        assert "no program listens" in why_not_an_address(f"rtsp://127.0.0.1:{ports[0]}/", 5)
        assert "not answer within" in why_not_an_address(f"rtsp://127.0.0.1:{ports[1]}/", 0.2)
    assert "no computer called" in why_not_an_address("http://nothing.invalid/", 5)


def test_passwords_are_hidden() -> None:
    for address, shown in (
        ("rtsp://u:p@host:554/a", "rtsp://***@host:554/a"),
        ("http://host/v.cgi?user=me&pwd=x&fps=5", "http://host/v.cgi?user=***&pwd=***&fps=5"),
        (
            "rtsp://host/user=me_password=x_channel=1.sdp",
            "rtsp://host/user=***_password=***_channel=1.sdp",
        ),
        ("rtsp://host/plain", "rtsp://host/plain"),
    ):
        assert hide_password(address) == shown


def test_live_sources_are_told_from_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "7").write_text("")
    live = ["-", "0", "/dev/video0", "rtsp://a/b", "HTTP://a"]
    assert [each for each in [*live, "7", "a.png", "*.jpg", "/dev/null"] if is_live(each)] == live


def test_a_camera_that_is_not_there_is_an_error(make_classifier: Make) -> None:
    pytest.importorskip("cv2", reason="OpenCV is not installed (edgekit[video])")
    with open_live(make_classifier(), ["/dev/video987654"]) as live, pytest.raises(
        DataError, match="no such camera"
    ):
        list(live)


@pytest.mark.parametrize(
    "address", ["rtmp://a/b", "file:///a", "http://", "http://[::1", "rtsp:///x"]
)
def test_other_addresses_are_refused(make_classifier: Make, address: str) -> None:
    with pytest.raises(UsageError, match="address"):
        open_live(make_classifier(), [address])


def test_without_opencv_the_error_names_its_extra(make_classifier: Make) -> None:
    try:
        import cv2  # noqa: F401, PLC0415
    except ModuleNotFoundError:
        with pytest.raises(MissingExtraError, match="cv2") as caught:
            open_live(make_classifier(), ["rtsp://a/b"])
        assert "video" in caught.value.fix
