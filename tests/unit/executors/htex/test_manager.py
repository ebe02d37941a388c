"""The manager's machine: events in, whole lists of actions out."""

from __future__ import annotations

import pytest

from trellis.executors.htex.manager import (
    KILL_GRACE_S,
    LOOK_AHEAD,
    START_FAILURES_PER_WORKER,
    ManagerSettings,
    ManagerState,
)
from trellis.executors.htex.manager_events import (
    Action,
    CancelRequested,
    DeadlinePassed,
    Event,
    Exit,
    GiveBack,
    InterchangeHeard,
    Interrupt,
    Interrupted,
    KillWorker,
    Offer,
    ReportCancelled,
    ReportTimedOut,
    ReportWorkerLost,
    ReturnRequested,
    SendDraining,
    SendHeartbeat,
    StartWorker,
    StopRequested,
    TakeBack,
    TakenBack,
    TasksFinished,
    TasksReceived,
    WorkerExited,
    WorkerReady,
)

PERIOD_S = 30.0
THRESHOLD_S = 120.0


class House:
    """A machine whose workers are ready, a time, a board, and short words for events."""

    def __init__(self, workers: int = 1, drain_period_s: float | None = None, ready: bool = True) -> None:
        self.now = 1000.0
        self.board: dict[int, tuple[int, float]] = {}
        self.state = ManagerState(ManagerSettings(workers, PERIOD_S, THRESHOLD_S, drain_period_s), self.now)
        if ready:
            for worker in range(workers):
                self(WorkerReady(worker))

    def __call__(self, event: Event) -> list[Action]:
        actions = self.state.handle(event, self.now)
        self.state.check_invariants()
        return actions

    def receive(self, *ids: int, walltimes_s: list[float] | None = None) -> list[Action]:
        return self(TasksReceived(ids, walltimes_s))

    def run(self, task: int, worker: int = 0) -> None:
        """A worker takes the task, and says so on the board."""
        self.board[task] = (worker, self.now)

    def finish(self, task: int) -> list[Action]:
        self.board.pop(task, None)
        return self(TasksFinished([task]))

    def die(self, worker: int, task: int | None, reason: str = "it died") -> list[Action]:
        if task is not None:
            del self.board[task]
        return self(WorkerExited(worker, task, reason))

    def cancel(self, *ids: int) -> list[Action]:
        return self(CancelRequested(ids, dict(self.board)))

    def taken_back(self, *ids: int) -> list[Action]:
        return self(TakenBack(ids, dict(self.board)))

    def wait(self, seconds: float) -> list[Action]:
        self.now += seconds
        return self(DeadlinePassed(dict(self.board)))


@pytest.fixture
def house() -> House:
    return House()


@pytest.fixture
def two() -> House:
    return House(workers=2)


# -- offering tasks ----------------------------------------------------------------------------------------------


def test_it_starts_with_starting_its_workers() -> None:
    assert House(workers=2, ready=False).state.start() == [StartWorker(0), StartWorker(1)]


def test_tasks_are_offered_as_they_come(house: House) -> None:
    assert house.receive(1, 2, 3) == [Offer([1, 2, 3])]
    assert house.state.tasks == 3


def test_no_more_are_offered_than_can_be_taken_back_cheaply(two: House) -> None:
    most = 2 + LOOK_AHEAD
    assert two.receive(*range(most + 2)) == [Offer(list(range(most)))]
    assert two.finish(0) == [Offer([most])]
    assert two.state.tasks == most + 1


def test_a_result_counts_once_and_for_tasks_that_are_here(house: House) -> None:
    house.receive(1)
    assert (house.state.counts(1), house.state.counts(2)) == (True, False)
    assert house.finish(1) == []
    assert not house.state.counts(1)
    assert house.finish(1) == []
    assert house.state.tasks == 0


# -- workers that die --------------------------------------------------------------------------------------------


def test_a_worker_that_dies_while_it_starts_is_replaced() -> None:
    house = House(ready=False)
    assert house.die(0, None) == [StartWorker(0)]


def test_a_worker_that_dies_with_a_task_takes_it_along(two: House) -> None:
    two.receive(1, 2)
    two.run(2, worker=1)
    assert two.die(1, 2, "killed by signal 9") == [ReportWorkerLost(1, 2, "killed by signal 9"), StartWorker(1)]
    assert two.state.tasks == 1


def test_a_worker_that_dies_after_its_result_harms_nobody(house: House) -> None:
    house.receive(1)
    house.finish(1)
    assert house.die(0, None) == [StartWorker(0)]


def test_a_task_that_a_dead_worker_had_just_taken_is_found_missing(two: House) -> None:
    two.receive(1, 2, 3)
    two.run(1, worker=1)
    assert two.die(0, None) == [StartWorker(0)]
    assert two.wait(1) == [TakeBack()]  # 2 is in the queue; 3 was taken, and is nowhere
    assert two.taken_back(2) == [Offer([2])]
    assert two.wait(1) == [TakeBack()]
    assert two.taken_back(2) == [ReportWorkerLost(-1, 3, "a worker died when it had just taken it"), Offer([2])]
    assert two.wait(1) == []


