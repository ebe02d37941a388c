"""What must hold in every simulated run, whatever goes wrong in it. Knows the truth; the machines do not see it."""

from __future__ import annotations

from dataclasses import dataclass

from trellis.wire.messages import ManagerLost, TasksCancelled, TasksTimedOut, WorkerLost


class SafetyViolation(AssertionError):
    """Something happened that must never happen."""


class LivenessViolation(AssertionError):
    """Something that must happen did not, in a time that is ample."""


@dataclass(frozen=True, slots=True)
class TaskPlan:
    """A task of a simulation, and how it behaves. Times in seconds."""

    id: int
    duration_s: float
    priority: float = 0.0
    walltime_s: float = 0.0  # 0: no limit
    kills_worker: bool = False  # half way through, or as soon as it is taken
    survives_terminate: bool = False  # SIGTERM does not end it, and nor does it by itself
    answers_terminate: bool = False  # it survives SIGTERM and gives a result at once
    memory_mb: float = 0.0  # that it uses


class Ledger:
    """What really happened to each task."""

    def __init__(self) -> None:
        self.plans: dict[int, TaskPlan] = {}
        self.cancel_wanted: set[int] = set()
        self.outcomes: dict[int, str] = {}
        self.disturbed: set[str] = set()  # managers that had a fault: they may lose tasks
        self.interchange_died = False
        self._started: set[int] = set()
        self._running: set[int] = set()
        self._completed: set[int] = set()
        self._widowed: set[int] = set()  # their worker died by itself after it had got them

    @property
    def waiting(self) -> list[int]:
        """Tasks without an outcome."""
        return [id_ for id_ in self.plans if id_ not in self.outcomes]

    def started(self, id_: int) -> None:
        if id_ in self._started:
            raise SafetyViolation(f"task {id_} starts a second time")
        if self.outcomes.get(id_) == "TasksCancelled":
            raise SafetyViolation(f"task {id_} starts although it was reported as cancelled")
        self._started.add(id_)
        self._running.add(id_)

    def completed(self, id_: int) -> None:
        self._running.remove(id_)
        self._completed.add(id_)

    def worker_died(self, id_: int, by_itself: bool) -> None:
        """The worker that was given this task is dead."""
        self._running.discard(id_)
        if by_itself:
            self._widowed.add(id_)

    def resolved(self, id_: int) -> None:
        self._end(id_, "result")
        if id_ not in self._completed:
            raise SafetyViolation(f"task {id_} has a result, but no worker ran it to its end")

    def failed(self, id_: int, cause: object) -> None:
        self._end(id_, type(cause).__name__)
        match cause:
            case TasksCancelled():
                justified = id_ in self.cancel_wanted and id_ not in self._running
            case TasksTimedOut():
                justified = self.plans[id_].walltime_s > 0 and id_ in self._started and id_ not in self._running
            case WorkerLost():
                justified = id_ in self._widowed
            case ManagerLost(manager=manager):
                justified = manager in self.disturbed
            case _:
                justified = self.interchange_died
        if not justified:
            raise SafetyViolation(f"task {id_} fails without a reason: {cause}")

    def _end(self, id_: int, how: str) -> None:
        if id_ not in self.plans:
            raise SafetyViolation(f"task {id_} ends, but nobody submitted it")
        if id_ in self.outcomes:
            raise SafetyViolation(f"task {id_} ends twice: {self.outcomes[id_]}, then {how}")
        self.outcomes[id_] = how
