"""Sessions: tokens that are good for one verdict, in the decision log's database, so that all server processes share them."""

from __future__ import annotations

import hashlib
import secrets
import time
from typing import Any

from sqlalchemy import Column, Engine, Float, MetaData, String, Table, delete, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from bonaface.inference.decision_log import open_log
from bonaface.server.errors import ApiError

SECONDS = 120
"""How long a token is good for."""

SESSIONS = Table(
    "sessions",
    MetaData(),
    Column("digest", String(64), primary_key=True),  # sha256: a reader of the database cannot use the token
    Column("expires", Float(53), nullable=False, index=True),  # seconds since 1970
    Column("used", Float(53)),
)


class Sessions:
    """Hands out tokens and takes each back once; safe with any number of threads and processes on one database.

    Raises SettingsError where the database cannot be opened, ApiError `sessions_unavailable` where it fails later.
    """

    def __init__(self, address: str) -> None:
        self._engine: Engine = open_log(address, also=SESSIONS)

    def create(self) -> str:
        """Return a new token, and remove those that have expired."""
        token, now = secrets.token_urlsafe(32), time.time()
        self._execute(delete(SESSIONS).where(SESSIONS.c.expires < now))
        self._execute(insert(SESSIONS).values(digest=_digest(token), expires=now + SECONDS))
        return token

    def use(self, token: str) -> None:
        """Mark a token as used. Raises ApiError `unknown_session` or `session_used`."""
        mine = SESSIONS.c.digest == _digest(token)
        now = time.time()
        good = mine & SESSIONS.c.used.is_(None) & (SESSIONS.c.expires >= now)
        if self._execute(update(SESSIONS).where(good).values(used=now)):
            return
        used = self._execute(select(SESSIONS.c.used).where(mine & (SESSIONS.c.expires >= now)))
        raise ApiError("session_used" if used else "unknown_session")

    def give_back(self, token: str) -> None:
        """Make a token good again, after a request that got no verdict."""
        self._execute(update(SESSIONS).where(SESSIONS.c.digest == _digest(token)).values(used=None))

    def close(self) -> None:
        """Close the database."""
        self._engine.dispose()

    def _execute(self, statement: Any) -> int:
        """Run a statement in a transaction of its own; return the number of rows."""
        try:
            with self._engine.begin() as connection:
                result = connection.execute(statement)
                return len(result.all()) if result.returns_rows else result.rowcount
        except SQLAlchemyError:
            raise ApiError("sessions_unavailable") from None


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
