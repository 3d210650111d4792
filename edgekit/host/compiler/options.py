# SPDX-License-Identifier: Apache-2.0
"""The options of edgetpu_compiler under their own names, and which can be combined."""

from __future__ import annotations

from dataclasses import dataclass

from edgekit.errors import UsageError

# Options that are new in compiler 16.0; older compilers stop at an unknown option.
_SINCE_16 = ("search_delegate", "delegate_search_step", "timeout_sec")
_OLDEST_RUNTIME, _NEWEST_RUNTIME = 10, 14


@dataclass(frozen=True)
class CompilerOptions:
    """The options of edgetpu_compiler; None and False leave its default."""

    min_runtime_version: int | None = None  # 10 to 14
    intermediate_tensors: str | None = None  # names with commas; ':' between the models' lists
    num_segments: int | None = None  # parts, one for each Edge TPU of a pipeline
    search_delegate: bool = False
    delegate_search_step: int | None = None
    timeout_sec: int | None = None  # of one attempt; compiler 16.0's default is 180
    enable_multiple_subgraphs: bool = False

    def arguments(self) -> tuple[str, ...]:
        """Return the options as words of a command line, always with --show_operations."""
        words = ["--show_operations"]
        for name, value in vars(self).items():
            if value is True:
                words.append(f"--{name}")
            elif value is not None and value is not False:
                words += [f"--{name}", str(value)]
        return tuple(words)

    @property
    def of_compiler_16(self) -> tuple[str, ...]:
        """Return the options in use that compilers before 16.0 do not have."""
        return tuple(name for name in _SINCE_16 if getattr(self, name) not in {None, False})

    def check(self, num_models: int) -> None:
        """Check the options before anything runs.

        Raises:
            UsageError: The compiler would refuse these options, or misread them.
        """
        version = self.min_runtime_version
        if version is not None and not _OLDEST_RUNTIME <= version <= _NEWEST_RUNTIME:
            raise UsageError(
                f"there is no Edge TPU runtime {version}",
                fix=f"give --min-runtime-version {_OLDEST_RUNTIME} to {_NEWEST_RUNTIME}",
            )
        if self.num_segments not in {None, 1} and num_models > 1:
            raise UsageError(
                "--num-segments needs exactly one model",
                why="several models are compiled for one Edge TPU, segments for several",
                fix="compile each model by itself",
            )
        if self.delegate_search_step is not None and not self.search_delegate:
            raise UsageError(
                "--delegate-search-step does nothing without --search-delegate",
                fix="add --search-delegate",
            )
        self._check_tensors(num_models)

    def _check_tensors(self, num_models: int) -> None:
        if self.intermediate_tensors is None:
            return
        lists = self.intermediate_tensors.split(":")
        if len(lists) != num_models or not all(lists):
            raise UsageError(
                f"--intermediate-tensors has {len(lists)} lists for {num_models} models",
                why="the compiler separates the lists of two models at every ':', also "
                "within a tensor's name",
                fix="give one list for each model; instead of a tensor with ':' in its name, use "
                "the one before or after it",
            )
