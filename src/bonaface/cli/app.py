"""The command line as a whole: which commands there are, and what an error becomes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer

import bonaface
from bonaface.cli import bundle, evaluate, predict, serve, train
from bonaface.cli import data as data_commands
from bonaface.errors import BonafaceError

__all__ = ["app", "main"]

app = typer.Typer(
    name="bonaface",
    help="Face liveness: train, evaluate and explain presentation attack detectors on your own videos.",
    rich_markup_mode=None,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
data = typer.Typer(help="Index, split and crop a dataset.", rich_markup_mode=None, no_args_is_help=True)
app.add_typer(data, name="data")
bundles = typer.Typer(
    help="Look into bundles, make them of others' networks, fetch open ones.",
    rich_markup_mode=None,
    no_args_is_help=True,
)
app.add_typer(bundles, name="bundle")

_COMMANDS: Mapping[str, Callable[..., Any]] = {
    "train": train.train_command,
    "export": train.export_command,
    "evaluate": evaluate.evaluate_command,
    "report": evaluate.report_command,
    "compare": evaluate.compare_command,
    "folds": train.folds_command,
    "predict": predict.predict_command,
    "explain": evaluate.explain_command,
    "embed": evaluate.embed_command,
    "serve": serve.serve_command,
    "log": serve.log_command,
    "demo": train.demo_command,
}
_DATA_COMMANDS: Mapping[str, Callable[..., Any]] = {
    "index": data_commands.index_command,
    "split": data_commands.split_command,
    "crop": data_commands.crop_command,
    "audit": data_commands.audit_command,
    "layouts": data_commands.layouts_command,
}
_BUNDLE_COMMANDS: Mapping[str, Callable[..., Any]] = {
    "show": bundle.bundle_show_command,
    "from-onnx": bundle.bundle_from_onnx_command,
    "calibrate": bundle.bundle_calibrate_command,
    "pull": bundle.bundle_pull_command,
}
for _group, _commands in ((app, _COMMANDS), (data, _DATA_COMMANDS), (bundles, _BUNDLE_COMMANDS)):
    for _name, _command in _commands.items():
        _group.command(_name)(_command)


def main() -> None:
    """Run the command line; an error is one line on stderr and exit code 2."""
    try:
        code = app(standalone_mode=False)
        if code == 130:
            _complain("interrupted; what is done is kept", code)
    except BonafaceError as error:
        code = _complain(str(error), 2)
    except KeyboardInterrupt:
        code = _complain("interrupted", 130)
    except typer.Abort:
        code = _complain("aborted", 130)
    except BrokenPipeError:
        # The reader of our output has gone (`| head`): no reason to complain, and nowhere to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 141
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        code = _complain(f"{where}{error.strerror or error}", 2)
    except Exception as error:
        if hasattr(error, "format_message"):  # the parser's own errors: an unknown option, a missing argument
            code = _complain(f"{error.format_message()} Try --help.", 2)
        elif os.environ.get("BONAFACE_DEBUG"):
            raise
        else:
            text = " ".join(str(error).split())
            code = _complain(
                f"a fault in Bonaface itself ({type(error).__name__}: {text}); "
                "please report it with what BONAFACE_DEBUG=1 prints",
                70,
            )
    sys.exit(code if isinstance(code, int) else 0)


@app.callback(invoke_without_command=True)
def _hall(
    ctx: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        typer.echo(f"bonaface {bonaface.__version__}")
        raise typer.Exit
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


def _complain(message: str, code: int) -> int:
    typer.echo(f"bonaface: {' '.join(message.split())}", err=True)
    return code
