"""The submit side owes every task an outcome, also when its manager is dead. The manager here says nothing."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from trellis.core.interfaces import Attempt, Outcome, RunInfo
from trellis.core.measurements import Usage
from trellis.core.reports import Begun
from trellis.errors import ExecutorError, TaskVineManagerFailure, TrellisError
from trellis.executors.common.pulse import Pulse
from trellis.executors.taskvine.front.client import VineClient
from trellis.executors.taskvine.front.outstanding_tasks import OutstandingTask, PreparedTask, VineCallbacks
from trellis.executors.taskvine.settings import VinePorts, VineSettings
from trellis.transport.keys import create_keys
from trellis.wire.codec import Buffer, encode_header
from trellis.wire.measures import TaskUse
from trellis.wire.payload import dump_result
from trellis.wire.vine import Mount, Resources, VineResults, WorkerJoined, WorkerLeft
from trellis.wire.vine_watching import VineTasksRunning

WAIT_S = 20


class FakeManager:
    """A process of which only the life is real."""

    what = "TaskVine manager"

    def __init__(self, start_error: Exception | None = None) -> None:
        self._start_error = start_error
        self._alive, self._life = os.pipe()
        self._ending = "was killed by signal 9 (SIGKILL)"

    def start(self) -> VinePorts:
        if self._start_error is not None:
            raise self._start_error
        return VinePorts(1, 2)  # nobody listens there

    def open_sentinel(self) -> int:
        return os.dup(self._alive)

    def last_words(self) -> str:
        return f"It {self._ending}.\nEnd of manager.log:\nlast words"

    def die(self) -> None:
        life, self._life = self._life, -1  # first of all: the client kills what is left of it
        if life >= 0:
            os.close(life)

    def kill(self, reason: str = "") -> None:
        self._ending = reason or self._ending
        self.die()

    def end(self, timeout_s: float) -> None:
        self.die()

    def close(self) -> None:
        self.die()
        os.close(self._alive)


class Sink:
    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []
        self.running: list[tuple[Attempt, Begun]] = []
        self._come = threading.Condition()

    def begun(self, attempts: Sequence[tuple[Attempt, Begun]]) -> None:
        self.running += attempts

    def deliver(self, outcomes: Sequence[tuple[Attempt, Outcome]]) -> None:
        with self._come:
            self.outcomes += [outcome for _, outcome in outcomes]
            self._come.notify_all()

    def wait_for(self, number: int) -> list[Outcome]:
        with self._come:
            assert self._come.wait_for(lambda: len(self.outcomes) >= number, WAIT_S)
            return list(self.outcomes)


class House:
    """A client, its manager, and what it told its owner."""

    def __init__(
        self, directory: Path, start_error: Exception | None = None, heartbeat_threshold_s: float = 120.0
    ) -> None:
        self.manager = FakeManager(start_error)
        self.lost: list[TrellisError] = []
        self.ended: list[OutstandingTask] = []
        self.sink = Sink()
        create_keys(directory)
        settings = VineSettings(
            client_address="127.0.0.1",
            client_ports=(1, 2),
            worker_address="127.0.0.1",
            worker_ports=(2, 3),
            any_port=False,
            cert_dir=str(directory),
            password_file=None,
            logdir=str(directory),
            debug=False,
            import_paths=[],
            heartbeat_period_s=30.0,
            heartbeat_threshold_s=heartbeat_threshold_s,
            worker_timeout_s=300.0,
            peer_transfers=True,
            autolabel="fixed",
            autolabel_window=0,
            wait_for_workers=0,
            tune={},
        )
        process: Any = self.manager
        callbacks = VineCallbacks(
            _ignore, _ignore, _ignore, self.lost.append, lambda held, value: value, self.ended.extend
        )
        self.client = VineClient("vine", process, settings, callbacks)

    def submit(self, number: int) -> None:
        for _ in range(number):
            id_ = self.client.next_id()
            attempt = Attempt(len, (), {}, sink=self.sink, name=f"task{id_}")
            self.client.submit(PreparedTask(id_, 0, 0, b"", [], [Mount(0, "out")], -1, attempt))


def _ignore(_: object) -> None:
    pass


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    made.client.start()
    yield made
    made.client.close(0.0)
    made.manager.close()


def test_tasks_of_a_dead_manager_fail_with_its_last_words(house: House) -> None:
    house.submit(3)
    house.manager.die()
    outcomes = house.sink.wait_for(3)
    assert {type(outcome.exception) for outcome in outcomes} == {TaskVineManagerFailure}
    assert all("SIGKILL" in str(outcome.exception) and "last words" in str(outcome.exception) for outcome in outcomes)
    assert house.client.outstanding == 0


def test_the_owner_hears_of_the_death_and_of_the_end_of_each_task(house: House) -> None:
    house.submit(2)
    house.manager.die()
    house.sink.wait_for(2)
    assert [type(lost) for lost in house.lost] == [TaskVineManagerFailure]
    assert [held.outputs for held in house.ended] == [[Mount(0, "out")]] * 2


def test_tasks_for_a_dead_manager_fail_at_once(house: House) -> None:
    house.manager.die()
    house.submit(1)
    (outcome,) = house.sink.wait_for(1)
    assert isinstance(outcome.exception, TaskVineManagerFailure)


def test_questions_to_a_dead_manager_fail(house: House) -> None:
    early: Future[bytes] = house.client.fetch(1)
    house.manager.die()
    for reply in (early, house.client.fetch(2)):
        assert isinstance(reply.exception(WAIT_S), TaskVineManagerFailure)
    with pytest.raises(TaskVineManagerFailure):
        house.client.status(WAIT_S)


def test_a_manager_that_does_not_answer_is_not_waited_for(house: House) -> None:
    with pytest.raises(TimeoutError):
        house.client.status(0.01)
    with pytest.raises(TimeoutError):
        house.client.standing(1, 0.01)


def test_it_is_known_where_tasks_run_until_they_have_ended(tmp_path: Path) -> None:
    client = House(tmp_path).client
    sink = Sink()
    attempt = Attempt(len, (), {}, sink=sink)
    client._outstanding[5] = OutstandingTask(attempt, 0, [], -1)
    client._on_message(WorkerJoined("w", "h", Resources(), "b"), [])
    client._on_message(VineTasksRunning("w", [5, 6], [1.0, 2.0]), [])
    begun = Begun("h", "b", "w", 0, 1.0)
    assert sink.running == [(attempt, begun)]
    assert (client.where_it_runs(5), client.where_it_runs(6)) == (begun, None)
    client._on_message(WorkerLeft("w", "h", "gone", 1), [])
    assert client.where_it_runs(5) is None
    client._on_message(VineTasksRunning("w", [5], [1.0]), [])
    use = TaskUse(1.0, 2.0, 3, 4, 5)
    payload = dump_result(7)
    client._on_message(VineResults("w", [5], [], [1.0], [0.5], [len(payload)], [use]), [payload])
    (outcome,) = sink.outcomes
    assert outcome.run_info == RunInfo("h", "b", "w", 0, 1.0, 0.5, Usage(1.0, 2.0, 3, 4, 5))
    assert client.where_it_runs(5) is None
    assert not client.has(5)


def test_a_manager_that_is_silent_for_too_long_is_killed_and_its_tasks_fail(tmp_path: Path) -> None:
    house = House(tmp_path, heartbeat_threshold_s=0.2)
    house.client.start()
    house.submit(2)
    for outcome in house.sink.wait_for(2):
        assert isinstance(outcome.exception, TaskVineManagerFailure)
        assert "It did not answer for 0.2 s, and was killed." in str(outcome.exception)
    assert [type(lost) for lost in house.lost] == [TaskVineManagerFailure]
    house.client.close(0.0)
    house.manager.close()


def test_a_shutdown_ends_what_is_outstanding_and_what_comes_later(house: House) -> None:
    house.submit(1)
    house.client.close(0.0)
    house.client.close(0.0)
    house.submit(1)
    for outcome in house.sink.wait_for(2):
        assert isinstance(outcome.exception, ExecutorError)
        assert "shut down" in str(outcome.exception)
    assert isinstance(house.client.fetch(1).exception(WAIT_S), ExecutorError)
    assert house.lost == []


def test_what_the_owner_decides_counts_first(house: House) -> None:
    house.submit(1)
    house.client.fail_all(TaskVineManagerFailure("the first reason"))
    house.sink.wait_for(1)
    house.manager.die()
    house.submit(1)
    assert [str(outcome.exception) for outcome in house.sink.wait_for(2)] == ["the first reason"] * 2


def test_a_callback_may_submit_when_all_is_over(house: House) -> None:
    house.manager.die()
    house.submit(1)
    house.sink.wait_for(1)
    house.client.close(0.0)
    deliver, again = house.sink.deliver, [True]

    def submit_again(outcomes: Sequence[tuple[Attempt, Outcome]]) -> None:
        deliver(outcomes)
        if again.pop():
            again.append(False)
            house.submit(1)

    house.sink.deliver = submit_again  # type: ignore[method-assign]
    house.submit(1)
    assert len(house.sink.wait_for(3)) == 3


def test_a_manager_that_does_not_start(tmp_path: Path) -> None:
    house = House(tmp_path, ExecutorError("vine", "the TaskVine manager does not start"))
    with pytest.raises(ExecutorError, match="does not start"):
        house.client.start()
    house.manager.close()


class Said:
    """An endpoint at which messages have come."""

    def __init__(self, *messages: list[Buffer]) -> None:
        self._messages = list(messages)

    def receive(self) -> list[Buffer] | None:
        return self._messages.pop(0) if self._messages else None


def test_a_task_whose_result_cannot_be_read_fails_and_waits_for_nothing(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.submit(2)
    house.client._pulse = Pulse(60.0, 120.0, 0.0)
    without_payload = encode_header(VineResults("worker", [0, 7], [], [0.0, 0.0], [0.0, 0.0], [5, 5]))
    endpoint: Any = Said([without_payload])
    house.client._endpoint = endpoint
    house.client._on_messages()
    (outcome,) = house.sink.outcomes
    assert isinstance(outcome.exception, ExecutorError)
    assert "task0 was refused: how they ended cannot be told: 2 payloads announced" in str(outcome.exception)
    assert len(house.ended) == house.client.outstanding == 1
    house.client._inbox.close()
    house.manager.close()
