"""The manager's machine: events in, whole lists of actions out."""

from __future__ import annotations

import pytest

from tests.unit.executors.htex.manager.house import PERIOD_S, THRESHOLD_S, House
from trellis.executors.common.heartbeat import WAKE_UP_S
from trellis.executors.common.lookahead import MOST_AHEAD_PER_WORKER as LOOK_AHEAD
from trellis.executors.common.lookahead import MOST_READY
from trellis.executors.htex.manager.backlog import NodeSize
from trellis.executors.htex.manager.events import (
    CancelRequested,
    DeadlinePassed,
    Event,
    Exit,
    GiveBack,
    InterchangeHeard,
    Interrupt,
    KillWorker,
    NudgeWorker,
    Offer,
    ReportCancelled,
    ReportTimedOut,
    ReportWorkerLost,
    ReturnRequested,
    SendHeartbeat,
    StartWorker,
    StopRequested,
    TakeBack,
    TasksFinished,
    TasksReceived,
    Withdraw,
    WorkerReady,
)
from trellis.executors.htex.manager.state import ManagerSettings, ManagerState
from trellis.executors.htex.manager.workers import KILL_GRACE_S, NUDGE_S, START_FAILURES_PER_WORKER

WINDOW_LOSS = "a worker died when it had just taken it"


@pytest.fixture
def house() -> House:
    return House()


@pytest.fixture
def two() -> House:
    return House(workers=2)


# -- offering tasks ----------------------------------------------------------------------------------------------


def test_it_starts_with_starting_its_workers() -> None:
    assert House(workers=2, ready=False).state.start() == [StartWorker(0), StartWorker(1)]


def test_tasks_are_offered_to_workers_that_are_ready() -> None:
    house = House(workers=2, ready=False)
    assert house.receive(3, 1, 2) == []
    assert house(WorkerReady(1)) == [Offer([3])]
    assert house(WorkerReady(0)) == [Offer([1])]
    assert house(WorkerReady(0)) == []
    assert (house.state.tasks, house.state.holding, house.state.started) == (3, [2, 3, 1], [3, 1])


def test_while_nobody_knows_how_long_tasks_run_each_worker_has_one() -> None:
    house = House(workers=2, short=False)
    assert house.receive(1, 2, 3, 4) == [Offer([1, 2])]
    house.run(0)
    assert house.finish(1, duration_s=1.0) == [Offer([3])]


def test_of_long_tasks_none_is_kept_ready_and_of_short_ones_as_many_as_run_in_a_moment() -> None:
    house = House(short=False)
    house.receive(*range(20))
    house.run()
    assert house.finish(0, duration_s=0.006) == [Offer([1])]
    house.run()
    assert house.finish(1, duration_s=0.001) == [Offer([2])]  # one short one says little
    house.run()
    for task in range(2, 6):
        house.finish(task, duration_s=0.001)
        house.run()
    assert house.queue == [7]


def test_the_first_long_task_ends_the_hurry(house: House) -> None:
    house.receive(*range(LOOK_AHEAD + 10))
    house.run()
    ready = list(range(1, LOOK_AHEAD + 1))
    assert house.finish(0, duration_s=1.0) == [TakeBack(), Offer([1]), Withdraw(ready[1:])]
    house.run()
    assert house.finish(1, duration_s=1.0) == [Offer([2])]


def test_what_is_finished_is_forgotten(house: House) -> None:
    house.receive(1, 2)
    house.run()
    assert house.state.counts(1)
    assert house.finish(1) == []
    assert (house.state.tasks, house.state.counts(1), house.state.counts(2)) == (1, False, True)
    assert house.finish(1) == []  # said twice


