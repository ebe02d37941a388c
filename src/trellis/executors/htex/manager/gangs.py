"""Workers that stand aside so that one task gets several slots of a node. Pure: no processes here.

A task that takes k slots is a *gang* of k workers. They are gathered through the queue that all workers share: k
tokens go in behind what was offered before, and a worker that takes one parks. Tokens name nobody: whoever parks
joins the first gang that is not complete, so nothing hangs on which worker took which token, and gangs come to run
in the order in which they were offered, large or small. A worker too many is released.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(slots=True)
class Gang:
    """The first worker runs the task; the others stand by until it has ended."""

    size: int
    nodes: tuple[str, ...] = ()  # names, of a task that spreads over nodes
    workers: list[int] = field(default_factory=list)
    dead: list[int] = field(default_factory=list)  # died while they stood by: their slots are still the task's


class Gangs:
    """All gangs of a node."""

    def __init__(self) -> None:
        self._gathering: dict[int, Gang] = {}  # by task, in order
        self._running: dict[int, Gang] = {}

    def __contains__(self, task: int) -> bool:
        return task in self._gathering

    def __len__(self) -> int:
        """Tasks whose gangs are not complete."""
        return len(self._gathering)

    def __iter__(self) -> Iterator[int]:
        return iter(self._gathering)

    @property
    def all(self) -> list[Gang]:
        return [*self._gathering.values(), *self._running.values()]

    @property
    def running(self) -> dict[int, Gang]:
        return self._running

    def gathering(self, task: int) -> Gang:
        """The gang of a task that is not complete."""
        return self._gathering[task]

    @property
    def slots(self) -> int:
        """Slots that are taken, or about to be, beyond one for each task that runs."""
        waiting = sum(gang.size for gang in self._gathering.values())
        return waiting + sum(len(gang.workers) - 1 for gang in self._running.values())

    @property
    def missing(self) -> int:
        """Workers that must still park: as many tokens have to be about."""
        return sum(gang.size - len(gang.workers) for gang in self._gathering.values())

    def gather(self, task: int, size: int, nodes: tuple[str, ...]) -> None:
        self._gathering[task] = Gang(size, nodes)

    def park(self, worker: int) -> tuple[int, Gang] | None:
        """A worker has parked, and somebody misses it; the task and its gang when that is complete now."""
        task, gang = next(iter(self._gathering.items()))
        gang.workers.append(worker)
        if len(gang.workers) < gang.size:
            return None
        del self._gathering[task]
        self._running[task] = gang
        return task, gang

    def remove(self, task: int) -> Gang:
        """Give a gang up that is not complete: its workers have parked for nothing."""
        return self._gathering.pop(task)

    def end(self, task: int) -> Gang | None:
        """Give the gang of a task that has ended, whichever way; None when it has none."""
        return self._running.pop(task, None)

    def run_by(self, worker: int) -> int | None:
        """The task that this worker runs for its gang."""
        return next((task for task, gang in self._running.items() if gang.workers[0] == worker), None)

    def lose(self, worker: int) -> bool:
        """A worker that ran nothing has died; True when its slot is still a running task's."""
        for gang in self._running.values():
            if worker in gang.workers[1:]:
                gang.workers.remove(worker)
                gang.dead.append(worker)
                return True
        for gang in self._gathering.values():
            if worker in gang.workers:
                gang.workers.remove(worker)
        return False
