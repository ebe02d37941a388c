"""A monitoring database for reading: SQLite by file, others by URL, and the words of SQL that dialects differ in.

Never writes. Times in these databases are local and without a zone; here they are seconds since 1970 of that clock, so
that differences are right and what is shown is what the user's watch said.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy
from sqlalchemy.exc import SQLAlchemyError

from trellis.errors import ConfigurationError

Row = tuple[Any, ...]

_EPOCH = datetime(1970, 1, 1)
# How long a reader waits for a writer that holds SQLite's lock, which with WAL is only at its beginning.
_LOCKED_S = 5.0
_SQLITE = "sqlite:///"


def to_seconds(moment: datetime) -> float:
    return (moment.replace(tzinfo=None) - _EPOCH).total_seconds()


def to_time(seconds: float) -> datetime:
    return _EPOCH + timedelta(seconds=seconds)


def now_s() -> float:
    """The time now, as these databases write it."""
    return to_seconds(datetime.now())


class RecordSource:
    """A database with Parsl's tables, open for reading from any thread.

    Args:
        where: a file of SQLite's, or a URL as ``MonitoringHub(logging_endpoint=…)`` takes it.

    Raises:
        ConfigurationError: it cannot be opened, or has no runs in it.
    """

    def __init__(self, where: str | Path) -> None:
        self.where = str(where)
        text = self.where.removeprefix(_SQLITE)
        self._is_sqlite = text != self.where or "://" not in text
        try:
            self._engine = _sqlite(Path(text)) if self._is_sqlite else sqlalchemy.create_engine(self.where)
            self._tables = self._read_tables()
        except (SQLAlchemyError, sqlite3.Error, ImportError, OSError) as error:
            raise ConfigurationError(f"cannot read the monitoring database {self.shown}: {_short(error)}") from error
        missing = {"workflow", "task", "try", "status"} - self._tables
        if missing:
            self.close()
            raise ConfigurationError(
                f"{self.shown} is no monitoring database: it has no table {sorted(missing)[0]!r}; "
                "give the file monitoring.db that a run with Config(monitoring=MonitoringHub()) has written"
            )

    @property
    def shown(self) -> str:
        """The database without the password of its URL."""
        if self._is_sqlite:
            return self.where.removeprefix(_SQLITE)
        try:
            return sqlalchemy.make_url(self.where).render_as_string(hide_password=True)
        except SQLAlchemyError:
            return "of that URL"

    def close(self) -> None:
        self._engine.dispose()

    def rows(self, sql: str, values: Mapping[str, object] | None = None) -> list[Row]:
        """What a query gives. ``sql`` is written here in full; what users give comes in ``values``."""
        with self._engine.connect() as connection:
            return [tuple(row) for row in connection.execute(sqlalchemy.text(sql), values or {})]

    def one(self, sql: str, values: Mapping[str, object] | None = None) -> Row | None:
        rows = self.rows(sql, values)
        return rows[0] if rows else None

    def has(self, table: str) -> bool:
        """Whether there is such a table: those beside Parsl's need not be there. One that was not may have come."""
        if table not in self._tables:
            self._tables = self._read_tables()
        return table in self._tables

    def has_column(self, table: str, column: str) -> bool:
        return self.has(table) and column in {
            found["name"] for found in sqlalchemy.inspect(self._engine).get_columns(table)
        }

    def seconds(self, column: str) -> str:
        """SQL for a column of times as seconds since 1970."""
        if self._is_sqlite:  # to 40 microseconds, and the fastest there is
            return f"((julianday({column}) - 2440587.5) * 86400.0)"
        return f"CAST(EXTRACT(EPOCH FROM {column}) AS DOUBLE PRECISION)"

    def whole(self, expression: str) -> str:
        """SQL for the whole part of what is not negative."""
        return f"CAST({expression} AS INTEGER)" if self._is_sqlite else f"CAST(FLOOR({expression}) AS BIGINT)"

    def moment(self, seconds: float) -> object:
        """A time as a value to compare a column with."""
        moment = to_time(seconds)
        return moment.strftime("%Y-%m-%d %H:%M:%S.%f") if self._is_sqlite else moment

    def read_time(self, value: object) -> float | None:
        """A time that a column without ``seconds`` has given."""
        if value is None:
            return None
        if isinstance(value, datetime):
            return to_seconds(value)
        try:
            return to_seconds(datetime.fromisoformat(str(value)))
        except ValueError:
            return None

    def _read_tables(self) -> frozenset[str]:
        return frozenset(sqlalchemy.inspect(self._engine).get_table_names())


def _sqlite(path: Path) -> sqlalchemy.Engine:
    if not path.exists():
        raise FileNotFoundError("there is no such file")

    def connect(extra: str = "") -> sqlite3.Connection:
        address = f"file:{quote(str(path.absolute()))}?mode=ro{extra}"
        connection = sqlite3.connect(address, uri=True, timeout=_LOCKED_S, check_same_thread=False)
        try:
            connection.execute("SELECT 1 FROM sqlite_master").fetchone()
            connection.execute("PRAGMA cache_size = -65536")
            connection.execute("PRAGMA temp_store = MEMORY")
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def open_it() -> sqlite3.Connection:
        try:
            return connect()
        except sqlite3.OperationalError:  # in a directory that cannot be written to, with a journal nobody writes
            return connect("&immutable=1")

    return sqlalchemy.create_engine(
        "sqlite://", creator=open_it, poolclass=sqlalchemy.pool.QueuePool, pool_size=4, max_overflow=16
    )


def _short(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
