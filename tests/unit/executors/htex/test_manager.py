"""The manager's machine: events in, whole lists of actions out."""

from __future__ import annotations

import pytest

from trellis.executors.htex.manager import (
    KILL_GRACE_S,
    START_FAILURES_PER_WORKER,
    Action,
    CancelRequested,
    DeadlinePassed,
    Event,
    Exit,
    InterchangeHeard,
    KillWorker,
    ManagerSettings,
    ManagerState,
    ReportCancelled,
    ReportTimedOut,
    ReportWorkerLost,
    SendDraining,
    SendHeartbeat,
    StartTask,
    StartWorker,
    StopRequested,
    TasksReceived,
    TerminateWorker,
    WorkerExited,
    WorkerFinished,
    WorkerReady,
)

PERIOD_S = 30.0
THRESHOLD_S = 120.0


class House:
    """A machine whose workers are ready, a time, and short words for events."""

    def __init__(self, workers: int = 1, drain_period_s: float | None = None, ready: bool = True) -> None:
        self.now = 1000.0
        settings = ManagerSettings(workers, PERIOD_S, THRESHOLD_S, drain_period_s)
        self.state = ManagerState(settings, self.now)
        if ready:
            for worker in range(workers):
                self(WorkerReady(worker))

    def __call__(self, event: Event) -> list[Action]:
        actions = self.state.handle(event, self.now)
        self.state.check_invariants()
        return actions

    def receive(self, *ids: int, walltimes_s: list[float] | None = None) -> list[Action]:
        return self(TasksReceived(ids, walltimes_s))

    def wait(self, seconds: float) -> list[Action]:
        self.now += seconds
        return self(DeadlinePassed())


@pytest.fixture
def house() -> House:
    return House()


@pytest.fixture
def two() -> House:
    return House(workers=2)


# -- starting tasks ----------------------------------------------------------------------------------------------


def test_it_starts_with_starting_its_workers() -> None:
    assert House(workers=2, ready=False).state.start() == [StartWorker(0), StartWorker(1)]


def test_tasks_wait_for_workers_that_start() -> None:
    house = House(workers=2, ready=False)
    assert house.receive(1, 2, 3) == []
    assert house(WorkerReady(1)) == [StartTask(1, 1)]
    assert house(WorkerReady(0)) == [StartTask(0, 2)]
    assert house.state.tasks == 3


def test_tasks_go_to_those_that_wait_longest(two: House) -> None:
    assert two.receive(1, 2) == [StartTask(0, 1), StartTask(1, 2)]
    two(WorkerFinished(1, 2))
    two(WorkerFinished(0, 1))
    assert two.receive(3) == [StartTask(1, 3)]


def test_a_worker_that_has_finished_takes_the_next(house: House) -> None:
    house.receive(1, 2)
    assert house(WorkerFinished(0, 1)) == [StartTask(0, 2)]
    assert house.state.tasks == 1


def test_only_a_starting_worker_can_get_ready(house: House) -> None:
    house.receive(1, 2)
    assert house(WorkerReady(0)) == []


def test_a_result_counts_for_the_worker_that_runs_the_task(two: House) -> None:
    two.receive(1, 2)
    assert [two.state.runs(worker, task) for worker, task in [(0, 1), (1, 2), (0, 2), (1, 1), (0, 3)]] == [
        True,
        True,
        False,
        False,
        False,
    ]
    assert two(WorkerFinished(0, 2)) == []
    assert two.state.tasks == 2


# -- workers that die --------------------------------------------------------------------------------------------


def test_a_worker_that_dies_while_it_starts_is_replaced() -> None:
    house = House(ready=False)
    assert house(WorkerExited(0, "exit code 1")) == [StartWorker(0)]


def test_a_worker_that_dies_idle_is_replaced_and_gets_nothing_before_it_is_ready(two: House) -> None:
    assert two(WorkerExited(0, "exit code 1")) == [StartWorker(0)]
    assert two.receive(1, 2) == [StartTask(1, 1)]
    assert two(WorkerReady(0)) == [StartTask(0, 2)]


