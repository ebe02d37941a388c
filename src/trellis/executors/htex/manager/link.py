"""A manager's side of its connection to the interchange: what is said, kept, and said again. Decides nothing else.

While there is no connection nothing is sent: what must not be lost is in the reports that are kept, and the rest is in
the registration with which each new connection begins.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec

from trellis.executors.htex.manager import events
from trellis.executors.htex.manager.unacknowledged import KeptReports
from trellis.transport.endpoint import ClientEndpoint
from trellis.wire import stream
from trellis.wire.codec import Buffer, Payload, encode_header, pack
from trellis.wire.messages import (
    Draining,
    Heartbeat,
    Message,
    Register,
    Report,
    Results,
    TasksCancelled,
    TasksOverMemory,
    TasksReturned,
    TasksTimedOut,
    TasksWithdrawn,
    WorkerLost,
)

# No task runs for so long: 30 million years.
_LONGEST_S = 1e15


class ResultBatch:
    """Results that go out together at the end of a turn."""

    def __init__(self, manager: str) -> None:
        self._manager = manager
        self._clear()

    def _clear(self) -> None:
        self._ids: list[int] = []
        self._failed: list[int] = []
        self._workers: list[int] = []
        self._started: list[float] = []
        self._durations: list[float] = []
        self._payloads: list[Payload] = []

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, worker: int, frame: stream.StreamFrame) -> None:
        if frame.kind == stream.ERROR:
            self._failed.append(len(self._ids))
        self._ids.append(frame.id)
        self._workers.append(worker)
        self._started.append(frame.started)
        # A task may have put a clock of its own in the place of the real one.
        self._durations.append(frame.duration_s if 0.0 <= frame.duration_s < _LONGEST_S else 0.0)
        buffers = frame.buffers
        self._payloads.append(buffers[0] if len(buffers) == 1 else tuple(buffers))

    def take(self, sequence: int) -> list[Buffer]:
        """The frames of the message; the batch is empty then."""
        sizes, frames = pack(self._payloads)
        header = Results(
            self._manager, self._ids, self._failed, self._workers, self._started, self._durations, sizes, sequence
        )
        self._clear()
        return [encode_header(header), *frames]


class ManagerLink:
    """Owns the socket to the interchange.

    Args:
        endpoint: watched, so that it tells of its connection.
        registration: how the manager introduces itself the first time.
    """

    def __init__(self, endpoint: ClientEndpoint, registration: Register) -> None:
        self._endpoint = endpoint
        self._registration = registration
        self._made = time.monotonic()  # times in the registration count from here
        self._reports = KeptReports()
        self._results = ResultBatch(registration.manager)
        self.connected = False
        self._awaits_welcome = False
        self.welcomed = False  # once

    def connection_is_new(self) -> bool:
        """Take note of what became of the connection; True when it is there again, and wants a registration."""
        changes = self._endpoint.connection_changes()
        if changes:
            self.connected = changes[-1]
            self._awaits_welcome = False
        return bool(changes) and self.connected

    def register(self, holding: list[int], started: list[int], draining: bool) -> None:
        """Begin a connection: what may not have come, then who this is and what it has."""
        self.flush()
        for frames in self._reports:
            self._endpoint.send(frames)
        ends_in_s = self._registration.ends_in_s
        if ends_in_s is not None:
            ends_in_s -= time.monotonic() - self._made
        self.send(
            msgspec.structs.replace(
                self._registration, resumed=self.welcomed, holding=holding, started=started, ends_in_s=ends_in_s
            )
        )
        if draining:
            self.send(Draining(self._registration.manager))
        self._awaits_welcome = True

    def on_welcome(self) -> None:
        self.welcomed = True
        self._awaits_welcome = False

    @property
    def should_register_again(self) -> bool:
        """Whether a wish for it is news: it is said of each message that came before our registration."""
        return not self._awaits_welcome

    def send(self, message: Message) -> None:
        if self.connected:
            self._endpoint.send([encode_header(message)])

    def tell(self, action: events.Action) -> Sequence[int]:
        """Say what the machine wants the interchange to hear; give the tasks that are no more this manager's."""
        name = self._registration.manager
        match action:
            case events.ReportWorkerLost(worker, task, reason):
                lost = WorkerLost(name, task, worker, self._registration.hostname, reason, self._next_sequence())
                return self._report_end(lost, [task])
            case events.ReportTimedOut(task, walltime_s):
                return self._report_end(TasksTimedOut(name, [task], [walltime_s], self._next_sequence()), [task])
            case events.ReportOverMemory(task, limit_mb, peak_mb):
                over = TasksOverMemory(name, [task], [limit_mb], [peak_mb], self._next_sequence())
                return self._report_end(over, [task])
            case events.ReportCancelled(ids):
                return self._report_end(TasksCancelled(ids, name, self._next_sequence()), ids)
            case events.GiveBack(ids):
                self.send(TasksReturned(name, ids))
                return ids
            case events.Withdraw(ids):
                self.send(TasksWithdrawn(name, ids))
            case events.SendHeartbeat():
                self.send(Heartbeat())
            case events.SendDraining():
                self.send(Draining(name))
        return ()

    def _next_sequence(self) -> int:
        self.flush()  # numbers in order
        return self._reports.next_sequence()

    def _report_end(self, message: Report, ids: Sequence[int]) -> Sequence[int]:
        self._report([encode_header(message)])
        return ids

    def _report(self, frames: Sequence[Buffer]) -> None:
        self._reports.keep(frames)
        if self.connected:
            self._endpoint.send(frames)

    def add_result(self, worker: int, frame: stream.StreamFrame) -> None:
        self._results.add(worker, frame)

    def flush(self) -> None:
        """Send the results that have gathered."""
        if len(self._results):
            self._report(self._results.take(self._reports.next_sequence()))

    def received_up_to(self, sequence: int) -> None:
        self._reports.received_up_to(sequence)
