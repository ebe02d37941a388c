"""What must hold in every simulated run, whatever goes wrong in it. Knows the truth; the machines do not see it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from trellis.wire.messages import (
    Demand,
    ManagerLoss,
    TasksCancelled,
    TasksRefused,
    TasksTimedOut,
    TasksUnfit,
    WorkerLoss,
)


class SafetyViolation(AssertionError):
    """Something happened that must never happen."""


class LivenessViolation(AssertionError):
    """Something that must happen did not, in a time that is ample."""


@dataclass(frozen=True, slots=True)
class TaskPlan:
    """A task of a simulation, and how it behaves. Times in seconds."""

    id: int
    duration_s: float
    function: int = 0  # that it calls: tasks of one may take any time
    priority: float = 0.0
    walltime_s: float = 0.0  # 0: no limit
    kills_worker: bool = False  # half way through, or as soon as it is taken
    survives_terminate: bool = False  # SIGTERM does not end it, and nor does it by itself
    answers_terminate: bool = False  # it survives SIGTERM and gives a result at once
    memory_mb: float = 0.0  # that it uses
    demand: Demand | None = None


class Ledger:
    """What really happened to each task.

    A manager is *disturbed* when it had a fault. What happens at such a one may come to light too late: a task that it
    had not announced may run elsewhere as well. Not so at one that only *slept*: it knows that it may have been.
    """

    def __init__(self) -> None:
        self.plans: dict[int, TaskPlan] = {}
        self.cancel_wanted: set[int] = set()
        self.outcomes: dict[int, str] = {}
        self.disturbed: set[str] = set()
        self.slept: set[str] = set()  # managers that were stopped for a while: they may be given up
        self.spoilt: set[int] = set()  # tasks that a message was about that made no sense, or brought
        self.witnessed: set[str] = set()  # managers that have ended, and the interchange knows what had not started
        self.workers: dict[str, int] = {}  # of each manager
        self.answers = 0  # to people who asked where a task is
        self.given_up = False  # the submit side starts no more interchanges
        self._announced: set[int] = set()  # as started, to the interchange of the time
        self._taken: set[int] = set()  # by a worker, whose task counts as running before its function is there
        self._starts: dict[int, list[str]] = {}  # the managers where each task started
        self._running: dict[int, set[str]] = {}  # where it runs
        self._completed: dict[int, set[str]] = {}  # where each task ran to its end
        self._widowed: set[int] = set()  # their worker died by itself after it had got them

    @property
    def waiting(self) -> list[int]:
        """Tasks without an outcome."""
        return [id_ for id_ in self.plans if id_ not in self.outcomes]

    @property
    def started_twice(self) -> list[int]:
        return [id_ for id_, starts in self._starts.items() if len(starts) > 1]

    def said_to_run(self, id_: int, manager: str) -> None:
        """People are told that a task runs there."""
        if manager not in self._starts.get(id_, []):
            raise SafetyViolation(f"task {id_} is said to run at {manager}, where it never started")

    # -- what the interchange knows ----------------------------------------------------------------------------

    def announced(self, ids: Iterable[int]) -> None:
        self._announced.update(ids)

    def given_back(self, ids: Iterable[int]) -> None:
        """Announced tasks that no worker had taken after all, as their manager says."""
        self._announced.difference_update(ids)

    def missing(self, manager: str, ids: Iterable[int]) -> None:
        """The manager says that it never got these, and will not be asked again."""
        ran = [id_ for id_ in ids if manager in self._completed.get(id_, ())]
        if ran:
            raise SafetyViolation(f"{manager} says that it never got tasks {ran}, which it ran")
        self.given_back(ids)

    def end_is_known(self, manager: str, running: Iterable[int] = (), unstarted: Iterable[int] = ()) -> None:
        """The interchange was told, by a manager that ends or its witness, what had not started there."""
        self.witnessed.add(manager)
        self._announced.update(running)
        self._announced.difference_update(unstarted)

    def sent(self, ids: Iterable[int]) -> None:
        again = self._announced.intersection(ids)
        if again:
            raise SafetyViolation(f"tasks {sorted(again)} are sent again although they were announced as started")

    def interchange_died(self) -> None:
        self._announced.clear()

    # -- what workers do ---------------------------------------------------------------------------------------

    def taken(self, id_: int) -> None:
        """A worker has said on the board that it has this task."""
        self._taken.add(id_)

    def started(self, id_: int, manager: str) -> None:
        self._taken.add(id_)
        starts = self._starts.setdefault(id_, [])
        starts.append(manager)
        undisturbed = [name for name in starts if name not in self.disturbed]
        if len(starts) > 1 and len(undisturbed) == len(starts):
            raise SafetyViolation(f"task {id_} starts a second time")
        if self.outcomes.get(id_) == "TasksCancelled" and manager in undisturbed:
            raise SafetyViolation(f"task {id_} starts although it was reported as cancelled")
        self._running.setdefault(id_, set()).add(manager)

    def completed(self, id_: int, manager: str) -> None:
        self._running[id_].discard(manager)
        self._completed.setdefault(id_, set()).add(manager)

    def worker_died(self, id_: int, manager: str, by_itself: bool) -> None:
        """The worker that was given this task is dead."""
        self._running.get(id_, set()).discard(manager)
        if by_itself:
            self._widowed.add(id_)

    # -- what the submit side is told --------------------------------------------------------------------------

    def resolved(self, id_: int) -> None:
        self._end(id_, "result")
        if id_ not in self._completed:
            raise SafetyViolation(f"task {id_} has a result, but no worker ran it to its end")

    def failed(self, id_: int, cause: object) -> None:
        self._end(id_, type(cause).__name__)
        runs_at = self._running.get(id_, set())
        plan = self.plans[id_]
        match cause:
            case TasksCancelled(manager=manager):
                runs = manager in runs_at if manager else bool(runs_at - self.disturbed)
                justified = id_ in self.cancel_wanted and not runs
            case TasksTimedOut(manager=manager):
                justified = plan.walltime_s > 0 and id_ in self._taken and manager not in runs_at
            case WorkerLoss():
                justified = id_ in self._widowed
            case ManagerLoss(manager=manager):
                justified = manager in self.disturbed | self.slept
                self._check_losses(cause)
            case TasksUnfit():
                justified = plan.demand is not None
            case TasksRefused():
                justified = id_ in self.spoilt
            case _:
                justified = self.given_up
        if not justified:
            raise SafetyViolation(f"task {id_} fails without a reason: {cause}")

    def _check_losses(self, cause: ManagerLoss) -> None:
        """Check that unstarted tasks were lost at most one for each worker: it may just have taken that."""
        never = [id_ for id_ in cause.ids if cause.manager not in self._starts.get(id_, ())]
        if cause.manager in self.witnessed and len(never) > self.workers[cause.manager]:
            raise SafetyViolation(f"tasks {never} are lost with {cause.manager}, though they had not started there")

    def _end(self, id_: int, how: str) -> None:
        if id_ not in self.plans:
            raise SafetyViolation(f"task {id_} ends, but nobody submitted it")
        if id_ in self.outcomes:
            raise SafetyViolation(f"task {id_} ends twice: {self.outcomes[id_]}, then {how}")
        self.outcomes[id_] = how
