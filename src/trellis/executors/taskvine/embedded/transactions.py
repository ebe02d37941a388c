"""Writes what happens at a manager to a file, in the format of TaskVine's transactions log, which its tools read.

One line for each change of a task, worker, library or file: microseconds since the epoch, the manager's process,
what changed, which one, and how. Lines are collected, and written when ``flush`` is called or there are many.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

from trellis.wire.vine import UNKNOWN, Amount, CallsEnded, TaskShape

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
        directory: below it the file goes, where TaskVine has it: ``vine-logs/transactions``.
    """

    def __init__(self, directory: Path) -> None:
        path = directory / "vine-logs" / "transactions"
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(path, "w", encoding="utf-8", errors="replace")  # noqa: SIM115 - closed by close()
        self._lines: list[str] = []
        self._pid = os.getpid()
        self._attempts: dict[int, int] = {}  # of tasks that have begun
        self._shapes: dict[int, tuple[str, str]] = {}  # what comes before and after an attempt's number
        self._shape_of: dict[int, int] = {}  # of each task
        self._amounts: dict[Amount | None, str] = {}
        self._started = time.time()
        self._file.write(_HEADER)
        self._lines.append(f"{self._now()} MANAGER {self._pid} START 0\n")

    def _now(self) -> str:
        return f"{time.time() * 1e6:.0f} {self._pid}"

    def flush(self) -> None:
        """Write what there is."""
        if self._lines:
            self._file.write("".join(self._lines))
            self._lines.clear()
            self._file.flush()

    def close(self) -> None:
        """The manager ends."""
        microseconds = (time.time() - self._started) * 1e6
        self._lines.append(f"{self._now()} MANAGER {self._pid} END {microseconds:.0f}\n")
        self.flush()
        self._file.close()

    # -- tasks: their numbers begin with 1 there ---------------------------------------------------------------

    def define_shapes(self, ids: Sequence[int], shapes: Sequence[TaskShape]) -> None:
        """Tasks will have these categories, and ask for so much."""
        for id_, shape in zip(ids, shapes, strict=True):
            head = f" READY {_word(shape.category)} FIRST_RESOURCES "
            self._shapes[id_] = head, f" {self._resources(shape.amount)}\n"

    def ready(self, ids: Sequence[int], shapes: Sequence[int]) -> None:
        """Tasks were submitted."""
        start = f"{self._now()} TASK "
        for id_, shape in zip(ids, shapes, strict=True):
            head, tail = self._shapes[shape]
            self._lines.append(f"{start}{id_ + 1}{head}1{tail}")
        self._shape_of.update(zip(ids, shapes, strict=True))

    def running(self, worker: str, ids: Sequence[int], amounts: Sequence[Amount | None]) -> None:
        """A worker was sent these; ``amounts``: what each was given."""
        now = time.time()
        start, middle = f"{now * 1e6:.0f} {self._pid} TASK ", f" RUNNING worker-{worker} FIRST_RESOURCES "
        commit = f'{{"time_commit_start":[{now:.6f},"s"],"time_commit_end":[{now:.6f},"s"],'
        for id_, amount in zip(ids, amounts, strict=True):
            attempt = self._attempts[id_] = self._attempts.get(id_, 0) + 1
            if attempt > 1 and id_ in self._shape_of:
                head, tail = self._shapes[self._shape_of[id_]]
                self._lines.append(f"{start}{id_ + 1}{head}{attempt}{tail}")
            self._lines.append(f"{start}{id_ + 1}{middle}{commit}{self._resources(amount)[1:]}\n")

    def ended(self, worker: str, message: CallsEnded) -> None:
        """A worker has run these to their ends."""
        start, waits = f"{self._now()} TASK ", f" WAITING_RETRIEVAL worker-{worker}\n"
        measured = message.measured or [UNKNOWN] * len(message.ids)
        ends = zip(message.ids, message.started, message.durations_s, measured, strict=True)
        for id_, since, duration_s, amount in ends:
            used = "" if amount is UNKNOWN else f",{_json(amount)[1:-1]}".rstrip(",")
            report = (
                f'{{"time_worker_start":[{since:.6f},"s"],"time_worker_end":[{since + duration_s:.6f},"s"],'
                f'"wall_time":[{duration_s:.6f},"s"]{used}}}'
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
            self._forget(id_)

    def failed(self, id_: int, status: str, exit_code: int) -> None:
        """The submit side was told that this one has no result."""
        line, word = f"{self._now()} TASK {id_ + 1}", status.upper()
        if id_ in self._attempts:
            self._lines.append(f"{line} RETRIEVED {word} {exit_code} {{}} {{}}\n")
        self._lines.append(f"{line} DONE {word} {exit_code}\n")
        self._forget(id_)

    def _forget(self, id_: int) -> None:
        self._attempts.pop(id_, None)
        self._shape_of.pop(id_, None)

    def _resources(self, amount: Amount | None) -> str:
        text = self._amounts.get(amount)
        if text is None:
            text = self._amounts[amount] = _json(amount)
        return text

    # -- workers -----------------------------------------------------------------------------------------------

    def connected(self, worker: str, address: str, amount: Amount) -> None:
        line = f"{self._now()} WORKER worker-{worker}"
        self._lines.append(f"{line} CONNECTION {address}\n{line} RESOURCES {self._resources(amount)}\n")

    def disconnected(self, worker: str, reason: str) -> None:
        self._lines.append(f"{self._now()} WORKER worker-{worker} DISCONNECTION {_word(reason)}\n")

    def cached(self, worker: str, names: Sequence[str], sizes: Sequence[int], seconds: Sequence[float]) -> None:
        """These are in a worker's cache now; sizes in bytes, and the seconds that getting each took."""
        now = time.time()
        start = f"{now * 1e6:.0f} {self._pid} WORKER worker-{worker} CACHE_UPDATE "
        for name, size, took in zip(names, sizes, seconds, strict=True):
            self._lines.append(f"{start}{name} {size} {took * 1e6:.0f} {(now - took) * 1e6:.0f}\n")

    def transferred(self, worker: str, direction: str, name: str, size: int, took: float) -> None:
        """``direction``: INPUT (sent by the manager) or OUTPUT (brought home)."""
        now = time.time()
        line = f"{now * 1e6:.0f} {self._pid} WORKER worker-{worker} TRANSFER {direction}"
        self._lines.append(f"{line} {name} {size} {took * 1e6:.0f} {(now - took) * 1e6:.0f}\n")

    # -- libraries ---------------------------------------------------------------------------------------------

    def library_sent(self, worker: str, library: str, instance: int, amount: Amount) -> None:
        number, now = _FIRST_LIBRARY + instance, self._now()
        text = self._resources(amount)
        self._lines.append(f"{now} TASK {number} READY {_word(library)} FIRST_RESOURCES 1 {text}\n")
        self._lines.append(f"{now} TASK {number} RUNNING worker-{worker} FIRST_RESOURCES {text}\n")
        self._lines.append(f"{now} LIBRARY {number} SENT worker-{worker}\n")

    def library_up(self, worker: str, instance: int) -> None:
        self._lines.append(f"{self._now()} LIBRARY {_FIRST_LIBRARY + instance} STARTED worker-{worker}\n")

    def library_down(self, worker: str, instance: int) -> None:
        self._lines.append(f"{self._now()} LIBRARY {_FIRST_LIBRARY + instance} FAILURE worker-{worker}\n")


def _word(text: str) -> str:
    """As one word: blanks divide what is on a line."""
    return "_".join(text.split()) or "-"


def _json(amount: Amount | None) -> str:
    """``None``: a call, which takes nothing for itself."""
    values = [0, 0, 0, 0] if amount is None else [amount.cores, amount.memory, amount.disk, amount.gpus]
    given = {name: [value, unit] for (name, unit), value in zip(_UNITS, values, strict=True) if value is not None}
    return json.dumps(given, separators=(",", ":"))
