"""Runs recorded in a real PostgreSQL."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

import trellis
from tests.integration.monitoring.test_recorded_runs import add, bad, both, remembered
from trellis import Config, MonitoringHub, ThreadPoolExecutor
from trellis.monitoring import tables
from trellis.monitoring.rows import Rows
from trellis.monitoring.store import RecordStore

LIMIT_S = 30.0


@pytest.fixture
def engine(postgresql: str) -> Iterator[sa.Engine]:
    engine = sa.create_engine(postgresql)
    yield engine
    tables.metadata.drop_all(engine)
    engine.dispose()


def ask(engine: sa.Engine, question: str) -> list[tuple[object, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(sa.text(question))]


def config(url: str, place: Path) -> Config:
    hub = MonitoringHub(logging_endpoint=url)
    return Config([ThreadPoolExecutor("here", max_threads=2)], retries=1, run_dir=str(place), monitoring=hub)


def wait_for(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_run(postgresql: str, engine: sa.Engine, tmp_path: Path) -> None:
    with trellis.load(config(postgresql, tmp_path)):
        first = add(1)
        add(first).result()
        remembered(1).result()
        remembered(1).result()
        add(bad(1)).exception()
        both(1).result()
    assert ask(engine, "SELECT state, tasks FROM trellis_run") == [("ended", 9)]
    assert ask(engine, "SELECT tasks_failed_count, tasks_completed_count FROM workflow") == [(1, 6)]
    states = "SELECT task_status_name, count(*) FROM status WHERE try_id = 0 GROUP BY 1"
    assert dict(ask(engine, states)) == {
        "pending": 9,
        "launched": 7,
        "running": 7,
        "running_ended": 7,
        "exec_done": 6,
        "memo_done": 1,
        "fail_retryable": 1,
        "dep_fail": 1,
        "joining": 1,
    }
    assert ask(engine, "SELECT task_id, depends_on FROM trellis_dependency ORDER BY 1") == [(1, 0), (5, 4)]
    assert ask(engine, "SELECT count(*) FROM task WHERE task_time_returned > task_time_invoked") == [(9,)]
    assert ask(engine, "SELECT final FROM trellis_failure WHERE task_id = 4 ORDER BY at") == [(False,), (True,)]


def test_a_connection_that_is_cut(postgresql: str, engine: sa.Engine, tmp_path: Path) -> None:
    with trellis.load(config(postgresql, tmp_path)):
        add(1).result()
        wait_for(lambda: sa.inspect(engine).has_table("task") and ask(engine, "SELECT count(*) FROM task") == [(1,)])
        others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid != pg_backend_pid() AND "
        assert ask(engine, others + "backend_type = 'client backend'")
        for number in range(10):
            add(number).result()
    assert ask(engine, "SELECT state, tasks FROM trellis_run") == [("ended", 11)]
    assert ask(engine, "SELECT count(*) FROM task WHERE task_time_returned IS NOT NULL") == [(11,)]


def test_a_text_that_the_database_does_not_take_costs_its_row_only(postgresql: str, engine: sa.Engine) -> None:
    store = RecordStore(postgresql)
    store.prepare()
    rows, _ = store.open_run("a run")
    assert isinstance(rows, Rows)
    rows.handle([20, ["a run", "name", "1", 1.0, "host", "user", "dir", 1, "0", "3"]])
    for number, text in enumerate(("sound", "with a \0 in it", "sound")):
        rows.handle([0, number, 1.0, "app", "here", False, {"arguments": text}])
    store.write(rows.take(1))
    store.close()
    assert ask(engine, "SELECT task_id FROM trellis_task ORDER BY 1") == [(0,), (2,)]
    assert ask(engine, "SELECT task_id FROM task ORDER BY 1") == [(0,), (1,), (2,)]
