"""Progress bars on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["progress_bars"]


@contextmanager
def progress_bars() -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar per stage on a terminal; nothing elsewhere, where stderr is for errors."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns: list[Any] = [
        TextColumn("{task.description:<10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    ]
    tasks: dict[str, Any] = {}
    # Left to itself it would draw what goes to stdout onto the terminal, even where stdout is a file.
    redirect = sys.stdout.isatty()
    bars = Progress(*columns, console=console, disable=not console.is_terminal, redirect_stdout=redirect)

    def report(stage: str, done: int, total: int) -> None:
        # Live only while a stage is under way: training draws a bar of its own.
        if not bars.live.is_started:
            bars.start()
        if stage not in tasks:
            tasks[stage] = bars.add_task(stage, total=total)
        bars.update(tasks[stage], completed=done, total=total)
        if total and done >= total:
            bars.stop_task(tasks[stage])
            if bars.finished:
                bars.stop()
                for finished in tasks.values():
                    bars.remove_task(finished)
                tasks.clear()

    try:
        yield report
    finally:
        bars.stop()