def test_more_than_workers_could_take_soon_is_not_offered(house: House) -> None:
    most = 1 + LOOK_AHEAD
    assert house.receive(*range(most + 3)) == [Offer(list(range(most)))]
    house.run()
    assert house.finish(0) == [Offer([most])]
    assert house.receive(7000) == []
    house.run()
    house.run()
    assert house.finish(1, 2) == [Offer([most + 1, most + 2])]
    house.run()
    assert house.finish(3) == [Offer([7000])]
    assert house.state.tasks == most


def test_a_large_node_keeps_no_more_ready_than_can_be_taken_back_soon() -> None:
    house = House(workers=8, short=True)
    (offer,) = house.receive(*range(1000))
    assert isinstance(offer, Offer)
    assert len(offer.ids) == 8 + MOST_READY


def test_what_is_in_the_queue_does_not_count_as_a_result(house: House) -> None:
    house.receive(*range(LOOK_AHEAD + 2))
    assert not house.state.counts(LOOK_AHEAD + 1)


# -- workers that die --------------------------------------------------------------------------------------------


def test_a_worker_that_dies_while_it_starts_is_replaced() -> None:
    house = House(ready=False)
    house.receive(1)
    assert house.die(0) == [StartWorker(0)]
    assert house.audit() == []  # it cannot have taken anything


def test_a_worker_that_dies_idle_is_replaced(house: House) -> None:
    assert house.die(0) == [StartWorker(0)]
    assert house.audit() == []  # there is nothing that it could have taken


def test_a_worker_that_dies_with_a_task_takes_it_along(two: House) -> None:
    two.receive(1, 2, 3)
    two.run(0)
    two.run(1)
    assert two.die(1, "killed by signal 9") == [ReportWorkerLost(1, 2, "killed by signal 9"), StartWorker(1)]
    assert (two.state.tasks, two.queue) == (2, [3])
    assert two.audit() == []  # a worker runs one task


def test_the_place_of_a_lost_task_is_offered_to_the_next(house: House) -> None:
    house.receive(*range(LOOK_AHEAD + 2))
    house.run()
    assert house.die(0) == [ReportWorkerLost(0, 0, "exit code 1"), StartWorker(0)]
    assert house(WorkerReady(0)) == [Offer([LOOK_AHEAD + 1])]


def test_a_worker_that_dies_after_its_result_takes_nothing_along(two: House) -> None:
    two.receive(1)
    two.run(0)
    two(TasksFinished([1]))  # it is on the board still
    assert two.die(0) == [StartWorker(0)]
    assert two.audit() == []


def test_a_replaced_worker_must_get_ready_too() -> None:
    house = House(ready=True)
    house.die(0)
    for _ in range(START_FAILURES_PER_WORKER - 1):
        assert house.die(0) == [StartWorker(0)]
    reason = "workers die before they are ready: exit code 1"
    assert house.die(0) == [TakeBack(), Exit(reason, failed=True)]


def test_a_node_on_which_no_worker_gets_ready_is_given_up() -> None:
    house = House(workers=2, ready=False)
    for _ in range(2 * START_FAILURES_PER_WORKER - 1):
        assert house.die(0) == [StartWorker(0)]
    reason = "workers die before they are ready: exit code 1"
    assert house.die(1) == [TakeBack(), Exit(reason, failed=True)]
    assert house.die(0) == []


def test_a_node_that_is_given_up_gives_back_what_it_has() -> None:
    house = House(workers=2)
    house.receive(1, 2, 3)
    house.run(1)
    house.die(0)
    for _ in range(2 * START_FAILURES_PER_WORKER - 1):
        house.die(0)
    actions = house.die(0, "no module named trellis")
    assert actions == [
        TakeBack(),
        GiveBack([2, 3]),
        Exit("workers die before they are ready: no module named trellis", failed=True),
    ]


def test_one_worker_that_gets_ready_proves_the_node() -> None:
    house = House(workers=2, ready=False)
    for _ in range(2 * START_FAILURES_PER_WORKER - 1):
        house.die(0)
    house(WorkerReady(1))
    assert house.die(0) == [StartWorker(0)]


