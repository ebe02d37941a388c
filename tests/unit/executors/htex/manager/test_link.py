"""What a manager says to the interchange, and says again."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.simulation.simulated_manager import registration
from trellis.executors.common.own_usage import Used, dump_used
from trellis.executors.htex.manager import events
from trellis.executors.htex.manager.link import ManagerLink
from trellis.wire import stream
from trellis.wire.codec import Buffer, Decoder, unpack
from trellis.wire.measures import TaskUse
from trellis.wire.messages import (
    Draining,
    FromManager,
    Goodbye,
    Heartbeat,
    Message,
    Register,
    Results,
    TasksCancelled,
    TasksReturned,
    TasksTimedOut,
    TasksWithdrawn,
)


class Interchange:
    """What was sent."""

    def __init__(self) -> None:
        self.frames: list[Sequence[Buffer]] = []

    def take(self) -> list[Message]:
        decoder: Decoder[Message] = Decoder(FromManager)
        taken = [decoder.decode(frames[0]) for frames in self.frames]
        self.frames.clear()
        return taken

    def sequences(self) -> list[int]:
        return [message.sequence for message in self.take() if hasattr(message, "sequence")]


@pytest.fixture
def interchange() -> Interchange:
    return Interchange()


@pytest.fixture
def link(interchange: Interchange) -> ManagerLink:
    hello = registration("m", "0", workers=1, prefetch=0)
    hello.ends_in_s = 100.0
    link = ManagerLink(hello, interchange.frames.append, now=10.0)
    assert link.note([True])
    link.register([], [], draining=False, now=10.0)
    link.on_welcome()
    interchange.frames.clear()
    return link


def result(task: int, kind: int = stream.RESULT) -> stream.StreamFrame:
    return stream.StreamFrame(kind, task, 0, 1.0, 0.5, [b"result"])


def test_results_go_out_together_and_before_what_is_reported_later(link: ManagerLink, interchange: Interchange) -> None:
    link.add_result(0, result(1))
    link.add_result(3, result(2, stream.ERROR))
    assert interchange.frames == []
    assert link.tell(events.ReportTimedOut(3, 5.0)) == [3]
    results = [*interchange.frames[0]]
    first, second = interchange.take()
    assert first == Results("m", [1, 2], [1], [0, 3], [1.0, 1.0], [0.5, 0.5], [6, 6], 1)
    assert unpack([6, 6], results[1:]) == [b"result", b"result"]
    assert second == TasksTimedOut("m", [3], [5.0], 2)
    link.flush()
    assert interchange.frames == []


def test_reports_are_kept_and_said_again_until_they_are_known_to_have_come(
    link: ManagerLink, interchange: Interchange
) -> None:
    for task in range(4):
        link.tell(events.ReportCancelled([task]))
    assert interchange.sequences() == [1, 2, 3, 4]
    link.received_up_to(2)
    link.received_up_to(1)  # it came late
    assert not link.note([False])
    link.tell(events.ReportCancelled([4]))
    assert link.note([False, True])
    assert interchange.frames == []
    link.register([5], [6], draining=True, now=30.0)
    *reports, hello, draining = interchange.take()
    assert reports == [TasksCancelled([task], "m", task + 1) for task in (2, 3, 4)]
    assert isinstance(hello, Register)
    assert (hello.resumed, hello.holding, hello.started, hello.ends_in_s) == (True, [5], [6], 80.0)
    assert draining == Draining("m")


def test_what_need_not_be_kept_is_not_said_without_a_connection(link: ManagerLink, interchange: Interchange) -> None:
    def tell_all() -> None:
        assert link.tell(events.GiveBack([1])) == [1]
        assert link.tell(events.Withdraw([2])) == ()
        link.tell(events.SendHeartbeat())
        link.tell(events.SendDraining())
        link.say_goodbye("enough")

    tell_all()
    all_that = [TasksReturned("m", [1]), TasksWithdrawn("m", [2]), Heartbeat(), Draining("m"), Goodbye("m", "enough")]
    assert interchange.take() == all_that
    link.note([False])
    tell_all()
    assert interchange.frames == []


def test_who_has_registered_says_goodbye_though_the_answer_was_not_read(interchange: Interchange) -> None:
    link = ManagerLink(registration("m", "0", workers=1, prefetch=0), interchange.frames.append, now=0.0)
    link.note([True])
    link.register([], [], draining=False, now=0.0)
    link.say_goodbye("enough")
    assert interchange.take()[-1:] == [Goodbye("m", "enough")]


def test_who_has_not_registered_says_no_goodbye(interchange: Interchange) -> None:
    link = ManagerLink(registration("m", "0", workers=1, prefetch=0), interchange.frames.append, now=0.0)
    link.note([True])
    link.say_goodbye("enough")
    assert interchange.frames == []


def test_a_wish_for_a_registration_is_no_news_while_one_is_on_its_way(link: ManagerLink) -> None:
    assert link.should_register_again
    link.register([], [], draining=False, now=20.0)
    assert not link.should_register_again
    link.on_welcome()
    assert link.should_register_again


def test_what_a_task_has_used_goes_with_its_result(link: ManagerLink, interchange: Interchange) -> None:
    used = Used(1.5, 0.25, 2**30, 7, 8)
    link.add_result(0, result(1))
    with_usage = stream.StreamFrame(stream.ERROR, 2, stream.WITH_USAGE, 1.0, 0.5, [b"error", dump_used(used)])
    link.add_result(3, with_usage)
    link.flush()
    _, payload = interchange.frames[0]
    assert payload == b"resulterror"
    (report,) = interchange.take()
    assert isinstance(report, Results)
    assert (report.used, report.sizes) == ([None, TaskUse(*used)], [6, 5])
    link.add_result(0, result(4))
    link.flush()
    (report,) = interchange.take()
    assert isinstance(report, Results)
    assert report.used is None


def test_it_is_known_how_many_reports_the_submit_side_has(link: ManagerLink) -> None:
    assert link.reports == (0, 0)
    for task in range(3):
        link.tell(events.ReportCancelled([task]))
    assert link.reports == (3, 0)
    link.received_up_to(2)
    assert link.reports == (3, 2)
    link.received_up_to(3)
    assert link.reports == (3, 3)
