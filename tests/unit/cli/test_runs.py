"""What is read off task records, and the sums over it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from trellis.cli.runs import TaskRun, collect_runs, group_by_worker, name_workers, parallel_efficiency
from trellis.core.interfaces import RunInfo
from trellis.dataflow.states import States


def record(task_id: int = 0, **changes: Any) -> Any:
    fields = {
        "id": task_id,
        "func_name": "f",
        "executor": "htex",
        "status": States.exec_done,
        "args": (),
        "run_info": RunInfo("host", "0", "m", 1, 100.0, 2.0),
    }
    return SimpleNamespace(**{**fields, **changes})


def run(worker: tuple[str, str, str, int] = ("host", "0", "m", 0), duration_s: float = 1.0) -> TaskRun:
    return TaskRun(0, "f", worker, 100.0, duration_s)


def test_finished_task() -> None:
    assert collect_runs([record(7)]) == [TaskRun(7, "f", ("host", "0", "m", 1), 100.0, 2.0)]


def test_failed_task() -> None:
    assert [run.failed for run in collect_runs([record(status=States.failed)])] == [True]


def test_what_did_not_run_is_left_out() -> None:
    assert collect_runs([record(run_info=None)]) == []


def test_bodies_of_join_apps_are_left_out() -> None:
    assert collect_runs([record(executor="_parsl_internal")]) == []


def test_runs_are_sorted_by_start() -> None:
    late = record(1, run_info=RunInfo("host", "0", "m", 0, 300.0, 1.0))
    assert [run.task_id for run in collect_runs([late, record(2)])] == [2, 1]


@pytest.mark.parametrize(
    ("args", "detail"), [((), ""), ((3,), ""), (("name", 1), "name"), (("/usr/lib/python/a/b.py",), "a/b.py")]
)
def test_detail_is_the_first_text(args: tuple[object, ...], detail: str) -> None:
    assert collect_runs([record(args=args)])[0].detail == detail


def test_efficiency() -> None:
    assert parallel_efficiency([run(duration_s=3.0), run(duration_s=5.0)], workers=2, wall_s=5.0) == 0.8


@pytest.mark.parametrize(("workers", "wall_s"), [(0, 1.0), (2, 0.0)])
def test_efficiency_of_nothing(workers: int, wall_s: float) -> None:
    assert parallel_efficiency([], workers, wall_s) == 0.0


def test_names_hold_only_what_differs() -> None:
    assert list(name_workers([("h", "0", "m", 10), ("h", "0", "m", 9)]).values()) == ["worker 9", "worker 10"]
    assert list(name_workers([("h1", "0", "a", 0), ("h1", "0", "a", 1), ("h2", "0", "a", 0)]).values()) == [
        "h1 worker 0",
        "h1 worker 1",
        "h2 worker 0",
    ]


def test_threads_are_named_by_their_names() -> None:
    assert list(name_workers([("h", "", "t-10", 10), ("h", "", "t-2", 2)]).values()) == ["t-2", "t-10"]


def test_a_lone_worker_has_a_name() -> None:
    assert list(name_workers([("h", "0", "m", 0)]).values()) == ["worker 0"]


def test_long_names_are_cut() -> None:
    names = list(name_workers([("h" * 30, "0", "m", 0), ("g", "1", "m", 0)]).values())
    assert names == ["g block 1", "h" * 19 + "… block 0"]


def test_groups_by_worker() -> None:
    first, second, third = run(("h", "0", "m", 1)), run(("h", "0", "m", 0)), run(("h", "0", "m", 1))
    assert group_by_worker([first, second, third]) == {("h", "0", "m", 0): [second], ("h", "0", "m", 1): [first, third]}