# -- what a worker had just taken when it died -------------------------------------------------------------------


def test_a_task_that_stays_nowhere_to_be_seen_is_lost(two: House) -> None:
    two.receive(1, 2, 3)
    two.run(0)
    two.take()
    assert two.die(1) == [StartWorker(1)]
    assert two.audit() == [
        [TakeBack(), Offer([3])],
        [TakeBack(), Offer([3])],
        [TakeBack(), ReportWorkerLost(-1, 2, WINDOW_LOSS), Offer([3])],
    ]
    assert (two.state.tasks, two.state.counts(2)) == (2, False)


def test_when_everything_is_seen_one_look_is_enough(two: House) -> None:
    two.receive(1, 2)
    two.run(0)
    two.die(1)
    assert two.audit() == [[TakeBack(), Offer([2])]]


def test_a_task_that_comes_on_the_board_meanwhile_is_not_lost(two: House) -> None:
    two.receive(1)
    task = two.take()
    two.die(1)
    assert two.to_deadline() == [TakeBack()]
    two.board[task] = (0, two.now)
    assert two.audit() == [[TakeBack()]]
    assert two.state.counts(1)


def test_a_task_whose_result_comes_meanwhile_is_not_lost(two: House) -> None:
    two.receive(1)
    two.take()
    two.die(1)
    assert two.to_deadline() == [TakeBack()]
    two.finish(1)
    assert two.audit() == [[TakeBack()]]


def test_a_task_that_was_missed_before_it_was_on_the_board_and_after_it_had_ended_is_not_lost(two: House) -> None:
    two.receive(1)
    two.take()
    two.die(1)
    assert two.to_deadline() == [TakeBack()]  # it is just taken
    assert two.to_deadline() == [TakeBack()]  # it has just ended, and its result is not read
    two.finish(1)
    assert two.audit() == [[TakeBack()]]


def test_a_task_that_is_being_ended_is_not_lost_but_cancelled(two: House) -> None:
    two.receive(1)
    two.run(0)
    two.cancel(1)
    del two.board[1]  # its worker has ended it, and is not gone yet
    two.die(1)
    assert two.to_deadline() == [NudgeWorker(0)]
    assert two.to_deadline() == [TakeBack()]
    assert two.die(0) == [ReportCancelled([1]), StartWorker(0)]


def test_workers_that_go_on_dying_do_not_put_the_looks_off() -> None:
    house = House(workers=3)
    house.receive(1, 2, 3)
    house.take()
    house.die(0)
    house.now += 0.9
    house.take()
    house.die(1)
    looks = house.audit()
    assert looks == [
        [TakeBack(), Offer([3])],
        [TakeBack(), Offer([3])],
        [TakeBack(), ReportWorkerLost(-1, 1, WINDOW_LOSS), ReportWorkerLost(-1, 2, WINDOW_LOSS), Offer([3])],
    ]


def test_a_task_lost_later_gets_its_own_looks() -> None:
    house = House(workers=2)
    house.receive(1, 2)
    house.take()
    house.die(0)
    assert house.to_deadline() == [TakeBack(), Offer([2])]
    house.take()
    house.die(1)
    assert house.audit() == [
        [TakeBack()],
        [TakeBack(), ReportWorkerLost(-1, 1, WINDOW_LOSS)],
        [TakeBack(), ReportWorkerLost(-1, 2, WINDOW_LOSS)],
    ]


# -- cancelling --------------------------------------------------------------------------------------------------


def test_a_task_in_the_queue_is_dropped(house: House) -> None:
    first = LOOK_AHEAD + 1
    house.receive(*range(first + 3))
    assert house.cancel(first + 2, first) == [ReportCancelled([first, first + 2])]
    house.run()
    assert house.finish(0) == [Offer([first + 1])]