def test_a_worker_that_dies_with_a_task_takes_it_along(two: House) -> None:
    two.receive(1, 2, 3)
    assert two(WorkerExited(1, "killed by signal 9")) == [ReportWorkerLost(1, 2, "killed by signal 9"), StartWorker(1)]
    assert two(WorkerReady(1)) == [StartTask(1, 3)]


def test_a_result_found_after_the_end_counts_and_nothing_new_is_started_there(two: House) -> None:
    two.receive(1, 2, 3)
    assert two(WorkerExited(1, "exit code 0", finished=2)) == [StartWorker(1)]
    assert two.state.tasks == 2
    assert two(WorkerReady(1)) == [StartTask(1, 3)]


def test_a_node_on_which_no_worker_gets_ready_is_given_up() -> None:
    house = House(workers=2, ready=False)
    for _ in range(2 * START_FAILURES_PER_WORKER - 1):
        assert house(WorkerExited(0, "exit code 1")) == [StartWorker(0)]
    assert house(WorkerExited(1, "exit code 1")) == [
        Exit("workers die before they are ready: exit code 1", failed=True)
    ]


def test_one_worker_that_gets_ready_proves_the_node() -> None:
    house = House(workers=2, ready=False)
    for _ in range(2 * START_FAILURES_PER_WORKER - 1):
        house(WorkerExited(0, "exit code 1"))
    house(WorkerReady(1))
    assert house(WorkerExited(0, "exit code 1")) == [StartWorker(0)]


# -- cancelling --------------------------------------------------------------------------------------------------


def test_a_queued_task_is_dropped(house: House) -> None:
    house.receive(1, 2, 3)
    assert house(CancelRequested([3, 2])) == [ReportCancelled([3, 2])]
    assert house(WorkerFinished(0, 1)) == []


def test_a_running_task_is_ended_with_its_worker_and_reported_then(house: House) -> None:
    house.receive(1, 2)
    assert house(CancelRequested([1])) == [TerminateWorker(0)]
    assert house(WorkerExited(0, "killed by signal 15")) == [ReportCancelled([1]), StartWorker(0)]
    assert house(WorkerReady(0)) == [StartTask(0, 2)]


def test_unknown_tasks_are_not_cancelled_and_others_only_once(house: House) -> None:
    house.receive(1)
    assert house(CancelRequested([9])) == []
    assert house(CancelRequested([1, 1])) == [TerminateWorker(0)]
    assert house(CancelRequested([1])) == []


def test_a_worker_that_does_not_end_is_killed_after_a_grace(house: House) -> None:
    house.receive(1)
    house(CancelRequested([1]))
    assert house.state.next_deadline() == house.now + KILL_GRACE_S
    assert house.wait(KILL_GRACE_S) == [KillWorker(0)]
    assert house.wait(KILL_GRACE_S) == []
    assert house(WorkerExited(0, "killed by signal 9")) == [ReportCancelled([1]), StartWorker(0)]


def test_a_result_that_comes_while_the_worker_is_ended_does_not_count(house: House) -> None:
    house.receive(1, 2)
    house(CancelRequested([1]))
    assert not house.state.runs(0, 1)
    assert house(WorkerFinished(0, 1)) == []
    assert house(WorkerExited(0, "killed by signal 15", finished=1)) == [ReportCancelled([1]), StartWorker(0)]


# -- walltimes ---------------------------------------------------------------------------------------------------


def test_a_task_that_outlives_its_walltime_is_ended_then_killed_then_reported(house: House) -> None:
    house.receive(1, walltimes_s=[10.0])
    assert house.wait(9.9) == []
    assert house.wait(0.1) == [TerminateWorker(0)]
    assert house.wait(KILL_GRACE_S) == [KillWorker(0)]
    assert house(WorkerExited(0, "killed by signal 9")) == [ReportTimedOut(1, 10.0), StartWorker(0)]


def test_walltime_counts_from_the_start_of_the_task(house: House) -> None:
    house.receive(1, 2, walltimes_s=[0.0, 10.0])
    house.now += 5
    house(WorkerFinished(0, 1))
    assert house.state.next_deadline() == house.now + 10
    assert house.wait(10) == [TerminateWorker(0)]


