"""How much work is offered to a node's workers."""

from __future__ import annotations

from tests.unit.executors.htex.manager.house import House
from trellis.executors.common.lookahead import AHEAD_S, MOST_AHEAD_PER_WORKER
from trellis.executors.htex.manager.events import (
    Disconnected,
    FunctionsForgotten,
    Offer,
    StopRequested,
    TakeBack,
    TasksReceived,
    Welcomed,
    Withdraw,
    WorkerParked,
)
from trellis.wire.messages import Demand

SHORT, OTHER = 0, 7  # functions; of the first one it is known that its tasks are short


def test_a_function_that_was_never_seen_is_taken_for_a_long_one_whatever_ran_before() -> None:
    house = House(workers=2)
    assert house.receive(*range(10), function=OTHER) == [Offer([0, 1])]
    house.run()
    assert house.finish(0, duration_s=0.01) == [Offer([2])]


def test_a_function_is_known_for_short_by_its_own_tasks() -> None:
    house = House()
    house.receive(*range(9), function=OTHER)
    house.run()
    assert house.finish(0, duration_s=AHEAD_S / 4) == [Offer([1, 2, 3, 4, 5])]


def test_short_tasks_are_offered_for_the_workers_that_no_long_one_takes() -> None:
    house = House(workers=2)
    assert house.receive(100, function=OTHER) == [Offer([100])]
    one_worker = 1 + MOST_AHEAD_PER_WORKER
    assert house.receive(*range(90), function=SHORT) == [Offer(list(range(one_worker)))]


def test_nothing_is_offered_behind_long_tasks_that_take_all_workers() -> None:
    house = House(workers=2)
    house.receive(100, 101, function=OTHER)
    assert house.receive(1, 2, 3, function=SHORT) == []
    house.run()
    house.run(1)
    assert house.finish(100, duration_s=1.0) == [Offer([1, 2, 3])]


def test_a_long_task_waits_until_a_worker_is_soon_free_for_it() -> None:
    house = House()
    house.receive(*range(1 + MOST_AHEAD_PER_WORKER), function=SHORT)
    assert house.receive(100, function=OTHER) == []
    for task in range(MOST_AHEAD_PER_WORKER):
        house.run()
        assert house.finish(task, duration_s=0.0) == []
    house.run()
    assert house.finish(MOST_AHEAD_PER_WORKER, duration_s=0.0) == [Offer([100])]


def test_what_is_known_of_a_function_is_forgotten_with_it() -> None:
    house = House()
    assert house(FunctionsForgotten([SHORT, 99])) == []
    assert house.receive(1, 2, function=SHORT) == [Offer([1])]


def test_tasks_that_are_not_as_short_as_was_thought_are_taken_back_and_that_is_said() -> None:
    house = House(workers=2)
    house.receive(*range(20))
    house.run()
    house.run(1)
    assert house.finish(0, duration_s=0.5) == [TakeBack(), Offer([2]), Withdraw(list(range(3, 20)))]
    assert house.state.started == [1, 2]


def test_a_task_of_a_gang_takes_its_workers_whatever_its_function_has_taken_before() -> None:
    house = House(workers=2, cpus=2)
    house(TasksReceived([1], None, [Demand(cores=1)], [SHORT]))
    house.park(0)
    one_worker = 1 + MOST_AHEAD_PER_WORKER
    assert house.receive(*range(10, 100), function=SHORT) == [Offer(list(range(10, 10 + one_worker)))]


# -- who could be told -------------------------------------------------------------------------------------------


def test_while_nobody_can_be_told_nothing_is_started() -> None:
    house = House()
    assert house(Disconnected()) == []
    assert house.receive(1, 2) == []
    assert house.state.started == []
    assert house(Welcomed()) == [Offer([1, 2])]


def test_what_is_with_the_workers_goes_on_without_a_connection() -> None:
    house = House(short=False)
    house.receive(1, 2)
    house.run()
    house(Disconnected())
    assert house.finish(1, duration_s=0.0) == []
    assert house.state.holding == [2]
    assert house(Welcomed()) == [Offer([2])]


def test_who_leaves_without_a_connection_leaves_all_the_same() -> None:
    house = House()
    house(Disconnected())
    assert house(StopRequested("SIGINT"))[0] == TakeBack()
    assert house(WorkerParked(0)) == []  # it has left
