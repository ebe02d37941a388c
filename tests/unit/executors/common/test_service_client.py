"""What both submit sides do: pass on, ask, notice that the service dies or hangs, and let nothing wait for ever."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from tests.unit.executors.fake_service import WAIT_S, FakeService
from trellis.errors import ExecutorError, InternalConsistencyError, TrellisError
from trellis.executors.common.pulse import Pulse
from trellis.executors.common.service_client import (
    Cancel,
    Patience,
    Send,
    ServiceAddress,
    ServiceClient,
)
from trellis.executors.htex.settings import Ports
from trellis.transport.service import TURN
from trellis.wire.codec import BATCH, Buffer, Decoder, encode_header
from trellis.wire.messages import CancelTasks, FromSubmitSide, Message, Notice, Shutdown, TasksCancelled, ToSubmitSide
from trellis.wire.questions import StatusReply, StatusRequest

PING = StatusRequest(0)


class Lost(TrellisError):
    """A service has died."""


class Client(ServiceClient[Ports, int]):
    """Tasks are numbers, and a batch of them is asked to be cancelled: a message like any other."""

    lost_error = Lost

    def __init__(self, service: FakeService, patience: Patience) -> None:
        process: Any = service
        super().__init__(
            "label", "test", process, ServiceAddress("127.0.0.1", None), patience, PING, ToSubmitSide, task_type=int
        )
        self.outcomes: dict[int, str] = {}
        self.waiting: dict[int, None] = {}
        self.lost: list[TrellisError] = []
        self.cleaned_up = 0
        self._come = threading.Condition()

    def put(self, *items: object) -> None:
        self.waiting.update(dict.fromkeys(item for item in items if isinstance(item, int)))
        for item in items:
            self._put(item)

    def ask(self) -> Future[Any]:
        return self._ask(StatusRequest)

    def wait_for(self, reached: Callable[[], bool]) -> None:
        with self._come:
            assert self._come.wait_for(reached, WAIT_S)

    def _ended(self, ids: list[int], how: str) -> None:
        with self._come:
            for id_ in ids:
                self.waiting.pop(id_, None)
                self.outcomes[id_] = how
            self._come.notify_all()

    def _submit(self, batch: list[int]) -> None:
        if self._cause is not None:
            self._ended(batch, str(self._cause))
        self._send([encode_header(CancelTasks(batch))])

    def _on_item(self, item: Cancel) -> None:
        self._send([encode_header(CancelTasks([-item.id]))])

    def _on_message(self, message: Message, frames: list[Buffer]) -> None:
        match message:
            case TasksCancelled(ids):
                self._ended(ids, "done")
            case StatusReply(request=request):
                reply = self._take_reply(request)
                if reply is not None:
                    reply.set_result(message)
            case Notice(text):
                raise RuntimeError(text)

    def _fail_reported(self, ids: list[int], reason: str) -> None:
        self._ended(ids, reason)

    def _fail_outstanding(self, cause: TrellisError) -> None:
        self._ended(list(self.waiting), str(cause))

    def _tell_lost(self, cause: TrellisError) -> None:
        assert not any(str(cause) == outcome for outcome in self.outcomes.values()) or isinstance(
            cause, InternalConsistencyError
        ), "tasks failed before their executor"
        self.lost.append(cause)

    def _clean_up(self) -> None:
        self.cleaned_up += 1


def reply_to(request: int) -> StatusReply:
    return StatusReply(request, 0, 0, [], [])


@pytest.fixture
def service() -> Iterator[FakeService]:
    made = FakeService()
    yield made
    made.close()


@pytest.fixture
def client(service: FakeService) -> Iterator[Client]:
    made = Client(service, Patience(60.0, 120.0))
    made.start()
    try:
        assert service.heard() == PING
        yield made
    finally:
        made.close(0.0)


def test_what_is_put_is_sent_in_its_order_and_tasks_in_batches(service: FakeService, client: Client) -> None:
    client.put(*range(BATCH + 1), Send([encode_header(PING)]), Cancel(5), 7)
    found: list[Message] = []
    ids: list[int] = []
    while not ids or ids[-1] != 7 or len(ids) < BATCH + 3:
        message = service.heard()
        found.append(message)
        ids += message.ids if isinstance(message, CancelTasks) else []
    assert ids == [*range(BATCH + 1), -5, 7]
    assert found.count(PING) == 1
    assert found.index(PING) == found.index(CancelTasks([-5])) - 1
    assert max(len(message.ids) for message in found if isinstance(message, CancelTasks)) <= BATCH


def test_answers_go_to_those_who_asked(service: FakeService, client: Client) -> None:
    first, second = client.ask(), client.ask()
    asked = service.heard(), service.heard()
    assert asked == (StatusRequest(1), StatusRequest(2))
    service.says(reply_to(2), reply_to(99), reply_to(2), reply_to(1))
    assert (first.result(WAIT_S), second.result(WAIT_S)) == (reply_to(1), reply_to(2))


def test_with_a_dead_service_all_ends_with_its_last_words(service: FakeService, client: Client) -> None:
    client.put(1)
    early = client.ask()
    service.die()
    client.wait_for(lambda: 1 in client.outcomes)
    client.put(2)
    client.wait_for(lambda: 2 in client.outcomes)
    reason = "the service of executor label died. It ended with exit code 7."
    assert client.outcomes == {1: reason, 2: reason}
    assert [str(reply.exception(WAIT_S)) for reply in (early, client.ask())] == [reason, reason]
    assert [str(lost) for lost in client.lost] == [reason]


class Said:
    """An endpoint at which messages have come."""

    def __init__(self, fd: int, messages: list[Message]) -> None:
        self._fd = fd
        self._messages = messages
        self.sent: list[Message] = []

    def fileno(self) -> int:
        return self._fd

    def readable(self) -> bool:
        return bool(self._messages)

    def receive(self) -> list[Buffer] | None:
        return [encode_header(self._messages.pop(0))] if self._messages else None

    def send(self, frames: list[Buffer]) -> None:
        self.sent.append(Decoder[Message](FromSubmitSide).decode(frames[0]))


def test_what_a_service_had_said_before_it_died_counts(service: FakeService) -> None:
    client = Client(service, Patience(60.0, 120.0))
    endpoint: Any = Said(service.alive, [TasksCancelled([id_]) for id_ in range(5 * TURN)])
    client._endpoint = endpoint
    service.die()
    assert client._serve()
    assert len(client.outcomes) == 5 * TURN
    client._inbox.close()


def test_a_service_that_does_not_answer_is_killed() -> None:
    service = FakeService()
    client = Client(service, Patience(0.05, 0.2))
    client.start()
    client.put(1)
    client.wait_for(lambda: 1 in client.outcomes)
    assert "did not answer for 0.2 s, and was killed" in client.outcomes[1]
    client.close(0.0)
    service.close()


@pytest.mark.parametrize("ended", [True, False])
def test_a_service_that_was_told_to_end_is_not_asked_any_more(service: FakeService, ended: bool) -> None:
    client = Client(service, Patience(1.0, 2.0))
    endpoint: Any = Said(service.alive, [])
    client._endpoint, client._pulse = endpoint, Pulse(1.0, 2.0, now=0.0)
    client._cause = Lost("it was told to end") if ended else None
    for now in (1.0, 2.0, 3.0):
        client._look_at_time(now)
    assert service.has_ended() != ended
    assert endpoint.sent == ([] if ended else [PING])
    assert (client._wait_s() is None) == ended
    client._inbox.close()


def test_how_tasks_ended_that_an_unreadable_message_is_about_cannot_be_told(
    service: FakeService, client: Client
) -> None:
    client.put(1, 2)
    header = encode_header(TasksCancelled([1]))
    service.heard()
    service.says([header + b"more"], TasksCancelled([2]))
    client.wait_for(lambda: 2 in client.outcomes)
    service.says([encode_header(TasksCancelled([1])).replace(b"\x91\x01", b"\x92\x01\xc0")])
    client.wait_for(lambda: 1 in client.outcomes)
    assert client.outcomes[1].startswith("how they ended cannot be told: ")


def test_the_first_cause_explains(service: FakeService, client: Client) -> None:
    client.put(1)
    client.fail_all(Lost("the first reason"))
    client.fail_all(Lost("the second reason"))
    client.put(2)
    client.wait_for(lambda: 2 in client.outcomes)
    service.die()
    client.put(3)
    client.wait_for(lambda: 3 in client.outcomes)
    assert set(client.outcomes.values()) == {"the first reason"}
    assert client.lost == []  # its owner has ended it


def test_a_service_is_told_once_that_this_is_the_end(service: FakeService, client: Client) -> None:
    client.put(1)
    client.fail_all(Lost("enough"))
    client.put(2)
    client.close(WAIT_S)
    assert [service.heard(), service.heard()] == [CancelTasks([1]), Shutdown()]
    assert not service.has_heard(0.1)


def test_a_defect_of_the_thread_fails_all_and_is_told(service: FakeService, client: Client) -> None:
    client.put(1)
    service.heard()
    service.says(Notice("a defect"))
    client.wait_for(lambda: 1 in client.outcomes)
    client.put(2)
    client.wait_for(lambda: 2 in client.outcomes)
    client._thread.join(WAIT_S)
    assert {"a defect" in outcome for outcome in client.outcomes.values()} == {True}
    assert [type(lost) for lost in client.lost] == [InternalConsistencyError]


def test_it_is_closed_once(service: FakeService, client: Client) -> None:
    client.put(1)
    client.close(0.0)
    client.close(0.0)
    client.put(2)
    assert all("shut down" in outcome for outcome in client.outcomes.values())
    assert set(client.outcomes) == {1, 2}
    assert isinstance(client.ask().exception(0), ExecutorError)
    assert client.cleaned_up == 1


def test_a_service_that_does_not_start_leaves_nothing(service: FakeService, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> Ports:
        raise ExecutorError("label", "the service does not start")

    monkeypatch.setattr(service, "start", fail)
    client = Client(service, Patience(60.0, 120.0))
    with pytest.raises(ExecutorError, match="does not start"):
        client.start()
    assert client.cleaned_up == 1
