"""A manager's machine in a house of its own: a time, and a queue, a board and workers as the shell has them."""

from __future__ import annotations

from typing import Any

from trellis.executors.htex.manager.backlog import NodeSize
from trellis.executors.htex.manager.events import (
    Action,
    CancelRequested,
    DeadlinePassed,
    Event,
    Interrupt,
    Interrupted,
    Offer,
    Park,
    RunGang,
    TakeBack,
    TakenBack,
    TasksFinished,
    TasksReceived,
    WorkerExited,
    WorkerParked,
    WorkerReady,
)
from trellis.executors.htex.manager.state import ManagerSettings, ManagerState
from trellis.wire.messages import Demand

PERIOD_S = 30.0
THRESHOLD_S = 120.0
_PRIMER = -1  # a task that tells how long tasks run


class House:
    """Workers do what the test says.

    An event gives what the machine wants, and what it wants in answer to what the shell says at once.

    Args:
        workers: of the node.
        drain_after_s: see ``ManagerSettings``.
        ready: whether the workers are.
        short: whether tasks have been short, so that some are kept ready beyond those that run.
        size: other parameters of the node.
    """

    def __init__(
        self,
        workers: int = 1,
        drain_after_s: float | None = None,
        ready: bool = True,
        short: bool = True,
        **size: Any,
    ) -> None:
        self.now = 1000.0
        self.queue: list[int | None] = []  # None is a token
        self.board: dict[int, tuple[int, float]] = {}
        settings = ManagerSettings(NodeSize(workers, **size), PERIOD_S, THRESHOLD_S, drain_after_s)
        self.state = ManagerState(settings, self.now)
        if ready:
            for worker in range(workers):
                self(WorkerReady(worker))
            if short:
                self.receive(_PRIMER)
                self.queue.clear()
                self(TasksFinished([_PRIMER], [0.0]))

    def __call__(self, event: Event) -> list[Action]:
        wanted: list[Action] = []
        for action in self.state.handle(event, self.now):
            wanted.append(action)
            match action:
                case Offer(ids):
                    self.queue += ids
                case Park(count):
                    self.queue += [None] * count
                case RunGang(task, workers):
                    self.board[task] = (workers[0], self.now)
                case TakeBack():
                    back, self.queue = [task for task in self.queue if task is not None], []
                    wanted += self(TakenBack(back, dict(self.board)))
                case Interrupt(worker, task):
                    caught = self.board.get(task, (None, 0.0))[0] == worker
                    wanted += self(Interrupted(worker, task, caught))
        self.state.check_invariants()
        return wanted

    # -- the interchange --

    def receive(self, *ids: int, walltimes_s: list[float] | None = None, function: int = 0) -> list[Action]:
        return self(TasksReceived(ids, walltimes_s, None, [function] * len(ids)))

    def demand(self, demands: dict[int, Demand | None]) -> list[Action]:
        """Receive tasks with what they ask for."""
        return self(TasksReceived(list(demands), None, list(demands.values())))

    def cancel(self, *ids: int) -> list[Action]:
        return self(CancelRequested(ids, dict(self.board)))

    # -- workers --

    def take(self) -> int:
        """A worker takes the next task, and has not written it on the board yet."""
        task = self.queue.pop(0)
        assert task is not None, "a token"
        return task

    def run(self, worker: int = 0) -> int:
        """A worker takes the next task."""
        task = self.take()
        self.board[task] = (worker, self.now)
        return task

    def park(self, worker: int) -> list[Action]:
        """A worker takes the next token."""
        assert self.queue.pop(0) is None, "a task"
        return self(WorkerParked(worker))

    def finish(self, *tasks: int, duration_s: float | None = None) -> list[Action]:
        for task in tasks:
            self.board.pop(task, None)
        return self(TasksFinished(tasks, None if duration_s is None else [duration_s / len(tasks)] * len(tasks)))

    def die(self, worker: int, reason: str = "exit code 1") -> list[Action]:
        ran = [task for task, (runner, _) in self.board.items() if runner == worker]
        for task in ran:
            del self.board[task]
        return self(WorkerExited(worker, ran[0] if ran else None, reason))

    # -- time --

    def wait(self, seconds: float) -> list[Action]:
        self.now += seconds
        return self(DeadlinePassed(dict(self.board)))

    def to_deadline(self) -> list[Action]:
        """Let the time pass that the machine wants to pass."""
        deadline = self.state.next_deadline()
        assert deadline > self.now, "it is busy for nothing"
        return self.wait(deadline - self.now)

    def audit(self) -> list[list[Action]]:
        """What each look after a worker's death gives, until the machine waits for its heartbeat only."""
        looks = []
        while self.state.next_deadline() < 1000.0 + PERIOD_S:
            looks.append(self.to_deadline())
        return looks
