"""The queries of the dashboard give the same on PostgreSQL and on SQLite."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

from tests.recorded.runs import MadeUpRun
from trellis.dashboard.pages import Pages
from trellis.monitoring.queries.pages_source import RecordSource
from trellis.monitoring.queries.pages_tasks import TaskFilter
from trellis.monitoring.tables import PARSLS, metadata

FIGURES = ("states", "rate", "busy", "cores", "memory", "blocks", "durations", "stream", "samples")
# Orders that hang on no time that SQLite rounds.
EXACT = ("id", "invoked", "tries")
RUN_ID = "22222222-0000-4000-8000-00000000000{}"


def _typed(table: sqlalchemy.Table, row: tuple[Any, ...]) -> dict[str, Any]:
    found = dict(zip([column.name for column in table.columns], row, strict=True))
    for column in table.columns:
        value = found[column.name]
        if isinstance(column.type, sqlalchemy.DateTime) and value is not None:
            found[column.name] = datetime.fromisoformat(value)
        elif isinstance(column.type, sqlalchemy.Boolean):
            found[column.name] = bool(value)
        elif column.name == "id" and value is None:
            del found["id"]
    return found


@pytest.fixture(params=[True, False], ids=["ended", "unfinished"])
def both(request: pytest.FixtureRequest, postgresql: str, tmp_path: Path) -> Iterator[tuple[Pages, Pages, str]]:
    """Pages of the same run in SQLite and in PostgreSQL."""
    run_id = RUN_ID.format(int(request.param))
    made = MadeUpRun(tasks=300, finished=request.param, run_id=run_id).write(tmp_path / "monitoring.db")
    engine = sqlalchemy.create_engine(postgresql)
    metadata.create_all(engine)
    with engine.begin() as connection:
        for table in PARSLS:
            rows = [_typed(table, row) for row in made.rows[table.name]]
            connection.execute(table.insert(), rows)
    sources = RecordSource(tmp_path / "monitoring.db"), RecordSource(postgresql)
    yield Pages(sources[0], ask_live=False), Pages(sources[1], ask_live=False), run_id
    for source in sources:
        source.close()
    with engine.begin() as connection:
        for table in reversed(PARSLS):  # what refers to a run goes before it
            connection.execute(table.delete().where(table.c.run_id == run_id))
    engine.dispose()


def alike(one: Any, other: Any) -> bool:
    """Equal, but for what is lost of times: SQLite has them to 40 microseconds."""
    if isinstance(one, dict):
        return set(one) == set(other) and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, float) and isinstance(other, int | float):
        return one == pytest.approx(other, abs=0.02, rel=1e-2)
    return bool(one == other) or (isinstance(one, str) and len(one) == len(other))


def test_figures_are_alike(both: tuple[Pages, Pages, str]) -> None:
    sqlite, postgresql, run_id = both
    runs = [pages.run(run_id) for pages in (sqlite, postgresql)]
    assert runs[0] is not None
    assert runs[1] is not None
    for name in FIGURES:
        figures = [
            pages.figure(run, name, {"task": "206"})
            for pages, run in zip((sqlite, postgresql), runs, strict=True)
            if run is not None
        ]
        # In the course of a run, what falls on the border of two bins may be in either.
        assert figures[0]["rows"][-1:] == figures[1]["rows"][-1:] if name == "states" else True
        if name not in ("states", "rate", "blocks"):
            assert alike(*([one["y"] for one in figure["data"]] for figure in figures)), name
        assert len(figures[0]["rows"]) == len(figures[1]["rows"]), name


def test_pages_are_alike(both: tuple[Pages, Pages, str]) -> None:
    sqlite, postgresql, run_id = both
    found = []
    for pages in (sqlite, postgresql):
        run = pages.run(run_id)
        assert run is not None
        overview = pages.overview(run)
        lists = [
            [row.task_id for row in pages.tasks(run, chosen)["tasks"]]
            for chosen in (
                *(TaskFilter(sort=sort, descending=down) for sort in EXACT for down in (True, False)),
                *(TaskFilter(state=state) for state in ("failed", "unsuccessful", "waiting", "running", "pending")),
                TaskFilter(text="cell 206", host="node01", block="1", executor="htex"),
            )
        ]
        task = pages.task(run, 206)
        assert task is not None
        found.append(
            (
                overview["states"],
                [(group.fingerprint, group.final, group.hosts) for group in overview["groups"]],
                lists,
                [(app.app, app.tasks, app.failed, app.attempts) for app in pages.apps(run)["apps"]],
                [(work.host, work.attempts, work.failed) for work in pages.places(run)["work"]],
                pages.graph(run)["edges"], [(one.try_id, one.failure) for one in task["task"].attempts],
            )
        )  # fmt: skip
    assert found[0] == found[1]