def test_a_task_that_shows_up_again_is_not_missing(two: House) -> None:
    two.receive(1)
    two.die(0, None)
    two.wait(1)
    assert two.taken_back() == []
    two.run(1, worker=1)
    assert two.wait(1) == [TakeBack()]
    assert two.taken_back() == []
    assert two.state.tasks == 1


def test_a_node_on_which_no_worker_gets_ready_is_given_up() -> None:
    house = House(workers=2, ready=False)
    for _ in range(2 * START_FAILURES_PER_WORKER - 1):
        assert house.die(0, None) == [StartWorker(0)]
    assert house.die(1, None, "exit code 1") == [Exit("workers die before they are ready: exit code 1", failed=True)]


def test_one_worker_that_gets_ready_proves_the_node() -> None:
    house = House(workers=2, ready=False)
    for _ in range(2 * START_FAILURES_PER_WORKER - 1):
        house.die(0, None)
    house(WorkerReady(1))
    assert house.die(0, None) == [StartWorker(0)]


# -- cancelling --------------------------------------------------------------------------------------------------


def test_a_task_that_is_not_offered_yet_is_dropped(house: House) -> None:
    most = 1 + LOOK_AHEAD
    house.receive(*range(most + 2))
    assert house.cancel(most + 1, most) == [ReportCancelled([most, most + 1])]


def test_a_task_that_is_offered_is_taken_back_and_dropped(house: House) -> None:
    house.receive(1, 2, 3)
    house.run(1)
    assert house.cancel(2) == [TakeBack()]
    assert house.taken_back(2, 3) == [ReportCancelled([2]), Offer([3])]


def test_a_running_task_is_ended_with_its_worker_and_reported_then(house: House) -> None:
    house.receive(1)
    house.run(1)
    assert house.cancel(1) == [Interrupt(0, 1)]
    assert house(Interrupted(0, 1, caught=True)) == []
    assert house.die(0, 1) == [ReportCancelled([1]), StartWorker(0)]


def test_a_task_that_ended_just_before_is_not_cancelled(house: House) -> None:
    house.receive(1)
    house.run(1)
    house.cancel(1)
    assert house(Interrupted(0, 1, caught=False)) == []
    assert house.state.counts(1)
    assert house.finish(1) == []


def test_a_task_between_queue_and_board_is_looked_for_again(house: House) -> None:
    house.receive(1)
    assert house.cancel(1) == [TakeBack()]
    assert house.taken_back() == []
    house.run(1)
    assert house.wait(0.05) == [Interrupt(0, 1)]


def test_unknown_tasks_are_not_cancelled(house: House) -> None:
    house.receive(1)
    assert house.cancel(9) == []


def test_a_worker_that_does_not_end_is_killed_after_a_grace(house: House) -> None:
    house.receive(1)
    house.run(1)
    house.cancel(1)
    house(Interrupted(0, 1, caught=True))
    assert house.state.next_deadline() == house.now + KILL_GRACE_S
    assert house.wait(KILL_GRACE_S) == [KillWorker(0)]
    assert house.wait(KILL_GRACE_S) == []
    assert house.die(0, 1) == [ReportCancelled([1]), StartWorker(0)]


def test_a_result_that_comes_while_the_worker_is_ended_does_not_count(house: House) -> None:
    house.receive(1)
    house.run(1)
    house.cancel(1)
    house(Interrupted(0, 1, caught=True))
    assert not house.state.counts(1)
    assert house.finish(1) == []
    assert house.die(0, None) == [ReportCancelled([1]), StartWorker(0)]


# -- walltimes ---------------------------------------------------------------------------------------------------


def test_a_task_that_outlives_its_walltime_is_ended_then_killed_then_reported(house: House) -> None:
    house.receive(1, walltimes_s=[10.0])
    house.run(1)
    assert house.wait(9.9) == []
    assert house.wait(0.2) == [Interrupt(0, 1)]
    house(Interrupted(0, 1, caught=True))
    assert house.wait(KILL_GRACE_S) == [KillWorker(0)]
    assert house.die(0, 1) == [ReportTimedOut(1, 10.0), StartWorker(0)]


def test_walltime_counts_from_the_start_of_the_task(house: House) -> None:
    house.receive(1, walltimes_s=[10.0])
    house.now += 5
    house.run(1)
    assert house.wait(5) == []
    assert house.state.next_deadline() == house.now + 5
    assert house.wait(5) == [Interrupt(0, 1)]


def test_a_task_within_its_walltime_leaves_no_deadline(house: House) -> None:
    house.receive(1, walltimes_s=[10.0])
    house.run(1)
    house.finish(1)
    assert house.wait(10) == []
    assert house.state.next_deadline() == 1000 + PERIOD_S


