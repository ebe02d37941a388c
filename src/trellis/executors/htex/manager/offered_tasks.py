"""The tasks of a node that are in the workers' queue or running, their limits, and which of them must end. Pure."""

from __future__ import annotations

from collections.abc import Iterable, KeysView, Mapping, Sequence

from trellis.executors.htex.manager.backlog import DemandInSlots
from trellis.executors.htex.manager.events import (
    Action,
    Interrupt,
    MeasureMemory,
    ReportCancelled,
    ReportOverMemory,
    ReportTimedOut,
    Running,
    SayRunning,
    TakeBack,
)
from trellis.executors.htex.manager.limits import Limits
from trellis.executors.htex.manager.pacing import Pacing

# A task that is to be cancelled may be between queue and board: look again after so long.
_LOOK_AGAIN_S = 0.05


class OfferedTasks:
    """Tasks from their offer to their end. Tells ``pacing`` of each.

    Args:
        measure_period_s: between looks at the memory of those that have a limit.
        say_running_s: those that have been running for so long are said to; it is looked for such ones as often. None:
            nothing is said.
    """

    def __init__(self, pacing: Pacing, measure_period_s: float, say_running_s: float | None = None) -> None:
        self._pacing = pacing
        self._tasks: dict[int, None] = {}  # in order of their offer
        self._limits = Limits(measure_period_s)
        self._to_end: dict[int, Action] = {}  # tasks that must end, and what is to be reported then
        self._look_again: float | None = None  # for those of them that were nowhere to be seen
        self._said: set[int] = set()  # to be running
        self._say_running_s = say_running_s
        self._look_for_running: float | None = None
        self.tasks: KeysView[int] = self._tasks.keys()  # for readers

    def next_deadlines(self) -> list[float]:
        due = [when for when in (self._look_again, self._look_for_running) if when is not None]
        if self._limits and (when := self._limits.next_deadline()) is not None:
            due.append(when)
        return due

    # -- from offer to end -------------------------------------------------------------------------------------

    def offer(self, ids: Sequence[int], demands: Mapping[int, DemandInSlots], now: float) -> None:
        """Note that these go to the workers."""
        self._pacing.offer(ids)
        self._add(ids, demands, now)

    def run_gang(self, task: int, demands: Mapping[int, DemandInSlots], now: float) -> None:
        """Note that the gang of this task is complete, and runs it."""
        self._pacing.run_whole(task)
        self._add([task], demands, now)

    def _add(self, ids: Sequence[int], demands: Mapping[int, DemandInSlots], now: float) -> None:
        self._tasks.update(dict.fromkeys(ids))
        if self._look_for_running is None and self._say_running_s is not None:
            self._look_for_running = now + self._say_running_s
        for task in ids if demands else ():
            needs = demands.get(task)
            if needs is not None:
                self._limits.watch(task, needs.walltime_s, needs.demand.memory_mb, now)

    def take_back(self, ids: Sequence[int]) -> set[int]:
        """Note that no worker has these any more; give those that must end."""
        for task in ids:
            del self._tasks[task]
            self._pacing.take_back(task)
            self._limits.remove(task)
        self._said.difference_update(ids)
        asked = self._to_end.keys() & set(ids)
        for task in asked:
            del self._to_end[task]
        if not self._to_end:
            self._look_again = None
        return asked

    def finish(self, tasks: Sequence[int], durations_s: Sequence[float] | None) -> bool:
        """Note that tasks have ended, and how long they ran, if known; say whether some were long."""
        self._remove(tasks)
        return self._pacing.finish(tasks, durations_s)

    def end(self, task: int) -> None:
        """Note that the worker is gone that was ended because of this task."""
        self._remove([task])
        self._pacing.remove([task])

    def _remove(self, tasks: Sequence[int]) -> None:
        for task in tasks:
            del self._tasks[task]
        if self._limits:
            for task in tasks:
                self._limits.remove(task)
        if self._to_end:
            for task in tasks:
                self._to_end.pop(task, None)
        if self._said:
            self._said.difference_update(tasks)

    # -- tasks that must end -----------------------------------------------------------------------------------

    def cancel(self, tasks: Iterable[int], running: Running, now: float) -> list[Action]:
        self._to_end.update((task, ReportCancelled([task])) for task in tasks)
        return self._pursue(running, now)

    def _pursue(self, running: Running, now: float) -> list[Action]:
        """Interrupt the tasks to be ended that run; take back what is offered if there are others."""
        actions: list[Action] = [Interrupt(running[task][0], task) for task in self._to_end if task in running]
        if len(actions) == len(self._to_end):
            self._look_again = None
            return actions
        self._look_again = now + _LOOK_AGAIN_S
        return [*actions, TakeBack()]

    def check(self, running: Running, now: float) -> list[Action]:
        """Look after those that must end, and at limits."""
        actions = self._pursue(running, now) if self._look_again is not None and now >= self._look_again else []
        for task, (worker, walltime_s) in self._limits.overdue(running, now).items():  # last: each is interrupted once
            actions += self._interrupt(worker, task, ReportTimedOut(task, walltime_s))
        if self._look_for_running is not None and now >= self._look_for_running:
            actions += self._say_running(running, now)
        to_measure = self._limits.to_measure(running, now)
        return [*actions, MeasureMemory(to_measure)] if to_measure else actions

    def _say_running(self, running: Running, now: float) -> list[Action]:
        said, long_s = self._said, self._say_running_s
        assert long_s is not None
        new = {
            task: place
            for task, place in running.items()
            if task not in said and task in self._tasks and now - place[1] >= long_s
        }
        said.update(new)
        self._look_for_running = now + long_s if len(said) < len(self._tasks) else None
        return [SayRunning(new)] if new else []

    def say_again(self, now: float) -> None:
        """What was said on a connection may be lost with it: say of all tasks once more that they run."""
        self._said.clear()
        if self._tasks and self._say_running_s is not None:
            self._look_for_running = now + self._say_running_s

    def note_memory(self, tasks: Mapping[int, tuple[int, float]]) -> list[Action]:
        """Interrupt tasks that use too much memory: worker, and MB."""
        actions: list[Action] = []
        for task, (worker, used_mb) in tasks.items():
            limit_mb = self._limits.memory_mb(task)
            if limit_mb is not None and used_mb > limit_mb:
                actions += self._interrupt(worker, task, ReportOverMemory(task, limit_mb, used_mb))
        return actions

    def _interrupt(self, worker: int, task: int, report: Action) -> list[Action]:
        if task in self._to_end:  # it is interrupted already
            return []
        self._to_end[task] = report
        return [Interrupt(worker, task)]

    def is_to_end(self, task: int) -> bool:
        """Whether its worker is, or will be, interrupted because of it."""
        return task in self._to_end

    def take_report(self, task: int, caught: bool) -> Action | None:
        """What to report when the worker is gone that was interrupted; None: the result of the task is on its way."""
        report = self._to_end.pop(task, None)
        if not caught or report is None:
            return None
        self._limits.remove(task)
        self._pacing.take_back(task)
        return report

    def check_invariants(self) -> None:
        assert self._to_end.keys() <= self.tasks, "a task that is to be ended is forgotten"
        assert self._said <= self.tasks, "a task that was said to run is forgotten"
        unsaid = len(self._said) < len(self._tasks)
        assert self._say_running_s is None or not unsaid or self._look_for_running is not None, (
            "nobody looks whether tasks run"
        )
        assert self._limits.tasks <= self.tasks, "limits are watched of tasks that are not offered"
