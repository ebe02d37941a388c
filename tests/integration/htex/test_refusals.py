"""What cannot be sent, or makes no sense to who gets it, fails the tasks that it is about, and no others."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest

from tests.integration.htex.conftest import StartExecutor
from tests.simulation.simulated_manager import registration
from trellis.core.interfaces import Attempt, Outcome
from trellis.errors import ExecutorError, SerializationError
from trellis.executors.htex.executor import HighThroughputExecutor
from trellis.providers import LocalProvider
from trellis.transport.context import new_context
from trellis.transport.endpoint import ClientEndpoint
from trellis.transport.keys import load_client_keys
from trellis.wire.codec import Buffer, Decoder, encode_header, pack
from trellis.wire.messages import Message, Results, Tasks, TasksRefused, ToManager, Welcome, WorkerLoss
from trellis.wire.payload import dump_result

WAIT_S = 30
M = TypeVar("M", bound=Message)


class _Futures:
    def deliver(self, outcomes: Sequence[tuple[Attempt, Outcome]]) -> None:
        for attempt, outcome in outcomes:
            if outcome.exception is None:
                attempt.key.set_result(outcome.value)
            else:
                attempt.key.set_exception(outcome.exception)

    def begun(self, attempts: object) -> None:
        """Not looked at."""


def launch(executor: HighThroughputExecutor, func: Any, *args: Any, walltime_s: Any = None) -> Future[Any]:
    """Past the checks of a call."""
    future: Future[Any] = Future()
    executor.launch(Attempt(func, args, {}, sink=_Futures(), key=future, walltime_s=walltime_s))
    return future


def double(x: int) -> int:
    return 2 * x


@pytest.mark.parametrize(
    ("walltime_s", "kind", "words"),
    [
        (math.inf, ExecutorError, "double was refused: not a message.*walltimes_s"),
        (-1.0, ExecutorError, "double was refused: not a message.*walltimes_s"),
        ("1m", ExecutorError, "double was refused: not a message.*walltimes_s"),
        (object(), SerializationError, "what is said of"),
        ("\ud800", SerializationError, "what is said of"),
    ],
    ids=["infinite", "negative", "text", "object", "surrogate"],
)
def test_one_bad_task_of_five_hundred(
    start_htex: StartExecutor, walltime_s: Any, kind: type[Exception], words: str
) -> None:
    executor = start_htex()
    others = [launch(executor, double, n) for n in range(250)]
    bad = launch(executor, double, 0, walltime_s=walltime_s)
    others += [launch(executor, double, n) for n in range(250, 499)]
    with pytest.raises(kind, match=f"(?s){words}"):
        bad.result(WAIT_S)
    assert [future.result(WAIT_S) for future in others] == [2 * n for n in range(499)]
    assert executor.outstanding == 0


class Manager:
    """One that the test speaks for."""

    def __init__(self, executor: HighThroughputExecutor, name: str, capacity: int) -> None:
        self.name = name
        self._context = new_context()
        self._endpoint = ClientEndpoint(self._context, load_client_keys(Path(str(executor.cert_dir))), name.encode())
        self._endpoint.connect(f"tcp://127.0.0.1:{executor._ports.worker}")
        self._decoder: Decoder[Message] = Decoder(ToManager)
        self.say(registration(name, name, capacity, capacity))
        self.hear(Welcome)

    def say(self, message: Message, *frames: Buffer) -> None:
        self._endpoint.send([encode_header(message), *frames])

    def hear(self, kind: type[M]) -> M:
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            self._endpoint.wait(0.1)
            frames = self._endpoint.receive()
            message = None if frames is None else self._decoder.decode(frames[0])
            if isinstance(message, kind):
                return message
        raise AssertionError(f"no {kind.__name__}")

    def report(self, ids: list[int], value: object, sequence: int, **changes: Any) -> None:
        sizes, frames = pack([dump_result(value)] * len(ids))
        numbers, times = [0] * len(ids), [0.0] * len(ids)
        report = Results(self.name, ids, [], numbers, times, times, sizes, sequence)
        self.say(msgspec.structs.replace(report, **changes), *frames)

    def close(self) -> None:
        self._endpoint.close()
        self._context.term()


@pytest.fixture
def executor(start_htex: StartExecutor) -> HighThroughputExecutor:
    return start_htex(provider=LocalProvider(init_blocks=0, min_blocks=0, max_blocks=0))


@pytest.fixture
def manager(executor: HighThroughputExecutor) -> Iterator[Manager]:
    made = Manager(executor, "honest", 4)
    yield made
    made.close()


def test_only_the_manager_that_has_a_task_can_tell_its_end(executor: HighThroughputExecutor, manager: Manager) -> None:
    futures = [executor.submit(double, {}, n) for n in range(2)]
    ids: list[int] = []
    while len(ids) < 2:
        ids += manager.hear(Tasks).ids
    rogue = Manager(executor, "rogue", 1)
    try:
        waiting = [
            executor.submit(double, {}, n) for n in range(5)
        ]  # one for the rogue, the others wait or are elsewhere
        own, *_ = rogue.hear(Tasks).ids
        rogue.say(WorkerLoss("rogue", ids[0], 0, "nowhere", "a lie", 1))
        rogue.report([ids[1], own, 10**9], "from the rogue", 2)
        done, _ = wait(waiting, WAIT_S, FIRST_COMPLETED)
        assert [future.result() for future in done] == ["from the rogue"]
        assert executor.connected_workers == 5  # whatever else it has said has been read
    finally:
        rogue.close()
    assert not any(future.done() for future in futures)
    assert sum(future.done() for future in waiting) == 1
    manager.report(ids, "from the honest one", 1)
    assert [future.result(WAIT_S) for future in futures] == ["from the honest one"] * 2


def test_a_report_that_makes_no_sense_fails_its_own_tasks(executor: HighThroughputExecutor, manager: Manager) -> None:
    futures = [executor.submit(double, {}, n) for n in range(3)]
    ids: list[int] = []
    while len(ids) < 3:
        ids += manager.hear(Tasks).ids
    manager.report(ids[:1], "lost", 1, durations_s=[math.inf])
    with pytest.raises(ExecutorError, match="double was refused: how they ended cannot be told"):
        futures[0].result(WAIT_S)
    manager.report(ids[1:2], "lost", 2, sizes=[10**6])  # found out by the submit side
    with pytest.raises(ExecutorError, match="double was refused: how they ended cannot be told"):
        futures[1].result(WAIT_S)
    manager.report(ids[2:], "found", 3)
    assert futures[2].result(WAIT_S) == "found"


def test_what_a_manager_refuses_again_and_again_fails(executor: HighThroughputExecutor, manager: Manager) -> None:
    futures = [executor.submit(double, {}, n) for n in range(4)]
    ids: list[int] = []
    while len(ids) < 4:
        ids += manager.hear(Tasks).ids
    manager.say(TasksRefused(ids, "no", "honest"))
    alone: list[int] = []
    refusals = 1
    while refusals < 3 or len(alone) < 3:
        (one,) = manager.hear(Tasks).ids  # each in a message of its own now
        if one == ids[0]:
            refusals += 1
            manager.say(TasksRefused([one], "not this one", "honest"))
        else:
            alone.append(one)
    with pytest.raises(ExecutorError, match="double was refused: not this one"):
        futures[0].result(WAIT_S)
    manager.report(sorted(alone), "well", 1)
    assert [future.result(WAIT_S) for future in futures[1:]] == ["well"] * 3
