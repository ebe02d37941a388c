"""How many workers a factory starts, and when it ends."""

from __future__ import annotations

import pytest

from trellis.executors.taskvine.embedded.factory.state import (
    ABSENT_S,
    FIRST_ABSENT_S,
    LOOK_S,
    MOMENT_S,
    MOST_FAILURES,
    DeadlinePassed,
    EndWorker,
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


def looked(tasks: int, *connected: int, inherited: int = 0, given_up: tuple[int, ...] = (), busy: int = 0) -> Looked:
    return Looked(tasks, frozenset(connected), inherited, frozenset(given_up), busy)


def started(state: FactoryState, event: Event, now: float = 1.0) -> list[int]:
    return [n for action in state.handle(event, now) if isinstance(action, StartWorkers) for n in action.numbers]


def test_the_fewest_workers_start_without_tasks() -> None:
    state = new_factory(minimum=2)
    assert started(state, looked(0)) == [0, 1]
    assert started(state, looked(0, 0, 1)) == []


def test_as_many_as_there_are_tasks_but_no_more_than_the_most() -> None:
    state = new_factory()
    assert started(state, looked(3)) == [0, 1, 2]
    assert started(state, looked(100, 0, 1, 2)) == [3]
    assert started(state, looked(100, 0, 1, 2, 3)) == []
    assert state.workers == 4


def test_no_more_on_their_way_than_one_cycle_may_have() -> None:
    state = new_factory(per_cycle=2)
    assert started(state, looked(100)) == [0, 1]
    assert started(state, looked(100)) == []
    assert started(state, looked(100, 1)) == [2]
    assert started(state, looked(100, 0, 1, 2)) == [3]


def test_workers_of_a_former_factory_count() -> None:
    state = new_factory(minimum=3)
    assert started(state, looked(100, inherited=3)) == [0]
    assert started(state, looked(100, 0, inherited=2)) == [1]


def test_a_worker_that_ends_is_replaced_when_there_is_work() -> None:
    state = new_factory()
    started(state, looked(1))
    assert state.handle(WorkerEnded(0, False, "idle"), 100.0) == [Look()]
    assert started(state, looked(2)) == [1, 2]


def fail_to_start(state: FactoryState, times: int, now: float = 1.0) -> None:
    for _ in range(times):
        (number,) = started(state, looked(1), now)
        assert state.handle(WorkerEnded(number, True, "no such option"), now + 0.1) == [Look()]


def test_workers_that_cannot_start_end_it_with_their_words() -> None:
    state = new_factory()
    fail_to_start(state, MOST_FAILURES)
    (end,) = state.handle(looked(1), 2.0)
    assert isinstance(end, Exit)
    assert end.failed
    assert "no such option" in end.reason


def test_a_worker_that_connects_and_dies_at_once_cannot_start_either() -> None:
    state = new_factory()
    for number in range(MOST_FAILURES):
        assert started(state, looked(1)) == [number]
        assert started(state, looked(1, number)) == []
        state.handle(WorkerEnded(number, True, ""), 1.1)
    assert isinstance(state.handle(looked(1), 2.0)[0], Exit)


@pytest.mark.parametrize("proof", ["it lived", "it runs for a while", "a task ran in it"])
def test_what_shows_that_workers_can_start(proof: str) -> None:
    state = new_factory()
    busy = 0
    for round_ in range(3):
        fail_to_start(state, MOST_FAILURES - 1, round_ * 1000.0)
        now = round_ * 1000.0 + 1
        if proof == "a task ran in it":
            busy += 1
            assert state.handle(looked(0, busy=busy, inherited=1), now) == []
            continue
        (number,) = started(state, looked(1), now)
        if proof == "it lived":
            state.handle(WorkerEnded(number, True, ""), now + MOMENT_S)
        else:
            state.handle(looked(1, number), now + MOMENT_S)
            state.handle(WorkerEnded(number, False, ""), now + MOMENT_S)


def test_a_worker_that_has_fallen_silent_is_ended_and_replaced() -> None:
    state = new_factory()
    started(state, looked(1))
    state.handle(looked(1, 0), 2.0)
    assert state.handle(looked(1, given_up=(0,)), 3.0) == [EndWorker(0, "it has fallen silent")]
    assert state.handle(looked(1, given_up=(0,)), 4.0) == []
    assert state.handle(WorkerEnded(0, True, "killed"), 4.0) == [Look()]
    assert started(state, looked(1, given_up=(0,)), 4.0) == [1]
    assert state.handle(looked(1, 1, given_up=(0, 1)), 5.0) == []  # it is there again


def test_a_worker_that_is_not_connected_for_long_is_ended() -> None:
    state = new_factory(minimum=2)
    started(state, looked(0), now=0.0)
    state.handle(looked(0, 0), 10.0)
    assert state.handle(looked(0), 9.9 + ABSENT_S) == []
    gone = f"it was not connected for {ABSENT_S:.0f} s"
    assert state.handle(looked(0), 10.0 + ABSENT_S) == [EndWorker(0, gone)]
    assert state.handle(looked(0), FIRST_ABSENT_S - 0.1) == []
    gone = f"it was not connected for {FIRST_ABSENT_S:.0f} s"
    assert state.handle(looked(0), FIRST_ABSENT_S) == [EndWorker(1, gone)]


def test_workers_that_it_has_ended_are_no_failures() -> None:
    state = new_factory()
    for number in range(2 * MOST_FAILURES):
        assert started(state, looked(1)) == [number]
        assert len(state.handle(looked(1, given_up=(number,)), 1.0)) == 1
        state.handle(WorkerEnded(number, True, "killed"), 1.1)


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
