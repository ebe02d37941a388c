"""A real HighThroughputExecutor that works while its interchange is attacked at both ports."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import psutil

from tests.fuzz.attackers import PATIENCE_S, Attacker, Insider, Stranger, Turncoat, Vandal
from tests.fuzz.frames import Frames
from tests.fuzz.health import Patient, Vitals
from trellis.core.interfaces import ExecutorContext
from trellis.executors.htex.executor import HighThroughputExecutor
from trellis.transport.context import new_context
from trellis.transport.keys import ClientKeys, create_keys, load_client_keys
from trellis.wire.messages import FromManager, FromSubmitSide, Message, Register

WORKERS = 2
_TASKS_AT_A_TIME = 12


def square(number: int) -> int:
    return number * number


class Work:
    """Real tasks, some in each burst; each must give the right result."""

    def __init__(self, executor: HighThroughputExecutor) -> None:
        self._executor = executor
        self.ids = list(range(50))  # of tasks that are under way or will be
        self.done = 0

    def begin(self) -> list[Future[Any]]:
        self.ids[:] = range(max(0, self.done - 20), self.done + 30)
        return [self._executor.submit(square, {}, self.done + n) for n in range(_TASKS_AT_A_TIME)]

    def check(self, futures: list[Future[Any]]) -> None:
        for future in futures:
            result = future.result(PATIENCE_S)
            assert result == self.done**2, f"task {self.done} gives {result!r}"
            self.done += 1


class InterchangeTarget:
    """Made by ``running``."""

    def __init__(self, executor: HighThroughputExecutor, directory: Path, seed: int) -> None:
        self.work = Work(executor)
        self.work.check(self.work.begin())
        assert executor._client is not None
        self._context = new_context()
        logs = Path(executor.logdir)
        children = psutil.Process(executor._client._process.pid), _manager()
        self._patients = [
            Patient("interchange", children[0].pid, logs / "interchange.log"),
            Patient("manager", children[1].pid, next(logs.glob("block-*/*/manager.log"))),
        ]
        keys = None if executor.cert_dir is None else load_client_keys(Path(executor.cert_dir))
        create_keys(directory / "other")
        self.attackers = _attackers(
            seed, self._context, keys, load_client_keys(directory / "other"), executor, self.work
        )

    def attack(self, attacker: Attacker, count: int) -> None:
        """Send ``count`` multiparts in bursts, with tasks under way in each."""
        while count > 0:
            futures = self.work.begin()
            attacker.burst(min(attacker.burst_size, count))
            self.work.check(futures)
            count -= attacker.burst_size

    def rest(self) -> None:
        for patient in self._patients:
            patient.rest()

    def growth(self) -> dict[str, Vitals]:
        """Of each process since ``rest``; an AssertionError when one is ill."""
        return {patient.name: patient.growth() for patient in self._patients}

    def close(self) -> None:
        self._context.term()


@contextlib.contextmanager
def running(directory: Path, *, encrypted: bool, seed: int) -> Iterator[InterchangeTarget]:
    """An executor with one manager, and who attacks it."""
    executor = HighThroughputExecutor(label="attacked", max_workers_per_node=WORKERS, encrypted=encrypted)
    executor.start(ExecutorContext(run_dir=str(directory)))
    executor.release([Turncoat.block])
    try:
        target = InterchangeTarget(executor, directory, seed)
        try:
            yield target
        finally:
            target.close()
    finally:
        executor.shutdown()


def _manager() -> psutil.Process:
    (manager,) = [
        child
        for child in psutil.Process(os.getpid()).children(recursive=True)
        if child.cmdline() and child.cmdline()[0].startswith("trellis: manager")
    ]
    return manager


def _attackers(
    seed: int, context: Any, keys: ClientKeys | None, other: ClientKeys, executor: HighThroughputExecutor, work: Work
) -> list[Attacker]:
    ports = executor._ports
    to_managers_port = Frames(seed, FromManager, work.ids, _joins)
    to_client_port = Frames(seed + 1, FromSubmitSide, work.ids)
    # Its word about tasks of others would count: so it knows of none.
    of_a_manager = Frames(seed + 2, FromManager, range(10**6, 10**6 + 50), _joins, [Turncoat.manager])
    attackers: list[Attacker] = [
        Insider(context, keys, ports.worker, to_managers_port),
        Turncoat(context, keys, ports.worker, of_a_manager),
    ]
    if keys is None:  # then everybody is an insider at the managers' port
        return [*attackers, Stranger("that is not the submit side", context, None, ports.client, to_client_port)]
    for port, frames in ((ports.worker, to_managers_port), (ports.client, to_client_port)):
        unknown = ClientKeys(other.public, other.secret, keys.server_public)
        attackers += [
            Stranger(f"without keys, at port {port}", context, None, port, frames),
            Stranger(f"with a key of somebody else, at port {port}", context, unknown, port, frames),
            Stranger(f"with the key of another server, at port {port}", context, other, port, frames),
            Vandal(seed, port, frames),
        ]
    return [*attackers, Stranger("that is not the submit side", context, keys, ports.client, to_client_port)]


def _joins(message: Message) -> bool:
    """Whether a manager would be welcomed for this; it would be given real tasks."""
    return isinstance(message, Register) and message.workers > 0
