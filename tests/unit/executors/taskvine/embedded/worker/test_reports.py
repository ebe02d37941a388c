"""What a worker says to its manager, and when."""

from __future__ import annotations

import math
from typing import Any

import pytest

from trellis.executors.taskvine.embedded.worker.reports import HOLD_S, Reports
from trellis.wire.codec import Decoder
from trellis.wire.measures import TaskUse
from trellis.wire.messages import Heartbeat, Message
from trellis.wire.vine import UNKNOWN, CacheUpdated, CallsEnded, FromVineWorker


class Wire:
    """What was sent."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def send(self, frames: list[Any]) -> None:
        self.messages.append(Decoder(FromVineWorker).decode(frames[0]))

    def results(self) -> list[list[int]]:
        return [message.ids for message in self.messages if isinstance(message, CallsEnded)]


class Clock:
    now = 100.0


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def reports(wire: Wire) -> Reports:
    return Reports(wire.send)


def end(reports: Reports, id_: int, waiting: int, use: TaskUse | None = None) -> None:
    reports.results.add(id_, False, 0.0, 0.0, b"", (UNKNOWN, use))
    reports.gathered(Clock.now, waiting)


def test_a_result_that_nothing_waits_behind_goes_at_once(reports: Reports, wire: Wire, clock: Clock) -> None:
    end(reports, 1, waiting=0)
    reports.send_due(clock.now)
    assert wire.results() == [[1]]
    assert reports.due == math.inf


def test_what_tasks_used_is_told_when_one_was_measured(reports: Reports, wire: Wire, clock: Clock) -> None:
    use = TaskUse(1.0, 0.5, 7, 8, 9)
    end(reports, 1, waiting=5)
    end(reports, 2, waiting=5, use=use)
    reports.send_results()
    end(reports, 3, waiting=5)
    reports.send_results()
    assert [message.used for message in wire.messages if isinstance(message, CallsEnded)] == [[None, use], None]


def test_results_wait_for_others_while_their_library_has_enough_to_do(
    reports: Reports, wire: Wire, clock: Clock
) -> None:
    end(reports, 1, waiting=9)
    end(reports, 2, waiting=8)
    reports.send_due(clock.now)
    assert wire.results() == []
    assert reports.due == clock.now + HOLD_S
    clock.now += HOLD_S
    reports.send_due(clock.now)
    assert wire.results() == [[1, 2]]


def test_they_wait_no_longer_when_as_many_have_gathered_as_there_are_calls_to_start(
    reports: Reports, wire: Wire, clock: Clock
) -> None:
    for number, waiting in enumerate((4, 3, 2)):
        end(reports, number, waiting)
        reports.send_due(clock.now)
    assert wire.results() == [[0, 1, 2]]


def test_one_library_that_runs_dry_does_not_wait_for_another(reports: Reports, wire: Wire, clock: Clock) -> None:
    end(reports, 1, waiting=9)
    end(reports, 2, waiting=0)
    end(reports, 3, waiting=9)
    reports.send_due(clock.now)
    assert wire.results() == [[1, 2, 3]]


def test_what_is_said_later_comes_later(reports: Reports, wire: Wire, clock: Clock) -> None:
    end(reports, 1, waiting=9)
    reports.send(Heartbeat())
    assert [type(message) for message in wire.messages] == [CallsEnded, Heartbeat]


def test_files_are_there_before_the_results_that_name_them(reports: Reports, wire: Wire, clock: Clock) -> None:
    end(reports, 1, waiting=9)
    reports.made([("temp-1", 10)], 0.1)
    end(reports, 2, waiting=0)
    reports.send_due(clock.now)
    assert [type(message) for message in wire.messages] == [CacheUpdated, CallsEnded]
    assert wire.results() == [[1, 2]]
