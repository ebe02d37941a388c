"""The factory process of the embedded engine: the shell around ``FactoryState``. Starts workers on this host.

Started by the submit side with its settings on standard input, which then stays open: when it closes, the user's
process is gone, and the factory ends its workers and itself. A factory that is killed leaves its workers running:
they belong to the manager.
"""

from __future__ import annotations

import logging
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import assert_never

import msgspec

from trellis.addresses import tcp_url
from trellis.errors import BadMessage
from trellis.executors.common.service_main import announce, run_service
from trellis.executors.taskvine.embedded.child_process import Child
from trellis.executors.taskvine.embedded.factory import state as machine
from trellis.executors.taskvine.settings import FactoryReady
from trellis.transport.context import new_context
from trellis.transport.endpoint import ClientEndpoint
from trellis.transport.keys import keys_from_password_file
from trellis.transport.service import Loop
from trellis.wire.codec import Decoder, encode_header
from trellis.wire.messages import Message
from trellis.wire.vine import ToVineClient, VineStatus, VineStatusRequest

logger = logging.getLogger("trellis.vine.factory")

# Workers that are told to end have so long before they are killed.
_END_GRACE_S = 3.0


class FactorySettings(msgspec.Struct):
    """What a factory has to know. Times in seconds."""

    worker_command: list[str]
    host: str
    port: int
    password_file: str
    min_workers: int
    max_workers: int
    workers_per_cycle: int
    factory_timeout_s: float
    scratch_dir: str
    logdir: str


class FactoryService:
    """Owns the connection to the manager, and the workers. Single-threaded."""

    def __init__(self, settings: FactorySettings) -> None:
        self._settings = settings
        self._name = f"factory-{secrets.token_hex(4)}"  # by which its workers are known
        rules = machine.FactoryRules(
            settings.min_workers, settings.max_workers, settings.workers_per_cycle, settings.factory_timeout_s
        )
        self._state = machine.FactoryState(rules, time.monotonic())
        self._context = new_context()
        _, keys = keys_from_password_file(Path(settings.password_file))
        self._endpoint = ClientEndpoint(self._context, keys)
        self._endpoint.connect(tcp_url(settings.host, settings.port))
        self._decoder: Decoder[Message] = Decoder(ToVineClient)
        self._loop = Loop()
        self._workers: dict[int, Child] = {}
        self._exit: machine.Exit | None = None

    def run(self, lifeline: int) -> machine.Exit:
        """Serve until the machine says to exit, or ``lifeline`` closes."""
        self._loop.add_source(self._endpoint, self._on_messages)
        self._loop.add_fd(lifeline, lambda: self._on_lifeline(lifeline))
        try:
            self._perform(self._state.start())
            while self._exit is None:
                self._loop.run_once(max(0.0, self._state.next_deadline() - time.monotonic()))
                if time.monotonic() >= self._state.next_deadline():
                    self._handle(machine.DeadlinePassed())
            return self._exit
        finally:
            self._close()

    def _close(self) -> None:
        for worker in self._workers.values():
            worker.ask_to_end()
        deadline = time.monotonic() + _END_GRACE_S
        while self._workers and time.monotonic() < deadline:
            self._loop.run_once(max(0.0, deadline - time.monotonic()))
        for worker in self._workers.values():
            worker.end()
        self._loop.close()
        self._endpoint.close()
        self._context.term()

    def _on_lifeline(self, lifeline: int) -> None:
        if not os.read(lifeline, 4096):
            self._loop.remove_fd(lifeline)
            self._exit = machine.Exit("the executor is shut down, or its process is gone", False)

    def _on_messages(self) -> None:
        while (frames := self._endpoint.receive()) is not None:
            try:
                message = self._decoder.decode(frames[0])
            except BadMessage as error:
                logger.error("a message of the manager is dropped: %s", error)
                continue
            if isinstance(message, VineStatus):
                self._handle(self._what_it_says(message))

    def _what_it_says(self, status: VineStatus) -> machine.Looked:
        workers = [worker.block for worker in status.workers if worker.from_factory]
        own, given_up = self._own(workers), self._own(status.given_up)
        return machine.Looked(
            status.waiting + status.running, own, len(workers) - len(own), given_up, status.ended_busy
        )

    def _own(self, blocks: Sequence[str]) -> frozenset[int]:
        """The numbers of this factory's workers among these."""
        found = [block.removeprefix(self._name + ".") for block in blocks if block.startswith(self._name + ".")]
        return frozenset(int(number) for number in found if number.isdecimal())

    def _handle(self, event: machine.Event) -> None:
        self._perform(self._state.handle(event, time.monotonic()))

    def _perform(self, actions: list[machine.Action]) -> None:
        for action in actions if self._exit is None else ():  # while it ends, nothing new begins
            match action:
                case machine.StartWorkers(numbers):
                    for number in numbers:
                        self._start_worker(number)
                case machine.EndWorker(number, reason):
                    logger.warning("worker %d is ended: %s", number, reason)
                    self._workers[number].kill()
                case machine.Look():
                    self._endpoint.send([encode_header(VineStatusRequest(0))])
                case machine.Exit():
                    self._exit = action
                case _:
                    assert_never(action)

    def _start_worker(self, number: int) -> None:
        name = f"worker-{os.getpid()}-{number}"
        scratch = Path(self._settings.scratch_dir)
        scratch.mkdir(parents=True, exist_ok=True)
        log = Path(self._settings.logdir) / f"{name}.log"
        words = [*self._settings.worker_command, "--from-factory", "--block", f"{self._name}.{number}"]
        try:
            ended: Callable[[Child, int], None] = lambda _, code: self._on_worker_end(number, code)  # noqa: E731
            self._workers[number] = Child(self._loop, words, log, ended, cwd=scratch, environment=os.environ)
        except (OSError, subprocess.SubprocessError) as error:
            self._handle(machine.WorkerEnded(number, True, f"{words[0]}: {error}"))
            return
        logger.info("worker %d started, pid %d", number, self._workers[number].pid)

    def _on_worker_end(self, number: int, code: int) -> None:
        child = self._workers.pop(number)
        logger.info("worker %d with pid %d ended: %s", number, child.pid, child.reason)
        self._handle(machine.WorkerEnded(number, code != 0, child.words()))


def _serve(settings: FactorySettings, lifeline: int) -> str:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's: the user's program decides
    service = FactoryService(settings)
    announce(FactoryReady(os.getpid()))
    end = service.run(lifeline)
    logger.info("%s", end.reason)
    return end.reason if end.failed else ""


def main() -> int:
    """Entry point: ``python -m trellis.executors.taskvine.embedded.factory.service``."""
    return run_service("vine factory", "factory", FactorySettings, _serve)


if __name__ == "__main__":
    sys.exit(main())
