"""The database of recorded runs, for writing: makes the tables, and writes the rows of a run in whole transactions.

SQLAlchemy composes the statements, once; the rows go to the database's driver as they are, many at a time.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError, InterfaceError, InternalError, OperationalError, ProgrammingError

from trellis.monitoring import tables
from trellis.monitoring.rows import Row, RowBatch, Rows

logger = logging.getLogger(__name__)

# How long a transaction waits for another program's; the recorder tries again after that.
_BUSY_S = 2.0
# Two programs that begin at the same time both make the tables.
_ATTEMPTS = 5

_AUTOMATIC = {"node": "id", "trellis_file": "id"}


class RecordStore:
    """A database.

    Args:
        url: as SQLAlchemy takes it.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the URL means nothing.
        ImportError: the database's driver is not installed.
    """

    def __init__(self, url: str) -> None:
        parsed = sa.make_url(url)
        self._is_sqlite = parsed.get_backend_name() == "sqlite"
        arguments: dict[str, Any] = {"timeout": _BUSY_S} if self._is_sqlite else {}
        self._path: str | None = None  # of SQLite's file
        if self._is_sqlite and parsed.database and parsed.database != ":memory:":
            self._path = os.path.abspath(parsed.database)
            with contextlib.suppress(OSError):  # then the database says so
                os.makedirs(os.path.dirname(self._path), exist_ok=True)
        self._engine = sa.create_engine(parsed, connect_args=arguments)
        if self._is_sqlite:
            sa.event.listen(self._engine, "connect", _set_up_sqlite)
        # Positional parameters, whatever the driver's usual ones: rows are tuples.
        usual: Any = self._engine.dialect
        style = {"named": None, "pyformat": "format"}.get(usual.paramstyle, usual.paramstyle)
        self._positional = None if style not in ("qmark", "format") else type(usual)(paramstyle=style)
        self._written: dict[tuple[str, bool], Callable[[sa.Connection, Sequence[Row]], None]] = {}
        self.stamp: Callable[[float], Any] = text_stamp() if self._is_sqlite else datetime.fromtimestamp

    def prepare(self) -> None:
        """Make the tables that are not there.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: the database cannot be had.
        """
        for attempt in range(_ATTEMPTS):
            try:
                tables.metadata.create_all(self._engine)
                return
            except (OperationalError, ProgrammingError, IntegrityError) as error:
                if attempt == _ATTEMPTS - 1 or ("exist" not in str(error) and "unique" not in str(error).lower()):
                    raise

    def open_run(self, run_id: str) -> tuple[Rows, int]:
        """The rows of a run, which may have been begun by a recorder that has died; and what of its journal is read.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: the database cannot be had.
        """
        own = tables.trellis_run
        with self._engine.begin() as connection:
            found = connection.execute(sa.select(own).where(own.c.run_id == run_id)).one_or_none()
            if found is None:
                texts = dict.fromkeys(("host", "trellis_version", "python_version"), "")
                counts = dict.fromkeys(("pid", "tasks", "dropped_samples", "dropped_events", "read_until"), 0)
                first = {"run_id": run_id, "state": "running", "recorded_until": 0.0, **texts, **counts}
                made = connection.execute(sa.insert(own).values(first))
                assert made.inserted_primary_key is not None
                return Rows(made.inserted_primary_key[0], self.stamp), 0
            rows = Rows(found.run, self.stamp)
            if found.read_until:
                self._take_up(connection, rows, found)
            return rows, found.read_until

    def _take_up(self, connection: sa.Connection, rows: Rows, run: Any) -> None:
        own, task, tries, attempt = tables.trellis_task, tables.task, tables.tries, tables.trellis_attempt
        open_ = sa.and_(own.c.run == run.run, own.c.returned.is_(None))

        def by_task(table: sa.Table, mine: Any) -> dict[int, list[Any]]:
            """The last row of each open task: attempts are in their order."""
            select = sa.select(table).join_from(own, table, sa.and_(table.c.task_id == own.c.task_id, mine, open_))
            if "try_id" in table.c:
                select = select.order_by(table.c.try_id)
            return {row.task_id: self._raw(table, row) for row in connection.execute(select)}

        workflow = connection.execute(sa.select(tables.workflow).where(tables.workflow.c.run_id == run.run_id)).one()
        found_tasks = by_task(task, task.c.run_id == run.run_id)
        found_tries = by_task(tries, tries.c.run_id == run.run_id)
        found_attempts = by_task(attempt, attempt.c.run == run.run)
        own_rows = [list(row) for row in connection.execute(sa.select(own).where(open_))]
        parts = []
        for row in own_rows:
            number = row[1]
            try_, last = found_tries[number], found_attempts.get(number)
            if last is not None and last[2] != try_[0]:  # the next attempt is not launched yet
                last = None
            parts.append((found_tasks[number], try_, row, last))
        rows.take_up(self._raw(tables.workflow, workflow), list(run), parts)

    def _raw(self, table: sa.Table, row: Sequence[Any]) -> list[Any]:
        """A row with times as they are written."""
        stamp = self.stamp
        return [
            stamp(value.timestamp()) if isinstance(value, datetime) else value
            for _, value in zip(table.columns, row, strict=True)
        ]

    def write(self, batch: RowBatch) -> None:
        """Write all, or nothing. A row that the database does not take is left out, and logged.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: the database is locked, full, or gone.
        """
        if self._path is not None and not os.path.exists(self._path):
            logger.warning("%s was removed: what was recorded is lost, and is begun again", self._path)
            self._engine.dispose()
            self.prepare()
        try:
            with self._engine.begin() as connection:
                for name, replace, rows in _parts(batch):
                    self._writer(name, replace)(connection, rows)
        except (OperationalError, InterfaceError, InternalError):
            raise
        except Exception:
            logger.warning("some rows cannot be written: all are tried one by one", exc_info=True)
            self._write_singly(batch)

    def _write_singly(self, batch: RowBatch) -> None:
        with self._engine.begin() as connection:
            for name, replace, rows in _parts(batch):
                for row in rows:
                    try:
                        with connection.begin_nested():
                            self._writer(name, replace)(connection, [row])
                    except (OperationalError, InterfaceError, InternalError):
                        raise
                    except Exception as error:
                        logger.warning("a row of %s is left out: %s", name, error)

    def _writer(self, name: str, replace: bool) -> Callable[[sa.Connection, Sequence[Row]], None]:
        key = (name, replace)
        if key not in self._written:
            self._written[key] = self._make_writer(tables.metadata.tables[name], replace)
        return self._written[key]

    def _make_writer(self, table: sa.Table, replace: bool) -> Callable[[sa.Connection, Sequence[Row]], None]:
        columns = [column.name for column in table.columns if column.name != _AUTOMATIC.get(table.name)]
        statement = _insert(table, columns, self._engine.dialect.name, replace)
        if self._positional is not None:
            compiled = statement.compile(dialect=self._positional, column_keys=columns)
            text = str(compiled)
            order = compiled.positiontup or columns
            if list(order) == columns:
                return lambda connection, rows: _execute(connection, text, rows)
        keys = [column.name for column in table.primary_key]

        def write(connection: sa.Connection, rows: Sequence[Row]) -> None:
            """Write rows where no upsert is known, or parameters have names."""
            values = [dict(zip(columns, row, strict=True)) for row in rows]
            if replace:
                where = [table.c[key] == sa.bindparam(f"key_{key}") for key in keys]
                connection.execute(
                    sa.delete(table).where(*where), [{f"key_{key}": value[key] for key in keys} for value in values]
                )
            connection.execute(statement, values)

        return write

    def close(self) -> None:
        self._engine.dispose()


def _parts(batch: RowBatch) -> Iterator[tuple[str, bool, Sequence[Row]]]:
    for name, rows in batch.replaced.items():
        yield name, True, rows
    for name, rows in batch.added.items():
        yield name, False, rows


def _insert(table: sa.Table, columns: Sequence[str], dialect: str, replace: bool) -> Any:
    values: dict[str, Any] = {name: sa.bindparam(name) for name in columns}
    if dialect == "sqlite":
        inserted = sqlite.insert(table).values(values)
        return inserted.prefix_with("OR REPLACE" if replace else "OR IGNORE")
    if dialect == "postgresql":
        upsert = postgresql.insert(table).values(values)
        keys = [column.name for column in table.primary_key]
        if not replace:
            return upsert.on_conflict_do_nothing()
        changed = {name: upsert.excluded[name] for name in columns if name not in keys}
        return upsert.on_conflict_do_update(index_elements=keys, set_=changed)
    return sa.insert(table).values(values)


def _execute(connection: sa.Connection, text: str, rows: Sequence[Row]) -> None:
    connection.exec_driver_sql(text, rows if isinstance(rows, list) else list(rows))


def _set_up_sqlite(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    try:
        # Readers and the writer do not wait for each other. A file system that cannot do it has the usual journal.
        cursor.execute("PRAGMA journal_mode=WAL").fetchall()
        cursor.execute("PRAGMA synchronous=NORMAL")
    except Exception:
        pass
    finally:
        cursor.close()


def text_stamp() -> Callable[[float], str]:
    """Local times as SQLAlchemy writes them into SQLite, which has no type for them."""
    seconds: dict[int, str] = {}

    def stamp(at: float) -> str:
        whole = int(at)
        text = seconds.get(whole)
        if text is None:
            if len(seconds) > 1_000:
                seconds.clear()
            text = seconds[whole] = datetime.fromtimestamp(whole).strftime("%Y-%m-%d %H:%M:%S")
        return f"{text}.{int((at - whole) * 1_000_000):06d}"

    return stamp
