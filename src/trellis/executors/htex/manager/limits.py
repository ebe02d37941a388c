"""How long tasks of a node may run, and how much memory they may have. Pure: others look at clock and memory."""

from __future__ import annotations

from dataclasses import dataclass

from trellis.executors.htex.manager.events import Running


@dataclass(slots=True)
class _Walltime:
    """The limit of an offered task. It may start at any time: nothing can be over before a walltime has passed."""

    walltime_s: float
    look_at: float


class Limits:
    """All limits of the tasks that are offered or run.

    Args:
        measure_period_s: tasks with a limit of memory are measured so often.
    """

    def __init__(self, measure_period_s: float) -> None:
        self._measure_period_s = measure_period_s
        self._walltimes: dict[int, _Walltime] = {}
        self._memory_mb: dict[int, float] = {}
        self._measure_at = 0.0  # of meaning while there are limits of memory

    def __bool__(self) -> bool:
        return bool(self._walltimes or self._memory_mb)

    @property
    def tasks(self) -> set[int]:
        return {*self._walltimes, *self._memory_mb}

    def watch(self, task: int, walltime_s: float, memory_mb: float, now: float) -> None:
        """Limits of 0 are none."""
        if walltime_s > 0:
            self._walltimes[task] = _Walltime(walltime_s, now + walltime_s)
        if memory_mb > 0:
            if not self._memory_mb:
                self._measure_at = now + self._measure_period_s
            self._memory_mb[task] = memory_mb

    def remove(self, task: int) -> None:
        self._walltimes.pop(task, None)
        self._memory_mb.pop(task, None)

    def next_deadline(self) -> float | None:
        due = [limit.look_at for limit in self._walltimes.values()]
        if self._memory_mb:
            due.append(self._measure_at)
        return min(due, default=None)

    def overdue(self, running: Running, now: float) -> dict[int, tuple[int, float]]:
        """Tasks that have outlived their walltimes, with their worker and the walltime."""
        over: dict[int, tuple[int, float]] = {}
        for task, limit in self._walltimes.items():
            if now < limit.look_at:
                continue
            worker, since = running.get(task, (-1, now))
            limit.look_at = since + limit.walltime_s
            if limit.look_at <= now:
                limit.look_at = now + limit.walltime_s  # should it not be caught: it has ended
                over[task] = (worker, limit.walltime_s)
        return over

    def to_measure(self, running: Running, now: float) -> dict[int, tuple[int, float]]:
        """Tasks whose memory is to be measured now, with their worker and the limit."""
        if not self._memory_mb or now < self._measure_at:
            return {}
        self._measure_at = now + self._measure_period_s
        return {task: (running[task][0], limit) for task, limit in self._memory_mb.items() if task in running}

    def memory_mb(self, task: int) -> float | None:
        return self._memory_mb.get(task)
