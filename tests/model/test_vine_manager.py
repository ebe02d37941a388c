"""The TaskVine manager's machine against what workers hold and run, as its own actions say."""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from trellis.executors.taskvine.embedded.manager import events
from trellis.executors.taskvine.embedded.manager.state import VineManagerSettings, VineManagerState
from trellis.wire.vine import VINE_PROTOCOL_VERSION, FileSpec, LibrarySpec, Mount, RegisterWorker, Resources, TaskShape

WORKERS = st.sampled_from(["a", "b", "c"])
PICK = st.integers(0, 1_000)
SHAPES = [
    TaskShape("regular", "one", Resources(cores=1)),
    TaskShape("regular", "whole", Resources(), priority=1.0),
    TaskShape("serverless", "call", Resources(), library="l"),
]
TOTAL = Resources(2, 200, 3, 0)


class Worker:
    """What a worker has, by the actions that went to it and what it has said."""

    def __init__(self) -> None:
        self.cache: set[str] = set()
        self.coming: dict[str, str] = {}  # sources by name
        self.running: dict[int, tuple[Resources | None, int]] = {}
        self.libraries: dict[int, tuple[Resources, bool]] = {}


class VineManagerModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.state = VineManagerState(VineManagerSettings(50.0, temp_replicas=2), Random(1))
        self.workers: dict[str, Worker] = {}
        self.inputs: dict[int, set[str]] = {}
        self.makes: dict[int, str] = {}
        self.open: set[int] = set()
        self.kept: set[int] = set()
        self.returning: dict[str, str] = {}  # worker by file
        self.lost: dict[int, tuple[Resources | None, int]] = {}  # what the last worker that went had been sent
        self.files = 0
        self.handle(events.ShapesDefined(range(3), SHAPES))
        self.handle(events.LibrariesInstalled([LibrarySpec("l", slots=2, resources=Resources(cores=1))]))

    def handle(self, event: events.Event) -> None:
        for action in self.state.handle(event, self.now):
            self.perform(action)

    def perform(self, action: Any) -> None:
        match action:
            case events.ReportDone(_, ids, kept):
                assert self.open.issuperset(ids), "a task was reported twice"
                self.open.difference_update(ids)
                self.kept.update(kept)
            case events.ReportWorkerLeft(worker) if worker in self.workers and self.workers[worker].running:
                self.lost = self.workers[worker].running
            case events.ReportFailed(id_, status):
                assert id_ in self.open, "a task was reported twice"
                if status == "max_retries":
                    self.check_blame(id_)
                self.open.discard(id_)
            case events.ForgetTasks(ids):
                assert self.kept.issuperset(ids), "what was not kept is forgotten"
                self.kept.difference_update(ids)
            case events.OrderFile(worker, name, source):
                assert not source or name in self.workers[source].cache, f"{source} does not have {name}"
                self.workers[worker].coming[name] = source
            case events.EvictFiles(worker, names):
                self.workers[worker].cache.difference_update(names)
                for name in names:
                    self.workers[worker].coming.pop(name, None)
            case events.RunTasks(worker, ids, allocations, instances):
                for id_, resources, instance in zip(ids, allocations, instances, strict=True):
                    assert id_ in self.open | self.kept, f"{id_} has ended"
                    assert not any(id_ in other.running for other in self.workers.values()), f"{id_} runs twice"
                    assert self.inputs[id_] <= self.workers[worker].cache, f"{id_} has no inputs"
                    self.workers[worker].running[id_] = (resources, instance)
            case events.StartLibrary(worker, _, instance, resources):
                self.workers[worker].libraries[instance] = (resources, False)
            case events.StopLibrary(worker, instance):
                del self.workers[worker].libraries[instance]
            case events.BringHome(worker, name):
                self.returning[name] = worker

    def check_blame(self, id_: int) -> None:
        """Nobody fails for the end of a worker that had begun something else, too."""
        _, instance = self.lost[id_]
        others = [other for number, (_, other) in self.lost.items() if number != id_]
        assert instance >= 0 or not others, f"{id_} was not alone"
        assert all(other == instance for other in others), f"{id_} was not alone"  # sent ahead, and not begun

    # -- what happens ----------------------------------------------------------------------------------------------

    @rule(name=WORKERS)
    def a_worker_comes(self, name: str) -> None:
        self.returning = {file: worker for file, worker in self.returning.items() if worker != name}
        self.lost = self.workers.pop(name, Worker()).running
        self.workers[name] = Worker()
        hello = RegisterWorker(VINE_PROTOCOL_VERSION, name, "h", 1, TOTAL, [], "", None, [], [])
        self.handle(events.WorkerRegistered(hello))

    @rule(name=WORKERS)
    def a_worker_goes(self, name: str) -> None:
        if name in self.workers:
            self.lost = self.workers.pop(name).running
            self.returning = {file: worker for file, worker in self.returning.items() if worker != name}
            self.handle(events.WorkerLeft(name, "gone"))

    @rule(shape=st.sampled_from(range(3)), kinds=st.lists(st.sampled_from(["file", "temp"]), max_size=2), made=PICK)
    def a_task_comes(self, shape: int, kinds: list[str], made: int) -> None:
        id_ = len(self.inputs)
        temps = sorted(set(self.makes.values()))
        chosen = {temps[made % len(temps)] if kind == "temp" and temps else self.declare("file") for kind in kinds}
        self.inputs[id_] = chosen
        output = self.declare(["temp", "file", ""][made % 3]) if made % 3 < 2 else ""
        outputs, results = {}, {}
        if made % 3 == 0:
            self.makes[id_] = output
            results[0] = int(output[1:])
        elif output:
            outputs[0] = [Mount(int(output[1:]), "o")]
        self.open.add(id_)
        inputs = {0: [Mount(int(name[1:]), "i") for name in sorted(chosen)]} if chosen else {}
        self.handle(events.TasksSubmitted([id_], [shape], inputs, outputs, results))

    def declare(self, kind: str) -> str:
        self.files += 1
        spec = FileSpec(self.files, kind, "", "workflow")
        self.handle(events.FilesDeclared([spec], [f"f{self.files}"], [-1 if kind == "temp" else 2**20]))
        return f"f{self.files}"

    @rule(pick=PICK, comes=st.booleans())
    def a_file_comes_or_not(self, pick: int, comes: bool) -> None:
        coming = [(name, file) for name, worker in sorted(self.workers.items()) for file in worker.coming]
        if not coming:
            return
        name, file = coming[pick % len(coming)]
        worker = self.workers[name]
        source = worker.coming.pop(file)
        sender = self.workers.get(source)
        if comes and (not source or (sender is not None and file in sender.cache)):
            worker.cache.add(file)
            self.handle(events.CacheUpdated(name, [file], [2**20]))
        else:
            self.handle(events.CacheFailed(name, file, "no"))

    @rule(
        pick=PICK,
        status=st.sampled_from(["", "", "", "raised", "signal", "forsaken", "resource_exhaustion", "cancelled"]),
        beside=st.sampled_from([0, 1]),
    )
    def a_task_ends(self, pick: int, status: str, beside: int) -> None:
        running = [(name, id_) for name, worker in sorted(self.workers.items()) for id_ in worker.running]
        if not running:
            return
        name, id_ = running[pick % len(running)]
        del self.workers[name].running[id_]
        if status not in ("", "raised"):
            self.handle(events.TaskFailed(name, id_, status, "why", beside=beside if status == "signal" else 0))
            return
        task = self.state.store.tasks[id_]
        made = list(task.home[: pick % 3] if status else task.outputs)
        self.workers[name].cache.update(made)
        if made:
            self.handle(events.CacheUpdated(name, made, [2**20] * len(made)))
        self.handle(events.CallsEnded(name, [id_], [1.0], failed=[0] if status else []))

    @rule(pick=PICK, error=st.sampled_from(["", "", "no"]))
    def an_output_comes_home(self, pick: int, error: str) -> None:
        if self.returning:
            file = sorted(self.returning)[pick % len(self.returning)]
            del self.returning[file]
            self.handle(events.CameHome(file, error))

    @rule(pick=PICK, comes=st.booleans())
    def a_library_comes_up_or_ends(self, pick: int, comes: bool) -> None:
        there = [(name, number) for name, worker in sorted(self.workers.items()) for number in worker.libraries]
        if not there:
            return
        name, number = there[pick % len(there)]
        worker = self.workers[name]
        resources, is_up = worker.libraries[number]
        if comes and not is_up:
            worker.libraries[number] = (resources, True)
            self.handle(events.LibraryUp(name, number, 2))
        elif not comes:
            for id_ in [id_ for id_, (_, instance) in worker.running.items() if instance == number]:
                del worker.running[id_]
                # The manager may send it here again, before it hears of the end: it comes back then.
                self.handle(events.TaskFailed(name, id_, "library_exit", "why"))
            del worker.libraries[number]
            self.handle(events.LibraryDown(name, number, "why"))

    @rule(pick=PICK)
    def a_task_is_cancelled(self, pick: int) -> None:
        if self.open:
            self.handle(events.CancelRequested([sorted(self.open)[pick % len(self.open)]]))

    @rule(pick=PICK)
    def a_call_that_came_too_late_comes_back(self, pick: int) -> None:
        for name, worker in sorted(self.workers.items()):
            late = [
                id_ for id_, (_, number) in worker.running.items() if number >= 0 and number not in worker.libraries
            ]
            for id_ in late:
                del worker.running[id_]
                self.handle(events.TaskFailed(name, id_, "forsaken", "its library has ended"))

    @precondition(lambda self: self.state.next_deadline() is not None)
    @rule()
    def time_passes(self) -> None:
        for name in self.workers:
            self.handle(events.WorkerHeard(name))
        self.now = max(self.now, self.state.next_deadline() or 0.0)
        self.handle(events.DeadlinePassed())

    # -- what holds --------------------------------------------------------------------------------------------------

    @invariant()
    def its_own_books_are_right(self) -> None:
        self.state.check_invariants()
        assert set(self.state.store.workers) <= set(self.workers)

    @invariant()
    def no_worker_is_oversold(self) -> None:
        for name, worker in self.workers.items():
            allocations = [resources for resources, _ in worker.running.values() if resources is not None]
            allocations += [resources for resources, _ in worker.libraries.values()]
            assert sum(resources.cores or 0 for resources in allocations) <= 2, f"{name} is oversold"

    @invariant()
    def every_open_task_is_somewhere(self) -> None:
        assert self.open <= self.state.store.tasks.keys()
        assert self.state.store.tasks.keys() <= self.open | self.kept


TestVineManager = VineManagerModel.TestCase
TestVineManager.settings = settings(settings(), max_examples=100, stateful_step_count=50)
