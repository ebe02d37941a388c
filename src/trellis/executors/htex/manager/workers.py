"""What a manager's machine knows of each worker process of its node, and of tasks that are lost with one. Pure."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

from trellis.executors.htex.manager.events import Action, KillWorker, NudgeWorker

# A worker that is told to end (SIGTERM) has so long before it is killed (SIGKILL).
KILL_GRACE_S = 2.0
# Python notices a signal that comes just before a call that blocks only when something else interrupts that call: so
# the worker is nudged once, after so long.
NUDGE_S = 0.1
# Workers that die one after the other before they are ready, times the number of workers: then the node is broken,
# and starting processes for ever would help nobody.
START_FAILURES_PER_WORKER = 3
# Lost tasks are looked for so often, with so long between.
_LOOKS = 3
_PAUSE_S = 1.0


@dataclass(slots=True)
class Starting:
    pass


@dataclass(slots=True)
class Ready:
    """Takes tasks."""


@dataclass(slots=True)
class Ending:
    """Being killed; its task is reported when the process is gone."""

    task: int
    report: Action
    nudge_at: float | None  # None: nudged
    kill_at: float | None  # None: killed


@dataclass(slots=True)
class Away:
    """Died while its slot belongs to a task; started again when that has ended."""


WorkerState = Starting | Ready | Ending | Away


class Workers:
    """The workers of a node, by rank."""

    def __init__(self, count: int) -> None:
        self._states: list[WorkerState] = [Starting() for _ in range(count)]
        self._failures = 0  # one after the other
        self.ready = 0  # workers that take tasks
        self.ending: set[int] = set()  # tasks whose workers are being ended

    def __len__(self) -> int:
        return len(self._states)

    @property
    def broken(self) -> bool:
        """Whether too many died while they started, and none got ready."""
        return self._failures >= START_FAILURES_PER_WORKER * len(self._states)

    @property
    def due(self) -> list[float]:
        """When to look again after those that do not end by themselves."""
        if not self.ending:
            return []
        times = [when for s in self._states if isinstance(s, Ending) for when in (s.nudge_at, s.kill_at)]
        return [when for when in times if when is not None]

    def got_ready(self, worker: int) -> None:
        if isinstance(self._states[worker], Starting):
            self._states[worker] = Ready()
            self._failures = 0
            self.ready += 1

    def end(self, worker: int, task: int, report: Action, now: float) -> None:
        """Note that a worker was told to end because of its task."""
        self.ready -= isinstance(self._states[worker], Ready)
        self._states[worker] = Ending(task, report, now + NUDGE_S, now + KILL_GRACE_S)
        self.ending.add(task)

    def pursue(self, now: float) -> list[Action]:
        """What is to be done to those that have not ended; each thing once."""
        actions: list[Action] = []
        for worker, state in enumerate(self._states if self.ending else []):
            if not isinstance(state, Ending):
                continue
            if state.nudge_at is not None and now >= state.nudge_at:
                state.nudge_at = None
                actions.append(NudgeWorker(worker))
            if state.kill_at is not None and now >= state.kill_at:
                state.kill_at = None
                actions.append(KillWorker(worker))
        return actions

    def exited(self, worker: int) -> WorkerState:
        """Note that a process is gone, and the next one is about to start; give what it was."""
        state = self._states[worker]
        if isinstance(state, Ending):
            self.ending.discard(state.task)
        self._states[worker] = Starting()
        self.ready -= isinstance(state, Ready)
        self._failures += isinstance(state, Starting)
        return state

    def stay_away(self, worker: int) -> None:
        self._states[worker] = Away()

    def start_again(self, worker: int) -> None:
        self._states[worker] = Starting()

    def check_invariants(self) -> None:
        assert self.ready == sum(isinstance(state, Ready) for state in self._states), "ready workers are miscounted"
        ending = {state.task for state in self._states if isinstance(state, Ending)}
        assert ending == self.ending, "the tasks that are being ended and the workers that end them differ"


class LostTasks:
    """Looks for tasks that nobody can find, from a worker's death on, while there are suspects.

    A worker may die after it has taken a task and before it has said so on the board: microseconds. A task that is
    nowhere to be seen in several looks after a worker's death is lost with it. One look may come just before a task is
    on the board, and the next just after it has ended, before its result is read: two prove nothing.
    """

    def __init__(self) -> None:
        self.due: float | None = None  # the next look; None: there is nothing to look for
        self._suspects: dict[int, int] = {}  # tasks that were nowhere to be seen, and in how many looks

    def start(self, now: float) -> None:
        """Note that a worker has died. Looks that are under way are not put off."""
        if self.due is None:
            self.due = now + _PAUSE_S

    def is_due(self, now: float) -> bool:
        return self.due is not None and now >= self.due

    def look(self, unseen: Set[int], now: float) -> list[int]:
        """Note tasks that are nowhere to be seen; give those that are lost."""
        suspects = {task: self._suspects.get(task, 0) + 1 for task in unseen}
        lost = sorted(task for task, looks in suspects.items() if looks == _LOOKS)
        for task in lost:
            del suspects[task]
        self._suspects = suspects
        self.due = now + _PAUSE_S if suspects else None
        return lost
