"""What happened, as rows: each state once, an attempt that is tried again, and what a successor takes up."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest

from trellis.dataflow.notes import BEGUN, CHANGED, DONE, LAUNCHED, SUBMITTED
from trellis.dataflow.states import States
from trellis.monitoring.messages import BLOCK, DROPPED, FILE, NODE, RUN_BEGAN, RUN_ENDED, SAMPLE, RunBegan
from trellis.monitoring.rows import RowBatch, Rows
from trellis.monitoring.store import RecordStore, text_stamp

RAN = ["h", "0", "m", 1, 12.5, 0.25, [1.0, 2.0, 3, 4, 5]]
BEGAN = RunBegan("run", "name", "version", 10.0, "host", "user", "dir", 42, "0", "3")
FAILURE = {
    "exception": "ValueError",
    "message": "no",
    "history": "ValueError('no')",
    "fingerprint": "abc",
    "traceback": "",
    "count": 1,
    "cost": 1.0,
    "final": False,
}


def rows(*entries: Any) -> Rows:
    made = Rows(3, lambda at: at)
    made.handle([RUN_BEGAN, [getattr(BEGAN, name) for name in BEGAN.__struct_fields__]])
    for entry in entries:
        made.handle(entry)
    return made


def states(batch: RowBatch) -> list[tuple[str, float, int]]:
    return [(name, at, try_id) for _, name, at, _, try_id in batch.added["status"]]


SIMPLE = [
    [SUBMITTED, 0, 11.0, "app", "htex", False, [1, None]],
    [LAUNCHED, 0, 12.0, "htex", None],
    [DONE, 0, 13.0, RAN],
]


def test_a_simple_task() -> None:
    batch = rows(*SIMPLE).take(77)
    assert states(batch) == [
        ("pending", 11.0, 0),
        ("launched", 12.0, 0),
        ("running", 12.5, 0),
        ("running_ended", 12.75, 0),
        ("exec_done", 13.0, 0),
    ]
    assert batch.replaced["try"] == [(0, 0, "run", "0", "h", "htex", 12.0, 12.5, 13.0, "", None)]
    assert batch.replaced["task"] == [
        (0, "run", "", "app", "0", None, "None", "None", None, "", "", 11.0, 13.0, 0, 0.0)
    ]
    assert batch.replaced["trellis_task"] == [(3, 0, "app", "exec_done", "1, None", None, 11.0, 13.0, 1)]
    assert batch.replaced["trellis_attempt"] == [
        (3, 0, 0, "app", "htex", "h", "0", "m", 1, 12.0, 12.5, 0.25, 13.0, None, 1.0, 2.0, 3, 4, 5)
    ]
    assert batch.replaced["trellis_run"] == [(3, "run", "running", 13.0, 1, 0, 0, 77, 42, "host", "0", "3")]
    assert batch.replaced["workflow"][0][-2:] == (0, 1)


def test_a_task_that_is_told_to_run_runs_once() -> None:
    begun = [BEGUN, 0, 12.6, "h", "0", "m", 1, 12.5]
    made = rows(*SIMPLE[:2], begun)
    assert states(made.take(0))[-1] == ("running", 12.5, 0)
    made.handle(SIMPLE[2])
    assert [state[0] for state in states(made.take(0))] == ["running_ended", "exec_done"]


def test_an_attempt_that_failed_and_another() -> None:
    retried = [CHANGED, 0, 13.0, States.fail_retryable, {"failure": FAILURE, "run_info": RAN}]
    made = rows(*SIMPLE[:2], retried, [LAUNCHED, 0, 14.0, "other", None])
    batch = made.take(0)
    assert states(batch)[4:] == [("fail_retryable", 13.0, 0), ("pending", 13.0, 1), ("launched", 14.0, 1)]
    assert batch.replaced["try"] == [
        (0, 0, "run", "0", "h", "htex", 12.0, 12.5, 13.0, "ValueError('no')", None),
        (1, 0, "run", None, None, "other", 14.0, None, None, "", None),
    ]
    assert [row[2:5] for row in batch.replaced["trellis_attempt"]] == [(0, "app", "htex"), (1, "app", "other")]
    assert batch.added["trellis_failure"] == [(3, 0, 0, 13.0, "app", "abc", "ValueError", "no", None, False)]


def test_an_attempt_that_could_not_be_launched_has_not_run() -> None:
    retried = [CHANGED, 0, 13.0, States.fail_retryable, {"failure": FAILURE, "run_info": RAN}]
    failed = [CHANGED, 0, 14.0, States.failed, {"failure": FAILURE, "run_info": RAN}]
    batch = rows(*SIMPLE[:2], retried, failed).take(0)
    assert batch.replaced["try"][1] == (1, 0, "run", None, None, "htex", None, None, 14.0, "ValueError('no')", None)
    assert [state[0] for state in states(batch)].count("running") == 1


def test_a_task_that_is_cancelled_and_what_comes_too_late() -> None:
    made = rows(*SIMPLE[:2], [CHANGED, 0, 13.0, States.cancelled, {"failure": FAILURE}], SIMPLE[2])
    batch = made.take(0)
    assert states(batch)[-1] == ("cancelled", 13.0, 0)
    assert "trellis_failure" not in batch.added
    assert made.take(0).added == {}


def test_measurements() -> None:
    sample = [SAMPLE, 0, 0, 30.0, 12.0, 99, 0.5, 2, 1.0, 2.0, 3, 4, 5, 6, "sleeping", "1", 7, 8]
    node = [NODE, "htex", "m", "h", "0", 2, 1000, True, 4, "3.11", 11.0, 12.0]
    batch = rows(sample, node, [BLOCK, "htex", "0", "job", "PENDING", 11.0, "Priority"], [FILE, *range(9)]).take(0)
    process = (99, 0.5, 2.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, "sleeping", "1", 7.0, 8.0)
    assert batch.added["resource"] == [(0, 0, "run", 12.0, 30.0, *process)]
    assert batch.added["node"] == [("run", "h", "m", "0", 2, 1000, True, 4, "3.11", 12.0, 12.0)]
    assert batch.replaced["trellis_node"] == [(3, "htex", "m", "h", "0", 2, 1000, 4, "3.11", 11.0, 12.0, True)]
    assert batch.added["block"] == [("run", "htex", "0", "job", 11.0, "PENDING")]
    assert batch.added["trellis_block"] == [(3, "htex", "0", 11.0, "PENDING", "job", "Priority")]
    assert batch.added["trellis_file"] == [(3, *range(9))]


def test_how_a_run_ends() -> None:
    made = rows(*SIMPLE, [DROPPED, 5, 6], [RUN_ENDED, 20.0])
    made.end_lost()
    batch = made.take(0)
    assert batch.replaced["trellis_run"][0][2:7] == ("ended", 20.0, 1, 5, 6)
    assert batch.replaced["workflow"][0][4] == 20.0
    lost = rows(*SIMPLE)
    lost.end_lost()
    assert lost.take(0).replaced["trellis_run"][0][2:4] == ("lost", 13.0)


@pytest.mark.parametrize("kept", range(1, 8))
def test_a_successor_goes_on_where_a_recorder_has_died(kept: int, tmp_path: Any) -> None:
    """Whenever the first one dies, the tables are the same in the end."""
    retried = [CHANGED, 1, 13.5, States.fail_retryable, {"failure": FAILURE, "run_info": RAN}]
    second = [[SUBMITTED, 1, 11.5, "app", "htex", True, {"depends": [0], "arguments": "<task 0>"}]]
    second += [[LAUNCHED, 1, 13.2, "htex", {"hashsum": "h"}], retried, [LAUNCHED, 1, 14.0, "htex", None]]
    entries = [*SIMPLE, *second, [DONE, 1, 15.0, RAN]]
    fields = [getattr(BEGAN, name) for name in BEGAN.__struct_fields__]

    def record(name: str, *parts: list[Any]) -> list[Any]:
        url = f"sqlite:///{tmp_path}/{name}.db"
        for place, part in enumerate(parts):
            store = RecordStore(url)
            store.prepare()
            found, read = store.open_run("run")
            assert read == place
            for entry in part:
                found.handle(entry)
            store.write(found.take(place + 1))
            store.close()
        connection = sqlite3.connect(tmp_path / f"{name}.db")
        names = ("workflow", "task", "try", "status", "trellis_task", "trellis_attempt", "trellis_failure")
        tables = [sorted(connection.execute(f"SELECT * FROM {name}"), key=repr) for name in names]
        connection.close()
        return tables

    first = [[RUN_BEGAN, fields], *entries[:kept]]
    assert record("twice", first, entries[kept:]) == record("once", [*first, *entries[kept:]])


def test_times_are_local_with_microseconds() -> None:
    stamp = text_stamp()
    assert stamp(1_700_000_000.25)[-9:] == "20.250000"
    assert len(stamp(0.0)) == 26
