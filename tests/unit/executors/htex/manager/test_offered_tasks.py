"""Tasks that a manager has offered to its workers: their limits, and those that must end."""

from __future__ import annotations

import pytest

from trellis.executors.htex.manager.backlog import DemandInSlots
from trellis.executors.htex.manager.events import (
    Interrupt,
    MeasureMemory,
    ReportCancelled,
    ReportOverMemory,
    ReportTimedOut,
    TakeBack,
)
from trellis.executors.htex.manager.offered_tasks import OfferedTasks
from trellis.executors.htex.manager.pacing import Pacing
from trellis.wire.messages import Demand

LIMITED = DemandInSlots(10.0, Demand(memory_mb=100), 1)


class Offered(OfferedTasks):
    """Three tasks, the second of which has limits, with a pacing of their own; offered at 0 s."""

    def __init__(self) -> None:
        self.pacing = Pacing()
        super().__init__(self.pacing, 0.5)
        self.pacing.add([1, 2, 3], None)
        self.offer([1, 2, 3], {2: LIMITED}, 0.0)

    def check_all(self, here: list[int], at_workers: list[int]) -> None:
        self.check_invariants()
        self.pacing.check_invariants(here, at_workers)


@pytest.fixture
def offered() -> Offered:
    return Offered()


def test_a_task_that_is_taken_back_has_no_limits_and_is_said_to_end_when_it_must(offered: Offered) -> None:
    assert offered.cancel([2, 3], {3: (7, 0.0)}, 1.0) == [Interrupt(7, 3), TakeBack()]
    assert offered.take_back([1, 2]) == {2}
    assert list(offered.tasks) == [3]
    offered.check_all([1, 2, 3], [3])
    assert offered.check({2: (0, 0.0)}, 20.0) == [TakeBack()]  # for the third, which is nowhere to be seen


def test_nothing_is_known_of_a_task_that_has_ended(offered: Offered) -> None:
    offered.cancel([1, 2], {1: (0, 0.0), 2: (1, 0.0)}, 1.0)
    assert not offered.finish([1, 2], [0.0, 0.0])
    offered.check_all([3], [3])
    assert offered.check({1: (0, 0.0), 2: (1, 0.0)}, 20.0) == []
    assert offered.next_deadlines() == []


def test_each_task_is_interrupted_for_one_reason(offered: Offered) -> None:
    running = {2: (4, 0.0)}
    assert offered.check(running, 1.0) == [MeasureMemory({2: (4, 100)})]
    assert offered.note_memory({2: (4, 99.0), 3: (5, 1e9)}) == []
    assert offered.note_memory({2: (4, 101.0)}) == [Interrupt(4, 2)]
    assert offered.note_memory({2: (4, 102.0)}) == []
    assert offered.check({}, 10.0) == []
    assert offered.take_report(2, caught=True) == ReportOverMemory(2, 100, 101.0)
    offered.check_all([1, 2, 3], [1, 3])
    offered.end(2)
    offered.check_all([1, 3], [1, 3])


def test_a_task_that_was_not_caught_goes_on_to_its_result(offered: Offered) -> None:
    assert Interrupt(4, 2) in offered.check({2: (4, 0.0)}, 10.0)
    assert offered.take_report(2, caught=False) is None
    assert offered.take_report(1, caught=True) is None  # nobody wanted it to end
    offered.check_all([1, 2, 3], [1, 2, 3])


def test_the_report_says_why(offered: Offered) -> None:
    offered.check({2: (4, 0.0)}, 10.0)
    offered.cancel([1], {1: (0, 0.0)}, 10.0)
    assert offered.take_report(2, caught=True) == ReportTimedOut(2, 10.0)
    assert offered.take_report(1, caught=True) == ReportCancelled([1])
