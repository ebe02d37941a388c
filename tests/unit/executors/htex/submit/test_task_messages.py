"""What an interchange is told: tasks with all that belongs to them, and everything once more after a restart."""

from __future__ import annotations

from typing import Any

from trellis.core.interfaces import Attempt, Outcome
from trellis.executors.htex.submit import task_messages
from trellis.executors.htex.submit.task_messages import StandingOrders, TaskPayload, resume_messages, send_tasks
from trellis.wire.codec import Buffer, Decoder, unpack
from trellis.wire.messages import (
    CancelTasks,
    DefineFunctions,
    Demand,
    DrainBlocks,
    FromSubmitSide,
    HoldManagers,
    Message,
    ResumeEnd,
    Tasks,
)

DECODER: Decoder[Message] = Decoder(FromSubmitSide)


class Nobody:
    def deliver(self, outcomes: Any) -> None:
        raise AssertionError([outcome for _, outcome in outcomes if isinstance(outcome, Outcome)])


def attempt(id_: int, priority: float = 0, walltime_s: float | None = None, demand: Demand | None = None) -> Attempt:
    attempt = Attempt(len, (), {}, sink=Nobody(), walltime_s=walltime_s)
    attempt.executor_id = id_
    attempt.executor_note = TaskPayload(7, b"arguments %d" % id_, priority, demand)
    return attempt


def decode(frames: list[Buffer]) -> Message:
    return DECODER.decode(frames[0])


def test_plain_tasks_are_a_short_message() -> None:
    frames = send_tasks([attempt(1), attempt(2)])
    message = decode(frames)
    assert message == Tasks([1, 2], [7, 7], [11, 11], None, None, None, resumed=False)
    assert unpack([11, 11], frames[1:]) == [b"arguments 1", b"arguments 2"]


def test_what_belongs_to_tasks_goes_along() -> None:
    needs = Demand(cores=2)
    message = decode(send_tasks([attempt(1), attempt(2, priority=-1, walltime_s=2.5, demand=needs)]))
    assert message == Tasks([1, 2], [7, 7], [11, 11], [0, -1], [0.0, 2.5], [None, needs], resumed=False)


def test_an_interchange_that_takes_the_place_of_another_is_told_all(monkeypatch: Any) -> None:
    monkeypatch.setattr(task_messages, "BATCH", 2)
    orders = StandingOrders()
    orders.note(HoldManagers(["h"], ["2"]))
    orders.note(HoldManagers([], ["1"]))
    orders.note(DrainBlocks(["3"]))
    attempts = [attempt(1, priority=5), attempt(2), attempt(4, walltime_s=1.0)]
    messages = [decode(frames) for frames in resume_messages({7: b"len", 9: b"max"}, attempts, [2], {"n", "m"}, orders)]
    assert messages == [
        DefineFunctions([7, 9], [3, 3]),
        Tasks([1, 2], [7, 7], [11, 11], [5, 0], None, None, resumed=True),
        Tasks([4], [7], [11], None, [1.0], None, resumed=True),
        CancelTasks([2]),
        DrainBlocks(["3"]),
        ResumeEnd(["m", "n"], ["h"], ["1", "2"]),
    ]


def test_one_that_has_nothing_to_know_is_told_that() -> None:
    assert [decode(frames) for frames in resume_messages({}, [], [], set(), StandingOrders())] == [
        ResumeEnd([], [], [])
    ]
