# SPDX-License-Identifier: Apache-2.0
"""The entry of the command line: adds the commands and turns errors into exit statuses."""

from __future__ import annotations

import contextlib
import errno
import functools
import inspect
import json
import os
import sys
import warnings
from typing import Any, Callable, List, Optional

import typer
from typing_extensions import Annotated

from edgekit.cli.grammar import (
    ClickException,
    Group,
    command_class,
    plain,
    resolve,
    signature,
)
from edgekit.cli.streams import (
    NORMAL,
    QUIET,
    VERBOSE,
    discard_stdout,
    is_in_lines,
    is_quiet,
    prepare_streams,
    reset_level,
    say,
    set_level,
)
from edgekit.distribution import holders, untangle_command
from edgekit.errors import (
    EdgeKitError,
    ExternalToolError,
    InputError,
    MissingExtraError,
    OutputError,
    UsageError,
)
from edgekit.extras import broken_library, require_part
from edgekit.version import __version__

# In the order of --help; a command is the function of its name in the module of its name.
COMMANDS = (
    "demo",
    "build",
    "convert",
    "sources",
    "check",
    "fix",
    "split",
    "compile",
    "explain",
    "inspect",
    "estimate",
    "plan",
    "disasm",
    "emulate",
    "confirm",
    "run",
    "evaluate",
    "debug",
    "tune",
    "train",
    "compare",
    "benchmark",
    "report",
    "doctor",
    "bundle",
    "verify",
    "deploy",
    "serve",
    "service",
    "frigate",
)
_INTERRUPTED = 130
# Commands that keep what they did.
_GO_ON = {
    "build": "the same command continues where it stopped",
    "evaluate": "add --resume to continue after the last batch in the journal",
    "train": "add --resume to continue after the last finished epoch",
    "tune": "the same command continues after the last trial",
}
_COMPLETION = "_EDGEKIT_COMPLETE"  # set by the scripts of --install-completion
# Errors that pathlib raises for a path that it cannot examine, instead of returning False.
_UNREACHABLE = (errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP, errno.EIO)
_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
_LONGEST_WHERE = 300

_Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]
_Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Print the steps on stderr.")]


def _choose_level(*, quiet: bool, verbose: bool) -> None:
    if quiet and verbose:
        raise UsageError("--quiet and --verbose contradict each other", fix="use only one of them")
    if quiet or verbose:
        set_level(QUIET if quiet else VERBOSE)


def _with_level(function: Callable[..., None]) -> Callable[..., None]:
    """Add ``--quiet`` and ``--verbose`` to a command, and pass it choices as plain words."""

    @functools.wraps(function)
    def command(*args: Any, quiet: bool, verbose: bool, **kwargs: Any) -> None:  # noqa: ANN401
        _choose_level(quiet=quiet, verbose=verbose)
        function(*args, **{name: plain(value) for name, value in kwargs.items()})

    own = signature(function)
    added = [
        inspect.Parameter(word, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=kind)
        for word, kind in (("quiet", _Quiet), ("verbose", _Verbose))
    ]
    command.__annotations__ = {**function.__annotations__, "quiet": _Quiet, "verbose": _Verbose}
    command.__signature__ = own.replace(  # type: ignore[attr-defined] # PEP 362
        parameters=[*own.parameters.values(), *added]
    )
    return command


@functools.lru_cache(maxsize=None)
def build(requested: Optional[str] = None) -> typer.Typer:
    """Return the command line.

    Args:
        requested: The command that will run: only its options are read, because the options of
            all commands take most of edgekit's start time. The others have only their help text.
            If it is not the name of a command, all commands have only that. None reads everything.
    """
    app = typer.Typer(
        name="edgekit",
        cls=Group,
        help="From a trained network to a verified deployment on a Coral Edge TPU.",
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(resolve(options))
    for name in [requested] if requested in COMMANDS else COMMANDS:
        _add(app, str(name), with_options=requested in (None, name))
    return app


def _add(app: typer.Typer, name: str, *, with_options: bool) -> None:
    """Add the command ``edgekit name``; without its code in this wheel, it raises an error."""
    try:
        module = require_part(f"cli.{name}")
    except MissingExtraError as missing:
        error = missing  # Python deletes the name of an except clause at its end

        def absent() -> None:
            raise error

        words = {"ignore_unknown_options": True, "allow_extra_args": True}
        app.command(name, hidden=True, add_help_option=False, context_settings=words)(absent)
    else:
        function = getattr(module, name)
        text = inspect.getdoc(function)
        first = (text or "").partition("\n\n")[0]  # as short_help it is wrapped, else cut
        if with_options:
            function = resolve(function)
            made = command_class(function)
            app.command(name, cls=made, short_help=first)(_with_level(function))
        else:
            app.command(name, help=text, short_help=first)(_listed)


def _listed() -> None:
    """Do nothing: stands for a command in the list of all commands."""


def _requested(words: List[str]) -> Optional[str]:
    """Return the command's name; "" if there is none, None if the shell completes a word."""
    if _COMPLETION in os.environ:
        return None
    return next((word for word in words if not word.startswith("-")), "")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"edgekit {__version__}")
        raise typer.Exit


