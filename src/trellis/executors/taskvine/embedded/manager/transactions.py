"""Writes what happens at a manager to a file, in the format of TaskVine's transactions log, which its tools read.

One line for each change of a task, worker, library or file: microseconds since the epoch, the manager's process,
what changed, which one, and how. Lines are collected, and written when ``flush`` is called or there are many.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Container, Sequence
from pathlib import Path
from typing import TextIO

from trellis.wire.vine import UNKNOWN, CallsEnded, Resources, TaskShape

# For people and tools that read the file alone.
_HEADER = """\
# time manager_pid MANAGER manager_pid START|END time_from_origin
# time manager_pid WORKER worker_id CONNECTION host:port
# time manager_pid WORKER worker_id DISCONNECTION reason
# time manager_pid WORKER worker_id RESOURCES {resources}
# time manager_pid WORKER worker_id CACHE_UPDATE filename size wall_time_us start_time_us
# time manager_pid WORKER worker_id TRANSFER (INPUT|OUTPUT) filename size wall_time_us start_time_us
# time manager_pid TASK task_id READY category (FIRST_RESOURCES|MAX_RESOURCES) attempt_number {resources_requested}
# time manager_pid TASK task_id RUNNING worker_id (FIRST_RESOURCES|MAX_RESOURCES) {resources_allocated}
# time manager_pid TASK task_id WAITING_RETRIEVAL worker_id
# time manager_pid TASK task_id RETRIEVED result exit_code {limits_exceeded} {resources_measured}
# time manager_pid TASK task_id DONE result exit_code
# time manager_pid LIBRARY library_id (SENT|STARTED|FAILURE) worker_id
"""
_UNITS = (("cores", "cores"), ("memory", "MB"), ("disk", "MB"), ("gpus", "gpus"))
# Collected lines are written when there are so many.
_MANY = 10_000
# Libraries have numbers beside those of tasks, as if they were tasks that never end.
_FIRST_LIBRARY = 1_000_000_000


class Transactions:
    """The log of one manager.

    Args:
        file: where it goes; closed by ``close``.
        clock: seconds since the epoch.
    """

    def __init__(self, file: TextIO, clock: Callable[[], float] = time.time) -> None:
        self._file = file
        self._clock = clock
        self._lines: list[str] = []
        self._pid = os.getpid()
        self._given: dict[int, str] = {}  # to tasks that have begun
        self._attempts: dict[int, int] = {}  # of those among them that began more than once
        self._shapes: dict[int, tuple[str, str]] = {}  # what comes before and after an attempt's number
        self._shape_of: dict[int, int] = {}  # of each task
        self._allocations: dict[Resources | None, str] = {}
        self._connected: set[str] = set()
        self._started = self._clock()
        self._file.write(_HEADER)
        self._lines.append(f"{self._now()} MANAGER {self._pid} START 0\n")

    @classmethod
    def below(cls, directory: Path) -> Transactions:
        """The log where TaskVine has it: ``vine-logs/transactions``."""
        path = directory / "vine-logs" / "transactions"
        path.parent.mkdir(parents=True, exist_ok=True)
        return cls(open(path, "w", encoding="utf-8", errors="replace"))

    def _now(self) -> str:
        return f"{self._clock() * 1e6:.0f} {self._pid}"

    def flush(self) -> None:
        """Write what there is."""
        if self._lines:
            self._file.write("".join(self._lines))
            self._lines.clear()
            self._file.flush()

    def close(self) -> None:
        """The manager ends, and dismisses the workers."""
        for worker in sorted(self._connected):
            self.disconnected(worker, "EXPLICIT")
        microseconds = (self._clock() - self._started) * 1e6
        self._lines.append(f"{self._now()} MANAGER {self._pid} END {microseconds:.0f}\n")
        self.flush()
        self._file.close()

    # -- tasks: their numbers begin with 1 there ---------------------------------------------------------------

    def define_shapes(self, ids: Sequence[int], shapes: Sequence[TaskShape]) -> None:
        """Tasks will have these categories, and ask for so much."""
        for id_, shape in zip(ids, shapes, strict=True):
            head = f" READY {_word(shape.category)} FIRST_RESOURCES "
            self._shapes[id_] = head, f" {self._resources(shape.resources)}\n"

    def ready(self, ids: Sequence[int], shapes: Sequence[int]) -> None:
        """Tasks were submitted."""
        start = f"{self._now()} TASK "
        for id_, shape in zip(ids, shapes, strict=True):
            head, tail = self._shapes[shape]
            self._lines.append(f"{start}{id_ + 1}{head}1{tail}")
        self._shape_of.update(zip(ids, shapes, strict=True))

    def running(self, worker: str, ids: Sequence[int], allocations: Sequence[Resources | None]) -> None:
        """A worker was sent these; ``allocations``: what each was given."""
        now = self._clock()
        start, middle = f"{now * 1e6:.0f} {self._pid} TASK ", f" RUNNING worker-{worker} FIRST_RESOURCES "
        commit = f'{{"time_commit_start":[{now:.6f},"s"],"time_commit_end":[{now:.6f},"s"],'
        for id_, resources in zip(ids, allocations, strict=True):
            if id_ in self._given and id_ in self._shape_of:
                attempt = self._attempts[id_] = self._attempts.get(id_, 1) + 1
                head, tail = self._shapes[self._shape_of[id_]]
                self._lines.append(f"{start}{id_ + 1}{head}{attempt}{tail}")
            given = self._given[id_] = self._resources(resources)
            self._lines.append(f"{start}{id_ + 1}{middle}{commit}{given[1:]}\n")

    def ended(self, worker: str, message: CallsEnded) -> None:
        """A worker has run these to their ends."""
        start, waits = f"{self._now()} TASK ", f" WAITING_RETRIEVAL worker-{worker}\n"
        measured = message.measured or [UNKNOWN] * len(message.ids)
        ends = zip(message.ids, message.started, message.durations_s, measured, strict=True)
        for id_, since, duration_s, resources in ends:
            used = self._given.get(id_)
            if used is None:  # given up meanwhile
                continue
            if resources != UNKNOWN:
                used = _json(resources)
            report = (
                f'{{"time_worker_start":[{since:.6f},"s"],"time_worker_end":[{since + duration_s:.6f},"s"],'
                f'"wall_time":[{duration_s:.6f},"s"],{used[1:]}'
            )
            line = f"{start}{id_ + 1}"
            self._lines.append(f"{line}{waits}{line} RETRIEVED SUCCESS 0 {{}} {report}\n")
        if len(self._lines) > _MANY:
            self.flush()

    def done(self, ids: Sequence[int]) -> None:
        """The submit side has the results of these."""
        start = f"{self._now()} TASK "
        for id_ in ids:
            self._lines.append(f"{start}{id_ + 1} DONE SUCCESS 0\n")
        self.forget(ids)

    def failed(self, id_: int, status: str, exit_code: int) -> None:
        """The submit side was told that this one has no result."""
        line, word = f"{self._now()} TASK {id_ + 1}", status.upper()
        if id_ in self._given:
            self._lines.append(f"{line} RETRIEVED {word} {exit_code} {{}} {{}}\n")
        self._lines.append(f"{line} DONE {word} {exit_code}\n")
        self.forget([id_])

    def forget(self, ids: Sequence[int]) -> None:
        """Nothing more will be said of these, unless they run again."""
        for id_ in ids:
            self._given.pop(id_, None)
            self._attempts.pop(id_, None)
            self._shape_of.pop(id_, None)

    def _resources(self, resources: Resources | None) -> str:
        text = self._allocations.get(resources)
        if text is None:
            text = self._allocations[resources] = _json(resources)
        return text

    # -- workers -----------------------------------------------------------------------------------------------

    def connected(self, worker: str, address: str, resources: Resources) -> None:
        self._connected.add(worker)
        line = f"{self._now()} WORKER worker-{worker}"
        self._lines.append(f"{line} CONNECTION {address}\n{line} RESOURCES {self._resources(resources)}\n")

    def disconnected(self, worker: str, reason: str) -> None:
        self._connected.discard(worker)
        self._lines.append(f"{self._now()} WORKER worker-{worker} DISCONNECTION {_word(reason)}\n")

    def cached(
        self,
        worker: str,
        names: Sequence[str],
        sizes: Sequence[int],
        seconds: Sequence[float],
        sent: Container[str],
    ) -> None:
        """Files are in a worker's cache now; sizes in bytes, the seconds that getting each took, and those among them
        that the manager has sent."""
        for name, size, took in zip(names, sizes, seconds, strict=True):
            if name in sent:
                self._transfer(worker, "TRANSFER INPUT", name, size, took)
            self._transfer(worker, "CACHE_UPDATE", name, size, took)

    def came_home(self, worker: str, name: str, size: int, took: float) -> None:
        """A worker has sent this."""
        self._transfer(worker, "TRANSFER OUTPUT", name, size, took)

    def _transfer(self, worker: str, what: str, name: str, size: int, took: float) -> None:
        now = self._clock()
        line = f"{now * 1e6:.0f} {self._pid} WORKER worker-{worker} {what}"
        self._lines.append(f"{line} {name} {size} {took * 1e6:.0f} {(now - took) * 1e6:.0f}\n")

    # -- libraries ---------------------------------------------------------------------------------------------

    def library_sent(self, worker: str, library: str, instance: int, resources: Resources) -> None:
        number, now = _FIRST_LIBRARY + instance, self._now()
        text = self._resources(resources)
        self._lines.append(f"{now} TASK {number} READY {_word(library)} FIRST_RESOURCES 1 {text}\n")
        self._lines.append(f"{now} TASK {number} RUNNING worker-{worker} FIRST_RESOURCES {text}\n")
        self._lines.append(f"{now} LIBRARY {number} SENT worker-{worker}\n")

    def library_up(self, worker: str, instance: int) -> None:
        self._lines.append(f"{self._now()} LIBRARY {_FIRST_LIBRARY + instance} STARTED worker-{worker}\n")

    def library_down(self, worker: str, instance: int) -> None:
        self._lines.append(f"{self._now()} LIBRARY {_FIRST_LIBRARY + instance} FAILURE worker-{worker}\n")


def _word(text: str) -> str:
    """A text as one word: blanks divide what is on a line."""
    return "_".join(text.split()) or "-"


def _json(resources: Resources | None) -> str:
    """``None``: a call, which takes nothing for itself."""
    values = [0, 0, 0, 0] if resources is None else [resources.cores, resources.memory, resources.disk, resources.gpus]
    given = {name: [value, unit] for (name, unit), value in zip(_UNITS, values, strict=True) if value is not None}
    return json.dumps(given, separators=(",", ":"))
