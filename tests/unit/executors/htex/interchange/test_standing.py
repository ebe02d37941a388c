"""Where a task is at the interchange, and for each kind of hindrance at a manager what people are told."""

from __future__ import annotations

import pytest

from tests.unit.executors.htex.interchange.test_state_kinds import WIDE, WIDER, House
from trellis.executors.htex.interchange.events import (
    CancelRequested,
    DrainRequested,
    HoldRequested,
    ManagerDisconnected,
    ResumeEnded,
    TasksEnded,
    TasksStarted,
    TasksSubmitted,
)
from trellis.executors.htex.interchange.infeasible import INFEASIBLE_S
from trellis.executors.htex.interchange.manager_table import WORKER_DEATHS
from trellis.executors.htex.interchange.status import status_of
from trellis.wire.messages import Demand
from trellis.wire.questions import Obstacle, StandingReply

ENDS = "when one of the tasks there has ended"


@pytest.fixture
def house() -> House:
    return House()


def standing(house: House, task: int) -> StandingReply:
    return house.state.standing(9, task, house.now)


def why(house: House, task: int) -> str:
    """The reason of the only obstacle."""
    (obstacle,) = standing(house, task).obstacles
    return obstacle.reason


# -- where it is -------------------------------------------------------------------------------------------------


def test_a_task_that_waits_has_a_position_and_a_reason(house: House) -> None:
    house.register("a", workers=1)
    house.submit(1, 2, 3)
    assert standing(house, 3) == StandingReply(
        9,
        "queued",
        "it waits in the queue of the interchange, 1 task is before it",
        position=1,
        queue=2,
        obstacles=[Obstacle("manager a on host-a", "its only worker is busy", ENDS)],
    )
    assert standing(house, 2).text.endswith("it is the next")


def test_positions_follow_priorities_and_kinds_and_skip_what_was_cancelled(house: House) -> None:
    house.submit(1, 2, 3, priorities=[0.0, -1.0, 5.0])
    house.submit(4, 5, demand=WIDE, priorities=[-1.0, 0.0])
    house.submit(6, 7)
    house(CancelRequested([6]))
    assert [standing(house, task).position for task in (2, 4, 1, 5, 7, 3)] == [0, 1, 2, 3, 4, 5]


def test_a_task_that_was_put_back_is_before_others(house: House) -> None:
    house.register("a", workers=1)
    house.submit(8, 9)
    house.state._tasks.put_back(house.state.managers["a"], [8], house.now)
    assert (standing(house, 8).position, standing(house, 9).position) == (0, 1)


def test_a_task_at_a_manager_names_it(house: House) -> None:
    house.register("a", workers=2)
    house.submit(1, 2)
    house(TasksStarted("a", [1]))
    assert standing(house, 1) == StandingReply(
        9, "assigned", "manager a on host-a has given it to its workers", manager="a"
    )
    assert standing(house, 2).text == "manager a on host-a has it, and has not said that it started"


def test_a_task_that_is_not_there_is_unknown(house: House) -> None:
    assert standing(house, 77).stage == "unknown"


def test_after_a_restart_managers_are_waited_for(house: House) -> None:
    house(TasksSubmitted([1], None, None, None, resumed=True))
    house(ResumeEnded(["a"]))
    found = standing(house, 1)
    assert found.stage == "queued"
    assert "started again" in found.text


def test_without_managers_that_is_said(house: House) -> None:
    house.submit(1)
    assert (
        standing(house, 1).text == "it waits in the queue of the interchange, it is the next; no manager is connected"
    )


# -- why not -----------------------------------------------------------------------------------------------------


def test_all_workers_are_busy(house: House) -> None:
    house.register("a", workers=2, prefetch=1)
    house.submit(1, 2, 3, 4)
    house(TasksStarted("a", [1, 2]))
    assert why(house, 4) == "all its 2 workers are busy, and 1 task waits there"


def test_a_held_manager(house: House) -> None:
    house.register("a")
    house(HoldRequested(["a"], []))
    house.submit(1)
    assert why(house, 1).startswith("it is held: hold_worker was called")


def test_a_draining_manager(house: House) -> None:
    house.register("a", workers=1)
    house.submit(1)
    house(DrainRequested(["a"]))
    house.submit(2)
    assert why(house, 2).startswith("it is draining")


