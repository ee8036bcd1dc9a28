"""Read and plot the server's decision log: counts by verdict, and whether the scores drift over time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from bonaface.errors import InputError, SettingsError
from bonaface.inference.decision_log import DECISIONS, open_log
from bonaface.io import write_bytes, write_text
from bonaface.report.style import CLASS_STYLE, MUTED, png_of, tidy
from bonaface.types import Label

PERIODS = 60
"""Maximum number of periods in the plot, about; each is a whole number of minutes, hours or days."""

_STEPS = [timedelta(minutes=1), timedelta(minutes=10), timedelta(hours=1), timedelta(hours=6), timedelta(days=1)]


@dataclass(frozen=True)
class Decisions:
    """A decision log's rows, and the same by period.

    `table` has the log's own columns. `periods` has a row per period and bundle: `start`, `bundle`, `decisions`, `scored`,
    `accepted` (a share of all decisions), `low`, `median` and `high` (the scores' 10th, 50th and 90th percentile),
    `threshold` (the median one).
    """

    table: pd.DataFrame
    periods: pd.DataFrame
    plot: Path | None = None
    csv: Path | None = None


def log(
    address: str | Path,
    *,
    output: str | Path | None = None,
    since: str | None = None,
    until: str | None = None,
    bundle: str | None = None,
) -> Decisions:
    """Read a decision log, and with `output` write its plot (PNG) and its numbers.

    Args:
        address: the SQLite file, or the SQLAlchemy address.
        output: the plot to write.
        since: a date or time in UTC, from which on decisions are read.
        until: a date or time in UTC, before which they are read.
        bundle: the beginning of a bundle's id.

    Returns:
        The decisions, day by day.

    Raises:
        SettingsError: the log cannot be opened.
        InputError: it holds no such decision.

    Examples:
        ```python
        decisions = bonaface.log("decisions.db", since="2026-01-01", output="drift.png")
        print(decisions.periods)
        ```
    """
    kept = [column for column in DECISIONS.columns if not column.primary_key]
    query = select(*kept).order_by(DECISIONS.c.time)
    if since is not None:
        query = query.where(DECISIONS.c.time >= _moment(since, "since"))
    if until is not None:
        query = query.where(DECISIONS.c.time < _moment(until, "until"))
    if bundle is not None:
        query = query.where(DECISIONS.c.bundle.startswith(bundle, autoescape=True))
    engine = open_log(str(address), create=False)
    try:
        with engine.connect() as connection:
            table = pd.DataFrame(connection.execute(query).all(), columns=[column.name for column in kept])
    except SQLAlchemyError:
        raise InputError(
            "the database holds no decision log; expected one that `bonaface serve --log` has written"
        ) from None
    finally:
        engine.dispose()
    if table.empty:
        raise InputError("the decision log holds no decision of that time and bundle; expected at least one")
    table["time"] = pd.to_datetime(table["time"])
    table["score"] = table["score"].astype("float64")
    periods = _by_period(table)
    if output is None:
        return Decisions(table, periods)
    plot = Path(output)
    numbers = plot.with_suffix(".csv")
    write_bytes(plot, png_of("drift", lambda figure: _paint(figure, periods), size=(9.0, 5.4)))
    write_text(numbers, periods.to_csv(index=False))
    return Decisions(table, periods, plot, numbers)


def _moment(text: str, name: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise SettingsError(
            f"--{name} {text}: expected a date or time such as 2026-05-01 or 2026-05-01T08:00"
        ) from None
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment


def _by_period(table: pd.DataFrame) -> pd.DataFrame:
    span = table["time"].max() - table["time"].min()
    step = next((step for step in _STEPS if span / step <= PERIODS), timedelta(days=-(-span.days // PERIODS) or 1))
    start = table["time"].dt.floor(pd.Timedelta(step)).rename("start")
    rows = table.assign(accepted=table["verdict"] == Label.BONA_FIDE).groupby([start, "bundle"])
    return rows.agg(
        decisions=("verdict", "size"),
        scored=("score", "count"),
        accepted=("accepted", "mean"),
        low=("score", lambda scores: scores.quantile(0.1)),
        median=("score", "median"),
        high=("score", lambda scores: scores.quantile(0.9)),
        threshold=("threshold", "median"),
    ).reset_index()


def _paint(figure: Figure, periods: pd.DataFrame) -> None:
    scores, shares, counts = figure.subplots(3, 1, sharex=True, height_ratios=(3, 1.4, 1))
    colour = CLASS_STYLE["bona_fide"][0]
    for number, (bundle, part) in enumerate(periods.groupby("bundle", sort=False)):
        marker, line = ("o", "s", "D", "^")[number % 4], ("-", "--", "-.", ":")[number % 4]
        when = part["start"]
        scores.fill_between(when, part["low"], part["high"], color=colour, alpha=0.15, linewidth=0)
        scores.plot(when, part["median"], line, marker=marker, markersize=3.5, color=colour, label=f"median, {bundle}")
        scores.step(when, part["threshold"], where="post", color=CLASS_STYLE["attack"][0], linewidth=1.2)
        shares.plot(when, part["accepted"], line, marker=marker, markersize=3.5, color=colour)
        counts.plot(when, part["decisions"], line, marker=marker, markersize=3.5, color=MUTED)
    scores.plot([], [], color=CLASS_STYLE["attack"][0], linewidth=1.2, label="threshold")
    scores.legend(loc="lower left", ncols=3, bbox_to_anchor=(0, 1))
    scores.set_ylim(-0.02, 1.02)
    shares.set_ylim(-0.05, 1.05)
    counts.set_ylim(bottom=0)
    for axes, label in (
        (scores, "score, 10th to 90th\npercentile"),
        (shares, "accepted,\nshare of all"),
        (counts, "decisions"),
    ):
        tidy(axes, y=label)
    figure.align_ylabels()
    locator = AutoDateLocator()  # type: ignore[no-untyped-call]
    counts.xaxis.set_major_locator(locator)
    counts.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    counts.set_xlabel("time (UTC)")
