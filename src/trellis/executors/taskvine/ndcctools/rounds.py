"""What the process that drives the real TaskVine looks at now and then: workers that hang, tasks that wait."""

from __future__ import annotations

import re

from trellis.executors.taskvine.ndcctools import hung_workers
from trellis.executors.taskvine.ndcctools.adapter import TaskVine
from trellis.executors.taskvine.ndcctools.files_seen import files_in
from trellis.executors.taskvine.ndcctools.placements import Placements
from trellis.executors.taskvine.ndcctools.task_book import TaskBook
from trellis.executors.taskvine.ndcctools.waiting import Waiting
from trellis.executors.taskvine.ndcctools.workers import WorkerBook
from trellis.wire.vine_watching import SeenFile

# After a worker is gone, its process is looked for so long, so often.
_HUNG_FOR_S = 120.0
_HUNG_LOOK_S = 5.0
# Between two looks at why tasks wait.
_WAITING_LOOK_S = 1.0


# Of the log of transactions: a task waits to be started for the so-manieth time.
_READY = re.compile(rb" TASK \d+ READY (\S+) \S+ (\d+) ")
# Starts that are told, of tasks whose workers have ended. TaskVine itself starts them for ever.
_TOLD_STARTS = (4, 10, 30, 100, 300, 1000)
_PIECE_BYTES = 4 * 2**20


def starts_to_tell(log: bytes) -> list[str]:
    """What the user should know of tasks that start again and again, from lines of the log of transactions. Pure."""
    found = [(name.decode(errors="replace"), int(count)) for name, count in _READY.findall(log)]
    return [
        f"a task of {name} starts for the {count}th time, because its workers ended: it may be what they end of"
        for name, count in found
        if count in _TOLD_STARTS
    ]


class Rounds:
    """Gives what the user should know; all clocks are the caller's."""

    def __init__(
        self, vine: TaskVine, tasks: TaskBook, workers: WorkerBook, placements: Placements, recorded: bool = False
    ) -> None:
        self._placements = placements
        self._recorded = recorded
        self._files: list[SeenFile] = []
        self._vine = vine
        self._tasks = tasks
        self._workers = workers
        self._hung = hung_workers.HungWorkers()
        self._hung_at, self._hung_until = 0.0, -1.0
        self._waiting = Waiting()
        self._waiting_at = 0.0
        self._read_bytes = 0  # of the log of transactions

    def worker_left(self, now: float) -> None:
        """Note that a worker is gone; its process may be there still."""
        self._hung_until = now + _HUNG_FOR_S

    def look(self, now: float) -> list[str]:
        notices: list[str] = []
        if self._hung_at <= now < self._hung_until:
            self._hung_at = now + _HUNG_LOOK_S
            notices += self._end_hung_workers(now)
        if self._waiting_at <= now:
            self._waiting_at = now + _WAITING_LOOK_S
            tasks, running = len(self._tasks), self._vine.statistics().tasks_on_workers
            news = self._news_of_log()
            self._placements.read(news)
            if self._recorded:
                self._files += files_in(news, self._tasks.installed())
            notices += starts_to_tell(news)
            notices += self._waiting.look(now, tasks, running, self._workers.allocations(), self._tasks.needs())
        return notices

    def take_files(self) -> list[SeenFile]:
        """What has become of files since the last time, when the run is recorded."""
        files, self._files = self._files, []
        return files

    def _news_of_log(self) -> bytes:
        try:
            with open(self._vine.log("transactions"), "rb") as file:
                file.seek(self._read_bytes)
                news = file.read(_PIECE_BYTES)
        except OSError:  # a disk that is full, for example: TaskVine tells of that
            return b""
        whole = news[: news.rfind(b"\n") + 1]
        self._read_bytes += len(whole)
        return whole

    def _end_hung_workers(self, now: float) -> list[str]:
        hung = self._hung.look(hung_workers.local_workers(self._vine.port), now)
        for pid in hung:
            hung_workers.end(pid)
        return [
            f"worker process {pid} on this host hung, and the manager had given it up: it was killed, so that another "
            "one can take its place; its tasks run again"
            for pid in hung
        ]