def test_a_task_within_its_walltime_leaves_no_deadline(house: House) -> None:
    house.receive(1, 2, walltimes_s=[10.0, 0.0])
    house.now += 5
    assert house(WorkerFinished(0, 1)) == [StartTask(0, 2)]
    assert house.wait(20) == []


def test_a_dropped_task_takes_its_walltime_along(house: House) -> None:
    house.receive(1, 2, walltimes_s=[0.0, 3.0])
    house(CancelRequested([2]))
    house(WorkerFinished(0, 1))
    house.receive(2)
    assert house.wait(5) == []


def test_a_worker_that_dies_by_itself_has_no_walltime_any_more(house: House) -> None:
    house.receive(1, walltimes_s=[10.0])
    assert house(WorkerExited(0, "exit code 1")) == [ReportWorkerLost(0, 1, "exit code 1"), StartWorker(0)]
    assert house.wait(10) == []


def test_a_task_that_is_cancelled_and_then_too_slow_is_cancelled(house: House) -> None:
    house.receive(1, walltimes_s=[1.0])
    house(CancelRequested([1]))
    assert house.wait(1) == []
    assert house(WorkerExited(0, "killed by signal 15")) == [ReportCancelled([1]), StartWorker(0)]


# -- the interchange ---------------------------------------------------------------------------------------------


def test_heartbeats_are_sent_every_period(house: House) -> None:
    assert house.state.next_deadline() == house.now + PERIOD_S
    assert house.wait(PERIOD_S) == [SendHeartbeat()]
    assert house.wait(PERIOD_S - 1) == []
    assert house.wait(1) == [SendHeartbeat()]


def test_a_silent_interchange_is_left() -> None:
    house = House()
    for _ in range(3):
        house.wait(PERIOD_S)
    assert house.wait(PERIOD_S) == [Exit("the interchange sent nothing for 120 s", failed=True)]


@pytest.mark.parametrize("sign_of_life", [InterchangeHeard(), TasksReceived([1])])
def test_what_the_interchange_sends_puts_the_deadline_off(house: House, sign_of_life: Event) -> None:
    house.wait(100)
    house(sign_of_life)
    assert house.wait(THRESHOLD_S - 1) == [SendHeartbeat()]
    assert house.wait(1) == [Exit("the interchange sent nothing for 120 s", failed=True)]


def test_a_deadline_is_over_when_its_time_has_come() -> None:
    # Whatever the floating-point sums: a manager must not wake for a deadline and then find it is not due.
    for step in range(1, 2000):
        state = ManagerState(ManagerSettings(1, 1e9, 4.0), now=step * 0.01)
        actions = state.handle(DeadlinePassed(), state.next_deadline())
        assert [type(action) for action in actions] == [Exit]


def test_told_to_stop_it_exits_and_that_is_all(house: House) -> None:
    house.receive(1)
    assert house(StopRequested("dismissed: the executor is shut down")) == [
        Exit("dismissed: the executor is shut down", failed=False)
    ]
    assert house(WorkerFinished(0, 1)) == []
    assert house.wait(THRESHOLD_S) == []


# -- draining ----------------------------------------------------------------------------------------------------


def test_when_its_time_has_come_it_asks_to_be_drained_and_goes_on() -> None:
    house = House(drain_period_s=10)
    house.receive(1)
    assert house.wait(10) == [SendDraining()]
    assert house.wait(10) == []
    assert house(WorkerFinished(0, 1)) == []


def test_tasks_that_were_under_way_when_it_asked_are_run() -> None:
    house = House(drain_period_s=10)
    assert house.wait(10) == [SendDraining()]
    assert house.receive(1) == [StartTask(0, 1)]
    assert house(WorkerExited(0, "exit code 1")) == [ReportWorkerLost(0, 1, "exit code 1"), StartWorker(0)]
    assert house(StopRequested("dismissed: it is drained")) == [Exit("dismissed: it is drained", failed=False)]


def test_without_a_drain_period_it_stays(house: House) -> None:
    for _ in range(100):
        house(InterchangeHeard())
        assert house.wait(PERIOD_S) == [SendHeartbeat()]
