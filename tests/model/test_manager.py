"""The manager's machine against a table of where each task is: its queue, the workers' queue, a worker, reported.

And of who stands by for whom: no slot, and no node of the block, is ever with two tasks.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from trellis.executors.htex.manager.backlog import NodeSize
from trellis.executors.htex.manager.events import (
    CancelRequested,
    DeadlinePassed,
    Event,
    Exit,
    GiveBack,
    InterchangeHeard,
    Interrupt,
    Interrupted,
    KillWorker,
    NudgeWorker,
    Offer,
    Park,
    Release,
    ReportCancelled,
    ReportTimedOut,
    ReportWorkerLost,
    ReturnRequested,
    RunGang,
    SayRunning,
    SendDraining,
    StartWorker,
    StopRequested,
    TakeBack,
    TakenBack,
    TasksFinished,
    TasksReceived,
    TerminateRequested,
    WorkerExited,
    WorkerParked,
    WorkerReady,
)
from trellis.executors.htex.manager.state import ManagerSettings, ManagerState
from trellis.wire.messages import Demand

PERIOD_S = 5.0
THRESHOLD_S = 60.0


class Worker:
    """What the model knows of a worker."""

    def __init__(self) -> None:
        self.ready = False
        self.away = False  # dead, and to be started later
        self.parked: str | None = None  # "unheard" until the manager knows
        self.window: int | None = None  # a task that it has taken, before the board says so
        self.long_ago = False  # that it took it: it is about to write it
        self.task: int | None = None
        self.since = 0.0
        self.ending = False


class ManagerModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.next_id = 0
        self.held: list[int] = []  # here, and not offered
        self.offered: list[int | None] = []  # in the workers' queue; None is a token
        self.demands: dict[int, Demand | None] = {}
        self.gangs: dict[int, tuple[list[int], tuple[str, ...]]] = {}  # of tasks that run: workers and nodes
        self.terminated = False
        self.walltimes: dict[int, float] = {}
        self.cancelled: set[int] = set()
        self.missed: set[int | None] = set()  # of those, tasks that were nowhere to be seen then
        self.gone: dict[int, str] = {}  # tasks that were reported, and how
        self.widowed: set[int] = set()  # taken by a worker that died before it could say so
        self.said: set[int] = set()  # to be running
        self.exited = False

    @initialize(workers=st.sampled_from([3, 2, 1]), ready=st.booleans(), drain=st.sampled_from([None, 70.0]))
    def start(self, workers: int, ready: bool, drain: float | None) -> None:
        size = NodeSize(workers, cpus=workers, nodes=("a", "b"))
        self.machine = ManagerState(ManagerSettings(size, PERIOD_S, THRESHOLD_S, drain, say_running_s=1.0), self.now)
        assert self.machine.start() == [StartWorker(number) for number in range(workers)]
        self.workers = [Worker() for _ in range(workers)]
        for number in range(workers if ready else 0):
            self.get_ready(number)

    @property
    def board(self) -> dict[int, tuple[int, float]]:
        return {w.task: (number, w.since) for number, w in enumerate(self.workers) if w.task is not None}

    def handle(self, event: Event) -> None:
        for action in self.machine.handle(event, self.now):
            assert not self.exited, "something comes after the exit"
            match action:
                case Offer(ids):
                    for task in ids:
                        self.held.remove(task)
                    self.offered += ids
                case Park(count):
                    self.offered += [None] * count
                case RunGang():
                    self.run_gang(action)
                case Release(ranks):
                    for number in ranks:
                        assert self.workers[number].parked == "heard", "it does not wait to be let go"
                        assert not any(number in gang for gang, _ in self.gangs.values()), "it stands by for a task"
                        self.workers[number].parked = None
                case SayRunning(tasks):
                    for task, (number, since) in tasks.items():
                        assert self.board[task] == (number, since), "it does not run there"
                        assert self.now - since >= 1.0, "it has not been running for long"
                        assert task not in self.said, "it was said before"
                    self.said.update(tasks)
                case SendDraining() | NudgeWorker():
                    pass
                case TakeBack():
                    back = [task for task in self.offered if task is not None]
                    self.offered = []
                    self.held += back
                    self.handle(TakenBack(back, self.board))
                case StartWorker(number):
                    self.workers[number] = Worker()
                case Interrupt(number, task):
                    assert task in self.cancelled or self.walltimes[task], "why?"
                    worker = self.workers[number]
                    caught = worker.task == task
                    worker.ending |= caught
                    self.handle(Interrupted(number, task, caught))
                case KillWorker(number):
                    assert self.workers[number].ending
                case GiveBack(ids):
                    for task in ids:
                        self.held.remove(task)
                        self.report(task, "returned")
                case ReportCancelled(ids):
                    for task in ids:
                        assert task in self.cancelled, "nobody asked for it"
                        assert task not in self.board, "it runs still"
                        if task in self.held:
                            self.held.remove(task)
                        self.report(task, "cancelled")
                case ReportTimedOut(task, walltime_s):
                    assert walltime_s == self.walltimes[task] > 0
                    assert task not in self.board, "it runs still"
                    self.report(task, "timed out")
                case ReportWorkerLost(number, task):
                    assert task in self.widowed
                    self.report(task, "lost")
                case Exit():
                    self.exited = True
        self.machine.check_invariants()

    def run_gang(self, action: RunGang) -> None:
        runner = self.workers[action.workers[0]]
        demand = self.demands[action.task]
        assert demand == action.demand
        assert demand is not None
        assert len(action.workers) == max(1, demand.cores)
        assert len(action.nodes) == demand.nodes
        for gang, names in self.gangs.values():
            assert not set(gang) & set(action.workers), "a slot is sold twice"
            assert not set(names) & set(action.nodes), "a node is sold twice"
        assert all(self.workers[number].parked == "heard" for number in action.workers)
        self.held.remove(action.task)
        self.gangs[action.task] = (action.workers, action.nodes)
        runner.parked, runner.task, runner.since = None, action.task, self.now

    def report(self, task: int, how: str) -> None:
        assert task not in self.gone, "it was reported already"
        self.gone[task] = how
        self.gangs.pop(task, None)
        self.widowed.discard(task)

    # -- the interchange ---------------------------------------------------------------------------------------

    @rule(
        walltimes=st.lists(st.sampled_from([0.0, 0.0, 1.0, 4.0]), min_size=1, max_size=4),
        demands=st.lists(st.sampled_from([None, None, 1, 2, 3, "one node", "two nodes"]), min_size=4, max_size=4),
    )
    @precondition(lambda self: not self.exited)
    def receive(self, walltimes: list[float], demands: list[int | str | None]) -> None:
        ids = list(range(self.next_id, self.next_id + len(walltimes)))
        self.next_id += len(ids)
        self.held += ids
        self.walltimes.update(zip(ids, walltimes, strict=True))
        wanted = [self.demand(demand) for demand in demands[: len(ids)]]
        self.demands.update(zip(ids, wanted, strict=True))
        self.handle(TasksReceived(ids, walltimes if any(walltimes) else None, wanted if any(wanted) else None))

    def demand(self, what: int | str | None) -> Demand | None:
        match what:
            case int():
                return Demand(cores=min(what, len(self.workers)))
            case str():
                return Demand(nodes=1 + (what == "two nodes"))
        return None

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        ids = data.draw(st.lists(st.integers(0, self.next_id), min_size=1, max_size=4, unique=True))
        ids += [worker.window for worker in self.workers if worker.window is not None and worker.window not in ids]
        self.cancelled.update(ids)
        self.missed.update(worker.window for worker in self.workers if worker.window in ids)
        waited = [task for task in ids if task in self.offered or task in self.held]
        self.handle(CancelRequested(ids, self.board))
        assert self.exited or all(self.gone[task] == "cancelled" for task in waited)

    @rule(count=st.integers(0, 4))
    def ask_back(self, count: int) -> None:
        waits = len(self.held) + len([task for task in self.offered if task is not None])
        before = list(self.gone.values()).count("returned")
        self.handle(ReturnRequested(count))
        given = list(self.gone.values()).count("returned") - before
        assert given == (0 if self.exited else min(count, waits))

    @rule()
    def hear(self) -> None:
        self.handle(InterchangeHeard())

    @rule(sure=st.integers(0, 19))
    def stop(self, sure: int) -> None:
        if sure == 17:  # low numbers are drawn more often
            self.handle(StopRequested("told to"))
            assert self.exited

    @rule(sure=st.integers(0, 19))
    def terminate(self, sure: int) -> None:
        if sure == 17:  # low numbers are drawn more often
            self.handle(TerminateRequested("told to"))
            self.terminated = True
            assert self.exited or self.machine.tasks, "it waits for nothing"
            waits = [*self.held, *(task for task in self.offered if task is not None)]
            assert self.exited or not waits, "what has not started was not given back"

    # -- workers -----------------------------------------------------------------------------------------------

    @rule(number=st.integers(0, 2))
    def get_ready(self, number: int) -> None:
        worker = self.workers[number % len(self.workers)]
        if not worker.ready and not worker.away:
            worker.ready = True
            self.handle(WorkerReady(number % len(self.workers)))

    @rule(number=st.integers(0, 2), slow=st.sampled_from([False, False, True]))
    @precondition(lambda self: self.offered)
    def take(self, number: int, slow: bool) -> None:
        worker = self.workers[number % len(self.workers)]
        busy = worker.task is not None or worker.window is not None or worker.parked is not None
        if worker.ready and not busy and not worker.ending:
            task = self.offered.pop(0)
            if task is None:
                worker.parked = "unheard"
                if not slow:
                    self.hear_of_parking(number)
                return
            worker.window = task
            if not slow:
                self.write(number)

    @rule(number=st.integers(0, 2))
    @precondition(lambda self: not self.exited)
    def hear_of_parking(self, number: int) -> None:
        number %= len(self.workers)
        if self.workers[number].parked == "unheard":
            self.workers[number].parked = "heard"
            self.handle(WorkerParked(number))

    @rule()
    def all_take(self) -> None:
        """Whoever can takes something, and says so."""
        for number in range(len(self.workers)):
            if self.offered:
                self.take(number, slow=False)
            self.hear_of_parking(number)

    @rule(number=st.integers(0, 2))
    def write(self, number: int) -> None:
        """What it has taken comes on the board."""
        worker = self.workers[number % len(self.workers)]
        if worker.window is not None:
            worker.task, worker.since, worker.window, worker.long_ago = worker.window, self.now, None, False

    @rule(number=st.integers(0, 2))
    @precondition(lambda self: not self.exited)
    def finish(self, number: int) -> None:
        worker = self.workers[number % len(self.workers)]
        task, worker.task = worker.task, None
        if task is None:
            return
        assert self.machine.counts(task) == (not worker.ending)
        if not worker.ending:
            self.report(task, "result")
            self.handle(TasksFinished([task], [self.now - worker.since]))

    @rule(number=st.integers(0, 2), unsaid=st.booleans())
    @precondition(lambda self: not self.exited)
    def die(self, number: int, unsaid: bool) -> None:
        number %= len(self.workers)
        worker = self.workers[number]
        if worker.away:
            return
        self.hear_of_parking(number)  # it was written before
        task, worker.task = worker.task, None
        stands_by = any(number in gang[1:] for gang, _ in self.gangs.values())
        if worker.window is not None:
            self.widowed.add(worker.window)
        elif task is None and unsaid and worker.ready and self.offered and not worker.ending and not worker.parked:
            taken = self.offered.pop(0)  # just now
            if taken is not None:
                self.widowed.add(taken)
        elif task is not None and not worker.ending:
            self.widowed.add(task)
        self.handle(WorkerExited(number, task, "it died"))
        assert task is None or task in self.gone
        replaced = self.workers[number] is not worker
        assert self.exited or replaced != stands_by, "it was not replaced, or a slot that is a task's was"
        worker.away = not replaced

    # -- time --------------------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.05, 0.5, 1.0, 2.0, 5.0, 30.0]))
    @precondition(lambda self: not self.exited)
    def wait(self, seconds: float) -> None:
        for number, worker in enumerate(self.workers):
            if worker.long_ago:
                self.write(number)
            self.hear_of_parking(number)
            worker.long_ago = worker.window is not None
        self.now += seconds
        self.handle(DeadlinePassed(self.board))
        if not self.exited:
            assert all(worker.ending for worker in self.workers if worker.task in self.missed), "it was not looked for"
            assert self.machine.next_deadline() > self.now, "busy for nothing"
            assert self.machine.next_deadline() <= self.now + PERIOD_S
            for worker in self.workers:
                limit = self.walltimes.get(-1 if worker.task is None else worker.task, 0.0)
                assert worker.ending or not limit or worker.since + limit > self.now, "its walltime is over"

    # -- always ------------------------------------------------------------------------------------------------

    @invariant()
    def agrees(self) -> None:
        if not hasattr(self, "machine") or self.exited:
            return
        # Tasks of workers that are being ended are here until those are gone, though they may have finished.
        taken = {worker.window for worker in self.workers if worker.window is not None}
        seen = {*self.held, *self.offered, *taken, *self.board, *self.widowed, *self.gone}
        nowhere = set(range(self.next_id)) - seen
        assert len(nowhere) <= sum(worker.ending and worker.task is None for worker in self.workers)
        assert self.machine.tasks == self.next_id - len(self.gone)
        for task in range(self.next_id):
            where = self.machine.place_of(task, self.board, self.now)
            if task in self.board and task not in self.gone:
                assert where.stage == "running"
            elif task in self.held or task in self.offered:
                assert where.stage == "assigned"
                assert where.reason

    def teardown(self) -> None:
        """Left in peace, workers bring all tasks to an end; what was taken by workers that died is missed."""
        if not hasattr(self, "machine"):
            return
        for _ in range(5 + 3 * self.next_id):
            if self.exited or not self.machine.tasks:
                break
            self.handle(InterchangeHeard())
            self.wait(1.0)
            for number, worker in enumerate(self.workers):
                if worker.ending:
                    self.die(number, unsaid=False)
                self.get_ready(number)
            self.all_take()
            for number in range(len(self.workers)):
                self.finish(number)
        assert self.exited or not self.machine.tasks, "it does not come to an end"
        assert self.exited or not self.widowed


TestManager = ManagerModel.TestCase
TestManager.settings = settings(settings(), max_examples=150, stateful_step_count=50)
