"""The interchange's machine and tasks that do not fit everywhere: events in, whole lists of actions out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from random import Random
from typing import Any

import msgspec
import pytest

from tests.simulation.simulated_manager import registration
from trellis.executors.common.lookahead import AHEAD_S
from trellis.executors.htex.interchange.events import (
    Action,
    AskBack,
    CancelRequested,
    DeadlinePassed,
    Event,
    HoldRequested,
    ManagerLeft,
    ManagerRegistered,
    ReportCancelled,
    ReportInfeasible,
    ReportManagerLost,
    SendTasks,
    TasksEnded,
    TasksReturned,
    TasksStarted,
    TasksSubmitted,
    WarnOfSelector,
    WelcomeManager,
)
from trellis.executors.htex.interchange.infeasible import INFEASIBLE_S
from trellis.executors.htex.interchange.manager_table import ENDS_MARGIN_S
from trellis.executors.htex.interchange.selection import ManagerSelector, Selection
from trellis.executors.htex.interchange.state import REBALANCE_S, InterchangeState
from trellis.wire.messages import Demand

WIDE = Demand(cores=2)
WIDER = Demand(cores=4)


class House:
    """A machine, a time, and short words for events."""

    def __init__(self, selection: Selection = "block_id") -> None:
        self.state = InterchangeState(1000.0, selection, Random(0), epoch_s=1000.0)
        self.now = 100.0

    def __call__(self, event: Event) -> list[Action]:
        actions = self.state.handle(event, self.now)
        self.state.check_invariants()
        return actions

    def register(self, name: str, workers: int = 4, prefetch: int = 0, **others: Any) -> list[Action]:
        """With as many cores as workers; in the block of the same name."""
        hello = registration(name, name, workers, prefetch)
        return self(ManagerRegistered(msgspec.structs.replace(hello, **others)))

    def submit(
        self,
        *ids: int,
        demand: Demand | None = None,
        walltime_s: float = 0.0,
        priorities: Sequence[float] | None = None,
    ) -> list[Action]:
        count = len(ids)
        return self(TasksSubmitted(ids, priorities, [demand] * count, [walltime_s] * count))

    def wait(self, seconds: float) -> list[Action]:
        self.now += seconds
        return self(DeadlinePassed())


@pytest.fixture
def house() -> House:
    return House()


# -- slots -------------------------------------------------------------------------------------------------------


def test_a_task_takes_as_many_slots_as_it_asks_for(house: House) -> None:
    house.register("a", workers=4)
    assert house.submit(1, 2, 3, demand=WIDE) == [SendTasks("a", [1, 2])]
    assert (house.state.pending, house.state.managers["a"].free) == (1, 0)
    assert house(TasksEnded("a", [1], 1.0)) == [SendTasks("a", [3])]


def test_what_fits_nowhere_now_stops_nothing_else(house: House) -> None:
    house.register("a", workers=2)
    assert house.submit(1, 2, demand=WIDER) == []
    assert house.submit(3) == [SendTasks("a", [3])]
    assert house.submit(4, demand=Demand(cores=1)) == [SendTasks("a", [4])]


def test_priorities_hold_across_kinds_and_equals_go_by_age(house: House) -> None:
    house.submit(1, 2, demand=WIDE, priorities=[0.0, -1.0])
    house.submit(3, 4, priorities=[0.0, -2.0])
    assert house.register("a", workers=8) == [
        WelcomeManager("a"),
        SendTasks("a", [4]),
        SendTasks("a", [2, 1]),
        SendTasks("a", [3]),
    ]


def test_tasks_of_several_slots_go_to_the_emptiest_manager() -> None:
    house = House("random")
    for name in "abc":
        house.register(name, workers=4)
    house.submit(*range(5))
    emptiest = max("abc", key=lambda name: house.state.managers[name].free)
    house(TasksEnded(emptiest, list(house.state.managers[emptiest].tasks)))
    assert house.submit(10, demand=WIDE) == [SendTasks(emptiest, [10])]


def test_by_block_they_go_to_the_newest_block_with_room(house: House) -> None:
    house.register("9", workers=4)
    house.register("10", workers=4)
    assert house.submit(1, 2, 3, demand=WIDE) == [SendTasks("10", [1, 2]), SendTasks("9", [3])]


def test_small_tasks_cannot_keep_a_large_one_out_for_ever(house: House) -> None:
    house.register("a", workers=4)
    house.submit(1, 2, 3, 4)
    assert house.submit(5, demand=WIDER) == []
    house.submit(6, 7)
    assert house(TasksEnded("a", [1])) == [SendTasks("a", [5])]  # the first free slot is kept for it
    assert house(TasksEnded("a", [2, 3])) == []
    assert house(TasksEnded("a", [4])) == []
    assert house(TasksEnded("a", [5])) == [SendTasks("a", [6, 7])]


def test_a_manager_is_kept_for_one_large_task_at_a_time(house: House) -> None:
    house.register("a", workers=4)
    house.submit(1)
    assert house.submit(2, 3, demand=WIDER) == [SendTasks("a", [2])]
    assert house(TasksEnded("a", [1])) == []
    assert house(TasksEnded("a", [2])) == [SendTasks("a", [3])]


def test_a_large_task_waits_at_the_emptiest_manager(house: House) -> None:
    house.register("1", workers=4)
    house.register("2", workers=4)
    house.submit(*range(8))
    house(HoldRequested(["1", "2"], []))
    house(TasksEnded("1", [0]))
    house(TasksEnded("2", [4, 5]))
    house.register("3", workers=4)
    house.submit(8)
    house(TasksEnded("3", [8]))
    assert house.submit(9, 10, demand=WIDER) == [SendTasks("3", [9])]


def test_when_another_manager_is_free_sooner_the_large_task_is_asked_back(house: House) -> None:
    house.register("a", workers=4)
    house.submit(1)
    house.submit(2, demand=WIDER)
    house.register("b", workers=4)
    assert house.wait(REBALANCE_S) == [AskBack("a", 2)]
    assert house(TasksReturned("a", [2])) == [SendTasks("b", [2])]
    assert house.wait(REBALANCE_S) == []


def test_it_is_asked_back_once_and_not_when_it_has_begun(house: House) -> None:
    house.register("a", workers=4)
    house.submit(1)
    house.submit(2, demand=WIDER)
    house.register("b", workers=4)
    house.wait(REBALANCE_S)
    house(TasksReturned("a", []))
    assert house.wait(REBALANCE_S) == []
    house(TasksEnded("a", [1, 2]))
    house.submit(3)
    house.submit(4, demand=WIDER)
    house(TasksStarted("b", [4]))
    assert house.wait(REBALANCE_S) == []


def test_nothing_is_asked_back_for_workers_that_could_not_run_it(house: House) -> None:
    house.register("a", workers=4)
    house.submit(1)
    house.submit(2, demand=WIDER)
    house.register("b", workers=2)
    assert house.wait(REBALANCE_S) == []


def test_short_tasks_are_not_sent_ahead_while_a_large_one_waits_for_room(house: House) -> None:
    house.register("a", workers=2)
    house.submit(*range(200))
    house(TasksEnded("a", [0], AHEAD_S / 100))
    assert house.state.running > 50
    house.submit(1000, demand=WIDE, priorities=[-1.0])
    sent: list[Action] = []
    while not any(1000 in action.ids for action in sent if isinstance(action, SendTasks)):
        sent += house(TasksEnded("a", [min(house.state.managers["a"].tasks)], AHEAD_S / 100))
    assert sent == [SendTasks("a", [1000])]


def test_what_is_ahead_is_not_held_back_for_tasks_that_fit_nobody(house: House) -> None:
    house.register("a", workers=2)
    house.submit(1000, demand=WIDER)
    house.submit(*range(200))
    house(TasksEnded("a", [0], AHEAD_S / 100))
    assert house.state.running > 50


def test_a_large_task_that_waits_is_cancelled_here(house: House) -> None:
    house.register("a", workers=2)
    house.submit(1)
    house.submit(2, 3, demand=WIDER)
    assert house(CancelRequested([2, 3])) == [ReportCancelled([2, 3])]
    assert house.submit(4) == [SendTasks("a", [4])]
    assert house.wait(INFEASIBLE_S) == []


def test_a_large_task_that_comes_back_from_a_lost_manager_fits_where_it_did(house: House) -> None:
    house.register("a", workers=4)
    house.register("b", workers=2)
    house.submit(1, demand=WIDER)
    assert house(ManagerLeft("a", "gone")) == [ReportManagerLost("a", "a", "host-a", [], "gone", 1)]
    assert house.register("c", workers=4) == [WelcomeManager("c"), SendTasks("c", [1])]


def test_a_task_that_a_manager_holds_after_a_restart_takes_its_slots(house: House) -> None:
    house(TasksSubmitted([1], demands=[Demand(cores=3)], resumed=True))
    house.register("a", workers=4, resumed=True, holding=[1])
    assert house.state.managers["a"].free == 1


# -- nodes -------------------------------------------------------------------------------------------------------


def test_nodes_of_a_block_are_counted_beside_slots(house: House) -> None:
    house.register("a", workers=4, nodes=4)
    assert house.submit(1, 2, 3, demand=Demand(nodes=2)) == [SendTasks("a", [1, 2])]
    assert house.submit(4) == [SendTasks("a", [4])]
    assert house(TasksEnded("a", [1])) == [SendTasks("a", [3])]


def test_few_nodes_cannot_keep_many_out_for_ever(house: House) -> None:
    house.register("a", workers=4, nodes=4)
    house.submit(1, 2, demand=Demand(nodes=2))
    house.submit(3, demand=Demand(nodes=4))
    house.submit(4, demand=Demand(nodes=1))
    assert house(TasksEnded("a", [1])) == [SendTasks("a", [3])]
    assert house(TasksEnded("a", [2])) == []
    assert house(TasksEnded("a", [3])) == [SendTasks("a", [4])]


# -- tasks that fit nobody ---------------------------------------------------------------------------------------

INFEASIBLE = ReportInfeasible(
    [1, 2],
    "it asks for 4 cores, and no manager has so much: the only manager, host-a has 2 cores, 0 MB of memory, 0 GPUs, "
    "and 0 nodes for tasks that spread over nodes",
)


def test_tasks_that_fit_nobody_are_reported_after_a_while(house: House) -> None:
    house.register("a", workers=2)
    house.submit(1, demand=WIDER)
    house.now += INFEASIBLE_S / 2
    house.submit(2, demand=WIDER)
    assert house.state.next_deadline() == 100.0 + INFEASIBLE_S
    assert house.wait(INFEASIBLE_S / 2) == [INFEASIBLE]
    assert (house.state.pending, house.state.next_deadline()) == (0, 1100.0)


def test_without_a_manager_nobody_knows_what_fits(house: House) -> None:
    house.submit(1, demand=WIDER)
    assert house.wait(10 * INFEASIBLE_S) == []
    house.register("a", workers=2)
    house(ManagerLeft("a", "gone"))
    assert house.wait(10 * INFEASIBLE_S) == []


def test_a_manager_that_could_hold_them_lets_them_wait(house: House) -> None:
    house.register("a", workers=2)
    house.register("b", workers=4)
    house(HoldRequested(["b"], []))
    house.submit(1, 2, demand=WIDER)
    assert house.wait(2 * INFEASIBLE_S) == []
    house(ManagerLeft("b", "gone"))
    assert house.wait(INFEASIBLE_S) == [INFEASIBLE]


# -- the end of a node's job -------------------------------------------------------------------------------------


def test_a_task_is_not_sent_where_it_cannot_end_in_time(house: House) -> None:
    house.register("a", ends_in_s=100.0)
    assert house.submit(1, walltime_s=100.0 - ENDS_MARGIN_S) == [SendTasks("a", [1])]
    assert house.submit(2, walltime_s=101.0 - ENDS_MARGIN_S) == []
    assert house.submit(3) == [SendTasks("a", [3])]
    assert house.wait(2 * INFEASIBLE_S) == []  # the next block may have the time
    assert house.register("b", ends_in_s=1000.0) == [WelcomeManager("b"), SendTasks("b", [2])]


def test_time_passes(house: House) -> None:
    house.register("a", ends_in_s=100.0)
    house.now += 60.0
    assert house.submit(1, 2, walltime_s=40.0) == []
    assert house.submit(3, walltime_s=20.0) == [SendTasks("a", [3])]


def test_tasks_that_waited_before_a_node_with_an_end_came_are_not_sent_there_either(house: House) -> None:
    house.submit(1, 2, walltime_s=500.0, priorities=[0.0, -1.0])
    house.submit(3)
    assert house.register("a", ends_in_s=100.0) == [WelcomeManager("a"), SendTasks("a", [3])]
    assert house.register("b") == [WelcomeManager("b"), SendTasks("b", [2, 1])]


def test_while_no_node_has_an_end_walltimes_change_nothing(house: House) -> None:
    house.register("a", workers=1, prefetch=1)
    house.submit(1, 2, walltime_s=60.0)
    house.register("b", workers=1)
    assert house.wait(REBALANCE_S) == [AskBack("a", 1)]


def test_tasks_with_walltimes_are_not_asked_back_where_nodes_end(house: House) -> None:
    # They might not be welcome where workers idle, and come back, and be asked for again.
    house.register("a", workers=1, prefetch=1)
    house.register("b", workers=1, ends_in_s=50.0)
    house.submit(1, 2, walltime_s=60.0)
    assert house.wait(REBALANCE_S) == []


# -- the user's own order ----------------------------------------------------------------------------------------


SORTED = object()


class Own(ManagerSelector):
    """By name, so that the first by name is the last; or what a test wants."""

    def __init__(self, answer: object = SORTED) -> None:
        self.answer = answer
        self.calls: list[tuple[Mapping[bytes, Any], Iterable[bytes]]] = []

    def sort_managers(self, ready_managers: Mapping[bytes, Any], manager_list: Iterable[bytes]) -> list[bytes]:
        self.calls.append((ready_managers, manager_list))
        if isinstance(self.answer, Exception):
            raise self.answer
        return sorted(manager_list, reverse=True) if self.answer is SORTED else self.answer  # type: ignore[return-value]


def test_tasks_go_to_the_last_until_it_is_full_then_to_the_one_before() -> None:
    selector = Own()
    house = House(selector)
    for name in "abc":
        house.register(name, workers=2)
    assert selector.calls == []  # nothing waited
    assert house.submit(1, 2, 3) == [SendTasks("a", [1, 2]), SendTasks("b", [3])]
    assert house.submit(4, 5) == [SendTasks("b", [4]), SendTasks("c", [5])]
    assert [names for _, names in selector.calls] == [{b"a", b"b", b"c"}, {b"b", b"c"}]


def test_a_selector_is_told_what_there_is_to_know() -> None:
    selector = Own()
    house = House(selector)
    house.register("a", workers=2, prefetch=1)
    house.submit(7)
    house.now = 110.0
    house.submit(8)
    records, _ = selector.calls[-1]
    assert records == {
        b"a": {
            "block_id": "a",
            "start_time": 0.0,
            "tasks": [7],
            "worker_count": 2,
            "max_capacity": 3,
            "active": True,
            "draining": False,
            "hostname": "host-a",
            "last_heartbeat": 1100.0,
            "idle_since": None,
            "timestamp": datetime.fromtimestamp(0),
            "parsl_version": "",
            "python_version": "",
            "packages": {},
        }
    }


def test_a_selector_sees_full_managers_too_and_what_it_says_of_them_is_passed_over() -> None:
    selector = Own([b"b", b"a", b"b", b"a"])
    house = House(selector)
    house.register("a", workers=1)
    house.register("b", workers=1)
    assert house.submit(1) == [SendTasks("a", [1])]
    assert house.submit(2) == [SendTasks("b", [2])]
    assert [(set(records), set(names)) for records, names in selector.calls] == [
        ({b"a", b"b"}, {b"a", b"b"}),
        ({b"a", b"b"}, {b"b"}),
    ]


def test_who_is_left_out_comes_last() -> None:
    house = House(Own([b"b"]))
    house.register("a", workers=1)
    house.register("b", workers=1)
    assert house.submit(1, 2) == [SendTasks("b", [1]), SendTasks("a", [2])]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (ZeroDivisionError("oh"), "Own.sort_managers: ZeroDivisionError: oh"),
        ([b"x"], "Own.sort_managers: ValueError: it gave ['x'], and was given ['a']"),
        (7, "Own.sort_managers: TypeError: 'int' object is not iterable"),
        (None, "Own.sort_managers: TypeError: 'NoneType' object is not iterable"),
        (["a"], "Own.sort_managers: AttributeError: 'str' object has no attribute 'decode'"),
    ],
    ids=["raises", "stranger", "no list", "nothing", "texts"],
)
def test_a_selector_that_fails_is_told_of_once_and_tasks_go_anywhere(answer: object, reason: str) -> None:
    house = House(Own(answer))
    house.register("a")
    assert house.submit(1) == [WarnOfSelector(reason), SendTasks("a", [1])]
    assert house.submit(2) == [SendTasks("a", [2])]
