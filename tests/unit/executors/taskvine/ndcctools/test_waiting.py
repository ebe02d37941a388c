"""What the user is told of tasks that wait on the real TaskVine."""

from __future__ import annotations

import pytest

from trellis.executors.taskvine.ndcctools.waiting import STILL_S, UNFIT_S, Waiting, WorkerNeed
from trellis.wire.vine import Resources

WORKER = Resources(4, 1000, 2000, 0)
SMALL = {1: WorkerNeed("tasks of small", Resources(cores=1))}


@pytest.fixture
def waiting() -> Waiting:
    return Waiting()


def test_nothing_is_said_while_all_is_well(waiting: Waiting) -> None:
    for now in (0.0, 1000.0):
        assert waiting.look(now, 5, 1, [WORKER], SMALL) == []
        assert waiting.look(now + 500, 0, 0, [WORKER], {}) == []
        assert waiting.look(now + 600, 0, 0, [], {}) == []


def test_no_worker_is_told_once_until_one_comes(waiting: Waiting) -> None:
    assert waiting.look(0.0, 5, 0, [], SMALL) == []
    (words,) = waiting.look(STILL_S, 5, 0, [], SMALL)
    assert words.startswith("5 tasks wait, and there was no worker for 60 s")
    assert waiting.look(2 * STILL_S, 5, 0, [], SMALL) == []
    assert waiting.look(300.0, 5, 1, [WORKER], SMALL) == []
    assert waiting.look(301.0, 5, 0, [], SMALL) == []
    assert len(waiting.look(301.0 + STILL_S, 5, 0, [], SMALL)) == 1


@pytest.mark.parametrize(
    ("wish", "asked"),
    [
        (WorkerNeed("tasks of big", Resources(cores=5)), "5 cores"),
        (WorkerNeed("tasks of big", Resources(memory=1001, disk=1)), "1001 MB of memory, 1 MB of disk"),
        (WorkerNeed("tasks of big", Resources(gpus=1)), "1 gpus"),
    ],
)
def test_what_fits_no_worker_is_told_though_others_run(waiting: Waiting, wish: WorkerNeed, asked: str) -> None:
    needs = {**SMALL, 2: wish}
    assert waiting.look(0.0, 5, 1, [WORKER], needs) == []
    assert waiting.look(UNFIT_S, 5, 1, [WORKER], needs) == [f"no worker has what tasks of big ask for: {asked}"]
    assert waiting.look(2 * UNFIT_S, 5, 1, [WORKER], needs) == []


def test_parts_of_several_workers_are_no_worker(waiting: Waiting) -> None:
    workers, needs = (
        [Resources(8, 100, 100, 0), Resources(1, 1000, 100, 0)],
        {1: WorkerNeed("t", Resources(cores=2, memory=500))},
    )
    waiting.look(0.0, 1, 0, workers, needs)
    assert len(waiting.look(UNFIT_S, 1, 0, workers, needs)) == 1


def test_that_nothing_runs_though_it_could_is_told(waiting: Waiting) -> None:
    needs = {1: WorkerNeed("tasks of odd", Resources(), ("gpu",), 60.0)}
    waiting.look(0.0, 2, 0, [WORKER], needs)
    (words,) = waiting.look(STILL_S, 2, 0, [WORKER], needs)
    assert "none of 1 workers runs any: tasks of odd (feature gpu, 60 s)" in words
    assert waiting.look(STILL_S + 1, 2, 1, [WORKER], needs) == []
    assert waiting.look(STILL_S + 2, 2, 0, [WORKER], needs) == []
