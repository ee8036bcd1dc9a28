"""The whole command line: its commands, and the exit code of each error."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer

import bonaface
from bonaface.cli import bundle, data, evaluate, predict, recipe, serve, train
from bonaface.cli.output import echo, echo_lines, log_as_json, print_error, print_warnings, use_any_console
from bonaface.errors import BonafaceError, needs_extra, one_line

app = typer.Typer(
    name="bonaface",
    help="Face liveness: train, evaluate and explain presentation attack detectors on your own videos.",
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for commands in (train.app, evaluate.app, predict.app, serve.app):
    app.add_typer(commands)
app.add_typer(data.app, name="data")
app.add_typer(bundle.app, name="bundle")
app.add_typer(recipe.app, name="recipe")

UsageError: Any = typer.BadParameter.__bases__[0]
"""Base of the parser's errors (an unknown option, a missing argument), which Typer keeps in a private module."""


def main() -> None:
    """Run the command line and exit; an error is one line on stderr and exit code 2."""
    use_any_console()
    log_as_json("--json-log" in sys.argv)  # before the options are parsed: what is wrong with them is logged, too
    print_warnings()
    try:
        with needs_extra("this command"):
            code = app(standalone_mode=False) or 0
        if code == 130:
            print_error("interrupted; finished work is kept")
    except UsageError as error:
        print_error(f"{error.format_message().replace('Value error, ', '')} Try --help.")
        code = 2
    except BonafaceError as error:
        print_error(str(error))
        code = 2
    except (KeyboardInterrupt, typer.Abort):
        print_error("interrupted; finished work is kept")
        code = 130
    except BrokenPipeError:
        # The reader of the output has ended, as with `| head`: even the flush at exit would fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 141
    except OSError as error:
        print_error(f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error))
        code = 2
    except Exception as error:
        print_error(
            f"Internal error ({type(error).__name__}: {one_line(error)}). "
            "Run with BONAFACE_DEBUG=1 and attach the traceback to a bug report."
        )
        code = 70
    sys.exit(code)


@app.callback(invoke_without_command=True)
def _top(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        echo(f"bonaface {bonaface.__version__}")
        raise typer.Exit
    _print_help(context)


@data.app.callback(invoke_without_command=True)
@bundle.app.callback(invoke_without_command=True)
@recipe.app.callback(invoke_without_command=True)
def _print_help(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        echo_lines(context.get_help().splitlines())
