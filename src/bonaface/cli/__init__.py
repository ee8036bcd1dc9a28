"""The command line: every command parses, calls one workflow, prints. Heavy imports wait until a command runs."""

from bonaface.cli.app import app, main

__all__ = ["app", "main"]