def test_a_task_that_is_offered_and_not_taken_is_taken_back(two: House) -> None:
    two.receive(1, 2, 3, 4)
    two.run()
    assert two.cancel(2, 4) == [TakeBack(), ReportCancelled([2, 4]), Offer([3])]
    assert two.queue == [3]
    assert two.to_deadline() == [SendHeartbeat()]


def test_a_running_task_is_ended_with_its_worker_and_reported_then(house: House) -> None:
    house.receive(1, 2)
    house.run()
    assert house.cancel(1) == [Interrupt(0, 1)]
    assert not house.state.counts(1)
    assert house.die(0, "killed by signal 15") == [ReportCancelled([1]), StartWorker(0)]
    assert (house.state.tasks, house.queue) == (1, [2])
    assert house(WorkerReady(0)) == []
    # Perhaps the signal met another task, just taken and on no board: so there is a look.
    assert house.audit() == [[TakeBack(), Offer([2])]]


def test_some_of_each_are_cancelled_at_once(two: House) -> None:
    rest = 2 + 2 * LOOK_AHEAD
    two.receive(*range(rest + 2))
    two.run(1)
    offered = list(range(2, rest + 2))
    assert (
        two.cancel(rest, 0, 1)
        == [
            ReportCancelled([rest]),
            Interrupt(1, 0),
            TakeBack(),
            ReportCancelled([1]),
            Offer(offered[: 1 + LOOK_AHEAD]),  # for one worker: the other is being ended
            Withdraw(offered[1 + LOOK_AHEAD : 2 * LOOK_AHEAD]),
        ]
    )
    assert two.die(1) == [ReportCancelled([0]), StartWorker(1)]


def test_a_task_between_queue_and_board_is_looked_for_again(two: House) -> None:
    two.receive(1, 2)
    two.take()
    assert two.cancel(1) == [TakeBack(), Offer([2])]
    assert two.to_deadline() == [TakeBack(), Offer([2])]
    two.board[1] = (1, two.now)
    assert two.to_deadline() == [Interrupt(1, 1)]
    assert two.die(1) == [ReportCancelled([1]), StartWorker(1)]
    assert two.to_deadline() == [TakeBack(), Offer([2])]  # the audit; nobody is missing
    assert two.to_deadline() == [SendHeartbeat()]


def test_a_task_that_ends_while_it_is_looked_for_has_ended(two: House) -> None:
    two.receive(1)
    two.take()
    two.cancel(1)
    assert two.state.counts(1)
    two.finish(1)
    assert two.to_deadline() == []
    assert two.to_deadline() == [SendHeartbeat()]


def test_a_worker_that_has_gone_on_meanwhile_is_left_alone(house: House) -> None:
    house.receive(1, 2)
    house.run()
    seen = dict(house.board)
    del house.board[1]  # it has ended, and its result is not read
    house.run()
    assert house(CancelRequested([1], seen)) == [Interrupt(0, 1)]
    assert (house.state.counts(1), house.state.counts(2)) == (True, True)
    assert house.finish(1) == []
    assert house.wait(KILL_GRACE_S) == []
    assert house.die(0) == [ReportWorkerLost(0, 2, "exit code 1"), StartWorker(0)]


def test_unknown_tasks_are_not_cancelled_and_others_only_once(house: House) -> None:
    house.receive(1)
    house.run()
    assert house.cancel(9) == []
    assert house.cancel(1, 1) == [Interrupt(0, 1)]
    assert house.cancel(1) == []


def test_a_worker_that_does_not_end_is_killed_after_a_grace(house: House) -> None:
    house.receive(1)
    house.run()
    house.cancel(1)
    assert house.state.next_deadline() == house.now + NUDGE_S
    assert house.to_deadline() == [NudgeWorker(0)]
    assert house.state.next_deadline() == house.now + KILL_GRACE_S - NUDGE_S
    assert house.to_deadline() == [KillWorker(0)]
    assert house.wait(KILL_GRACE_S) == []
    assert house.die(0, "killed by signal 9") == [ReportCancelled([1]), StartWorker(0)]


