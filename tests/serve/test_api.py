# SPDX-License-Identifier: Apache-2.0
"""The JSON API: answers, refusals, tokens, many clients at once."""

from __future__ import annotations

import io
import itertools
import json
import socket
import subprocess
import sys
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

from edgekit.serve.hosts import is_loopback
from tests.serve.conftest import COLOURS, Server, form, picture, serving

pytest.importorskip("fastapi", reason="FastAPI is not installed (the extra serve)")

_ANSWER = "/api/models/colours/answer"
_DETECT = "/v1/vision/detection"


def test_an_image_is_answered(server: Server) -> None:
    for index, colour in COLOURS.items():
        found = server.ask(_ANSWER, form(image=picture(colour))).document
        assert (found["model"], found["task"]) == ("colours", "classification")
        assert found["top"][0]["index"] == index
        assert (found["width_px"], found["height_px"]) == (64, 48)
        assert found["picture"] is None
        assert 0 < found["inference_ms"] <= found["total_ms"]


def test_the_drawn_answer_is_a_picture(server: Server) -> None:
    found = server.ask("/api/models/faces/answer?picture=true", form(image=picture())).document
    assert found["picture"].startswith("data:image/jpeg;base64,")
    assert len(found["objects"]) == 1
    few = server.ask("/api/models/faces/answer?min_score=0.99", form(image=picture())).document
    assert few["objects"] == []


def test_models_health_and_metrics_are_stated(server: Server) -> None:
    facts = {each["name"]: each for each in server.ask("/api/models").document}
    assert facts["colours"]["input"] == [1, 4, 4, 3]
    assert facts["faces"]["task"] == "detection"
    assert server.ask("/health").document["status"] == "ok"
    before = _count(server, "colours")
    server.ask(_ANSWER, form(image=picture()))
    assert _count(server, "colours") == before + 1
    paths = server.ask("/openapi.json").document["paths"]
    assert {"/api/models", "/api/models/{name}/answer", _DETECT, "/health"} <= set(paths)


def _count(server: Server, model: str) -> float:
    text = server.ask("/metrics").content.decode()
    start = f'edgekit_requests_total{{model="{model}",status="200"}} '
    rows = [row for row in text.splitlines() if row.startswith(start)]
    return float(rows[0].split()[-1]) if rows else 0.0


def test_objects_are_stated_as_deepstack_does(server: Server) -> None:
    found = server.ask(_DETECT, form(image=picture(), min_confidence=b"0.5")).document
    assert found["success"] is True
    (face,) = found["predictions"]
    assert set(face) == {"label", "confidence", "x_min", "y_min", "x_max", "y_max"}
    assert 0 <= face["x_min"] < face["x_max"] <= 64
    assert 0 <= face["y_min"] < face["y_max"] <= 48
    assert server.ask("/v1/vision/custom/list", form()).document["models"] == ["faces"]
    custom = server.ask("/v1/vision/custom/faces", form(image=picture())).document
    assert custom["predictions"] == found["predictions"]
    assert server.ask("/v1/vision/custom/colours", form(image=picture())).status == 404


def _bomb() -> bytes:
    """A PNG of 20,000 x 10,000 pixels in 25 kB."""
    stream = io.BytesIO()
    Image.new("1", (20_000, 10_000)).save(stream, "PNG")
    return stream.getvalue()


