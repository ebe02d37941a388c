"""How a manager comes to its end, and what becomes of its tasks then: drain, SIGTERM, a silent interchange."""

from __future__ import annotations

import pytest

from tests.unit.executors.htex.manager.house import PERIOD_S, House
from trellis.executors.htex.manager.events import (
    Exit,
    GiveBack,
    InterchangeHeard,
    Release,
    ReportCancelled,
    ReportWorkerLost,
    ReturnRequested,
    SendDraining,
    SendHeartbeat,
    StartWorker,
    StopRequested,
    TakeBack,
    TerminateRequested,
    WorkerReady,
)
from trellis.executors.htex.manager.state import TERM_GRACE_S
from trellis.wire.messages import Demand

SIGTERM = TerminateRequested("the job ends")
END = Exit("the job ends", failed=False)

# -- draining ----------------------------------------------------------------------------------------------------


def test_when_its_time_has_come_it_gives_back_what_has_not_started_and_goes_on_with_the_rest() -> None:
    house = House(drain_after_s=10)
    house.receive(1, 2, 3)
    house.run()
    assert house.to_deadline() == [SendDraining(), TakeBack(), GiveBack([2, 3])]
    assert house.state.draining  # when it registers again, the interchange must know
    assert house.wait(10) == []
    assert house.finish(1) == []
    assert house(StopRequested("dismissed: it is drained")) == [
        TakeBack(),
        Exit("dismissed: it is drained", failed=False),
    ]


def test_tasks_that_were_under_way_when_it_asked_are_given_back() -> None:
    house = House(drain_after_s=10)
    assert house.wait(10) == [SendDraining(), TakeBack()]
    assert house.receive(1, 2) == [GiveBack([1, 2])]
    assert house.state.holding == []


def test_a_worker_that_dies_while_it_drains_is_replaced_and_its_task_reported() -> None:
    house = House(drain_after_s=10)
    house.receive(1)
    house.run()
    house.wait(10)
    assert house.die(0) == [ReportWorkerLost(0, 1, "exit code 1"), StartWorker(0)]
    assert house(WorkerReady(0)) == []


def test_without_a_drain_period_it_stays() -> None:
    house = House()
    for _ in range(100):
        house(InterchangeHeard())
        assert house.wait(PERIOD_S) == [SendHeartbeat()]


def test_one_that_drains_answers_when_it_is_asked_for_tasks() -> None:
    house = House(drain_after_s=10)
    house.wait(10)
    assert house(ReturnRequested(3)) == [TakeBack(), GiveBack([])]


# -- SIGTERM -----------------------------------------------------------------------------------------------------


def test_told_to_terminate_it_gives_back_what_waits_and_lets_end_what_runs() -> None:
    house = House(workers=2)
    house.receive(1, 2, 3, 4)
    house.run(0)
    house.run(1)
    assert house(SIGTERM) == [SendDraining(), TakeBack(), GiveBack([3, 4])]
    assert house.finish(1) == []
    assert house.finish(2) == [END]
    assert house.wait(100) == []


def test_with_nothing_to_do_it_ends_at_once() -> None:
    assert House()(SIGTERM) == [SendDraining(), TakeBack(), END]


def test_what_waits_for_ready_workers_is_given_back_before_the_end() -> None:
    house = House(ready=False)
    house.receive(1)
    assert house(SIGTERM) == [SendDraining(), TakeBack(), GiveBack([1]), END]


def test_what_runs_longer_than_the_grace_is_lost_with_the_manager() -> None:
    house = House()
    house.receive(1)
    house.run()
    house(SIGTERM)
    assert house.state.next_deadline() == house.now + TERM_GRACE_S
    assert house.to_deadline() == [END]
    assert house.state.started == [1]


def test_told_twice_as_batch_system_and_launcher_do_it_keeps_to_its_grace() -> None:
    house = House()
    house.receive(1)
    house.run()
    house(SIGTERM)
    due = house.state.next_deadline()
    house.wait(1)
    assert house(SIGTERM) == []
    assert house.state.next_deadline() == due
    assert house.finish(1) == [END]


def test_one_that_drains_already_needs_not_say_so_again() -> None:
    house = House(drain_after_s=10)
    house.receive(1)
    house.run()
    house.wait(10)
    assert house(SIGTERM) == []
    assert house.finish(1) == [END]


def test_the_last_task_may_end_by_its_cancelling() -> None:
    house = House()
    house.receive(1)
    house.run()
    house(SIGTERM)
    house.cancel(1)
    assert house.die(0) == [ReportCancelled([1]), StartWorker(0), END]


def test_workers_that_gather_for_a_task_are_let_go_and_it_is_given_back() -> None:
    house = House(workers=2, cpus=2)
    house.demand({1: Demand(cores=2), 2: None})
    house.park(0)
    assert house(SIGTERM) == [SendDraining(), TakeBack(), GiveBack([1, 2]), Release([0]), END]


@pytest.mark.parametrize("before", [StopRequested("dismissed"), SIGTERM], ids=["stop", "terminate"])
def test_to_be_stopped_is_the_end(before: StopRequested | TerminateRequested) -> None:
    house = House()
    house.receive(1)
    house.run()
    house(before)
    actions = house(StopRequested("SIGINT"))
    assert actions == ([] if isinstance(before, StopRequested) else [TakeBack(), Exit("SIGINT", failed=False)])
