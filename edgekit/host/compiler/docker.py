# SPDX-License-Identifier: Apache-2.0
"""Run edgetpu_compiler in a container: files are copied in and out, nothing is mounted."""

from __future__ import annotations

import contextlib
import re
import shlex
import uuid
from dataclasses import dataclass, field

from edgekit.errors import ExternalToolError
from edgekit.host.compiler.errors import CompilerError
from edgekit.host.compiler.place import VERSION_TIMEOUT_S, Job, compiler_command, model_word
from edgekit.process import Finished, run_process

_FOLDER = "/edgekit"
_COPY_TIMEOUT_S = 600.0
# A compiler does not need a network, and edgekit does not fetch an image by itself.
_CLOSED = ("--pull", "never", "--network", "none")
# The engine's own failures have these statuses; others are the program's.
_ENGINE_FAILED = (125, 126, 127)
_ENGINE_SAYS = "Error response from daemon"
_NO_PROGRAM = re.compile(r"executable file not found|no such file or directory")


@dataclass(frozen=True)
class DockerPlace:
    """An image with the compiler; also works with a remote engine and without root."""

    image: str
    compiler: str
    engine: str = "docker"
    container: str = field(default_factory=lambda: f"edgekit-{uuid.uuid4().hex[:12]}")

    @property
    def name(self) -> str:
        """The place as --via names it."""
        return f"docker:{self.image}"

    def version_output(self) -> str:
        """The version text that the compiler in the image prints."""
        return self._engine(
            ["run", "--rm", *_CLOSED, "--entrypoint", self.compiler, self.image, "--version"],
            VERSION_TIMEOUT_S,
        ).stdout

    def commands(self, job: Job) -> list[list[str]]:
        """The commands that create the container, copy in, run, copy out and remove it."""
        compiler, *words = compiler_command(
            self.compiler, job.arguments, [model_word(model) for model in job.models]
        )
        # --init passes signals on to the compiler.
        create = ["create", "--name", self.container, *_CLOSED, "--init"]
        create += ["--user", "root", "--workdir", _FOLDER, "--entrypoint", compiler]
        copies = [["cp", str(model), f"{self.container}:{_FOLDER}/"] for model in job.models]
        commands = [
            [*create, self.image, *words],
            *copies,
            ["start", "--attach", self.container],
            ["cp", f"{self.container}:{_FOLDER}/.", str(job.folder)],
            ["rm", "--force", self.container],
        ]
        return [[self.engine, *command] for command in commands]

    def run(self, job: Job) -> Finished:
        """Compile; the container is removed in every case, also after an error."""
        create, *copies_in, start, copy_out, remove = self.commands(job)
        try:
            for command in (create, *copies_in):
                self._engine(command[1:], _COPY_TIMEOUT_S)
            finished = run_process(start, timeout_s=job.deadline_s, on_stdout=job.on_line)
            by_engine = finished.returncode in _ENGINE_FAILED or _ENGINE_SAYS in finished.stderr
            if by_engine and not finished.timed_out:
                raise self._failed(finished)
            if not finished.timed_out:
                self._engine(copy_out[1:], _COPY_TIMEOUT_S)
        finally:
            with contextlib.suppress(ExternalToolError):  # no engine: nothing to remove
                run_process(remove, timeout_s=VERSION_TIMEOUT_S)
        for model in job.models:  # they were copied back with the folder
            (job.folder / model.name).unlink(missing_ok=True)
        return finished

    def _engine(self, words: list[str], timeout_s: float) -> Finished:
        try:
            finished = run_process([self.engine, *words], timeout_s=timeout_s)
        except ExternalToolError as error:
            raise CompilerError(
                f"{self.engine} is not on PATH",
                where=self.name,
                why=error.what,
                fix="install a container engine, or compile elsewhere: --via ssh://user@host",
                code="compiler.remote",
            ) from error
        if finished.returncode or finished.timed_out:
            raise self._failed(finished)
        return finished

    def _failed(self, finished: Finished) -> CompilerError:
        printed = finished.stderr.strip().splitlines() or finished.stdout.strip().splitlines()
        why = " | ".join(line.strip() for line in printed[-3:])
        if _NO_PROGRAM.search(finished.stderr):
            return CompilerError(
                f"the image {self.image} does not contain {self.compiler}",
                where=self.name,
                why=why,
                fix="name an image that contains the compiler, or its path in the image: "
                "--compiler PATH",
                code="compiler.missing",
            )
        return CompilerError(
            f"{shlex.join(finished.args[:2])} failed (exit status {finished.returncode})",
            where=self.name,
            why=why or ("it took too long" if finished.timed_out else "it printed no reason"),
            fix=f"check that {self.engine} run --rm {self.image} works; edgekit does not fetch "
            f"images: {self.engine} pull does",
            code="compiler.remote",
        )
