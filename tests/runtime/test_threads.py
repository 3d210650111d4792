# SPDX-License-Identifier: Apache-2.0
"""One Runner used by several threads at once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from edgekit.errors import UsageError
from edgekit.runtime import Runner


def test_threads_that_share_a_runner_each_get_their_own_answer(float_path: Path) -> None:
    images = np.random.default_rng(1).random((8, 1, 8, 8, 1)).astype(np.float32)
    with Runner(float_path) as runner:
        expected = [runner.predict(image)[0] for image in images]
        together = threading.Barrier(len(images))

        def answers(number: int) -> list[np.ndarray]:
            together.wait()
            return [runner.predict(images[number])[0] for _ in range(200)]

        with ThreadPoolExecutor(len(images)) as pool:
            for number, given in enumerate(pool.map(answers, range(len(images)))):
                for each in given:
                    np.testing.assert_array_equal(each, expected[number])


def test_closing_waits_for_the_inference_that_runs(float_path: Path) -> None:
    """Whoever comes later is refused; nobody meets an interpreter that is gone."""
    image = np.zeros((1, 8, 8, 1), np.float32)
    runner = Runner(float_path)
    ends: list[str] = []

    def use() -> None:
        try:
            while True:
                runner.predict(image)
        except UsageError as error:
            ends.append(error.what)

    threads = [threading.Thread(target=use) for _ in range(4)]
    for each in threads:
        each.start()
    runner.close()
    for each in threads:
        each.join()
    assert ends == ["the Runner is closed"] * 4


def test_a_clone_runs_beside_the_runner(float_path: Path) -> None:
    image = np.ones((1, 8, 8, 1), np.float32)
    with Runner(float_path) as runner, runner.clone() as other, ThreadPoolExecutor(2) as pool:
        both = [pool.submit(each.predict, image) for each in (runner, other)]
        np.testing.assert_array_equal(both[0].result()[0], both[1].result()[0])
