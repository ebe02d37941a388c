"""The interchange's machine: events in, whole lists of actions out."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import msgspec
import pytest

from tests.simulation.simulated_manager import registration
from trellis.executors.common.lookahead import AHEAD_S, MOST_AHEAD_PER_WORKER
from trellis.executors.htex.interchange import manager_table
from trellis.executors.htex.interchange.events import (
    Action,
    AnswerHeartbeat,
    AskBack,
    AskToRegister,
    CancelRequested,
    DeadlinePassed,
    DismissManager,
    DrainRequested,
    Event,
    HeartbeatReceived,
    HoldRequested,
    ManagerDisconnected,
    ManagerDraining,
    ManagerLeft,
    ManagerRegistered,
    RefuseManager,
    ReportCancelled,
    ReportManagerLost,
    ReportPutAside,
    ResumeEnded,
    SendCancel,
    SendCheck,
    SendTasks,
    TasksEnded,
    TasksMissing,
    TasksReturned,
    TasksStarted,
    TasksSubmitted,
    TasksWithdrawn,
    WelcomeManager,
    WitnessReported,
)
from trellis.executors.htex.interchange.manager_table import CLOSED_GRACE_S, WITNESS_GRACE_S, WORKER_DEATHS
from trellis.executors.htex.interchange.selection import Selection
from trellis.executors.htex.interchange.state import REBALANCE_S, InterchangeState
from trellis.executors.htex.settings import RECOVERY_S
from trellis.version import VERSION
from trellis.wire.messages import PROTOCOL_VERSION

THRESHOLD_S = 60.0
CLOSED = "its connection closed: it ended or was killed"


class House:
    """A machine, a time, and short words for events."""

    def __init__(self, selection: Selection = "block_id", rng: Random | None = None) -> None:
        self.state = InterchangeState(THRESHOLD_S, selection, rng or Random(0))
        self.now = 1000.0

    def __call__(self, event: Event) -> list[Action]:
        actions = self.state.handle(event, self.now)
        self.state.check_invariants()
        return actions

    def register(
        self, name: str, workers: int = 1, prefetch: int = 0, block: str = "0", witnessed: bool = False
    ) -> list[Action]:
        return self(ManagerRegistered(registration(name, block, workers, prefetch, witnessed)))

    def submit(self, *ids: int, priorities: list[float] | None = None) -> list[Action]:
        return self(TasksSubmitted(ids, priorities))

    def start(self, name: str, *ids: int) -> None:
        """The manager passes these on to its workers."""
        assert self(TasksStarted(name, ids)) == []

    def come_back(
        self,
        name: str,
        workers: int = 1,
        prefetch: int = 0,
        block: str = "0",
        holding: Sequence[int] = (),
        started: Sequence[int] = (),
    ) -> list[Action]:
        """It registers on a new connection."""
        hello = registration(name, block, workers, prefetch)
        again = msgspec.structs.replace(hello, resumed=True, holding=list(holding), started=list(started))
        return self(ManagerRegistered(again))

    def wait(self, seconds: float) -> list[Action]:
        self.now += seconds
        return self(DeadlinePassed())


@pytest.fixture
def house() -> House:
    return House()


def lost(name: str, ids: list[int], reason: str, requeued: int = 0) -> ReportManagerLost:
    return ReportManagerLost(name, "0", f"host-{name}", ids, reason, requeued)


# -- dispatch ----------------------------------------------------------------------------------------------------


def test_tasks_without_a_manager_wait(house: House) -> None:
    assert house.submit(1, 2) == []
    assert (house.state.pending, house.state.running) == (2, 0)


def test_a_new_manager_gets_what_waits_up_to_its_capacity(house: House) -> None:
    house.submit(1, 2, 3, 4)
    assert house.register("a", workers=2, prefetch=1) == [WelcomeManager("a"), SendTasks("a", [1, 2, 3])]
    assert (house.state.pending, house.state.running) == (1, 3)


def test_tasks_go_to_a_free_manager_at_once(house: House) -> None:
    house.register("a", workers=2)
    assert house.submit(1) == [SendTasks("a", [1])]
    assert house.submit(2, 3) == [SendTasks("a", [2])]


def test_an_ended_task_makes_room_for_the_next(house: House) -> None:
    house.register("a")
    house.submit(1, 2)
    assert house(TasksEnded("a", [1])) == [SendTasks("a", [2])]
    assert (house.state.pending, house.state.running) == (0, 1)


def test_lower_priorities_come_first_and_equal_ones_in_order_of_arrival(house: House) -> None:
    house.submit(1, 2, 3, priorities=[5.0, 0.0, -1.0])
    house.submit(4)
    assert house.register("a", workers=4) == [WelcomeManager("a"), SendTasks("a", [3, 2, 4, 1])]


def test_by_block_the_newest_is_filled_first(house: House) -> None:
    house.register("old", workers=1, block="9")
    house.register("new", workers=2, block="10")
    assert house.submit(1, 2, 3) == [SendTasks("new", [1, 2]), SendTasks("old", [3])]


def test_by_chance_the_generator_decides() -> None:
    def first_choice(seed: int) -> list[Action]:
        house = House("random", Random(seed))
        for name in "abc":
            house.register(name)
        return house.submit(1)

    chosen = {str(first_choice(seed)) for seed in range(30)}
    assert chosen == {str([SendTasks(name, [1])]) for name in "abc"}
    assert first_choice(5) == first_choice(5)


# -- running ahead of short tasks --------------------------------------------------------------------------------


def test_short_tasks_are_sent_beyond_the_capacity(house: House) -> None:
    house.register("a")
    house.submit(*range(100))
    ahead = 5
    sent = house(TasksEnded("a", [0], duration_s=AHEAD_S / ahead))
    assert sent == [SendTasks("a", [1]), SendTasks("a", list(range(2, 2 + ahead)))]


def test_what_is_ahead_is_refilled_by_halves(house: House) -> None:
    house.register("a")
    house.submit(*range(100))
    house(TasksEnded("a", [0], duration_s=AHEAD_S / 4))
    assert house.state.managers["a"].tasks == {1, 2, 3, 4, 5}
    assert house(TasksEnded("a", [1])) == []
    assert house(TasksEnded("a", [2])) == [SendTasks("a", [6, 7])]


def test_each_worker_counts_for_what_is_ahead(house: House) -> None:
    house.register("a", workers=3, prefetch=1)
    house.submit(*range(100))
    house(TasksEnded("a", [0], duration_s=AHEAD_S / 2))
    assert house.state.running == 3 + 1 + 3 * 2


def test_however_short_there_is_a_most(house: House) -> None:
    house.register("a", workers=2)
    house.submit(*range(500))
    house(TasksEnded("a", [0, 1], duration_s=0.0))
    assert house.state.running == 2 + 2 * MOST_AHEAD_PER_WORKER


def test_before_a_duration_is_known_nothing_is_sent_ahead(house: House) -> None:
    house.register("a")
    house.submit(*range(10))
    assert house(TasksEnded("a", [0])) == [SendTasks("a", [1])]
    assert house.state.managers["a"].ahead == 0


def test_long_tasks_are_never_sent_ahead(house: House) -> None:
    house.register("a")
    house.submit(*range(10))
    assert house(TasksEnded("a", [0], duration_s=AHEAD_S * 1.01)) == [SendTasks("a", [1])]


def test_one_long_task_ends_sending_ahead(house: House) -> None:
    house.register("a")
    house.submit(*range(300))
    house(TasksEnded("a", [0], duration_s=0.0))
    assert house(TasksEnded("a", [1], duration_s=10.0)) == []
    assert house(TasksEnded("a", list(range(2, 1 + MOST_AHEAD_PER_WORKER)))) == []  # what was sent before is worked off
    assert house(TasksEnded("a", [1 + MOST_AHEAD_PER_WORKER])) == [SendTasks("a", [2 + MOST_AHEAD_PER_WORKER])]


def test_the_estimate_follows_longer_tasks_at_once_and_shorter_ones_slowly(house: House) -> None:
    house.register("a")

    def estimate_after(count: int, duration_s: float) -> float | None:
        house(TasksEnded("a", list(range(count)), duration_s))
        return house.state.managers["a"]._look_ahead.mean_s

    assert estimate_after(2, 0.5) == 0.25
    assert estimate_after(1, 1.0) == 1.0
    assert estimate_after(1, 0.0) == pytest.approx(0.9)
    assert estimate_after(2, 0.0) == pytest.approx(0.9 * 0.9 * 0.9)  # a batch counts for as many as it has
    assert estimate_after(0, 5.0) == pytest.approx(0.9 * 0.9 * 0.9)
    assert estimate_after(1000, 0.0) == pytest.approx(0.0)


def test_free_capacity_everywhere_comes_before_anything_ahead(house: House) -> None:
    house.register("a", block="0")
    house.submit(0)
    house(TasksEnded("a", [0], duration_s=0.0))
    house.register("b", workers=1, prefetch=2, block="spare")
    assert house.submit(1, 2, 3, 4) == [SendTasks("a", [1]), SendTasks("b", [2, 3, 4])]
    assert house.submit(5) == [SendTasks("a", [5])]


def test_a_held_manager_is_sent_nothing_ahead(house: House) -> None:
    house.register("a")
    house.submit(0)
    house(TasksEnded("a", [0], duration_s=0.0))
    house.submit(1)
    house(HoldRequested(["a"], []))
    assert house.submit(2) == []


# -- asking back -------------------------------------------------------------------------------------------------


def with_idle_elsewhere(waiting: int = 3, idle: int = 2) -> House:
    """Manager a has one worker and tasks from 1 on, ``waiting`` of them wait; b has idle workers."""
    house = House()
    house.register("a", workers=1, prefetch=waiting)
    house.submit(*range(1, waiting + 2))
    house.register("b", workers=idle, block="spare")
    return house


def test_where_tasks_wait_while_workers_idle_they_are_asked_back() -> None:
    house = with_idle_elsewhere(waiting=3, idle=2)
    assert house.state.next_deadline() == house.now + REBALANCE_S
    assert house.wait(REBALANCE_S * 0.9) == []
    assert house.wait(REBALANCE_S * 0.11) == [AskBack("a", 2)]
    assert house(TasksReturned("a", [3, 4])) == [SendTasks("b", [3, 4])]
    assert house.state.next_deadline() == 1000.0 + THRESHOLD_S


def test_not_more_is_asked_back_than_waits() -> None:
    house = with_idle_elsewhere(waiting=1, idle=4)
    assert house.wait(REBALANCE_S) == [AskBack("a", 1)]


def test_the_most_loaded_are_asked_first_and_no_more_than_needed() -> None:
    house = House()
    for name, prefetch in (("a", 1), ("b", 5), ("c", 3)):
        house.register(name, workers=1, prefetch=prefetch)
        house.submit(*(ord(name) * 100 + n for n in range(1 + prefetch)))
    house.register("d", workers=6)
    assert house.wait(REBALANCE_S) == [AskBack("b", 5), AskBack("c", 1)]


def test_idle_workers_of_several_managers_count_together() -> None:
    house = with_idle_elsewhere(waiting=9, idle=2)
    house.register("c", workers=3)
    house.submit(100)  # b or c has one idle worker less
    assert house.wait(REBALANCE_S) == [AskBack("a", 4)]


def test_when_the_idle_have_got_work_meanwhile_nothing_is_asked_back() -> None:
    house = with_idle_elsewhere(idle=1)
    assert house.submit(9) == [SendTasks("b", [9])]
    assert house.wait(REBALANCE_S) == []
    assert house.state.next_deadline() == 1000.0 + THRESHOLD_S


def test_a_manager_is_asked_again_only_after_its_answer() -> None:
    house = with_idle_elsewhere(idle=1)
    assert house.wait(REBALANCE_S) == [AskBack("a", 1)]
    assert house.wait(REBALANCE_S) == []
    assert house(TasksReturned("a", [])) == []
    assert house.wait(REBALANCE_S) == [AskBack("a", 1)]


@pytest.mark.parametrize("shut", [HoldRequested(["b"], []), ManagerDisconnected("b"), ManagerLeft("b", "goodbye")])
def test_nothing_is_asked_back_for_workers_that_get_nothing(shut: Event) -> None:
    house = with_idle_elsewhere()
    house(shut)
    assert house.wait(REBALANCE_S) == []


def test_a_held_manager_gives_back_too() -> None:
    house = with_idle_elsewhere()
    house(HoldRequested(["a"], []))
    assert house.wait(REBALANCE_S) == [AskBack("a", 2)]
    assert house(TasksReturned("a", [3, 4])) == [SendTasks("b", [3, 4])]


def test_a_draining_manager_that_gives_back_its_last_tasks_is_dismissed() -> None:
    house = with_idle_elsewhere()
    house.start("a", 1)
    assert house(ManagerDraining("a")) == [AskBack("a", 4)]
    house(TasksEnded("a", [1, 2]))
    assert house(TasksReturned("a", [3, 4])) == [DismissManager("a", "it is drained"), SendTasks("b", [3, 4])]


def test_a_manager_that_has_given_back_everything_is_idle() -> None:
    house = with_idle_elsewhere(waiting=1, idle=2)
    house(TasksEnded("a", [1]))
    house.now = 1010.0
    assert house(TasksReturned("a", [2])) == [SendTasks("a", [2])]
    house(HoldRequested(["a"], []))
    house.now = 1020.0
    assert house(TasksReturned("a", [2])) == [SendTasks("b", [2])]
    assert house.state.managers["a"].idle_since == 1020.0


@pytest.mark.parametrize("selection", ["random", "block_id"])
def test_idle_workers_come_before_places_to_wait(selection: Selection) -> None:
    house = House(selection)
    for name, block in (("a", "0"), ("b", "1"), ("c", "2")):
        house.register(name, workers=2, prefetch=2, block=block)
    house.submit(*range(6))
    assert [len(manager.tasks) for manager in house.state.managers.values()] == [2, 2, 2]


def test_what_comes_back_does_not_go_where_it_would_wait_again() -> None:
    house = House("block_id")
    house.register("a", workers=1, prefetch=5)
    house.submit(1, 2, 3)
    house.register("b", workers=1, prefetch=5, block="spare")
    assert house.wait(REBALANCE_S) == [AskBack("a", 1)]
    assert house(TasksReturned("a", [3])) == [SendTasks("b", [3])]


def test_what_comes_back_goes_before_others_of_its_priority(house: House) -> None:
    house.register("a", workers=1, prefetch=2)
    house.submit(1, 2, 3, priorities=[0.0, 1.0, 0.0])
    house(HoldRequested(["a"], []))
    house.submit(4)
    house(TasksReturned("a", [2, 3]))
    assert house.register("b", workers=3) == [WelcomeManager("b"), SendTasks("b", [3, 4, 2])]


def test_only_tasks_that_are_there_come_back(house: House) -> None:
    house.register("a")
    house.submit(1)
    house(HoldRequested(["a"], []))
    assert house(TasksReturned("a", [1, 7])) == []
    assert house(TasksReturned("a", [1])) == []
    assert (house.state.pending, house.state.running) == (1, 0)


def test_what_a_lost_manager_gives_back_is_lost_already() -> None:
    house = with_idle_elsewhere()
    house.wait(REBALANCE_S)
    house.start("a", 1, 2, 3, 4)
    house(ManagerLeft("a", "it sent a bad message"))
    assert house(TasksReturned("a", [3, 4])) == [DismissManager("a", "it sent a bad message")]
    assert (house.state.pending, house.state.running) == (0, 0)


def test_a_manager_that_registers_again_may_be_asked_again() -> None:
    house = with_idle_elsewhere(waiting=1, idle=1)
    house.start("a", 1)
    assert house.wait(REBALANCE_S) == [AskBack("a", 1)]
    assert house.register("a", workers=1, prefetch=1) == [
        lost("a", [1], "it registered again", requeued=1),
        WelcomeManager("a"),
        SendTasks("a", [2]),
    ]
    house.submit(3, 4)
    house(TasksEnded("b", [3]))
    assert house.wait(REBALANCE_S) == [AskBack("a", 1)]


def test_a_task_that_came_back_and_waits_is_cancelled_here(house: House) -> None:
    house.register("a", workers=1, prefetch=1)
    house.submit(1, 2)
    house(HoldRequested(["a"], []))
    house(TasksReturned("a", [2]))
    assert house(CancelRequested([2])) == [ReportCancelled([2])]
    assert house.register("b") == [WelcomeManager("b")]


def test_a_task_whose_cancelling_crossed_it_on_its_way_back_is_cancelled_here() -> None:
    house = with_idle_elsewhere()
    house.wait(REBALANCE_S)
    assert house(CancelRequested([4])) == [SendCancel("a", [4])]
    assert house(TasksReturned("a", [3, 4])) == [ReportCancelled([4]), SendTasks("b", [3])]
    assert house(TasksEnded("a", [4])) == []


def test_while_an_answer_is_to_come_the_next_is_asked_and_then_nobody() -> None:
    house = with_idle_elsewhere(waiting=3, idle=1)
    house(HoldRequested(["b"], []))
    house.register("c", workers=1, prefetch=3)
    house.submit(5, 6, 7, 8)
    house.register("d")
    asked: list[Action] = []
    while (deadline := house.state.next_deadline()) is not None and deadline < 1001.0:
        assert deadline > house.now, "it is busy for nothing"
        asked += house.wait(deadline - house.now)
    assert asked == [AskBack("a", 1), AskBack("c", 1)]


# -- cancelling --------------------------------------------------------------------------------------------------


def test_a_task_that_waits_is_cancelled_here(house: House) -> None:
    house.submit(1, 2)
    assert house(CancelRequested([1])) == [ReportCancelled([1])]
    assert house.register("a", workers=2) == [WelcomeManager("a"), SendTasks("a", [2])]


def test_a_task_at_a_manager_is_cancelled_there(house: House) -> None:
    house.register("a", workers=2)
    house.submit(1, 2, 3)
    assert house(CancelRequested([2, 3])) == [ReportCancelled([3]), SendCancel("a", [2])]
    assert house.state.running == 2  # until the manager says so
    assert house(TasksEnded("a", [2])) == []


def test_a_task_that_has_ended_is_not_cancelled(house: House) -> None:
    house.register("a")
    house.submit(1)
    house(TasksEnded("a", [1]))
    assert house(CancelRequested([1])) == []


def test_a_task_is_cancelled_once(house: House) -> None:
    house.submit(1)
    assert house(CancelRequested([1, 1])) == [ReportCancelled([1])]


# -- registration ------------------------------------------------------------------------------------------------


def test_another_protocol_is_refused(house: House) -> None:
    other = msgspec.structs.replace(registration("a", "0", 1, 0), protocol=PROTOCOL_VERSION + 1, trellis_version="9.9")
    house.submit(1)
    assert house(ManagerRegistered(other)) == [
        RefuseManager(
            "a",
            "host-a",
            "it speaks another protocol; use the same Trellis version on both sides",
            (f"Trellis {VERSION}, protocol {PROTOCOL_VERSION}", f"Trellis 9.9, protocol {PROTOCOL_VERSION + 1}"),
        )
    ]
    assert house.state.managers == {}


@pytest.mark.parametrize(("workers", "prefetch"), [(0, 1), (2, -1)])
def test_a_manager_without_room_is_refused(house: House, workers: int, prefetch: int) -> None:
    assert house.register("a", workers, prefetch) == [
        RefuseManager("a", "host-a", f"it has {workers} workers and capacity {workers + prefetch}")
    ]


def test_a_manager_that_registers_again_has_lost_what_it_had(house: House) -> None:
    house.register("a", workers=2)
    house.submit(1, 2, 3)
    house.start("a", 1)
    assert house.register("a", workers=1) == [
        lost("a", [1], "it registered again", requeued=1),
        WelcomeManager("a"),
        SendTasks("a", [2]),
    ]


def test_blocks_are_remembered_in_order_of_appearance(house: House) -> None:
    house.register("a", block="7")
    house.register("b", block="3")
    house(ManagerLeft("a", "it is done"))
    assert house.state.blocks == ["7", "3"]
    assert list(house.state.managers) == ["b"]


# -- silence -----------------------------------------------------------------------------------------------------


def test_heartbeats_are_answered(house: House) -> None:
    house.register("a")
    assert house(HeartbeatReceived("a")) == [AnswerHeartbeat("a")]


def test_nothing_is_due_before_a_manager_comes(house: House) -> None:
    assert house.state.next_deadline() is None
    house.register("a")
    assert house.state.next_deadline() == house.now + THRESHOLD_S


def test_a_silent_manager_is_lost_with_its_tasks(house: House) -> None:
    house.register("a", workers=2)
    house.submit(1, 2, 3)
    house.start("a", 1, 2)
    assert house.wait(THRESHOLD_S - 1) == []
    assert house.wait(1) == [
        lost("a", [1, 2], "it sent nothing for 60 s"),
        DismissManager("a", "it sent nothing for 60 s"),
    ]
    assert (house.state.pending, house.state.running, house.state.managers) == (1, 0, {})
    assert house.state.next_deadline() is None


def said_by(name: str) -> list[Event]:
    return [
        HeartbeatReceived(name),
        TasksStarted(name, [1]),
        TasksEnded(name, [1]),
        TasksReturned(name, [1]),
        TasksMissing(name, [1]),
        ManagerDraining(name),
    ]


@pytest.mark.parametrize("sign_of_life", said_by("a"), ids=lambda event: type(event).__name__)
def test_a_sign_of_life_puts_the_deadline_off(house: House, sign_of_life: Event) -> None:
    house.register("a")
    house.submit(1)
    house.now += 50
    house(sign_of_life)
    assert house.wait(59) == []
    assert [type(action) for action in house.wait(1)] == [ReportManagerLost, DismissManager]


def test_a_lost_manager_that_speaks_again_is_dismissed(house: House) -> None:
    house.register("a")
    house.wait(THRESHOLD_S)
    dismissal: list[Action] = [DismissManager("a", "it sent nothing for 60 s")]
    for event in said_by("a"):
        assert house(event) == dismissal
    assert house(ManagerLeft("a", "dismissed")) == []
    assert house(ManagerDisconnected("a")) == []


# -- connections that close --------------------------------------------------------------------------------------


def test_a_manager_whose_connection_closed_gets_nothing_more(house: House) -> None:
    house.register("a", workers=2)
    house(ManagerDisconnected("a"))
    assert house.submit(1) == []
    assert house.state.next_deadline() == house.now + CLOSED_GRACE_S


def test_it_is_lost_after_a_grace_for_messages_that_came_before(house: House) -> None:
    house.register("a", workers=3)
    house.submit(1, 2, 3)
    house.start("a", 1, 2)
    house(ManagerDisconnected("a"))
    assert house(TasksEnded("a", [1])) == []
    assert house.wait(CLOSED_GRACE_S) == [lost("a", [2], CLOSED, requeued=1), DismissManager("a", CLOSED)]


def test_without_a_registration_it_is_not_back(house: House) -> None:
    # Tasks that were under way when the connection broke may never have arrived: it has to say what it holds.
    house.register("a", workers=2)
    house.submit(1)
    house(ManagerDisconnected("a"))
    assert house(HeartbeatReceived("a")) == [AnswerHeartbeat("a")]
    assert house.submit(2) == []
    assert house.wait(CLOSED_GRACE_S) == [lost("a", [], CLOSED, requeued=1), DismissManager("a", CLOSED)]


def test_the_grace_does_not_begin_anew(house: House) -> None:
    house.register("a")
    house(ManagerDisconnected("a"))
    house.now += CLOSED_GRACE_S / 2
    house(ManagerDisconnected("a"))
    assert house.wait(CLOSED_GRACE_S / 2) == [lost("a", [], CLOSED), DismissManager("a", CLOSED)]


def test_a_goodbye_within_the_grace_explains_the_end(house: House) -> None:
    house.register("a")
    house.submit(1)
    house(ManagerDisconnected("a"))
    assert house(ManagerLeft("a", "it got SIGTERM")) == [lost("a", [], "it got SIGTERM", requeued=1)]
    assert house.wait(CLOSED_GRACE_S) == []


def test_a_new_registration_within_the_grace_starts_anew(house: House) -> None:
    house.register("a")
    house.submit(1, 2)
    house.start("a", 1)
    house(ManagerDisconnected("a"))
    assert house.register("a") == [lost("a", [1], "it registered again"), WelcomeManager("a"), SendTasks("a", [2])]
    assert house.wait(CLOSED_GRACE_S) == []


def test_a_manager_that_leaves_loses_what_it_has_started_and_not_reported(house: House) -> None:
    house.register("a", workers=3)
    house.submit(1, 2, 3)
    house.start("a", 1, 2)
    house(TasksEnded("a", [1]))
    assert house(ManagerLeft("a", "it got SIGTERM")) == [lost("a", [2], "it got SIGTERM", requeued=1)]
    assert house.state.pending == 1


# -- holding and draining ----------------------------------------------------------------------------------------


def test_a_held_manager_keeps_its_tasks_and_gets_no_more(house: House) -> None:
    house.register("a", workers=2)
    house.submit(1)
    assert house(HoldRequested(["a"], [])) == []
    assert house.submit(2) == []
    assert house(TasksEnded("a", [1])) == []


def test_a_held_block_holds_its_managers_now_and_later(house: House) -> None:
    house.register("a", block="0")
    house(HoldRequested([], ["0"]))
    house.register("b", block="0")
    assert house.submit(1) == []
    assert house.register("c", block="1") == [WelcomeManager("c"), SendTasks("c", [1])]


def test_to_hold_a_stranger_does_nothing(house: House) -> None:
    house.register("a")
    assert house(HoldRequested(["b"], ["9"])) == []
    assert house.submit(1) == [SendTasks("a", [1])]


def test_an_idle_manager_that_drains_is_dismissed_at_once(house: House) -> None:
    house.register("a")
    assert house(ManagerDraining("a")) == [DismissManager("a", "it is drained")]
    assert house.submit(1) == []
    assert house(ManagerLeft("a", "dismissed: it is drained")) == [lost("a", [], "dismissed: it is drained")]


def test_a_busy_manager_that_drains_is_dismissed_after_its_last_task(house: House) -> None:
    house.register("a", workers=2)
    house.submit(1, 2, 3)
    assert house(ManagerDraining("a")) == [AskBack("a", 2)]
    assert house(TasksEnded("a", [1])) == []
    assert house(TasksEnded("a", [2])) == [DismissManager("a", "it is drained")]
    assert house.state.pending == 1


# -- idle time ---------------------------------------------------------------------------------------------------


def test_a_manager_is_idle_since_its_last_task_ended(house: House) -> None:
    def idle_since() -> float | None:
        return house.state.managers["a"].idle_since

    house.register("a", workers=2)
    assert idle_since() == 1000.0
    house.submit(1, 2)
    assert idle_since() is None
    house.now = 1010.0
    house(TasksEnded("a", [1]))
    assert idle_since() is None
    house.now = 1020.0
    house(TasksEnded("a", [2]))
    house.now = 1030.0
    house(TasksEnded("a", [2]))  # said twice
    assert idle_since() == 1020.0


# -- after a loss ------------------------------------------------------------------------------------------------


def test_what_never_started_goes_back_in_its_order_before_others_of_its_priority(house: House) -> None:
    house.register("a", workers=4)
    house.submit(1, 2, 3, 4, priorities=[0.0, 5.0, 0.0, -1.0])
    house.start("a", 1)
    house.submit(5, 6, priorities=[0.0, -1.0])
    assert house(ManagerLeft("a", "gone")) == [lost("a", [1], "gone", requeued=3)]
    assert house.register("b", workers=5) == [WelcomeManager("b"), SendTasks("b", [4, 6, 3, 5, 2])]


def test_it_goes_to_another_manager_at_once(house: House) -> None:
    house.register("a", workers=2)
    house.submit(1, 2)
    house.register("b", workers=2)
    assert house(ManagerLeft("a", "gone")) == [lost("a", [], "gone", requeued=2), SendTasks("b", [1, 2])]


def test_what_was_to_be_cancelled_and_never_started_is_cancelled_by_the_loss(house: House) -> None:
    house.register("a", workers=2)
    house.submit(1, 2)
    assert house(CancelRequested([2])) == [SendCancel("a", [2])]
    assert house(ManagerLeft("a", "gone")) == [lost("a", [], "gone", requeued=1), ReportCancelled([2])]


def test_news_of_tasks_that_are_not_there_starts_nothing(house: House) -> None:
    house.register("a", workers=2)
    house.submit(1)
    house.start("a", 1, 7)
    assert house.state.managers["a"].started == {1}


def test_a_late_result_of_a_lost_manager_ends_the_task_that_waits_again(house: House) -> None:
    house.register("a")
    house.submit(1)
    house.wait(THRESHOLD_S)
    assert house(TasksEnded("a", [1], 1.0)) == [DismissManager("a", "it sent nothing for 60 s")]
    assert (house.state.pending, house.state.running) == (0, 0)


def test_a_late_result_of_a_lost_manager_cancels_the_second_run(house: House) -> None:
    house.register("a")
    house.submit(1)
    house(ManagerLeft("a", "gone"))
    house.register("b")
    assert house(TasksEnded("a", [1], 1.0)) == [SendCancel("b", [1]), DismissManager("a", "gone")]
    assert house(TasksEnded("a", [1], 1.0)) == [DismissManager("a", "gone")]
    # The submit side has a result: should the second run be lost as well, there is nothing to run again.
    assert house(ManagerLeft("b", "gone too")) == [lost("b", [], "gone too"), ReportCancelled([1])]


def test_only_who_has_a_task_or_had_it_can_know_its_end(house: House) -> None:
    house.register("a", block="0")
    house.submit(1)
    assert list(house.state.had_by("a", [1, 99])) == [0]
    assert list(house.state.had_by("b", [1])) == []
    house(ManagerLeft("a", "gone"))
    house.submit(2)
    house.register("b", workers=2)
    assert list(house.state.had_by("a", [1, 2])) == [0]  # it had it, and may have run it
    assert list(house.state.had_by("b", [1, 2])) == [0, 1]
    assert list(house.state.had_by("c", [1, 2])) == []
    house(TasksEnded("b", [1, 2], 1.0))
    assert list(house.state.had_by("a", [1, 2])) == []


def test_after_a_restart_who_has_a_task_is_learned_from_who_says_so(house: House) -> None:
    resumed(house, 1, 2, expected="a")
    assert list(house.state.had_by("anybody", [1, 2])) == [0, 1]
    house.wait(RECOVERY_S)
    assert list(house.state.had_by("anybody", [1, 2])) == [0, 1]
    house.register("new")
    assert list(house.state.had_by("anybody", [1, 2])) == [1]  # the other is at the new one now


def test_nobody_reports_a_task_as_cancelled_that_another_has(house: House) -> None:
    house.register("a", block="0")
    house.register("b", block="spare")
    house.submit(1, 2, 3)
    assert house.state.may_report("a", [1, 2, 3, 99]) == [1, 99]


def test_a_manager_given_up_that_comes_back_is_dismissed_with_the_reason(house: House) -> None:
    house.register("a")
    house.wait(THRESHOLD_S)
    assert house.come_back("a") == [DismissManager("a", "it sent nothing for 60 s")]
    assert house.register("a") == [WelcomeManager("a")]  # another process
    assert house(HeartbeatReceived("a")) == [AnswerHeartbeat("a")]


def test_a_manager_that_nobody_knows_is_asked_to_register(house: House) -> None:
    for event in said_by("a"):
        assert house(event) == [AskToRegister("a")]


def test_not_all_that_are_gone_are_remembered(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manager_table, "MOST_DEPARTED", 2)
    for name in "abc":
        house.register(name)
        house(ManagerLeft(name, "gone"))
    assert [house(HeartbeatReceived(name)) for name in "abc"] == [
        [AskToRegister("a")],
        [DismissManager("b", "gone")],
        [DismissManager("c", "gone")],
    ]


# -- coming back -------------------------------------------------------------------------------------------------


def test_a_brief_break_loses_nothing(house: House) -> None:
    house.register("a", workers=2)
    house.submit(1)
    house(ManagerDisconnected("a"))
    house.submit(2)
    house.now += CLOSED_GRACE_S / 2
    assert house.come_back("a", workers=2, holding=[1]) == [WelcomeManager("a"), SendTasks("a", [2])]
    assert house.wait(CLOSED_GRACE_S) == []
    assert house.state.managers["a"].tasks == {1, 2}


def test_what_is_not_there_after_a_break_is_asked_about_and_goes_back(house: House) -> None:
    house.register("a", workers=3)
    house.submit(1, 2, 3)
    house(ManagerDisconnected("a"))
    assert house.come_back("a", workers=3, holding=[2]) == [WelcomeManager("a"), SendCheck("a", [1, 3])]
    assert house(TasksMissing("a", [3])) == [SendTasks("a", [3])]  # the other was on its way
    assert house.state.managers["a"].tasks == {1, 2, 3}


def test_an_answer_counts_once_for_what_was_asked(house: House) -> None:
    house.register("a", workers=2)
    house.submit(1, 2)
    assert house(TasksMissing("a", [1])) == []
    house(ManagerDisconnected("a"))
    assert house.come_back("a", workers=2, holding=[2]) == [WelcomeManager("a"), SendCheck("a", [1])]
    assert house.come_back("a", workers=2, holding=[2]) == [WelcomeManager("a")]
    assert house(TasksMissing("a", [1])) == [SendTasks("a", [1])]
    assert house(TasksMissing("a", [1])) == []
    assert house.state.managers["a"].tasks == {1, 2}


def test_what_was_asked_about_on_a_broken_connection_is_asked_about_again(house: House) -> None:
    house.register("a", workers=1)
    house.submit(1)
    house(ManagerDisconnected("a"))
    assert house.come_back("a") == [WelcomeManager("a"), SendCheck("a", [1])]
    house(ManagerDisconnected("a"))
    assert house(TasksMissing("a", [1])) == []
    assert house.come_back("a") == [WelcomeManager("a"), SendCheck("a", [1])]


def test_a_missing_task_that_was_to_be_cancelled_is_cancelled(house: House) -> None:
    house.register("a")
    house.submit(1)
    house(CancelRequested([1]))
    house(ManagerDisconnected("a"))
    assert house.come_back("a") == [WelcomeManager("a"), SendCancel("a", [1]), SendCheck("a", [1])]
    assert house(TasksMissing("a", [1])) == [ReportCancelled([1])]


def test_after_a_break_a_manager_is_told_again_what_to_cancel_and_what_to_drop(house: House) -> None:
    house.register("a", workers=2)
    house.submit(1, 2)
    house(CancelRequested([2]))
    house.register("b", block="spare")
    house.submit(3)
    house(ManagerDisconnected("a"))
    assert house.come_back("a", workers=2, holding=[1, 2, 3, 99]) == [
        WelcomeManager("a"),
        SendCancel("a", [3, 99, 2]),  # another has 3, nobody knows 99
    ]


def test_what_started_while_the_connection_was_broken_is_lost_with_the_manager(house: House) -> None:
    house.register("a", workers=2)
    house.submit(1, 2)
    house(ManagerDisconnected("a"))
    house.come_back("a", workers=2, holding=[1, 2], started=[2])
    assert house(ManagerLeft("a", "gone")) == [lost("a", [2], "gone", requeued=1)]


def test_after_a_break_a_manager_may_be_asked_back_again() -> None:
    house = with_idle_elsewhere(waiting=1, idle=1)
    assert house.wait(REBALANCE_S) == [AskBack("a", 1)]
    house(ManagerDisconnected("a"))
    house.come_back("a", workers=1, prefetch=1, holding=[1, 2])
    assert house.wait(REBALANCE_S) == [AskBack("a", 1)]


def test_after_a_break_a_draining_manager_is_asked_again(house: House) -> None:
    house.register("a")
    house.submit(1)
    assert house(ManagerDraining("a")) == [AskBack("a", 1)]
    house(ManagerDisconnected("a"))
    assert house.come_back("a", holding=[1]) == [WelcomeManager("a"), AskBack("a", 1)]


# -- after a restart of the interchange --------------------------------------------------------------------------


def resumed(house: House, *ids: int, expected: str = "a") -> None:
    assert house(TasksSubmitted(ids, resumed=True)) == []
    house(ResumeEnded(list(expected)))


def test_unclaimed_tasks_are_claimed_by_who_holds_them(house: House) -> None:
    resumed(house, 1, 2, 3, expected="ab")
    assert (house.state.pending, house.state.running) == (0, 3)
    assert house.come_back("a", workers=2, holding=[3, 1], started=[1]) == [WelcomeManager("a")]
    assert house.state.managers["a"].tasks == {1, 3}
    assert house.state.managers["a"].started == {1}
    assert house.come_back("b") == [WelcomeManager("b"), SendTasks("b", [2])]


def test_without_anybody_to_come_claims_end_at_once(house: House) -> None:
    house.register("new")
    assert house(TasksSubmitted([1, 2], [1.0, 0.0], resumed=True)) == []
    assert house(ResumeEnded([])) == [SendTasks("new", [2])]


def test_claims_end_when_those_who_do_not_come_had_their_time(house: House) -> None:
    resumed(house, 1, 2, expected="a")
    assert house.register("new") == [WelcomeManager("new")]
    assert house.submit(3) == [SendTasks("new", [3])]  # nobody else can have this one
    assert house.state.next_deadline() == house.now + RECOVERY_S
    assert house.wait(RECOVERY_S * 0.9) == []
    assert house.wait(RECOVERY_S * 0.1) == []
    assert (house.state.pending, house.state.running) == (2, 1)


def test_claims_end_when_the_last_that_is_expected_is_seen_to_leave(house: House) -> None:
    resumed(house, 1, expected="a")
    house.register("new")
    assert house(ManagerLeft("a", "it got SIGTERM")) == [SendTasks("new", [1])]


def test_who_comes_late_may_keep_what_still_waits_and_drops_what_another_has(house: House) -> None:
    resumed(house, 1, 2, expected="a")
    house.wait(RECOVERY_S)
    house.register("new")
    assert house.come_back("a", workers=2, holding=[1, 2]) == [WelcomeManager("a"), SendCancel("a", [1])]
    assert house.state.managers["a"].tasks == {2}
    assert house(TasksEnded("new", [1], 1.0)) == []


def test_an_unclaimed_task_that_is_cancelled_is_dropped_at_the_end_or_cancelled_where_it_is(house: House) -> None:
    resumed(house, 1, 2, expected="ab")
    assert house(CancelRequested([1, 2])) == []
    assert house.come_back("a", holding=[1]) == [WelcomeManager("a"), SendCancel("a", [1])]
    assert house.come_back("b") == [WelcomeManager("b"), ReportCancelled([2])]


def test_a_report_that_was_kept_ends_an_unclaimed_task(house: House) -> None:
    resumed(house, 1, 2, expected="a")
    assert house(TasksEnded("a", [1], 1.0)) == [AskToRegister("a")]
    assert house.come_back("a", holding=[2]) == [WelcomeManager("a")]
    assert house.state.running == 1


def test_who_was_held_before_is_held_when_it_comes_back(house: House) -> None:
    house(HoldRequested(["a"], ["7"]))
    resumed(house, 1, expected="ab")
    house.come_back("a", workers=2)
    assert house.come_back("b", block="7") == [WelcomeManager("b")]
    assert house.state.pending == 1


# -- blocks that shall end ---------------------------------------------------------------------------------------


def test_a_drained_block_gives_back_what_has_not_started_and_is_dismissed_when_idle(house: House) -> None:
    house.register("a", workers=2)
    house.register("b", block="spare")
    house.submit(1, 2, 3)
    house(TasksEnded("b", [3]))
    house.start("a", 1)
    assert house(DrainRequested(["0"])) == [AskBack("a", 2)]
    assert house(TasksReturned("a", [2])) == [SendTasks("b", [2])]
    assert house(TasksEnded("a", [1], 1.0)) == [DismissManager("a", "it is drained")]


def test_an_idle_manager_of_a_drained_block_is_dismissed_at_once(house: House) -> None:
    house.register("a")
    assert house(DrainRequested(["0", "5"])) == [DismissManager("a", "it is drained")]


def test_who_comes_late_to_a_drained_block_is_dismissed(house: House) -> None:
    house(DrainRequested(["0"]))
    assert house.register("a") == [DismissManager("a", "its block is to end")]
    assert house.state.managers == {}


def test_who_comes_back_to_a_drained_block_may_end_what_it_runs(house: House) -> None:
    house(DrainRequested(["0"]))
    resumed(house, 1, expected="a")
    assert house.come_back("a", holding=[1]) == [WelcomeManager("a"), AskBack("a", 1)]
    assert house(TasksReturned("a", [])) == []
    assert house(TasksEnded("a", [1], 1.0)) == [DismissManager("a", "it is drained")]


# -- broken nodes ------------------------------------------------------------------------------------------------

ASIDE = ReportPutAside(
    "a", "0", "host-a", "its workers died one after the other, 5 times, and other managers fare better"
)


def kill_workers(house: House, name: str, times: int = WORKER_DEATHS) -> list[Action]:
    """One task after the other takes its worker along."""
    actions: list[Action] = []
    for _ in range(times):
        id_ = min(house.state.managers[name].tasks)
        actions += [a for a in house(TasksEnded(name, [id_], worker_lost=True)) if not isinstance(a, SendTasks)]
    return actions


def test_a_node_whose_workers_die_is_put_aside_while_others_fare_better(house: House) -> None:
    house.register("a", workers=2)
    house.register("b", block="spare")
    house.submit(*range(20))
    house(TasksEnded("b", [2], 1.0))
    assert kill_workers(house, "a") == [ASIDE, AskBack("a", 1)]
    waiting = house.state.pending
    (given,) = house.state.managers["a"].tasks
    house(TasksReturned("a", [given]))
    assert house.state.pending == waiting + 1
    assert not house.state.managers["a"].takes_tasks


def test_a_task_that_runs_to_its_end_clears_a_node(house: House) -> None:
    house.register("a", workers=2)
    house.register("b", block="spare")
    house.submit(*range(20))
    assert kill_workers(house, "a", WORKER_DEATHS - 1) == []
    house(TasksEnded("a", [min(house.state.managers["a"].tasks)], 1.0))
    assert kill_workers(house, "a", WORKER_DEATHS - 1) == []
    assert kill_workers(house, "a", 1) == [ASIDE, AskBack("a", 1)]


@pytest.mark.parametrize("others", [[], [HoldRequested(["b"], [])], [TasksEnded("b", [2], worker_lost=True)]])
def test_a_node_is_not_put_aside_when_nobody_fares_better(house: House, others: list[Event]) -> None:
    house.register("a", workers=2)
    if others:
        house.register("b", block="spare")
    house.submit(*range(20))
    for event in others:
        house(event)
    assert kill_workers(house, "a", 2 * WORKER_DEATHS) == []
    assert house.state.managers["a"].takes_tasks


def test_when_all_others_are_gone_a_node_that_was_put_aside_is_better_than_none(house: House) -> None:
    house.register("a", workers=1)
    house.register("b", block="spare")
    house.submit(*range(20))
    kill_workers(house, "a")
    sent = house(ManagerLeft("b", "gone"))
    assert [type(action) for action in sent] == [ReportManagerLost, SendTasks]
    assert house.state.managers["a"].takes_tasks


def test_who_is_held_as_well_stays_so(house: House) -> None:
    house.register("a", workers=1)
    house.register("b", block="spare")
    house.submit(*range(20))
    kill_workers(house, "a")
    house(HoldRequested(["a"], []))
    house(ManagerLeft("b", "gone"))
    assert not house.state.managers["a"].takes_tasks


# -- what had not started when a manager died --------------------------------------------------------------------


def three_at(house: House, witnessed: bool = True) -> None:
    """A manager that has announced all of its three tasks, and whose connection has closed."""
    house.register("a", workers=3, witnessed=witnessed)
    house.submit(1, 2, 3)
    house.start("a", 1, 2, 3)
    assert house(ManagerDisconnected("a")) == []


def test_what_a_manager_has_taken_back_is_not_lost_with_it(house: House) -> None:
    house.register("a", workers=3)
    house.submit(1, 2, 3)
    house.start("a", 1, 2, 3)
    assert house(TasksWithdrawn("a", [2, 3, 99])) == []
    house.start("a", 3)
    assert house(ManagerLeft("a", "bye")) == [lost("a", [1, 3], "bye", requeued=1)]


def test_what_the_witness_says_was_not_started_waits_again(house: House) -> None:
    three_at(house)
    assert house(WitnessReported("a", [1], [2, 3, 99])) == []
    assert house.wait(CLOSED_GRACE_S) == [lost("a", [1], CLOSED, requeued=2), DismissManager("a", CLOSED)]
    assert house.register("b", workers=3) == [WelcomeManager("b"), SendTasks("b", [2, 3])]


def test_the_witness_is_waited_for_longer(house: House) -> None:
    three_at(house)
    assert house.wait(CLOSED_GRACE_S) == []
    house.now += CLOSED_GRACE_S
    assert house(WitnessReported("a", [], [3])) == []
    assert house.wait(0) == [lost("a", [1, 2], CLOSED, requeued=1), DismissManager("a", CLOSED)]


def test_without_a_report_all_that_was_announced_may_have_started(house: House) -> None:
    three_at(house)
    assert house.wait(CLOSED_GRACE_S) == []
    assert house.wait(WITNESS_GRACE_S - CLOSED_GRACE_S) == [lost("a", [1, 2, 3], CLOSED), DismissManager("a", CLOSED)]


def test_a_manager_that_has_no_witness_is_not_waited_for(house: House) -> None:
    three_at(house, witnessed=False)
    assert house.wait(CLOSED_GRACE_S) == [lost("a", [1, 2, 3], CLOSED), DismissManager("a", CLOSED)]


def test_the_report_may_overtake_what_the_manager_said(house: House) -> None:
    house.register("a", workers=3, witnessed=True)
    house.submit(1, 2, 3)
    assert house(WitnessReported("a", [1], [3])) == []
    house.start("a", 1, 2, 3)  # it was still unread
    assert house(TasksEnded("a", [2])) == []
    assert house(ManagerDisconnected("a")) == []
    assert house.wait(CLOSED_GRACE_S) == [lost("a", [1], CLOSED, requeued=1), DismissManager("a", CLOSED)]


def test_what_ran_and_was_not_announced_yet_is_lost_all_the_same(house: House) -> None:
    house.register("a", workers=2, witnessed=True)
    house.submit(1, 2)
    house(WitnessReported("a", [2], []))
    assert house.wait(CLOSED_GRACE_S) == [lost("a", [2], CLOSED, requeued=1), DismissManager("a", CLOSED)]


def test_a_manager_with_a_witness_may_come_back_while_that_is_waited_for(house: House) -> None:
    three_at(house)
    house.wait(CLOSED_GRACE_S)
    assert house.come_back("a", workers=3, holding=[1, 2, 3], started=[1, 2, 3]) == [WelcomeManager("a")]
    assert house.wait(WITNESS_GRACE_S) == []


def test_the_witness_of_one_that_is_gone_is_not_needed(house: House) -> None:
    house.register("a", witnessed=True)
    house(ManagerLeft("a", "bye"))
    assert house(WitnessReported("a", [], [1])) == []
    assert house(WitnessReported("never seen", [1], [])) == []
