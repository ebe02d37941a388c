"""Whether tasks move: when a place is asked why, and what counts as said."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from trellis.dataflow.states import States
from trellis.watching.movement import Movement


def record(state: States = States.launched) -> Any:
    return SimpleNamespace(status=state, try_id=0)


def test_a_place_is_asked_when_nothing_has_moved_for_long_enough_and_again_as_late() -> None:
    movement, waiting = Movement(10), {"e": [record(), record()]}
    asked = [movement.look(now, waiting) for now in (0, 5, 10, 12, 19, 20)]
    assert asked == [[], [], ["e"], [], [], ["e"]]
    assert movement.standing_s("e", 20) == 20


def test_one_that_moves_is_enough_and_new_ones_are_not() -> None:
    movement, first, second = Movement(10), record(), record()
    movement.look(0, {"e": [first, second]})
    assert movement.look(10, {"e": [first, second, record()]}) == ["e"]
    second.status = States.exec_done
    assert movement.look(21, {"e": [first]}) == []
    assert movement.look(31, {"e": [first]}) == ["e"]
    first.try_id = 1  # has failed and waits again
    assert movement.look(50, {"e": [first]}) == []


def test_places_do_not_count_for_each_other() -> None:
    movement, stands, moves = Movement(10), record(), record()
    movement.look(0, {"a": [stands], "b": [moves]})
    moves.status = States.running
    assert movement.look(10, {"a": [stands], "b": [record()]}) == ["a"]


def test_a_kind_is_said_once_until_something_moves() -> None:
    movement, one, other = Movement(10), record(), record()
    movement.look(0, {"e": [one, other], "f": [record()]})
    assert [movement.is_new("e", "kind"), movement.is_new("e", "kind"), movement.is_new("e", "another")] == [
        True,
        False,
        True,
    ]
    assert movement.is_new("f", "kind")
    one.status = States.running
    movement.look(1, {"e": [other]})
    assert movement.is_new("e", "kind")


def test_of_many_tasks_some_are_watched_from_all_the_queue() -> None:
    movement, records = Movement(10), [record() for _ in range(1_000)]
    movement.look(0, {"e": records})
    records[980].status = States.running  # one with a higher priority
    assert movement.look(10, {"e": records}) == []
