"""A manager's side of its connection to the interchange: what is said, kept, and said again. Pure.

While there is no connection nothing is sent: what must not be lost is in the reports that are kept, and the rest is in
the registration with which each new connection begins. Reports are numbered 1, 2, … and kept until the submit side says
that it has them: after a broken connection, or a restart of the interchange, all of them are sent again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import assert_never

import msgspec

from trellis.executors.common.own_usage import load_used
from trellis.executors.common.result_batch import ResultBatch
from trellis.executors.htex.manager import events
from trellis.executors.htex.manager.standing import TaskPlace
from trellis.wire import stream
from trellis.wire.codec import Buffer, encode_header
from trellis.wire.measures import TaskUse
from trellis.wire.messages import (
    Draining,
    Goodbye,
    Heartbeat,
    Message,
    Register,
    Report,
    Results,
    TasksCancelled,
    TasksOverMemory,
    TasksReturned,
    TasksRunning,
    TasksTimedOut,
    TasksWithdrawn,
    WorkerLoss,
)
from trellis.wire.questions import Obstacle, StandingAtManager

# What the machine wants the interchange to hear.
Told = (
    events.ReportWorkerLost
    | events.ReportTimedOut
    | events.ReportOverMemory
    | events.ReportCancelled
    | events.GiveBack
    | events.Withdraw
    | events.SayRunning
    | events.SendHeartbeat
    | events.SendDraining
)


class ManagerLink:
    """The connection as this side knows it.

    Args:
        registration: how the manager introduces itself the first time.
        send: passes frames on to the connection, in order; called only while there is one.
        now: times in the registration count from here.
    """

    def __init__(self, registration: Register, send: Callable[[Sequence[Buffer]], None], now: float) -> None:
        self._registration = registration
        self._send_frames = send
        self._made = now
        self._last = 0  # number of the latest report
        self._kept: deque[tuple[int, Sequence[Buffer]]] = deque()  # reports that the submit side may not have
        self._results: ResultBatch[int] = ResultBatch()  # each with its worker; for the next report
        self._used: dict[int, TaskUse] = {}  # by positions in these results
        self.connected = False
        self._awaits_welcome = False
        self.welcomed = False  # once

    # -- the connection ----------------------------------------------------------------------------------------

    def note(self, changes: Sequence[bool]) -> bool:
        """What became of the connection, in order; True when it is there again, and wants a registration."""
        if changes:
            self.connected = changes[-1]
            self._awaits_welcome = False
        return bool(changes) and self.connected

    def register(self, holding: list[int], started: list[int], draining: bool, now: float) -> None:
        """Begin a connection: what may not have come, then who this is and what it has."""
        self.flush()
        for _, frames in self._kept:
            self._send_frames(frames)
        ends_in_s = self._registration.ends_in_s
        if ends_in_s is not None:
            ends_in_s -= now - self._made
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

    # -- what is said ------------------------------------------------------------------------------------------

    def send(self, message: Message) -> None:
        if self.connected:
            self._send_frames([encode_header(message)])

    def tell(self, action: Told) -> Sequence[int]:
        """Say what the machine wants to be heard; give the tasks that are no more this manager's."""
        name = self._registration.manager
        match action:
            case events.ReportWorkerLost(worker, task, reason):
                lost = WorkerLoss(name, task, worker, self._registration.hostname, reason, self._next_sequence())
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
            case events.SayRunning(tasks):
                workers = [worker for worker, _ in tasks.values()]
                started = [self._epoch(since) for _, since in tasks.values()]
                self.send(TasksRunning(name, [*tasks], workers, started))
            case events.SendHeartbeat():
                self.send(Heartbeat())
            case events.SendDraining():
                self.send(Draining(name))
            case _:
                assert_never(action)
        return ()

    def tell_place(self, request: int, place: TaskPlace) -> None:
        """Answer where a task is."""
        name, hostname = self._registration.manager, self._registration.hostname
        here = f"manager {name} on {hostname}"
        obstacles = [Obstacle(here, place.reason, place.until)] if place.reason else []
        text = f"{place.text} ({here})"
        started = self._epoch(place.since)
        self.send(StandingAtManager(name, request, place.stage, text, place.worker, started, obstacles))

    def _epoch(self, when: float) -> float:
        """Seconds since the epoch: times of the registration count from there, others by the clock of events."""
        return self._registration.start_time + when - self._made

    def say_goodbye(self, reason: str) -> None:
        if self.welcomed or self._awaits_welcome:  # who has introduced itself is known, though the answer was not read
            self.send(Goodbye(self._registration.manager, reason))

    # -- reports -----------------------------------------------------------------------------------------------

    def add_result(self, worker: int, frame: stream.StreamFrame) -> None:
        """Keep a result for the next report: they go out together at the end of a turn."""
        buffers = frame.buffers
        if frame.other == stream.WITH_USAGE:
            self._used[len(self._results)] = TaskUse(*load_used(buffers.pop()))
        payload = buffers[0] if len(buffers) == 1 else tuple(buffers)
        failed = frame.kind == stream.ERROR
        self._results.add(frame.id, failed, frame.started, frame.duration_s, payload, worker)

    def flush(self) -> None:
        """Send the results that have gathered."""
        if len(self._results):
            batch = self._results.take()
            ids, failed, started, durations_s, workers, sizes, payloads = batch
            name, sequence = self._registration.manager, self._last + 1
            used = [self._used.get(position) for position in range(len(ids))] if self._used else None
            self._used.clear()
            header = Results(name, ids, failed, workers, started, durations_s, sizes, sequence, used)
            self._report([encode_header(header), *payloads])

    def _next_sequence(self) -> int:
        self.flush()  # numbers in order
        return self._last + 1

    def _report_end(self, message: Report, ids: Sequence[int]) -> Sequence[int]:
        self._report([encode_header(message)])
        return ids

    def _report(self, frames: Sequence[Buffer]) -> None:
        self._last += 1
        self._kept.append((self._last, frames))
        if self.connected:
            self._send_frames(frames)

    @property
    def reports(self) -> tuple[int, int]:
        """How many there were, and how many of them the submit side has."""
        return self._last, self._kept[0][0] - 1 if self._kept else self._last

    def received_up_to(self, sequence: int) -> None:
        """The submit side has these reports: they need not be kept."""
        while self._kept and self._kept[0][0] <= sequence:
            self._kept.popleft()
