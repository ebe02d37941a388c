"""The manager's machine against a table of what each worker does."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from trellis.executors.htex.manager import (
    KILL_GRACE_S,
    CancelRequested,
    DeadlinePassed,
    Event,
    Exit,
    InterchangeHeard,
    KillWorker,
    ManagerSettings,
    ManagerState,
    ReportCancelled,
    ReportTimedOut,
    ReportWorkerLost,
    SendDraining,
    SendHeartbeat,
    StartTask,
    StartWorker,
    StopRequested,
    TasksReceived,
    TerminateWorker,
    WorkerExited,
    WorkerFinished,
    WorkerReady,
)

PERIOD_S = 5.0
THRESHOLD_S = 60.0


class Worker:
    """What the model knows of a worker."""

    def __init__(self) -> None:
        self.ready = False
        self.task: int | None = None
        self.started = 0.0
        self.told_to_end: float | None = None
        self.why = ""
        self.killed = False


class ManagerModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.next_id = 0
        self.queue: list[int] = []
        self.walltimes: dict[int, float] = {}
        self.reported: dict[int, str] = {}
        self.exited = False

    @initialize(workers=st.integers(1, 3), drain=st.sampled_from([None, 7.0]))
    def start(self, workers: int, drain: float | None) -> None:
        self.machine = ManagerState(ManagerSettings(workers, PERIOD_S, THRESHOLD_S, drain), self.now)
        assert self.machine.start() == [StartWorker(number) for number in range(workers)]
        self.workers = [Worker() for _ in range(workers)]
        self.drain_at = None if drain is None else self.now + drain
        self.heard = self.now

    def handle(self, event: Event) -> list[object]:
        rest: list[object] = []
        for action in self.machine.handle(event, self.now):
            assert not self.exited, "something comes after the exit"
            match action:
                case StartTask(number, task):
                    worker = self.workers[number]
                    assert worker.ready
                    assert worker.task is None
                    assert task == self.queue.pop(0), "not in their order"
                    worker.task, worker.started = task, self.now
                case StartWorker(number):
                    self.workers[number] = Worker()
                case Exit():
                    self.exited = True
                    rest.append(action)
                case _:
                    rest.append(action)
        self.machine.check_invariants()
        return rest

    def report(self, task: int, how: str) -> None:
        assert task not in self.reported, "it was reported already"
        self.reported[task] = how

    def some_worker(self, data: st.DataObject) -> tuple[int, Worker]:
        number = data.draw(st.integers(0, len(self.workers) - 1))
        return number, self.workers[number]

    # -- the interchange ---------------------------------------------------------------------------------------

    @rule(walltimes=st.lists(st.sampled_from([0.0, 0.0, 1.0, 4.0]), min_size=1, max_size=4))
    def receive(self, walltimes: list[float]) -> None:
        ids = list(range(self.next_id, self.next_id + len(walltimes)))
        self.next_id += len(ids)
        self.queue += ids
        self.walltimes.update(zip(ids, walltimes, strict=True))
        self.heard = self.now
        assert self.handle(TasksReceived(ids, walltimes if any(walltimes) else None)) == []

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        ids = data.draw(st.lists(st.integers(0, self.next_id), min_size=1, max_size=4, unique=True))
        dropped = [] if self.exited else [id_ for id_ in ids if id_ in self.queue]
        ended = []
        for id_ in ids:
            for number, worker in enumerate(self.workers):
                if worker.task == id_ and worker.told_to_end is None and not self.exited:
                    worker.told_to_end, worker.why = self.now, "cancelled"
                    ended.append(TerminateWorker(number))
        for id_ in dropped:
            self.queue.remove(id_)
            self.report(id_, "cancelled")
        assert self.handle(CancelRequested(ids)) == ended + ([ReportCancelled(dropped)] if dropped else [])

    @rule()
    def hear(self) -> None:
        self.heard = self.now
        assert self.handle(InterchangeHeard()) == []

    @rule(sure=st.integers(0, 19))
    def stop(self, sure: int) -> None:
        if sure == 0:
            expected = [] if self.exited else [Exit("told to", failed=False)]
            assert self.handle(StopRequested("told to")) == expected

    # -- workers -----------------------------------------------------------------------------------------------

    @rule(data=st.data())
    def get_ready(self, data: st.DataObject) -> None:
        number, worker = self.some_worker(data)
        if not worker.ready:
            worker.ready = True
            assert self.handle(WorkerReady(number)) == []

    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        number, worker = self.some_worker(data)
        task = worker.task
        if task is None or self.exited:
            return
        counts = worker.told_to_end is None
        assert self.machine.runs(number, task) == counts
        if counts:
            self.report(task, "result")
            worker.task = None
        assert self.handle(WorkerFinished(number, task)) == []

    @rule(data=st.data(), with_result=st.booleans())
    @precondition(lambda self: not self.exited)
    def die(self, data: st.DataObject, with_result: bool) -> None:
        number, worker = self.some_worker(data)
        task = worker.task
        expected: list[object] = []
        if task is not None:
            if worker.told_to_end is not None:
                expected = [
                    ReportCancelled([task]) if worker.why == "cancelled" else ReportTimedOut(task, self.walltimes[task])
                ]
                self.report(task, worker.why)
            elif with_result:
                self.report(task, "result")
            else:
                expected = [ReportWorkerLost(number, task, "it died")]
                self.report(task, "lost")
        rest = self.handle(WorkerExited(number, "it died", task if with_result else None))
        if self.exited:  # too many have died while they started
            assert rest == [Exit("workers die before they are ready: it died", failed=True)]
            assert not worker.ready
        else:
            assert rest == expected
            assert self.workers[number] is not worker, "it was not replaced"

    # -- time --------------------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.5, 1.0, 2.0, 5.0, 30.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        if self.exited:
            assert self.handle(DeadlinePassed()) == []
            return
        if self.now >= self.heard + THRESHOLD_S:
            assert [type(action) for action in self.handle(DeadlinePassed())] == [Exit]
            return
        expected: list[object] = []
        for number, worker in enumerate(self.workers):
            walltime = self.walltimes[worker.task] if worker.task is not None else 0
            if worker.told_to_end is not None:
                if self.now >= worker.told_to_end + KILL_GRACE_S and not worker.killed:
                    worker.killed = True
                    expected.append(KillWorker(number))
            elif walltime and self.now >= worker.started + walltime:
                worker.told_to_end, worker.why = self.now, "timed out"
                expected.append(TerminateWorker(number))
        rest = self.handle(DeadlinePassed())
        if self.drain_at is not None and self.now >= self.drain_at:
            self.drain_at = None
            assert SendDraining() in rest
            rest.remove(SendDraining())
        assert [action for action in rest if action != SendHeartbeat()] == expected
        assert self.machine.next_deadline() > self.now, "busy for nothing"
        assert self.machine.next_deadline() <= self.now + PERIOD_S

    # -- always ------------------------------------------------------------------------------------------------

    @invariant()
    def agrees(self) -> None:
        if not hasattr(self, "machine") or self.exited:
            return
        at_workers = [worker.task for worker in self.workers if worker.task is not None]
        assert self.machine.tasks == len(self.queue) + len(at_workers)
        assert set(range(self.next_id)) == {*self.queue, *at_workers, *self.reported}, "a task is nowhere"
        idle = [worker for worker in self.workers if worker.ready and worker.task is None]
        assert not (idle and self.queue), "work waits beside an idle worker"


TestManager = ManagerModel.TestCase
TestManager.settings = settings(settings(), max_examples=100, stateful_step_count=50)