def test_walltimes_survive_being_taken_back(house: House) -> None:
    house.receive(1, 2, walltimes_s=[0.0, 10.0])
    house.run(1)
    house.cancel(1, 2)
    house.receive(3, walltimes_s=[5.0])
    house(Interrupted(0, 1, caught=False))
    assert house.taken_back(2, 3) == [ReportCancelled([2]), Offer([3])]
    house.finish(1)
    house.run(3)
    assert house.wait(5) == [Interrupt(0, 3)]


def test_a_walltime_that_is_over_when_cancels_are_looked_at_again_is_no_cancel(house: House) -> None:
    house.receive(1, 2, walltimes_s=[0.0, 10.0])
    house.now += 9.95
    house.cancel(1)
    house.taken_back()  # both were just taken
    house.finish(1)
    house.board[2] = (0, 1000.0)
    assert house.wait(0.05) == [Interrupt(0, 2)]
    house(Interrupted(0, 2, caught=True))
    assert house.die(0, 2) == [ReportTimedOut(2, 10.0), StartWorker(0)]


# -- giving back -------------------------------------------------------------------------------------------------


def test_what_waits_longest_to_run_is_given_back_first(house: House) -> None:
    house.receive(1, 2, 3, 4)
    house.run(1)
    assert house(ReturnRequested(2)) == [TakeBack()]
    assert house.taken_back(2, 3, 4) == [GiveBack([3, 4]), Offer([2])]
    assert house.state.tasks == 2


def test_what_is_not_offered_is_given_back_without_taking_back(house: House) -> None:
    most = 1 + LOOK_AHEAD
    house.receive(*range(most + 3))
    assert house(ReturnRequested(2)) == [GiveBack([most + 1, most + 2])]


def test_there_is_an_answer_even_if_nothing_can_be_given_back(house: House) -> None:
    house.receive(1)
    house.run(1)
    assert house(ReturnRequested(1)) == [TakeBack()]
    assert house.taken_back() == [GiveBack([])]


# -- the interchange ---------------------------------------------------------------------------------------------


def test_heartbeats_are_sent_every_period(house: House) -> None:
    assert house.state.next_deadline() == house.now + PERIOD_S
    assert house.wait(PERIOD_S) == [SendHeartbeat()]
    assert house.wait(PERIOD_S - 1) == []
    assert house.wait(1) == [SendHeartbeat()]


def test_a_silent_interchange_is_left(house: House) -> None:
    for _ in range(3):
        house.wait(PERIOD_S)
    assert house.wait(PERIOD_S) == [Exit("the interchange sent nothing for 120 s", failed=True)]


@pytest.mark.parametrize(
    "sign_of_life", [InterchangeHeard(), TasksReceived([1]), CancelRequested([9], {}), ReturnRequested(0)]
)
def test_what_the_interchange_sends_puts_the_deadline_off(house: House, sign_of_life: Event) -> None:
    house.wait(100)
    house(sign_of_life)
    assert house.wait(THRESHOLD_S - 1) == [SendHeartbeat()]
    assert house.wait(1) == [Exit("the interchange sent nothing for 120 s", failed=True)]


def test_a_deadline_is_over_when_its_time_has_come() -> None:
    # Whatever the floating-point sums: a manager must not wake for a deadline and then find it is not due.
    for step in range(1, 2000):
        state = ManagerState(ManagerSettings(1, 1e9, 4.0), now=step * 0.01)
        actions = state.handle(DeadlinePassed({}), state.next_deadline())
        assert [type(action) for action in actions] == [Exit]


def test_told_to_stop_it_exits_and_that_is_all(house: House) -> None:
    house.receive(1)
    assert house(StopRequested("dismissed: the executor is shut down")) == [
        Exit("dismissed: the executor is shut down", failed=False)
    ]
    assert house.finish(1) == []
    assert house.wait(THRESHOLD_S) == []


# -- draining ----------------------------------------------------------------------------------------------------


def test_when_its_time_has_come_it_asks_to_be_drained_and_goes_on() -> None:
    house = House(drain_period_s=10)
    house.receive(1)
    assert house.wait(10) == [SendDraining()]
    assert house.wait(10) == []
    assert house.finish(1) == []


def test_tasks_that_were_under_way_when_it_asked_are_run() -> None:
    house = House(drain_period_s=10)
    assert house.wait(10) == [SendDraining()]
    assert house.receive(1) == [Offer([1])]
    house.run(1)
    assert house.die(0, 1) == [ReportWorkerLost(0, 1, "it died"), StartWorker(0)]
    assert house(StopRequested("dismissed: it is drained")) == [Exit("dismissed: it is drained", failed=False)]


def test_without_a_drain_period_it_stays(house: House) -> None:
    for _ in range(100):
        house(InterchangeHeard())
        assert house.wait(PERIOD_S) == [SendHeartbeat()]
