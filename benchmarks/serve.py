# SPDX-License-Identifier: Apache-2.0
"""Measure `edgekit serve` with many clients at once: lost and mixed answers, times, memory.

Usage: python benchmarks/serve.py [--clients 50] [--seconds 60]

Clients send pictures of three colours to a model that recognizes colours; an answer with another
colour than its picture's is mixed up. The same requests one after the other are the comparison.
Needs Linux (the memory is read from /proc).
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from edgekit.data.describe import with_notes
from edgekit.formats.tflite_metadata import Notes
from tests.evaluate.conftest import classifier
from tests.serve.conftest import COLOURS, Server, form, picture, serving

_PATH = "/api/models/colours/answer"
_WARM_S = 5


def main() -> None:
    """Run the clients, and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60)
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "colours.tflite")
        path.write_bytes(with_notes(classifier(), Notes(labels=("red", "green", "blue"))))
        with serving([path]) as server:
            alone = _ask_for(server, _WARM_S, 1)
            print(f"1 client:   {alone[0] / _WARM_S:.0f} answers/s")
            before = _memory_mib(server)
            counted = _ask_for(server, words.seconds, words.clients)
            rate = counted[0] / words.seconds
            print(f"{words.clients} clients: {rate:.0f} answers/s for {words.seconds:g} s")
            print(f"ratio:      {rate / (alone[0] / _WARM_S):.2f}")
            print(f"answers {counted[0]}, lost {counted[1]}, mixed up {counted[2]}")
            print(f"memory     {before:.0f} MiB before, {_memory_mib(server):.0f} MiB after")


def _ask_for(server: Server, seconds: float, clients: int) -> list[int]:
    """Return how many requests were answered, lost and mixed up."""
    images = {index: form(image=picture(colour)) for index, colour in COLOURS.items()}
    counts, lock, end = [0, 0, 0], threading.Lock(), time.monotonic() + seconds

    def client(number: int) -> None:
        while time.monotonic() < end:
            index = number % len(images)
            number += 1
            place = _outcome(server, images[index], index)
            with lock:
                counts[place] += 1

    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(client, range(clients)))
    return counts


def _outcome(server: Server, body: bytes, index: int) -> int:
    try:
        reply = server.ask(_PATH, body)
    except OSError:
        return 1
    if reply.status != 200:
        return 1
    return 0 if reply.document["top"][0]["index"] == index else 2


def _memory_mib(server: Server) -> float:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    (row,) = [line for line in status.splitlines() if line.startswith("VmRSS")]
    return int(row.split()[1]) / 1024


if __name__ == "__main__":
    main()