def test_a_result_that_comes_while_the_worker_is_ended_does_not_count(house: House) -> None:
    house.receive(1, 2)
    house.run()
    house.cancel(1)
    assert not house.state.counts(1)
    assert house.finish(1) == []
    assert house.state.tasks == 2
    assert house.die(0) == [ReportCancelled([1]), StartWorker(0)]


def test_a_worker_that_is_ended_before_it_was_heard_to_be_ready_is_no_failure_to_start() -> None:
    house = House(workers=2, ready=False)
    house(WorkerReady(1))
    for task in range(2 * START_FAILURES_PER_WORKER + 1):
        house.receive(task)
        house.run(0)
        house.cancel(task)
        house(WorkerReady(0))
        assert house.die(0) == [ReportCancelled([task]), StartWorker(0)]


# -- walltimes ---------------------------------------------------------------------------------------------------


def test_a_task_that_outlives_its_walltime_is_ended_then_killed_then_reported(house: House) -> None:
    house.receive(1, walltimes_s=[10.0])
    house.run()
    assert house.wait(9.9) == []
    assert house.to_deadline() == [Interrupt(0, 1)]
    assert house.to_deadline() == [NudgeWorker(0)]
    assert house.to_deadline() == [KillWorker(0)]
    assert house.die(0, "killed by signal 9") == [ReportTimedOut(1, 10.0), StartWorker(0)]


def test_walltime_counts_from_the_start_of_the_task(house: House) -> None:
    house.receive(1, walltimes_s=[10.0])
    house.now += 7
    house.run()
    assert house.wait(3) == []
    assert house.state.next_deadline() == house.now + 7
    assert house.to_deadline() == [Interrupt(0, 1)]


def test_a_task_that_waits_for_a_worker_has_its_whole_walltime_before_it(house: House) -> None:
    house.receive(1, walltimes_s=[10.0])
    assert house.to_deadline() == []
    assert house.state.next_deadline() == house.now + 10
    house.now += 4
    house.run()
    assert house.to_deadline() == []
    assert house.state.next_deadline() == house.now + 4
    assert house.to_deadline() == [Interrupt(0, 1)]


def test_a_task_in_the_queue_has_its_walltime_when_it_is_offered(house: House) -> None:
    last = LOOK_AHEAD + 1
    house.receive(*range(last + 1), walltimes_s=[0.0] * last + [10.0])
    assert house.state.next_deadline() == house.now + PERIOD_S
    house.run()
    house.now += 5
    assert house.finish(0) == [Offer([last])]
    house.queue.remove(last)
    house.board[last] = (0, house.now)
    assert house.state.next_deadline() == house.now + 10
    assert house.to_deadline() == [Interrupt(0, last)]


def test_a_task_within_its_walltime_leaves_no_deadline(house: House) -> None:
    house.receive(1, 2, walltimes_s=[10.0, 0.0])
    house.run()
    house.now += 5
    house.finish(1)
    house.run()
    assert house.wait(20) == []


def test_a_task_that_ends_as_it_is_interrupted_is_not_ended(house: House) -> None:
    house.receive(1, 2, walltimes_s=[10.0, 0.0])
    house.run()
    seen = dict(house.board)
    house.now += 10
    del house.board[1]  # just now
    house.run()
    assert house(DeadlinePassed(seen)) == [Interrupt(0, 1)]
    assert house.state.counts(1)
    assert house.state.next_deadline() == house.now + 10
    house.finish(1)
    assert house.wait(20) == [SendHeartbeat()]
    assert house.state.counts(2)


def test_a_task_that_is_taken_back_and_offered_again_keeps_its_walltime(two: House) -> None:
    two.receive(1, 2, walltimes_s=[0.0, 10.0])
    assert two.cancel(1) == [TakeBack(), ReportCancelled([1]), Offer([2])]
    two.run()
    assert two.to_deadline() == [Interrupt(0, 2)]
    assert two.die(0) == [ReportTimedOut(2, 10.0), StartWorker(0)]


