# SPDX-License-Identifier: Apache-2.0
"""The command line's entry: wires the commands up, turns expected failures into exit statuses."""

from __future__ import annotations

import json
import sys
from typing import List, Optional

import click
import typer
from typing_extensions import Annotated

from edgekit import __version__
from edgekit.cli.benchmark import benchmark
from edgekit.cli.convert import convert
from edgekit.cli.demo import demo
from edgekit.cli.evaluate import evaluate
from edgekit.cli.run import run
from edgekit.errors import EdgeKitError

app = typer.Typer(
    name="edgekit",
    help="From a trained Keras network to a verified deployment on a Coral Edge TPU.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (demo, convert, run, evaluate, benchmark):
    app.command()(command)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"edgekit {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options before the command; --version is answered by its callback."""
    del version


def main(args: Optional[List[str]] = None) -> None:
    """Run the command line and exit: 0 done, 2 usage, 3 to 6 an `EdgeKitError`'s, 130 Ctrl-C.

    The one place where errors are caught for good; the unexpected keeps its traceback (1).
    """
    words = sys.argv[1:] if args is None else args
    try:
        status = app(words, standalone_mode=False)
    except EdgeKitError as error:
        if "--json" in words:
            sys.stdout.write(json.dumps(error.to_dict(), indent=2, sort_keys=True) + "\n")
        sys.stderr.write(f"error: {error}\n")
        sys.exit(error.exit_status)
    except click.exceptions.Abort:
        sys.stderr.write("interrupted\n")
        sys.exit(130)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # The reader of a pipe (head, less) has left; nothing is wrong here.
        sys.stderr.close()
        sys.exit(0)
    sys.exit(status or 0)
