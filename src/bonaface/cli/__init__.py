"""The command line: each command parses, calls one workflow and prints. Heavy imports wait until a command runs."""

from bonaface.cli.app import app, main

__all__ = ["app", "main"]
