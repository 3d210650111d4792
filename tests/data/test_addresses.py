# SPDX-License-Identifier: Apache-2.0
"""Data at an address: the same samples as in a folder, read in parts over a real HTTP server."""

from __future__ import annotations

import asyncio
import functools
import http.server
import threading
from pathlib import Path
from typing import Iterator

import numpy as np
import pytest
from PIL import Image

from edgekit.data import InputSpec, open_dataset
from edgekit.data.addresses import RemoteRows, open_address
from edgekit.errors import DataError, InputError
from edgekit.evaluate import evaluate
from tests.evaluate.conftest import classifier, linear

pytest.importorskip("fsspec", reason="fsspec is not installed (the extra cluster)")
web = pytest.importorskip("aiohttp.web", reason="aiohttp is not installed (the extra cluster)")

_IMAGE = [InputSpec("image", (1, 4, 4, 3))]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and the address of a server that sends parts of its files."""
    folder = tmp_path / "served"
    folder.mkdir()
    loop, ready, address = asyncio.new_event_loop(), threading.Event(), []

    async def begin() -> None:
        app = web.Application()
        app.add_routes([web.static("/", folder)])
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        address.append(f"http://127.0.0.1:{runner.addresses[0][1]}")
        ready.set()
        while ready.is_set():
            await asyncio.sleep(0.02)
        await runner.cleanup()

    thread = threading.Thread(target=lambda: loop.run_until_complete(begin()))
    thread.start()
    ready.wait()
    yield folder, address[0]
    ready.clear()
    thread.join()
    loop.close()


class _Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture
def listed(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and the address at which Python's own server lists it."""
    folder = tmp_path / "listed"
    folder.mkdir()
    make = functools.partial(_Silent, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), make) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def _pictures(folder: Path) -> None:
    random = np.random.default_rng(1)
    for name in ("blue", "green", "red"):
        (folder / name).mkdir(parents=True)
        for index in range(4):
            pixels = random.integers(0, 256, (5, 4, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(str(folder / name / f"{index}.png"))


def test_a_folder_of_pictures_is_the_same_over_http(listed: tuple[Path, str]) -> None:
    folder, address = listed
    _pictures(folder)
    here, there = evaluate(classifier(), folder), evaluate(classifier(), address)
    assert (there.metrics, there.confusion) == (here.metrics, here.confusion)
    assert there.data["fingerprint"] == here.data["fingerprint"]
    assert there.class_names == here.class_names == ("blue", "green", "red")


def test_a_picture_that_is_missing_is_listed(listed: tuple[Path, str]) -> None:
    folder, address = listed
    _pictures(folder)
    data = open_dataset(address, inputs=_IMAGE)
    (folder / "green" / "2.png").unlink()
    batch = data.chunk(0, 12)  # type: ignore[attr-defined] # a FolderDataset
    assert len(batch.sources) == 11
    assert batch.unreadable[0].source.endswith("green/2.png")


@pytest.mark.parametrize("form", ["stored", "packed"])
def test_the_arrays_of_an_npz_are_read_in_rows(served: tuple[Path, str], form: str) -> None:
    folder, address = served
    random = np.random.default_rng(2)
    save = np.savez if form == "stored" else np.savez_compressed
    x, y = random.random((500, 4)).astype(np.float32), random.integers(0, 4, 500)
    save(str(folder / "d.npz"), x=x, y=y)
    model = linear(np.eye(4), (1, 4))
    here = evaluate(model, folder / "d.npz")
    there = evaluate(model, f"{address}/d.npz")
    assert (there.metrics, there.left_out) == (here.metrics, here.left_out)
    data = open_dataset(f"{address}/d.npz", inputs=[InputSpec("image", (1, 4))])
    array = data._arrays[0]  # type: ignore[attr-defined] # noqa: SLF001 - how it is kept
    assert isinstance(array, RemoteRows) == (form == "stored")


def test_a_server_that_sends_whole_files_only_is_named(listed: tuple[Path, str]) -> None:
    folder, address = listed
    np.savez(str(folder / "d.npz"), x=np.zeros((50_000, 40), np.float32))
    with pytest.raises(DataError, match="sends whole files only") as caught:
        open_dataset(f"{address}/d.npz", inputs=[InputSpec("image", (1, 40))])
    assert caught.value.where == f"{address}/d.npz"
    assert "range requests" in caught.value.why


def test_rows_are_those_of_the_array(tmp_path: Path) -> None:
    array = np.arange(7 * 6).reshape(7, 3, 2)
    np.save(str(tmp_path / "a.npy"), array)
    np.save(str(tmp_path / "f.npy"), np.asfortranarray(array))
    from edgekit.data.numpy_files import read_npy  # noqa: PLC0415

    for name in ("a.npy", "f.npy"):
        rows = read_npy(open_address(f"file://{tmp_path / name}"))
        for index in (slice(0, 7), slice(2, 5), slice(5, 99), slice(3, 3), [6, 0, 0], 4):
            assert np.array_equal(rows[index], array[index])


def test_an_address_that_cannot_be_read_is_an_error(served: tuple[Path, str]) -> None:
    _, address = served
    for source in (f"{address}/none.npz", f"{address}/none", "memory://nothing/here"):
        with pytest.raises((DataError, InputError)):
            open_dataset(source, inputs=_IMAGE)
    with pytest.raises(DataError, match="cannot read addresses such as nosuch://"):
        open_dataset("nosuch://a/b", inputs=_IMAGE)