def _stated_bomb() -> bytes:
    """A PNG whose head states 60,000 x 60,000 pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = zlib.crc32(kind + content).to_bytes(4, "big")
        return len(content).to_bytes(4, "big") + kind + content + check

    size = (60_000).to_bytes(4, "big")
    head = chunk(b"IHDR", size + size + bytes([8, 2, 0, 0, 0]))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("make", "status"),
    [
        (lambda: b"", 415),
        (lambda: b"no image" * 100, 415),
        (lambda: b"%PDF-1.7 " + bytes(1000), 415),
        (lambda: picture()[:60], 422),
        (_bomb, 413),
        (_stated_bomb, 413),
        (lambda: picture() + bytes(33 << 20), 413),
    ],
    ids=["empty", "text", "pdf", "truncated", "200-megapixels", "stated", "33-MiB"],
)
@pytest.mark.parametrize("path", [_ANSWER, _DETECT])
def test_bad_uploads_are_refused_with_a_reason(
    server: Server,
    path: str,
    make: Callable[[], bytes],
    status: int,
) -> None:
    reply = server.ask(path, form(image=make()))
    assert reply.status == status
    assert reply.document["detail"]
    assert server.ask(_ANSWER, form(image=picture())).status == 200


def test_wrong_requests_are_refused(server: Server) -> None:
    assert server.ask(_ANSWER, form(picture=picture())).status == 422
    assert server.ask(_ANSWER + "?min_score=2", form(image=picture())).status == 422
    assert server.ask(_ANSWER, b"{}", {"Content-Type": "application/json"}).status == 422
    assert server.ask(_ANSWER).status == 405
    missing = server.ask("/api/models/none/answer", form(image=picture()))
    assert missing.status == 404
    assert "colours, faces" in missing.document["detail"]
    assert server.ask("/health", headers={"Host": "elsewhere.example"}).status == 400
    assert server.ask("/page/../app.py").status == 404


def test_many_clients_get_each_their_own_answer(server: Server) -> None:
    images = {index: form(image=picture(colour)) for index, colour in COLOURS.items()}
    wanted = list(itertools.islice(itertools.cycle(images), 300))
    with ThreadPoolExecutor(50) as pool:
        replies = list(pool.map(lambda index: server.ask(_ANSWER, images[index]), wanted))
    assert {each.status for each in replies} == {200}
    assert [each.document["top"][0]["index"] for each in replies] == wanted


def test_others_than_loopback_need_the_token(models: list[Path]) -> None:
    with serving(models, "--host", "0.0.0.0") as server:
        assert len(server.token) > 20
        body = form(image=picture())
        assert server.ask("/api/models").status == 401
        assert server.ask(_ANSWER, body).status == 401
        assert server.ask(_ANSWER, body, {"Authorization": "Bearer wrong"}).status == 401
        right = {"Authorization": f"Bearer {server.token}"}
        assert server.ask(_ANSWER, body, right).status == 200
        assert server.ask("/metrics", headers=right).status == 200
        assert server.ask(_DETECT, body).status == 401
        key = form(image=picture(), api_key=server.token.encode())
        assert server.ask(_DETECT, key).status == 200
        assert server.ask("/health").status == 200


def test_ctrl_c_ends_it_and_a_used_port_is_named(models: list[Path]) -> None:
    with serving(models) as server:
        words = ["serve", str(models[0]), "--port", str(server.port)]
        again = subprocess.run(
            [sys.executable, "-m", "edgekit", *words], capture_output=True, text=True, check=False
        )
        assert again.returncode == 2
        assert f"cannot listen on 127.0.0.1 port {server.port}" in again.stderr
        assert server.stop() == 130
    with socket.socket() as free:
        free.bind(("127.0.0.1", server.port))


def test_models_of_the_same_name_and_missing_ones_are_refused(
    models: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "colours.tflite").write_bytes(models[0].read_bytes())
    twice = [str(models[0]), str(tmp_path / "colours.tflite")]
    for words in (twice, [str(tmp_path / "no.tflite")]):
        found = subprocess.run(
            [sys.executable, "-m", "edgekit", "serve", *words, "--port", "0"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert found.returncode in (2, 3)
        assert found.stderr.startswith("error: ")


def test_loopback_is_recognized() -> None:
    assert all(map(is_loopback, ("localhost", "127.0.0.1", "127.1.2.3", "::1", "[::1]")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.1.2", "my-computer")))


def test_the_documents_are_json_without_nan(server: Server) -> None:
    def refuse(text: str) -> None:
        raise AssertionError(text)

    for path in ("/api/models", "/health", "/openapi.json"):
        json.loads(server.ask(path).content, parse_constant=refuse)
