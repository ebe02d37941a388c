"""What is in the database when a program has ended: every task, attempt and state, with Parsl's meanings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import trellis
from tests.integration.monitoring.reading import rows
from trellis import Config, MonitoringHub, ThreadPoolExecutor, bash_app, join_app, python_app


@python_app
def add(x: int, y: int = 1) -> int:
    return x + y


@python_app(cache=True)
def remembered(x: int) -> int:
    return x


@python_app
def bad(x: int) -> None:
    raise ValueError(f"no good: {x}")


@join_app
def both(x: int) -> Any:
    return [add(x), add(x)]


@bash_app
def shell(text: str, stdout: Any = None) -> str:
    return f"echo {text}"


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("recorded")
    hub = MonitoringHub(workflow_name="study", workflow_version="2")
    config = Config([ThreadPoolExecutor("here", max_threads=2)], retries=1, run_dir=str(directory), monitoring=hub)
    with trellis.load(config):
        first = add(1)
        add(first, y=first).result()  # task 1
        remembered(3).result()
        remembered(3).result()  # task 3
        failed = bad(4)
        add(failed).exception()  # task 5
        both(6).result()  # and 7, 8
        shell("hello", stdout=str(directory / "out.txt")).result()  # task 9
    return directory / "monitoring.db"


def states(database: Path, task: int) -> list[tuple[str, int]]:
    question = f"SELECT task_status_name, try_id FROM status WHERE task_id = {task} ORDER BY timestamp"
    return rows(database, question)


def test_the_run(database: Path) -> None:
    ((name, version, failed, completed, began, ended),) = rows(
        database,
        "SELECT workflow_name, workflow_version, tasks_failed_count, tasks_completed_count, time_began, time_completed "
        "FROM workflow",
    )
    assert (name, version, failed, completed) == ("study", "2", 1, 7)
    assert began < ended
    assert rows(database, "SELECT state, tasks, dropped_samples, dropped_events FROM trellis_run") == [
        ("ended", 10, 0, 0)
    ]


def test_the_states_of_a_task(database: Path) -> None:
    assert sorted(states(database, 0)) == sorted(
        (name, 0) for name in ("pending", "launched", "running", "running_ended", "exec_done")
    )


def test_a_failed_attempt_and_another(database: Path) -> None:
    once = ("launched", "pending", "running", "running_ended")
    assert sorted(states(database, 4)) == sorted(
        [*((name, 0) for name in (*once, "fail_retryable")), *((name, 1) for name in (*once, "failed"))]
    )
    assert rows(
        database, "SELECT try_id, task_executor, task_fail_history FROM try WHERE task_id = 4 ORDER BY try_id"
    ) == [(number, "here", "ValueError('no good: 4')") for number in (0, 1)]
    assert rows(database, "SELECT task_fail_count, task_fail_cost FROM task WHERE task_id = 4") == [(2, 2.0)]


def test_a_task_that_could_not_run(database: Path) -> None:
    assert states(database, 5) == [("pending", 0), ("dep_fail", 0)]
    ((host, launched, running, returned),) = rows(
        database,
        "SELECT hostname, task_try_time_launched, task_try_time_running, task_try_time_returned "
        "FROM try WHERE task_id = 5",
    )
    assert (host, launched, running) == (None, None, None)
    assert returned


def test_a_memo(database: Path) -> None:
    assert states(database, 3) == [("pending", 0), ("memo_done", 0)]
    hashes = rows(database, "SELECT task_hashsum, task_memoize FROM task WHERE task_id IN (2, 3)")
    assert hashes[0] == hashes[1]
    assert hashes[0][0]
    assert hashes[0][1] == "1"
    assert rows(database, "SELECT DISTINCT task_hashsum, task_memoize FROM task WHERE task_id = 0") == [(None, "0")]


def test_what_a_join_waited_for(database: Path) -> None:
    assert rows(database, "SELECT task_joins, task_executor, block_id FROM try WHERE task_id = 6") == [
        ("7,8", "_parsl_internal", None)
    ]
    assert ("joining", 0) in states(database, 6)


def test_what_a_task_was_given(database: Path) -> None:
    assert rows(database, "SELECT task_id, task_depends FROM task WHERE task_depends != '' ORDER BY task_id") == [
        (1, "0"),
        (5, "4"),
    ]
    assert rows(database, "SELECT task_id, depends_on FROM trellis_dependency ORDER BY task_id") == [(1, 0), (5, 4)]
    assert rows(database, "SELECT arguments FROM trellis_task WHERE task_id IN (0, 1, 9) ORDER BY task_id") == [
        ("1",),
        ("<task 0>, y=<task 0>",),
        (f"'hello', stdout='{database.parent}/out.txt'",),
    ]
    assert rows(database, "SELECT task_stdout, task_stderr, task_inputs FROM task WHERE task_id = 9") == [
        (f"{database.parent}/out.txt", "", "None")
    ]


def test_failures_have_fingerprints_and_tracebacks(database: Path) -> None:
    found = rows(database, "SELECT task_id, exception, message, final, traceback FROM trellis_failure ORDER BY at")
    assert [row[:4] for row in found[:2]] == [(4, "ValueError", "no good: 4", final) for final in (0, 1)]
    assert "test_recorded_runs.py" in found[0][4]
    prints = rows(database, "SELECT task_id, COUNT(DISTINCT fingerprint) FROM trellis_failure GROUP BY task_id")
    assert prints == [(4, 1), (5, 1)]


def test_the_journal_is_gone(database: Path) -> None:
    left = sorted(path.name for path in (database.parent / "000" / "monitoring").iterdir())
    assert left == ["lock", "recorder.json", "recorder.log", "recorder.stderr"]