def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    quiet: _Quiet = False,
    verbose: _Verbose = False,
) -> None:
    """Options before the command; a callback handles --version."""
    del version
    _choose_level(quiet=quiet, verbose=verbose)


def main(args: Optional[List[str]] = None) -> None:
    """Run the command line and exit: 0 done, 2 usage, 3 to 6 an `EdgeKitError`, 130 Ctrl-C.

    The only place that turns errors into an exit; an unexpected one shows its traceback (1).
    """
    words = sys.argv[1:] if args is None else args
    prepare_streams()
    if args is None and not sys.warnoptions:
        warnings.simplefilter("ignore")  # warnings of other libraries do not help users
    set_level(NORMAL)
    _warn_of_a_mixture()
    try:
        status = _status(words)
        _flush()
        _warn_of_abandoned()
    finally:
        reset_level()
    sys.exit(status)


def _warn_of_abandoned() -> None:
    """Print a warning for a device that hung when it was closed: the result is not affected."""
    process = sys.modules.get("edgekit.runtime.device_process")
    if process is not None and not is_quiet():
        for warning in process.abandoned():
            say(f"warning: {warning}\n")


def _warn_of_a_mixture() -> None:
    found = holders()
    if len(found) > 1:
        say(
            f"warning: {' and '.join(found)} are installed in the same place and overwrite each "
            f"other's files\n  fix: {untangle_command(found)}, then install one of them\n"
        )


def _status(words: List[str]) -> int:
    as_json = "--json" in words
    status: Any = 0
    try:
        _refuse_empty(words)
        status = build(_requested(words))(words, prog_name="edgekit", standalone_mode=False)
    except EdgeKitError as error:
        _report(error, as_json=as_json)
        status = error.exit_status
    except ImportError as error:
        if (error.name or "edgekit").split(".")[0] == "edgekit" and "edgekit" in str(error):
            raise  # a bug of this project
        _report(broken_library(error.name or "a library", error), as_json=as_json)
        status = ExternalToolError.exit_status
    except OSError as error:
        found = _failure(error)
        if found is None:
            raise
        _report(found, as_json=as_json)
        status = found.exit_status
    except ClickException as error:
        _report_usage(error, as_json=as_json)
        status = error.exit_code
    except (typer.Abort, KeyboardInterrupt):
        status = _INTERRUPTED
    if status == _INTERRUPTED:
        say(f"interrupted{_how_to_go_on(words)}\n")
    return status or 0


def _how_to_go_on(words: List[str]) -> str:
    """Return how to continue an interrupted command; empty if it would start from the beginning."""
    name = _requested(words)
    if name == "evaluate" and not any(word.startswith("--journal") for word in words):
        return ""
    return f": {_GO_ON[name]}" if name in _GO_ON else ""


def _refuse_empty(words: List[str]) -> None:
    """Refuse an empty word: as a path it would mean the current folder."""
    if "" in words:
        raise UsageError(
            "an argument is empty",
            why='a shell variable that is not set is an empty argument ("$OUT")',
            fix="write the path or the value, or omit the option",
        )


def _failure(error: OSError) -> Optional[EdgeKitError]:
    """Return the expected failure that an error of the system is; None if it is a bug."""
    if error.filename is None and error.errno in _UNWRITABLE:  # help and version, onto a full disk
        discard_stdout()
        return OutputError(f"cannot write: {error.strerror}", where="standard output")
    if error.filename is None or error.errno not in _UNREACHABLE:
        return None
    return InputError(
        f"cannot reach a file or folder: {error.strerror}",
        where=os.fsdecode(error.filename)[:_LONGEST_WHERE],
        fix="check the path and its permissions",
    )


def _report(error: EdgeKitError, *, as_json: bool) -> None:
    if as_json:
        _print_error(error)
    say(f"error: {error}\n  code: {error.code} (edgekit explain {error.code})\n")


def _report_usage(error: Any, *, as_json: bool) -> None:  # noqa: ANN401 - a click exception
    if as_json:
        command = error.ctx.command_path if getattr(error, "ctx", None) else "edgekit"
        _print_error(UsageError(error.format_message(), fix=f"{command} --help"))
    with contextlib.suppress(OSError, ValueError):
        error.show()


def _print_error(error: EdgeKitError) -> None:
    with contextlib.suppress(OSError, ValueError):
        indent = None if is_in_lines() else 2
        sys.stdout.write(json.dumps(error.to_dict(), indent=indent, sort_keys=True) + "\n")


def _flush() -> None:
    """Write what is buffered: a closed pipe then fails here, not when Python exits."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        discard_stdout()
