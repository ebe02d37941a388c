"""Answers where a task of the real TaskVine is, from the books of the process that drives it. Changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from trellis.executors.taskvine.ndcctools.placements import LibraryAtWorker, Placements
from trellis.executors.taskvine.ndcctools.standing import QueuedTask, SeenWorker, at_worker, queued
from trellis.executors.taskvine.ndcctools.task_book import KnownTask, TaskBook
from trellis.executors.taskvine.ndcctools.workers import WorkerBook
from trellis.wire.vine import WorkerStatus
from trellis.wire.vine_watching import VineStanding


class AskedTasks:
    """Reads the books when somebody asks.

    Args:
        wait_for_workers: workers that have to be there before anything starts.
        learns: TaskVine finds out what tasks of a category need.
    """

    def __init__(
        self, tasks: TaskBook, workers: WorkerBook, placements: Placements, wait_for_workers: int, learns: bool
    ) -> None:
        self._tasks = tasks
        self._workers = workers
        self._placements = placements
        self._wanted = wait_for_workers
        self._learns = learns
        self._most_workers = 0

    def look(self, workers: int) -> None:
        """So many workers are connected: once there were enough, nobody waits for more."""
        self._most_workers = max(self._most_workers, workers)

    def statuses(self) -> list[WorkerStatus]:
        """How each worker is. TaskVine itself counts instances of libraries as tasks."""
        return [self._status(row) for row in self._workers.rows()]

    def _status(self, row: Mapping[str, Any]) -> WorkerStatus:
        found = {number: self._tasks.is_call(number) for number in self._placements.at(row["addrport"])}
        ours = {number: is_call for number, is_call in found.items() if is_call is not None}
        not_begun = sum(self._placements.begun(number, is_call) is None for number, is_call in ours.items())
        return msgspec.structs.replace(self._workers.status(row), tasks=len(ours), assigned=not_begun)

    def standing(self, request: int, id_: int, now: float) -> VineStanding:
        """Where it is; ``now``: seconds since the epoch."""
        task = self._tasks.known(id_)
        if task is None:
            return VineStanding(request, "unknown", "the manager does not have it: it has just ended, or will come")
        place = self._placements.of(task.number)
        if place is None:
            return self._queued(request, task, now)
        where, since = self._workers.where(place.address), self._placements.begun(task.number, bool(task.library))
        return at_worker(request, where, self._workers.name(place.address), since, task.library, now)

    def _queued(self, request: int, task: KnownTask, now: float) -> VineStanding:
        waiting = [other for other in self._tasks.all() if self._placements.of(other.number) is None]
        rank = (-task.priority, task.id)  # TaskVine itself may prefer others
        position = sum((-other.priority, other.id) < rank for other in waiting)
        files = {
            name: f"a task of {maker.category} makes it, {self._doing(maker)}"
            for name, maker in self._tasks.makers(task.id).items()
        }
        spec = self._tasks.library(task.library)
        asked = QueuedTask(
            task.need,
            position,
            len(waiting),
            task.category,
            task.library,
            1 if spec is not None and spec.exec_mode == "direct" else 0 if spec is None else spec.slots,
            self._tasks.library_trouble(task.library),
            0.0 if spec is None else spec.context_timeout_s,
            files,
            self._learns and not task.library,
        )
        wanted = self._wanted if self._most_workers < self._wanted else 0
        return queued(request, asked, [self._seen(row, task) for row in self._workers.rows()], wanted, now)

    def _doing(self, maker: KnownTask) -> str:
        place = self._placements.of(maker.number)
        return (
            "which waits in the queue itself"
            if place is None
            else f"which runs at {self._workers.where(place.address)}"
        )

    def _seen(self, row: Mapping[str, Any], task: KnownTask) -> SeenWorker:
        address = row["addrport"]
        status = self._status(row)
        calls = [other for other in self._tasks.all() if task.library and other.library == task.library]
        there = sum(1 for other in calls if (place := self._placements.of(other.number)) and place.address == address)
        where = self._workers.where(address)
        return SeenWorker(where, status.total, status.used, status.tasks, there, self._libraries(address, task.library))

    def _libraries(self, address: str, name: str) -> list[LibraryAtWorker]:
        """Instances at this worker. TaskVine does not tell of which library each is: where calls of it are, or of no
        other, it is taken to be this one."""
        instances = [*self._placements.libraries_at(address).values()]
        if not name or not instances:
            return []
        others = {
            other.library
            for other in self._tasks.all()
            if other.library and (place := self._placements.of(other.number)) and place.address == address
        }
        return instances if not others or name in others else []
