"""Which task waits for what, and what happens next. No futures, values, locks, threads or clocks here.

A task is waiting, running, joining (its body gave futures that are not done) or gone. What a task waits for is a
*key*: the id of another task (0 and up), or a negative number that the shell gave to a future from elsewhere. Every
resolved key costs O(1) for each of its dependents; nothing is ever scanned again, and nothing recurses.

The shell performs the actions. After it has put a result or an exception into the future of a task it says
``DependencyDone`` for this task's id: only then do the dependents go on, so they always find the future done.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple, assert_never

import msgspec

# -- events: what has happened ---------------------------------------------------------------------------------


class TaskSubmitted(NamedTuple):
    """A new task. ``open_keys`` (each once) are not done yet; ``failed`` says that something it needs has failed."""

    task_id: int
    open_keys: Sequence[int] = ()
    failed: bool = False


class DependencyDone(NamedTuple):
    """The future behind a key is done."""

    key: int
    failed: bool = False


class AttemptSucceeded(NamedTuple):
    task_id: int


class AttemptFailed(NamedTuple):
    """``cost`` is what this failure takes from the task's allowance of retries; infinity means no retry at all."""

    task_id: int
    cost: float = 1.0


class AttemptLost(NamedTuple):
    """The attempt died with what ran it, and such losses have an allowance of their own."""

    task_id: int


class JoinStarted(NamedTuple):
    """The body of a join app has given futures; ``open_keys`` (each once) are not done yet."""

    task_id: int
    open_keys: Sequence[int] = ()


class CancelRequested(NamedTuple):
    task_id: int


class AttemptCancelled(NamedTuple):
    """The outcome of the current attempt, if any, will not count."""

    task_id: int


class TaskAbandoned(NamedTuple):
    """Nothing will happen for this task any more."""

    task_id: int


Event = (
    TaskSubmitted
    | DependencyDone
    | AttemptSucceeded
    | AttemptFailed
    | AttemptLost
    | JoinStarted
    | CancelRequested
    | AttemptCancelled
    | TaskAbandoned
)

# -- actions: what is to be done -------------------------------------------------------------------------------


class LaunchAttempt(NamedTuple):
    task_id: int


class ResolveFuture(NamedTuple):
    """The task has succeeded."""

    task_id: int


class FailFuture(NamedTuple):
    """The task has failed: an attempt without a retry left, or it was abandoned."""

    task_id: int


class FailDependent(NamedTuple):
    """The task cannot run, because something it needs has failed."""

    task_id: int


class FinishJoin(NamedTuple):
    """All futures that a join app's body gave are done: the task is final."""

    task_id: int


class CancelFuture(NamedTuple):
    """The task is final as cancelled."""

    task_id: int


class CancelAttempt(NamedTuple):
    """Ask the executor to end the current attempt; ``AttemptCancelled`` if it can."""

    task_id: int


Action = LaunchAttempt | ResolveFuture | FailFuture | FailDependent | FinishJoin | CancelFuture | CancelAttempt

# -- the machine -----------------------------------------------------------------------------------------------


class Phase(IntEnum):
    WAITING = 0
    RUNNING = 1
    JOINING = 2


class _Node(msgspec.Struct, gc=False):
    """A task. Nothing in it can be part of a cycle, so the garbage collector need not look at a million of them."""

    open: int  # keys that are not done yet
    failed: bool  # one of the keys that are done has failed
    cost: float = 0.0  # of all failed attempts
    losses: int = 0  # attempts that were lost
    phase: Phase = Phase.WAITING


