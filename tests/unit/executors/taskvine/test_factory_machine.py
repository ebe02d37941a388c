"""How many workers a factory starts, and when it ends."""

from __future__ import annotations

from trellis.executors.taskvine.embedded.factory import (
    LOOK_S,
    MOST_FAILURES,
    DeadlinePassed,
    Event,
    Exit,
    FactoryRules,
    FactoryState,
    Look,
    Looked,
    StartWorkers,
    WorkerEnded,
)


def new_factory(minimum: int = 1, maximum: int = 4, per_cycle: int = 0, timeout_s: float = 10.0) -> FactoryState:
    state = FactoryState(FactoryRules(minimum, maximum, per_cycle, timeout_s), 0.0)
    assert state.start() == [Look()]
    return state


def started(state: FactoryState, event: Event, now: float = 1.0) -> int:
    return sum(action.number for action in state.handle(event, now) if isinstance(action, StartWorkers))


def test_the_fewest_workers_start_without_tasks() -> None:
    state = new_factory(minimum=2)
    assert started(state, Looked(0, 0, 0)) == 2
    assert started(state, Looked(0, 2, 0)) == 0


def test_as_many_as_there_are_tasks_but_no_more_than_the_most() -> None:
    state = new_factory()
    assert started(state, Looked(3, 0, 0)) == 3
    assert started(state, Looked(100, 3, 0)) == 1
    assert started(state, Looked(100, 4, 0)) == 0
    assert state.workers == 4


def test_no_more_on_their_way_than_one_cycle_may_have() -> None:
    state = new_factory(per_cycle=2)
    assert started(state, Looked(100, 0, 0)) == 2
    assert started(state, Looked(100, 0, 0)) == 0
    assert started(state, Looked(100, 1, 0)) == 1
    assert started(state, Looked(100, 3, 0)) == 1


def test_workers_of_a_former_factory_count() -> None:
    state = new_factory(minimum=3)
    assert started(state, Looked(100, 0, 3)) == 1
    assert started(state, Looked(100, 1, 2)) == 1


def test_a_worker_that_ends_is_replaced_when_there_is_work() -> None:
    state = new_factory()
    started(state, Looked(1, 0, 0))
    assert state.handle(WorkerEnded(False, 100.0, "idle"), 2.0) == [Look()]
    assert started(state, Looked(2, 0, 0)) == 2


def test_workers_that_cannot_start_end_it_with_their_words() -> None:
    state = new_factory()
    for _ in range(MOST_FAILURES - 1):
        started(state, Looked(1, 0, 0))
        assert state.handle(WorkerEnded(True, 0.1, "no such option"), 1.0) == [Look()]
    (end,) = state.handle(WorkerEnded(True, 0.1, "no such option"), 1.0)
    assert isinstance(end, Exit)
    assert end.failed
    assert "no such option" in end.reason


def test_a_worker_that_lived_or_connected_shows_that_they_can_start() -> None:
    state = new_factory()
    for _ in range(3 * MOST_FAILURES):
        started(state, Looked(1, 0, 0))
        assert state.handle(WorkerEnded(True, 0.1, ""), 1.0) == [Look()]
        started(state, Looked(1, 1, 0))
        state.handle(WorkerEnded(True, 100.0, ""), 1.0)


def test_it_looks_again_and_again_and_ends_when_nobody_answers() -> None:
    state = new_factory(timeout_s=3.5)
    now = 0.0
    for _ in range(3):
        now = state.next_deadline()
        assert state.handle(DeadlinePassed(), now) == [Look()]
    assert now == 3 * LOOK_S
    (end,) = state.handle(DeadlinePassed(), state.next_deadline())
    assert isinstance(end, Exit)
    assert "said nothing" in end.reason
