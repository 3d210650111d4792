# SPDX-License-Identifier: Apache-2.0
"""One Runner used by several threads at once."""

from __future__ import annotations

import os
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

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
    """Later calls are refused; no thread uses an interpreter that is closed."""
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


def test_pickling_a_runner_is_refused_with_a_fix(float_path: Path) -> None:
    with Runner(float_path) as runner, pytest.raises(TypeError, match="open one in each process"):
        pickle.dumps(runner)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_fork_computes_the_same(float_path: Path) -> None:
    image = np.random.default_rng(1).random((1, 8, 8, 1)).astype(np.float32)
    with Runner(float_path) as runner:
        expected = runner.predict(image)[0]
        child = os.fork()
        if not child:
            status = 1
            try:
                status = 0 if np.array_equal(runner.predict(image)[0], expected) else 2
            finally:
                os._exit(status)
        _, ended = os.waitpid(child, 0)
    assert ended == 0