class TaskGraph:
    """The tasks that are not final, and who waits for whom.

    Args:
        retries: a task is tried again while the sum of its failures' costs is at most this.
        loss_retries: and while no more attempts of it were lost than this.
    """

    def __init__(self, retries: float = 0, loss_retries: int = 0) -> None:
        self._retries = retries
        self._loss_retries = loss_retries
        self._nodes: dict[int, _Node] = {}
        self._dependents: dict[int, list[int]] = {}  # key -> tasks that wait for it

    def handle(self, event: Event, now: float = 0.0) -> Sequence[Action]:
        """Take an event, give the actions that follow from it. The time does not matter to this machine."""
        # Every task comes here three times: these questions are cheaper than a match, and as complete.
        if isinstance(event, TaskSubmitted):
            return self._on_submitted(event)
        if isinstance(event, DependencyDone):
            return self._on_dependency_done(event)
        if isinstance(event, AttemptSucceeded):
            return self._on_succeeded(event)
        if isinstance(event, AttemptFailed):
            return self._on_failed(event)
        if isinstance(event, AttemptLost):
            return self._on_lost(event)
        if isinstance(event, JoinStarted):
            return self._on_join_started(event)
        if isinstance(event, CancelRequested):
            return self._on_cancel_requested(event)
        if isinstance(event, AttemptCancelled):
            return self._on_attempt_cancelled(event)
        if isinstance(event, TaskAbandoned):
            return self._on_abandoned(event)
        assert_never(event)

    def phase(self, task_id: int) -> Phase | None:
        """Where a task is; None when it is final or unknown."""
        node = self._nodes.get(task_id)
        return None if node is None else node.phase

    @property
    def unfinished(self) -> Sequence[int]:
        """Ids of the tasks that are not final."""
        return list(self._nodes)

    def _on_submitted(self, event: TaskSubmitted) -> Sequence[Action]:
        task_id, open_keys, failed = event
        node = _Node(len(open_keys), failed)
        self._nodes[task_id] = node
        if open_keys:
            self._wait_for(task_id, open_keys)
            return ()
        return self._all_dependencies_done(task_id, node)

    def _wait_for(self, task_id: int, keys: Sequence[int]) -> None:
        dependents = self._dependents
        for key in keys:
            waiting = dependents.get(key)
            if waiting is None:
                dependents[key] = [task_id]
            else:
                waiting.append(task_id)

    def _all_dependencies_done(self, task_id: int, node: _Node) -> Sequence[Action]:
        if node.failed:
            del self._nodes[task_id]
            return (FailDependent(task_id),)
        node.phase = Phase.RUNNING
        return (LaunchAttempt(task_id),)

    def _on_dependency_done(self, event: DependencyDone) -> Sequence[Action]:
        waiting = self._dependents.pop(event.key, None)
        if waiting is None:
            return ()
        actions: list[Action] = []
        for task_id in waiting:
            node = self._nodes.get(task_id)
            if node is None:  # cancelled or abandoned meanwhile
                continue
            node.open -= 1
            node.failed |= event.failed
            if node.open:
                continue
            if node.phase is Phase.JOINING:
                del self._nodes[task_id]
                actions.append(FinishJoin(task_id))
            else:
                actions.extend(self._all_dependencies_done(task_id, node))
        return actions

    def _on_succeeded(self, event: AttemptSucceeded) -> Sequence[Action]:
        task_id = event.task_id
        node = self._nodes.get(task_id)
        if node is None or node.phase is not Phase.RUNNING:  # too late, it does not count any more
            return ()
        del self._nodes[task_id]
        return (ResolveFuture(task_id),)

    def _on_failed(self, event: AttemptFailed) -> Sequence[Action]:
        task_id = event.task_id
        node = self._nodes.get(task_id)
        if node is None or node.phase is not Phase.RUNNING:
            return ()
        node.cost += event.cost
        if node.cost <= self._retries:
            return (LaunchAttempt(task_id),)
        del self._nodes[task_id]
        return (FailFuture(task_id),)

    def _on_lost(self, event: AttemptLost) -> Sequence[Action]:
        task_id = event.task_id
        node = self._nodes.get(task_id)
        if node is None or node.phase is not Phase.RUNNING:
            return ()
        node.losses += 1
        if node.losses <= self._loss_retries:
            return (LaunchAttempt(task_id),)
        del self._nodes[task_id]
        return (FailFuture(task_id),)

    def _on_join_started(self, event: JoinStarted) -> Sequence[Action]:
        task_id, open_keys = event
        node = self._nodes.get(task_id)
        if node is None or node.phase is not Phase.RUNNING:
            return ()
        if not open_keys:
            del self._nodes[task_id]
            return (FinishJoin(task_id),)
        node.phase = Phase.JOINING
        node.open = len(open_keys)
        self._wait_for(task_id, open_keys)
        return ()

    def _on_cancel_requested(self, event: CancelRequested) -> Sequence[Action]:
        node = self._nodes.get(event.task_id)
        if node is None:
            return ()
        if node.phase is Phase.RUNNING:
            return (CancelAttempt(event.task_id),)
        del self._nodes[event.task_id]
        return (CancelFuture(event.task_id),)

    def _on_attempt_cancelled(self, event: AttemptCancelled) -> Sequence[Action]:
        node = self._nodes.get(event.task_id)
        if node is None or node.phase is not Phase.RUNNING:
            return ()
        del self._nodes[event.task_id]
        return (CancelFuture(event.task_id),)

    def _on_abandoned(self, event: TaskAbandoned) -> Sequence[Action]:
        if self._nodes.pop(event.task_id, None) is None:
            return ()
        return (FailFuture(event.task_id),)

    def check_invariants(self) -> None:
        """Raise AssertionError with a message for people when the machine contradicts itself. O(tasks)."""
        edges = dict.fromkeys(self._nodes, 0)
        for key, waiting in self._dependents.items():
            assert waiting, f"key {key} is kept although nobody waits for it"
            for task_id in waiting:
                if task_id in edges:
                    edges[task_id] += 1
        for task_id, node in self._nodes.items():
            open_count = 0 if node.phase is Phase.RUNNING else node.open
            assert open_count == edges[task_id], (
                f"task {task_id} counts {open_count} open dependencies, the edges say {edges[task_id]}"
            )
            if node.phase is Phase.RUNNING:
                assert not node.open, f"task {task_id} was launched with {node.open} open dependencies"
                assert node.cost <= self._retries, f"task {task_id} runs again although its retries are used up"
                assert node.losses <= self._loss_retries, f"task {task_id} runs again after {node.losses} losses"
            else:
                assert node.open, f"task {task_id} waits for nothing"