def test_a_manager_that_was_put_aside(house: House) -> None:
    house.register("a", workers=9)
    house.register("b", workers=1)
    house.submit(1, demand=Demand(cores=9))
    house.submit(2)
    for _ in range(WORKER_DEATHS):
        house(TasksEnded("a", [1], None, worker_lost=True))
        house.submit(1, demand=Demand(cores=9))
    house.submit(3)
    by_place = {obstacle.place: obstacle.reason for obstacle in standing(house, 3).obstacles}
    assert by_place["manager a on host-a"].startswith("it was put aside: its workers died")
    (a, b) = status_of(house.state, 1, house.now).managers
    assert (a.state, b.state) == ("put aside", "active")


def test_a_manager_whose_connection_broke(house: House) -> None:
    house.register("a", workers=4)
    house(ManagerDisconnected("a"))
    house.submit(1)
    assert why(house, 1) == "its connection broke"


@pytest.mark.parametrize(
    ("demand", "asked", "has"),
    [
        (WIDER, "4 cores", "node has 2 cores"),
        (Demand(memory_mb=90_000_000), "90000000 MB of memory", "node has 0 MB of memory"),
        (Demand(cores=1, gpus=1), "1 core, 1 GPU", "node has 2 cores, 0 GPUs"),
        (Demand(nodes=3), "3 nodes", "block has 0"),
    ],
)
def test_a_node_that_has_too_little(house: House, demand: Demand, asked: str, has: str) -> None:
    house.register("a", workers=2)
    house.submit(1, demand=demand)
    house.now += 10
    manager, everybody = standing(house, 1).obstacles
    assert manager.reason == f"the task asks for {asked}, and the {has}"
    assert everybody.place == "all managers"
    assert everybody.until.endswith(f"otherwise the task fails in {INFEASIBLE_S - 10:.0f} s")


def test_a_walltime_that_is_longer_than_the_job_has_left(house: House) -> None:
    house.register("a", ends_in_s=100.0)
    house.now += 40
    house.submit(1, walltime_s=600.0)
    assert why(house, 1) == "its job ends in 60 s, and the task may take 600 s (its walltime)"


def test_too_few_free_workers_for_a_task_of_several(house: House) -> None:
    house.register("a", workers=4)
    house.submit(1, 2, 3)
    house.submit(4, 5, demand=WIDE)
    house.submit(6, demand=WIDE)
    # Task 4 has the last free worker kept for it.
    assert [task for task in (4, 5, 6) if task in house.state.waiting] == [5, 6]
    assert why(house, 5) == "what is free there is kept for a task that needs more, and came before"


def test_too_few_free_nodes(house: House) -> None:
    house.register("a", workers=8, nodes=3)
    house.submit(1, demand=Demand(nodes=2))
    house.submit(2, 3, demand=Demand(nodes=2))
    assert why(house, 3) == "the task needs 2 nodes, and none is free: others have them, or came before"


def test_a_manager_that_is_silent(house: House) -> None:
    house.register("a", workers=1)
    house.submit(1, 2)
    house.now += 600
    (obstacle,) = standing(house, 2).obstacles
    assert obstacle.reason.endswith("; nothing was heard of it for 600 s")
    assert obstacle.until == "it is given up after 1000 s of silence"


def test_managers_with_the_same_reason_are_told_of_once() -> None:
    house = House("random")
    for number in range(6):
        house.register(f"m{number}", workers=1)
    house.submit(*range(7))
    (obstacle,) = standing(house, 6).obstacles
    assert obstacle.place == "managers m0 on host-m0, m1 on host-m1, m2 on host-m2 and 3 more"


# -- numbers -----------------------------------------------------------------------------------------------------


def test_busy_workers_count_those_that_are_kept_for_a_wide_task(house: House) -> None:
    house.register("a", workers=4, prefetch=2)
    house.submit(1, demand=WIDE)
    house.submit(2, 3, 4)
    house(TasksStarted("a", [1, 2]))
    (status,) = status_of(house.state, 1, house.now).managers
    assert (status.busy, status.begun, status.tasks) == (3, 2, 4)
