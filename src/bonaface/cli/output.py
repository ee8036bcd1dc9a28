"""Write text, errors and progress to the terminal."""

from __future__ import annotations

import io
import json
import os
import sys
import threading
import time
import traceback
import unicodedata
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

from bonaface.errors import BonafaceWarning, format_list
from bonaface.io.storage import without_passwords

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

    from bonaface.data.sources import Sources
    from bonaface.types import Progress

Result = TypeVar("Result")

LINE_EVERY = 0.1
"""Share of a stage after which a line is printed where there is no terminal."""
LINE_AT_MOST = 1.0
"""Seconds between two such lines, at least."""
SILENT_IN_STAGE = 30.0
"""Seconds after which the state of a stage is printed again although nothing has changed."""
SILENT_BETWEEN = 10.0
"""Seconds after which a line is printed while no stage is running."""


class _Stderr:
    as_json = False
    """Whether each line is a JSON object."""


def use_any_console() -> None:
    """Escape what the console's encoding lacks, instead of failing on it."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def printable(text: str) -> str:
    r"""Escape line breaks, control and bidirectional characters, which names from outside may hold.

    >>> print(printable("a\nb \x1b[31m \u202e José"))
    a\nb \x1b[31m \u202e José
    """
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or unicodedata.category(c) == "Zs" else c.encode("unicode_escape").decode("ascii")
        for c in text
    )


def echo(text: str = "", *, err: bool = False) -> None:
    """Write one line to stdout or stderr, with unprintable characters escaped; to stderr as JSON under `--json-log`."""
    if err and _Stderr.as_json:
        _write(sys.stderr, _json_line({"message": text}))
    else:
        _write(sys.stderr if err else sys.stdout, printable(text))


def echo_lines(lines: Iterable[str]) -> None:
    """Write lines to stdout."""
    for line in lines:
        echo(line)


def print_warnings() -> None:
    """From now on write each BonafaceWarning as one line to stderr."""
    usual = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if issubclass(category, BonafaceWarning):
            echo(f"bonaface: {without_passwords(str(message))}", err=True)
        else:
            usual(message, category, *where, **more)

    warnings.showwarning = show


def echo_left_out(sources: Sources) -> None:
    """Write to stderr which files were left out, and the option for folders of numbered pictures."""
    if sources.not_media:
        count, names = len(sources.not_media), format_names(sources.not_media)
        files = (
            "1 file that is not an image or a video" if count == 1 else f"{count} files that are not images or videos"
        )
        echo(f"left out: {files}: {names}", err=True)
    if sources.left_out:
        counts = ", ".join(f"{number} {what}" for what, number in sorted(sources.left_out.items()))
        echo(f"left out: {counts}", err=True)
    if sources.numbered:
        folders = f"{format_names(sources.numbered)} {'holds' if len(sources.numbered) == 1 else 'hold'}"
        echo(
            f"{folders} numbered pictures: for one verdict on each folder, as on a video, add --frames-as-video",
            err=True,
        )


def format_names(paths: Sequence[str]) -> str:
    """Return the first few paths by their last part, and how many more there are."""
    return format_list((PurePath(path).name for path in paths), limit=3)


def print_error(message: str) -> None:
    """Write the one line of an error to stderr, after its traceback where BONAFACE_DEBUG is set."""
    if os.environ.get("BONAFACE_DEBUG") and sys.exc_info()[0] is not None:
        traceback.print_exc()
    echo(f"bonaface: {without_passwords(message)}", err=True)


def log_as_json(on: bool) -> None:
    """Write each further line on stderr as a JSON object with its time, or as text again."""
    _Stderr.as_json = on


@contextmanager
def show_progress(*, quiet: bool = False, json_log: bool = False) -> Iterator[Progress | None]:
    """Show progress on stderr: bars in a terminal, lines elsewhere or as JSON, nothing where `quiet`."""
    log_as_json(json_log)
    if quiet or sys.stderr is None:
        yield None
    elif sys.stderr.isatty() and not json_log:
        with _rich_bars() as bars:
            yield _BarProgress(bars)
    else:
        lines = _LineProgress()
        try:
            yield lines
        finally:
            lines.close()


def call(function: Callable[..., Result], given: Mapping[str, Any], *without: str, **changed: Any) -> Result:
    """Call a function with a command's parameters, `locals()`, which have the function's own names.

    Those in `without` are left out, and `changed` replaces what the function takes in another form. `no_x` is passed on as
    `x`, and `quiet` and `json_log` as the progress that they leave.
    """
    options = passed_on(given, *without, **changed)
    if "quiet" not in given:
        return function(**options)
    with show_progress(quiet=given["quiet"], json_log=given["json_log"]) as progress:
        return function(**options, progress=progress)


def passed_on(given: Mapping[str, Any], *without: str, **changed: Any) -> dict[str, Any]:
    """Return the arguments that `call` passes on, but for the progress."""
    left_out = {"quiet", "json_log", *without}
    options = {name: value for name, value in {**given, **changed}.items() if name not in left_out}
    for name in [name for name in options if name.startswith("no_")]:
        options[name.removeprefix("no_")] = not options.pop(name)
    return options


@dataclass
class _Stage:
    name: str
    began: float
    done: int = 0
    total: int = 0
    shown: int = 0
    """Items done when the last line was printed."""

    @property
    def finished(self) -> bool:
        return 0 < self.total <= self.done

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    def __str__(self) -> str:
        if not self.total:
            return f"{self.name}: {self.done or 'started'}, {self.seconds:.0f} s"
        return f"{self.name}: {self.done}/{self.total} ({100 * self.done / self.total:.0f} %), {self.seconds:.0f} s"


class _LineProgress:
    """A line where a stage starts and ends, at its tenths, and after some seconds without one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stages: dict[str, _Stage] = {}
        self._current = _Stage("command", time.monotonic())
        self._printed = time.monotonic()
        self._has_epochs = False
        self._closed = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def __call__(self, stage: str, done: int, total: int, /) -> None:
        with self._lock:
            state = self._stages.get(stage)
            started = state is None or done < state.done
            if state is None or started:
                state = self._stages[stage] = _Stage(stage, time.monotonic())
            changed = (done, total) != (state.done, state.total)
            if self._current is not state:
                self._current, self._has_epochs = state, False
            state.done, state.total = done, total
            tenth = total > 0 and done - state.shown >= LINE_EVERY * total and not self._has_epochs
            if started or (changed and state.finished) or (tenth and self._silent() >= LINE_AT_MOST):
                self._print(state)
                state.shown = done

    def epoch(self, line: str, figures: Mapping[str, float], /) -> None:
        with self._lock:
            self._has_epochs = True
            self._write(line, {"stage": self._current.name, **figures})

    def close(self) -> None:
        self._closed.set()

    def _watch(self) -> None:
        while not self._closed.wait(1.0):
            with self._lock:
                if self._current.finished and self._silent() >= SILENT_BETWEEN:
                    self._write(f"working, {self._current.name} done", {"stage": "working"})
                elif not self._current.finished and self._silent() >= SILENT_IN_STAGE:
                    self._print(self._current)

    def _silent(self) -> float:
        return time.monotonic() - self._printed

    def _print(self, state: _Stage) -> None:
        figures = {"done": state.done, "total": state.total or None, "seconds": round(state.seconds, 1)}
        self._write(str(state), {"stage": state.name, **figures})

    def _write(self, line: str, figures: Mapping[str, object]) -> None:
        _write(sys.stderr, _json_line(figures) if _Stderr.as_json else printable(line))
        self._printed = time.monotonic()


class _BarProgress:
    """A bar for each stage, with the lines of epochs above them."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._tasks: dict[str, tuple[TaskID, int]] = {}

    def __call__(self, stage: str, done: int, total: int, /) -> None:
        task, before = self._tasks.get(stage, (None, 0))
        if task is None:
            task = self._bars.add_task(printable(stage), total=total or None)
        elif done < before:
            self._bars.reset(task)
        self._tasks[stage] = (task, done)
        self._bars.update(task, completed=done, total=total or None)

    def epoch(self, line: str, figures: Mapping[str, float], /) -> None:
        self._bars.console.print(printable(line), markup=False, highlight=False, soft_wrap=True)


def _rich_bars() -> Bars:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description:<10}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        # Redirecting would draw what goes to stdout onto the terminal, even where stdout is a file.
        redirect_stdout=sys.stdout is not None and sys.stdout.isatty(),
    )


def _json_line(figures: Mapping[str, object]) -> str:
    from bonaface.io import json_safe

    return json.dumps(json_safe({"time": datetime.now(UTC).isoformat(timespec="milliseconds"), **figures}))


def _write(stream: TextIO | None, line: str) -> None:
    if stream is not None:  # a program without console, such as pythonw, has none
        stream.write(f"{line}\n")
        stream.flush()
