"""The decision log: time, verdict and bundle of each decision, without the upload or the client."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sql
from sqlalchemy.exc import SQLAlchemyError

from bonaface.errors import SettingsError

DECISIONS = sql.Table(
    "decisions",
    sql.MetaData(),
    # 32 bits would be used up in three days of 10,000 decisions a second. SQLite counts in 64 bits whatever the name.
    sql.Column("id", sql.BigInteger().with_variant(sql.Integer, "sqlite"), primary_key=True),
    sql.Column("request_id", sql.String(64), nullable=False),  # may come from the client, and twice
    sql.Column("time", sql.DateTime, nullable=False, index=True),
    sql.Column("verdict", sql.String(16), nullable=False),
    sql.Column("score", sql.Float(53)),
    sql.Column("threshold", sql.Float(53), nullable=False),
    sql.Column("bundle", sql.String(16), nullable=False),
)
"""The columns: `time` in UTC without a zone, `score` empty if there is none, `bundle` the id."""

_WAITING = 10_000
_TOGETHER = 500


@dataclass(frozen=True)
class Decision:
    """A row of the log."""

    request_id: str
    time: datetime
    verdict: str
    score: float | None
    threshold: float
    bundle: str


def open_log(address: str, *, create: bool = True, also: sql.Table | None = None) -> sql.Engine:
    """Return the database at an SQLAlchemy address, or in the SQLite file of that name, with its table made if missing.

    `also` is a further table to make. A SQLite file is used in WAL mode, so that several processes can share it.

    Raises SettingsError for an address that leads nowhere; the address, which may hold a password, is not repeated.
    """
    try:
        if "://" not in address:
            if not create and not Path(address).is_file():
                raise SettingsError(f"no decision log at {address}; expected a SQLite file or an SQLAlchemy address")
            address = f"sqlite:///{address}"
        url = sql.make_url(address)
        sqlite = url.get_backend_name() == "sqlite"
        engine = sql.create_engine(url, pool_pre_ping=not sqlite)
        if sqlite and create:
            sql.event.listen(engine, "connect", _share_file)
        if create:
            for table in (DECISIONS, also):
                if table is not None:
                    _create(table, engine)
        else:
            engine.connect().close()
    except (SQLAlchemyError, ImportError, ValueError) as error:
        reason = type(getattr(error, "orig", None) or error).__name__
        raise SettingsError(
            f"the decision log cannot be opened ({reason}); expected a SQLite file in a folder that exists, or an "
            "SQLAlchemy address whose driver is installed"
        ) from None
    return engine


def _create(table: sql.Table, engine: sql.Engine) -> None:
    try:
        table.metadata.create_all(engine)
    except SQLAlchemyError:  # another process made it between the look and the making
        table.metadata.create_all(engine)


def _share_file(connection: Any, _: object) -> None:
    """Let readers and one writer use a SQLite file at a time, and a further writer wait for its turn."""
    connection.execute("PRAGMA busy_timeout = 10000")
    connection.execute("PRAGMA journal_mode = WAL")


class DecisionLog:
    """Writes decisions in a thread of its own, many in one transaction: no answer waits for the disk.

    Where the database does not follow, decisions are dropped and `lost` is called with their number.
    """

    def __init__(self, address: str, *, lost: Callable[[int], Any] = lambda _: None) -> None:
        self._engine = open_log(address)
        self._lost = lost
        self._queue: queue.Queue[Decision | None] = queue.Queue(_WAITING)
        self._thread = threading.Thread(target=self._run, name="bonaface-decisions", daemon=True)
        self._thread.start()

    def add(self, decision: Decision) -> None:
        """Queue a decision for writing."""
        try:
            self._queue.put_nowait(decision)
        except queue.Full:
            self._lost(1)

    def close(self) -> None:
        """Write the queued decisions, and close the database."""
        self._queue.put(None)
        self._thread.join()
        self._engine.dispose()

    def _run(self) -> None:
        stop = False
        while not stop:
            waiting = [self._queue.get()]
            while len(waiting) < _TOGETHER and not self._queue.empty():
                waiting.append(self._queue.get())
            stop = None in waiting
            rows = [
                {**vars(decision), "time": decision.time.astimezone(UTC).replace(tzinfo=None)}
                for decision in waiting
                if decision is not None
            ]
            try:
                if rows:
                    with self._engine.begin() as connection:
                        connection.execute(sql.insert(DECISIONS), rows)
            except Exception:  # whatever the database's driver raises: the server continues without its log
                self._lost(len(rows))
