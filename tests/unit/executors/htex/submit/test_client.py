"""When an interchange dies, another gets all that it knew; when none can be had, all ends with the reason."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from tests.unit.executors.fake_service import WAIT_S, FakeService
from trellis.core.interfaces import Attempt, Outcome
from trellis.core.measurements import TaskSample
from trellis.core.reports import Begun
from trellis.errors import CommandClientBadError, ExecutorError, InterchangeLost, TrellisError
from trellis.executors.htex.settings import Ports, Settings
from trellis.executors.htex.submit import client as client_module
from trellis.executors.htex.submit.client import InterchangeCallbacks, InterchangeClient
from trellis.executors.htex.submit.submission import MOST_DEATHS
from trellis.wire.codec import encode_header, pack
from trellis.wire.measures import Sample, TaskSamples
from trellis.wire.messages import (
    CancelTasks,
    DefineFunctions,
    DrainBlocks,
    ManagerJoined,
    Message,
    Results,
    ResumeEnd,
    Tasks,
    TasksRunning,
)
from trellis.wire.payload import dump_result
from trellis.wire.questions import StandingAtManager, StandingReply, StandingRequest, StatusReply, StatusRequest


class House:
    """A client, the interchanges that it had, and what came of it."""

    def __init__(self) -> None:
        self.interchanges: list[FakeService] = []
        self.refuse = False  # from now on none can be started
        self.outcomes: list[Outcome] = []
        self.runs: list[Begun] = []
        self.lost: list[TrellisError] = []
        self.restarted: list[str] = []
        self.samples: list[Sequence[TaskSample]] = []
        self.settings: list[Settings] = []
        self._come = threading.Condition()

    def make_client(self) -> None:
        settings = Settings("127.0.0.1", (1024, 65536), "127.0.0.1", (1, 2), None, "", False, 600.0, "random", [])
        callbacks = InterchangeCallbacks(_ignore, _ignore, _ignore, self.lost.append, self._on_restarted)
        callbacks = callbacks._replace(tasks_sampled=self._on_samples)
        self.client = InterchangeClient("label", ["command"], settings, callbacks)

    def new_process(self, label: str, command: Sequence[str], settings: Settings) -> FakeService:
        self.settings.append(settings)
        if self.interchanges:
            self.interchanges[-1].close()
        service = FakeService(ports=settings.client_ports)
        service.what = "interchange"
        if self.refuse:
            service.start = self._fail  # type: ignore[method-assign]
        self.interchanges.append(service)
        return service

    @staticmethod
    def _fail(abandoned: Callable[[], bool] = lambda: False) -> Ports:
        raise ExecutorError("label", "the interchange does not start")

    @property
    def interchange(self) -> FakeService:
        return self.interchanges[-1]

    def submit(self, count: int = 1) -> None:
        for _ in range(count):
            self.client.submit(Attempt(len, ("",), {}, sink=self, name="call"), 0.0)

    def deliver(self, outcomes: Sequence[tuple[Attempt, Outcome]]) -> None:
        with self._come:
            self.outcomes += [outcome for _, outcome in outcomes]
            self._come.notify_all()

    def begun(self, attempts: Sequence[tuple[Attempt, Begun]]) -> None:
        with self._come:
            self.runs += [begun for _, begun in attempts]
            self._come.notify_all()

    def _on_restarted(self, text: str) -> None:
        with self._come:
            self.restarted.append(text)
            self._come.notify_all()

    def _on_samples(self, samples: Sequence[TaskSample]) -> None:
        with self._come:
            self.samples.append(samples)
            self._come.notify_all()

    def wait_for(self, reached: Callable[[], bool]) -> None:
        with self._come:
            assert self._come.wait_for(reached, WAIT_S)

    def heard_until(self, kind: type[Message]) -> list[Message]:
        """What the interchange hears, up to a message of this kind."""
        found = [self.interchange.heard()]
        while type(found[-1]) is not kind:
            found.append(self.interchange.heard())
        return found


def _ignore(_: object) -> None:
    pass


@pytest.fixture
def house(monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    house = House()
    monkeypatch.setattr(client_module, "interchange_process", house.new_process)
    house.make_client()
    house.client.start()
    yield house
    house.client.close(0.0)
    house.interchange.close()


def test_another_interchange_is_told_all_that_the_one_before_knew(house: House) -> None:
    house.submit(3)
    house.client.drain(["5"])
    house.heard_until(DrainBlocks)
    house.client._put(client_module.Cancel(1))
    house.heard_until(CancelTasks)
    port = house.client._ports.client
    house.interchange.die()
    house.wait_for(lambda: len(house.restarted) == 1)
    functions, tasks, cancel, drained, end = house.heard_until(ResumeEnd)
    assert isinstance(functions, DefineFunctions)
    assert isinstance(tasks, Tasks)
    assert (functions.ids, tasks.ids, tasks.resumed) == ([0], [0, 1, 2], True)
    assert (cancel, drained, end) == (CancelTasks([1]), DrainBlocks(["5"]), ResumeEnd([], [], []))
    assert "ended with exit code 7. It was restarted; 3 tasks are outstanding" in house.restarted[0]
    assert (house.settings[1].client_ports, house.settings[1].resuming) == ((port, port + 1), True)
    assert not house.outcomes


def test_what_was_asked_of_the_one_is_answered_by_the_other(house: House) -> None:
    replies: list[StatusReply] = []
    asking = threading.Thread(target=lambda: replies.append(house.client.status(WAIT_S)))
    asking.start()
    assert house.interchange.heard() == StatusRequest(0)
    assert house.interchange.heard() == StatusRequest(1)
    house.interchange.die()
    house.wait_for(lambda: len(house.restarted) == 1)
    *_, asked = house.heard_until(StatusRequest)
    assert asked == StatusRequest(1)
    house.interchange.says(StatusReply(1, 0, 0, [], []))
    asking.join(WAIT_S)
    assert replies == [StatusReply(1, 0, 0, [], [])]


def test_an_interchange_that_dies_again_and_again_is_given_up(house: House) -> None:
    house.submit(2)
    for number in range(MOST_DEATHS):
        house.wait_for(lambda number=number: len(house.restarted) == number)  # type: ignore[misc]
        house.interchange.die()
    house.wait_for(lambda: len(house.outcomes) == 2)
    house.submit()
    house.wait_for(lambda: len(house.outcomes) == 3)
    reason = "the interchange of executor label died. It ended with exit code 7."
    assert {(type(outcome.exception), str(outcome.exception)) for outcome in house.outcomes} == {
        (InterchangeLost, reason)
    }
    assert [str(lost) for lost in house.lost] == [reason]
    with pytest.raises(CommandClientBadError, match="exit code 7"):
        house.client.status(WAIT_S)


def test_one_that_cannot_be_started_again_is_given_up(house: House) -> None:
    house.submit()
    house.refuse = True
    house.interchange.die()
    house.wait_for(lambda: len(house.outcomes) == 1)
    assert "ended with exit code 7, and then: " in str(house.outcomes[0].exception)
    assert "does not start" in str(house.outcomes[0].exception)
    assert house.restarted == []


def test_a_result_in_between_shows_that_it_works(house: House) -> None:
    house.submit(MOST_DEATHS)
    house.heard_until(Tasks)
    for id_ in range(MOST_DEATHS):
        sizes, frames = pack([dump_result(id_)])
        header = Results("manager", [id_], [], [0], [0.0], [0.0], sizes)
        house.interchange.says([encode_header(header), *frames])
        house.wait_for(lambda id_=id_: len(house.outcomes) == id_ + 1)  # type: ignore[misc]
        house.interchange.die()
        house.wait_for(lambda id_=id_: len(house.restarted) == id_ + 1)  # type: ignore[misc]
        house.heard_until(ResumeEnd)
    assert [outcome.value for outcome in house.outcomes] == list(range(MOST_DEATHS))
    assert house.lost == []


def test_tasks_whose_results_cannot_be_read_fail(house: House) -> None:
    house.submit()
    house.heard_until(Tasks)
    house.interchange.says(Results("manager", [0], [], [0], [0.0], [0.0], [5]))
    house.wait_for(lambda: len(house.outcomes) == 1)
    assert "call was refused: how they ended cannot be told" in str(house.outcomes[0].exception)


# -- what people ask -----------------------------------------------------------------------------------------------


def ask(house: House, timeout_s: float = WAIT_S) -> tuple[threading.Thread, list[Any]]:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(house.client.standing(0, timeout_s)))
    thread.start()
    return thread, found


def asked(house: House) -> int:
    """The number of the next question."""
    *_, question = house.heard_until(StandingRequest)
    assert isinstance(question, StandingRequest)
    return question.request


def test_a_question_is_answered_by_the_interchange_or_by_the_manager_too(house: House) -> None:
    thread, found = ask(house)
    queued = StandingReply(asked(house), "queued", "it waits", 0, 1)
    house.interchange.says(queued)
    thread.join(WAIT_S)
    assert found == [(queued, None)]
    thread, found = ask(house)
    number = asked(house)
    known = StandingReply(number, "assigned", "m has it", manager="m")
    answer = StandingAtManager("m", number, "running", "it runs")
    house.interchange.says(known)
    house.interchange.says(answer)
    house.interchange.says(answer)  # once too often: nobody waits any more
    thread.join(WAIT_S)
    assert found == [(known, answer)]
    assert house.client._asked == {}


def test_what_is_not_answered_in_time_is_given_up_and_forgotten(house: House) -> None:
    known = None
    for _ in range(3):
        thread, found = ask(house, timeout_s=0.3)
        number = asked(house)
        known = StandingReply(number, "assigned", "m has it", manager="m")
        house.interchange.says(known)
        thread.join(WAIT_S)
        assert found == [(known, None)]
    assert len(house.client._asked) == 1
    house.interchange.says(StandingAtManager("m", number, "running", "late"))
    thread, _ = ask(house, timeout_s=0.1)
    thread.join(WAIT_S)


def test_samples_are_those_of_attempts(house: House, caplog: pytest.LogCaptureFixture) -> None:
    house.submit(2)
    house.heard_until(Tasks)
    use = (4_300, 1.5, 2, 3.25, 0.5, 2**33, 2**28, 5_000, 70_000, "sleeping", "3", 100, 7)
    (attempt,) = house.client._outstanding.get([1])
    house.interchange.says(TaskSamples("m", [1, 99], [Sample(*use), Sample(*use)], 5.0))
    house.wait_for(lambda: len(house.samples) == 1)
    assert house.samples == [[TaskSample(attempt, 5.0, *use)]]
    assert not caplog.records
    house.interchange.says(TaskSamples("m", [], [], 6.0, left_out=8))
    house.wait_for(lambda: len(house.samples) == 2)
    assert "manager m left out 8 samples of running tasks" in caplog.text


def test_tasks_that_run_are_told_once(house: House) -> None:
    house.submit(2)
    house.heard_until(Tasks)
    house.interchange.says(ManagerJoined("m", "3", "node1", 4))
    house.interchange.says(TasksRunning("m", [0, 99], [2, 0], [5.0, 6.0]))
    house.interchange.says(TasksRunning("m", [0, 1], [2, 3], [5.0, 7.0]))
    house.wait_for(lambda: len(house.runs) == 2)
    first = Begun("node1", "3", "m", 2, 5.0)
    assert house.runs == [first, Begun("node1", "3", "m", 3, 7.0)]
    assert house.client.where_it_runs(0) == first
    payload = dump_result(1)
    frames = [encode_header(Results("m", [0], [], [2], [5.0], [9.0], [len(payload)], 1)), *pack([payload])[1]]
    house.interchange.says(frames)
    house.wait_for(lambda: len(house.outcomes) == 1)
    assert house.client.where_it_runs(0) is None


def test_answers_that_nobody_asked_for_are_nothing(house: House) -> None:
    replies: list[StatusReply] = []
    asking = threading.Thread(target=lambda: replies.append(house.client.status(WAIT_S)))
    asking.start()
    assert [house.interchange.heard() for _ in range(2)] == [StatusRequest(0), StatusRequest(1)]
    house.interchange.says(StandingAtManager("m", 1, "running", "?"), StandingReply(1, "queued", "?"))
    house.interchange.says(StatusReply(1, 0, 0, [], []))
    asking.join(WAIT_S)
    assert replies == [StatusReply(1, 0, 0, [], [])]
    thread, found = ask(house)
    number = asked(house)
    house.interchange.says(StatusReply(number, 0, 0, [], []), StandingAtManager("other", number, "running", "?"))
    known = StandingReply(number, "assigned", "m has it", manager="m")
    answer = StandingAtManager("m", number, "running", "it runs")
    house.interchange.says(known, StandingAtManager("other", number, "running", "?"), answer)
    thread.join(WAIT_S)
    assert found == [(known, answer)]
