"""Workers of a simulation: they take tasks and park as real ones do, and work in pretence. Compare ``htex.worker``."""

from __future__ import annotations

from collections import deque
from typing import Protocol

from tests.simulation.oracles import SafetyViolation, TaskPlan
from tests.simulation.simulated import Stage, function_bytes, result_of
from trellis.wire import stream
from trellis.wire.codec import Buffer, payload_buffers


class Owner(Protocol):
    """The node of a worker."""

    name: str
    queue: deque[int | None]  # None is a token
    board: dict[int, tuple[int, float]]
    misses_a_task: bool

    def call_of(self, task: int) -> tuple[int, bool]:
        """The function of a task in the queue, and whether its arguments have to be asked for."""

    def on_worker_readable(self, worker: StubWorker) -> None: ...

    def on_worker_exit(self, worker: StubWorker) -> None: ...


class StubWorker:
    """A worker process that only pretends to work."""

    def __init__(self, stage: Stage, owner: Owner, rank: int, fails: float) -> None:
        self._stage = stage
        self._owner = owner
        self.rank = rank
        self.alive = True
        self.idle_since: float | None = None  # None: it is not
        self.frames: deque[stream.StreamFrame] = deque()  # written and not read
        self.ready = False
        self.functions: set[int] = set()  # that it was given
        self._stop = False  # take no more tasks
        self._parked = False
        self._task: TaskPlan | None = None  # taken from the queue
        self._call = (0, False)  # of that task: its function, and whether its arguments are still to be asked for
        self._runs = False  # the function of that task
        start = self._fail if stage.world.chance(fails) else self._start
        stage.world.after(stage.world.between(0.05, 0.3), start)

    def _start(self) -> None:
        if self.alive:
            self.ready = True
            self.idle_since = self._stage.world.now
            self._write(stream.READY)
            self.look_for_work()

    def _fail(self) -> None:
        self.die(by_itself=True)

    def _write(self, kind: int, id_: int = 0, duration_s: float = 0.0, buffers: tuple[Buffer, ...] = ()) -> None:
        self.frames.append(stream.StreamFrame(kind, id_, 0, self._stage.world.now, duration_s, [*buffers]))
        self._stage.world.after(self._stage.world.between(0, 0.03), self._owner.on_worker_readable, self)

    # -- tasks come --------------------------------------------------------------------------------------------

    def look_for_work(self) -> None:
        if self.alive and self.ready and self._task is None and not self._parked and self._owner.queue:
            taken = self._owner.queue.popleft()
            self.idle_since = None
            if taken is None:
                self._parked = True
                self._write(stream.PARKED)
                return
            self._task = self._stage.ledger.plans[taken]
            self._call = self._owner.call_of(taken)
            if self._task.kills_worker and self._stage.world.chance(0.3):  # before the board says so
                self._fail()
            elif self._stage.world.chance(0.2):  # it takes a moment until the board says so
                self._stage.world.after(0.01, self._begin)
            else:
                self._begin()

    def run_parked(self, task: int, function: int) -> None:
        if not self.alive:  # nobody has noticed yet
            self._stage.ledger.worker_died(task, self._owner.name, by_itself=True)
            return
        self._parked = False
        self._task = self._stage.ledger.plans[task]
        self._call = (function, False)
        self._stage.world.after(self._stage.world.between(0, 0.02), self._begin)

    def release(self) -> None:
        self._stage.world.after(self._stage.world.between(0, 0.02), self._on_release)

    def _on_release(self) -> None:
        if self.alive:
            self._parked = False
            self.idle_since = self._stage.world.now
            self.look_for_work()

    def _begin(self) -> None:
        if self.alive and self._task is not None:
            self._owner.board[self.rank] = (self._task.id, self._stage.world.now)
            self._stage.ledger.taken(self._task.id)
            self._go_on()

    def _go_on(self) -> None:
        """Run what was taken, unless something has to be asked for."""
        if not self.alive or self._task is None:
            return
        plan, (function, asks) = self._task, self._call
        if asks:
            self._write(stream.FETCH, plan.id)
        elif function not in self.functions:
            self._write(stream.NEED, function)
        else:
            self._runs = True
            self._stage.ledger.started(plan.id, self._owner.name)
            if plan.kills_worker:
                self._stage.world.after(plan.duration_s / 2, self._fail)
            else:
                self._stage.world.after(plan.duration_s, self._finish, plan)

    def define(self, function: int, data: Buffer) -> None:
        if data != function_bytes(function):
            raise SafetyViolation(f"function {function} has come as {data!r}")
        self.functions.add(function)
        self._stage.world.after(self._stage.world.between(0, 0.02), self._go_on)

    def take_arguments(self, task: int) -> None:
        self._call = (self._call[0], False)
        self._stage.world.after(self._stage.world.between(0, 0.02), self._go_on)

    # -- tasks end ---------------------------------------------------------------------------------------------

    def _finish(self, plan: TaskPlan) -> None:
        if self.alive and self._task is plan:
            self._task, self._runs = None, False
            self._stage.ledger.completed(plan.id, self._owner.name)
            self._write(stream.RESULT, plan.id, plan.duration_s, payload_buffers(result_of(plan.id)))
            del self._owner.board[self.rank]
            self.idle_since = self._stage.world.now
            if self._stop:
                self.die(by_itself=False)
            self.look_for_work()

    def terminate(self) -> None:
        self._stop = True
        self._stage.world.after(0.01, self._on_terminate)

    def _on_terminate(self) -> None:
        plan = self._task
        if plan is not None and plan.answers_terminate and self._runs:
            self._finish(plan)
        elif plan is None or not (plan.survives_terminate and self._runs):
            self.die(by_itself=False)

    def die(self, by_itself: bool) -> None:
        if self.alive:
            self.alive = False
            self.idle_since = None
            if self._task is not None:
                self._stage.ledger.worker_died(self._task.id, self._owner.name, by_itself)
                self._owner.misses_a_task |= self.rank not in self._owner.board
            self._stage.world.after(self._stage.world.between(0, 0.1), self._owner.on_worker_exit, self)