def test_a_task_that_is_dropped_or_given_back_takes_its_walltime_along(two: House) -> None:
    two.receive(1, 2, 3, walltimes_s=[3.0, 0.0, 3.0])
    two.cancel(1)
    two(ReturnRequested(1))
    assert two.state.next_deadline() == two.now + PERIOD_S
    two.receive(1, 3)
    assert two.state.next_deadline() == two.now + PERIOD_S


def test_a_dropped_task_of_the_queue_takes_its_walltime_along(house: House) -> None:
    last = LOOK_AHEAD + 1
    house.receive(*range(last + 1), walltimes_s=[0.0] * last + [3.0])
    house.cancel(last)
    house.receive(last)
    house.run()
    house.finish(0)
    assert house.state.next_deadline() == house.now + PERIOD_S


def test_a_worker_that_dies_by_itself_has_no_walltime_any_more(house: House) -> None:
    house.receive(1, walltimes_s=[10.0])
    house.run()
    assert house.die(0) == [ReportWorkerLost(0, 1, "exit code 1"), StartWorker(0)]
    assert house.wait(10) == []


def test_a_task_that_is_cancelled_and_then_too_slow_is_cancelled(house: House) -> None:
    house.receive(1, walltimes_s=[1.0])
    house.run()
    house.cancel(1)
    assert house.wait(1) == [NudgeWorker(0)]
    assert house.die(0) == [ReportCancelled([1]), StartWorker(0)]


def test_a_task_that_is_looked_for_when_its_walltime_is_over_is_interrupted_once(two: House) -> None:
    two.receive(1, 2, walltimes_s=[1.0, 0.0])
    two.run(0)
    two.take()
    assert two.cancel(2) == [TakeBack()]
    assert two.wait(1) == [TakeBack(), Interrupt(0, 1)]
    assert two.die(0) == [ReportTimedOut(1, 1.0), StartWorker(0)]


def test_a_task_to_be_cancelled_that_appears_when_its_walltime_is_over_is_cancelled(two: House) -> None:
    two.receive(1, walltimes_s=[0.01])
    two.take()
    started = two.now
    assert two.cancel(1) == [TakeBack()]
    two.board[1] = (0, started)
    assert two.to_deadline() == []  # its walltime; it is about to be looked for
    assert two.wait(0.05) == [Interrupt(0, 1)]
    assert two.die(0) == [ReportCancelled([1]), StartWorker(0)]


# -- giving tasks back -------------------------------------------------------------------------------------------


def test_what_is_in_the_queue_is_given_back_from_its_end(house: House) -> None:
    first = LOOK_AHEAD + 1
    house.receive(*range(first + 4))
    assert house(ReturnRequested(2)) == [GiveBack([first + 2, first + 3])]
    assert house.state.tasks == first + 2
    assert house(ReturnRequested(2)) == [GiveBack([first, first + 1])]


def test_what_is_offered_is_taken_back_for_it(two: House) -> None:
    two.receive(1, 2, 3, 4)
    two.run()
    assert two(ReturnRequested(2)) == [TakeBack(), GiveBack([3, 4]), Offer([2])]
    assert (two.state.tasks, two.state.counts(4)) == (2, False)


def test_more_than_there_is_cannot_be_given_back(two: House) -> None:
    two.receive(1, 2, 3)
    two.run()
    assert two(ReturnRequested(9)) == [TakeBack(), GiveBack([2, 3])]
    assert two(ReturnRequested(9)) == [TakeBack(), GiveBack([])]
    assert two.cancel(1) == [Interrupt(0, 1)]


def test_what_is_given_back_is_asked_for_once(two: House) -> None:
    two.receive(1, 2)
    two(ReturnRequested(1))
    assert two.cancel(1) == [TakeBack(), ReportCancelled([1])]


