"""The TaskVine worker's machine: each task that came ends in one report, whatever dies in which order."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from trellis.executors.taskvine.embedded.worker import events
from trellis.executors.taskvine.embedded.worker.state import VineWorkerSettings, VineWorkerState
from trellis.wire.vine import Resources

THRESHOLD_S = 1_000.0
CHOICE = st.integers(min_value=0, max_value=1_000)


class WorkerModel(RuleBasedStateMachine):
    """The world is what was started and not killed; the reports are counted."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.machine = VineWorkerState(VineWorkerSettings(10.0, THRESHOLD_S, 0.0), 0.0)
        self.next_id = self.next_instance = 0
        self.open: set[int] = set()  # tasks that were sent and not reported
        self.processes: dict[int, bool] = {}  # whether it was killed
        self.libraries: dict[int, list[int]] = {}  # calls in each
        self.killed: set[int] = set()  # libraries
        self.asked_to_kill: set[tuple[int, int]] = set()
        self.up: set[int] = set()

    def do(self, event: events.Event) -> None:
        for action in self.machine.handle(event, self.now):
            match action:
                case events.StartProcess(id_):
                    self.processes[id_] = False
                case events.KillProcess(id_):
                    assert not self.processes[id_], f"task {id_} is killed twice"
                    self.processes[id_] = True
                case events.StartLibrary(instance):
                    self.libraries[instance] = []
                case events.KillLibrary(instance):
                    assert instance in self.libraries
                    self.killed.add(instance)
                case events.SendCalls(instance, ids):
                    self.libraries[instance] += ids
                case events.KillCall(instance, id_):
                    assert instance in self.libraries
                    self.asked_to_kill.add((instance, id_))
                case events.ReportEnded(id_) | events.ReportFailed(id_):
                    self.open.remove(id_)  # once
                case events.MeasureTasks(ids):
                    assert set(ids) <= set(self.processes)
                case events.ReportLibraryUp(instance):
                    assert instance not in self.up
                    self.up.add(instance)
                case events.ReportLibraryDown(instance, _, started):
                    assert started == (instance in self.up)

    def _library(self, choice: int) -> int | None:
        return sorted(self.libraries)[choice % len(self.libraries)] if self.libraries else None

    # -- from the manager --------------------------------------------------------------------------------------

    @rule(limit=st.sampled_from([0.0, 3.0]), memory=st.sampled_from([None, 10.0]))
    def send_task(self, limit: float, memory: float | None) -> None:
        self.next_id += 1
        self.open.add(self.next_id)
        self.do(events.TaskReceived(self.next_id, Resources(memory=memory), limit))

    @rule(slots=st.integers(1, 3), direct=st.booleans())
    def start_library(self, slots: int, direct: bool) -> None:
        self.do(events.LibraryRequested(self.next_instance, 1 if direct else slots, direct))
        self.next_instance += 1

    @rule(choice=CHOICE, count=st.integers(1, 4), limit=st.sampled_from([0.0, 3.0]), gone=st.booleans())
    def send_calls(self, choice: int, count: int, limit: float, gone: bool) -> None:
        instance = self._library(choice)
        if instance is None or gone:
            instance = self.next_instance + 1  # it ended while they were on their way
        ids = [self.next_id + n for n in range(1, count + 1)]
        self.next_id += count
        self.open.update(ids)
        self.do(events.CallsReceived(instance, ids, limit))

    @rule(choice=CHOICE)
    def stop_library(self, choice: int) -> None:
        instance = self._library(choice)
        if instance is not None:
            self.do(events.LibraryStopRequested(instance))

    @rule(choices=st.lists(CHOICE, max_size=3))
    def cancel(self, choices: list[int]) -> None:
        self.do(events.KillRequested([choice % (self.next_id + 1) for choice in choices]))

    # -- from below --------------------------------------------------------------------------------------------

    @rule(choice=CHOICE, code=st.sampled_from([0, 1, -9]), result=st.booleans(), missing=st.sampled_from(["", "x"]))
    def end_process(self, choice: int, code: int, result: bool, missing: str) -> None:
        if self.processes:
            id_ = sorted(self.processes)[choice % len(self.processes)]
            del self.processes[id_]
            self.do(events.ProcessEnded(id_, code, "ended", result, missing))

    @rule(choice=CHOICE)
    def fail_to_start(self, choice: int) -> None:
        if self.processes:
            id_ = sorted(self.processes)[choice % len(self.processes)]
            del self.processes[id_]
            self.do(events.ProcessFailed(id_, "no"))

    @rule(choice=CHOICE, memory=st.sampled_from([5.0, 15.0]))
    def measure(self, choice: int, memory: float) -> None:
        if self.processes:
            id_ = sorted(self.processes)[choice % len(self.processes)]
            self.do(events.Measured(id_, Resources(memory=memory)))

    @rule(choice=CHOICE)
    def get_ready(self, choice: int) -> None:
        instance = self._library(choice)
        if instance is not None and instance not in self.up and instance not in self.killed:
            self.do(events.LibraryReady(instance))
            self.up.add(instance)

    @rule(choice=CHOICE, died=st.booleans(), which=CHOICE)
    def end_call(self, choice: int, died: bool, which: int) -> None:
        instance = self._library(choice)
        if instance is None or instance not in self.up or not self.libraries[instance]:
            return
        calls = self.libraries[instance]
        id_ = calls.pop(which % len(calls))
        counts = self.machine.counts(id_)
        if died:
            self.do(events.CallDied(instance, id_, -9, "died"))
        else:
            if counts:
                self.open.remove(id_)  # its result goes out
            self.do(events.CallsEnded(instance, [id_]))

    @rule(choice=CHOICE)
    def end_library(self, choice: int) -> None:
        instance = self._library(choice)
        if instance is not None:
            del self.libraries[instance]
            self.do(events.LibraryEnded(instance, "ended"))

    @rule(seconds=st.floats(0.1, 5.0))
    def wait(self, seconds: float) -> None:
        self.now = max(self.now + seconds, self.now)
        while self.machine.next_deadline() <= self.now:
            self.do(events.DeadlinePassed())
            self.do(events.ManagerHeard())

    @rule()
    def sleep(self) -> None:
        """What comes next came meanwhile."""
        self.now += THRESHOLD_S
        self.do(events.ManagerHeard())

    def _held(self) -> set[int]:
        """Tasks and calls that came in a sleep."""
        orders = self.machine._held
        held = {order.id for order in orders if isinstance(order, events.TaskReceived)}
        return held.union(*(order.ids for order in orders if isinstance(order, events.CallsReceived)))

    @invariant()
    def nobody_is_forgotten(self) -> None:
        self.machine.check_invariants()
        held = self._held()
        assert held.union(self.machine.tasks) == self.open
        there = {*self.processes, *(id_ for calls in self.libraries.values() for id_ in calls)}
        assert self.open - held <= there


WorkerModel.TestCase.settings = settings(max_examples=100, stateful_step_count=50)
TestWorkerModel = WorkerModel.TestCase