def test_what_is_given_back_cannot_be_cancelled_here(house: House) -> None:
    house.receive(1)
    house(ReturnRequested(1))
    assert house.cancel(1) == []


# -- the interchange ---------------------------------------------------------------------------------------------


def test_heartbeats_are_sent_every_period(house: House) -> None:
    assert house.state.next_deadline() == house.now + PERIOD_S
    assert house.wait(PERIOD_S) == [SendHeartbeat()]
    assert house.wait(PERIOD_S - 1) == []
    assert house.wait(1) == [SendHeartbeat()]


def test_a_manager_that_has_slept_starts_nothing_until_it_knows_that_it_was_not_given_up() -> None:
    house = House(short=False)
    house.receive(1, 2)
    house.run()
    house.now += THRESHOLD_S
    assert house.finish(1) == []
    assert house(InterchangeHeard()) == []  # this may be old, and its dismissal the next
    assert house(DeadlinePassed({})) == [SendHeartbeat()]
    assert house.wait(WAKE_UP_S - 0.1) == []
    assert house.wait(0.1) == [Offer([2])]


def test_a_manager_that_has_slept_starts_nothing_though_it_hears_something_old_first() -> None:
    house = House(short=False)
    house.receive(1, 2)
    house.run()
    house.now += THRESHOLD_S
    assert house(InterchangeHeard()) == []
    assert house.finish(1) == []
    assert house(DeadlinePassed({})) == [SendHeartbeat()]
    assert house.wait(WAKE_UP_S) == [Offer([2])]


def test_a_manager_that_said_nothing_for_too_long_starts_nothing_though_it_has_heard_something_since() -> None:
    house = House(short=False)
    house.receive(1, 2)
    house.run()
    house.wait(PERIOD_S - 1)
    house(InterchangeHeard())
    house.now += THRESHOLD_S - PERIOD_S + 1  # since its start it has sent nothing
    assert house.finish(1) == []
    assert house(DeadlinePassed({})) == [SendHeartbeat()]
    assert house.wait(WAKE_UP_S) == [Offer([2])]


def test_a_silent_interchange_is_left() -> None:
    house = House()
    for _ in range(3):
        house.wait(PERIOD_S)
    assert house.wait(PERIOD_S) == [TakeBack(), Exit("the interchange sent nothing for 120 s", failed=True)]


@pytest.mark.parametrize(
    "sign_of_life",
    [InterchangeHeard(), TasksReceived([1]), CancelRequested([1], {}), ReturnRequested(1)],
    ids=lambda event: type(event).__name__,
)
def test_what_the_interchange_sends_puts_the_deadline_off(house: House, sign_of_life: Event) -> None:
    house.wait(100)
    house(sign_of_life)
    assert house.wait(THRESHOLD_S - 1) == [SendHeartbeat()]
    assert house.wait(1)[-1] == Exit("the interchange sent nothing for 120 s", failed=True)


def test_a_deadline_is_over_when_its_time_has_come() -> None:
    # Whatever the floating-point sums: a manager must not wake for a deadline and then find it is not due.
    for step in range(1, 2000):
        state = ManagerState(ManagerSettings(NodeSize(1), 1e9, 4.0), now=step * 0.01)
        actions = state.handle(DeadlinePassed({}), state.next_deadline())
        assert actions == [TakeBack()]  # and then it leaves


def test_told_to_stop_it_gives_back_what_has_not_started_and_exits(house: House) -> None:
    house.receive(*range(LOOK_AHEAD + 3))
    house.run()
    assert house(StopRequested("dismissed: the executor is shut down")) == [
        TakeBack(),
        GiveBack(list(range(1, LOOK_AHEAD + 3))),
        Exit("dismissed: the executor is shut down", failed=False),
    ]
    assert house.finish(1) == []
    assert house.wait(THRESHOLD_S) == []
