"""What a worker runs, ends and reports."""

from __future__ import annotations

import pytest

from trellis.executors.common.heartbeat import WAKE_UP_S
from trellis.executors.taskvine.embedded.worker.events import (
    Action,
    CallDied,
    CallsEnded,
    CallsReceived,
    ConnectionLost,
    DeadlinePassed,
    Event,
    Exit,
    KillCall,
    KillLibrary,
    KillProcess,
    KillRequested,
    LibraryEnded,
    LibraryReady,
    LibraryRequested,
    LibraryStopRequested,
    ManagerHeard,
    Measured,
    MeasureTasks,
    ProcessEnded,
    ProcessFailed,
    ReportEnded,
    ReportFailed,
    ReportLibraryDown,
    ReportLibraryUp,
    ReportRunning,
    SampleTasks,
    SendCalls,
    SendHeartbeat,
    StartLibrary,
    StartProcess,
    StopRequested,
    TaskReceived,
)
from trellis.executors.taskvine.embedded.worker.state import MEASURE_S, VineWorkerSettings, VineWorkerState
from trellis.wire.vine import UNKNOWN, Resources

PERIOD_S, THRESHOLD_S, IDLE_S = 10.0, 40.0, 100.0
ANY = Resources(cores=1)


class Worker:
    """A worker's machine and a clock."""

    def __init__(self, idle_timeout_s: float | None = IDLE_S, measures: bool = False) -> None:
        self.now = 0.0
        self.running: list[dict[int, float]] = []
        self.state = VineWorkerState(VineWorkerSettings(PERIOD_S, THRESHOLD_S, idle_timeout_s, measures), self.now)

    def do(self, *happened: Event) -> list[Action]:
        """The actions for the last of these, but for what is only told: that is in ``running``."""
        actions: list[Action] = []
        for event in happened:
            actions = self.state.handle(event, self.now)
            self.running += [action.since for action in actions if isinstance(action, ReportRunning)]
            self.state.check_invariants()
        return [action for action in actions if not isinstance(action, ReportRunning)]

    def at(self, now: float, *happened: Event) -> list[Action]:
        self.now = now
        return self.do(*happened)


@pytest.fixture
def it() -> Worker:
    return Worker()


def library(it: Worker, slots: int = 1, direct: bool = False) -> Worker:
    it.do(LibraryRequested(0, slots, direct), LibraryReady(0))
    return it


# -- tasks with processes of their own -----------------------------------------------------------------------------


def test_task_runs_and_is_reported_with_what_it_used(it: Worker) -> None:
    assert it.do(TaskReceived(1, ANY)) == [StartProcess(1)]
    it.do(Measured(1, Resources(memory=10, disk=3)), Measured(1, Resources(memory=5, disk=4)))
    assert it.do(ProcessEnded(1, 0, "", True)) == [ReportEnded(1, Resources(memory=10, disk=4))]
    assert it.state.tasks == []


def test_task_that_cannot_be_started_goes_back(it: Worker) -> None:
    assert it.do(TaskReceived(1, ANY), ProcessFailed(1, "no python")) == [ReportFailed(1, "forsaken", "no python")]


@pytest.mark.parametrize(
    ("ended", "status", "reason"),
    [
        (ProcessEnded(1, -9, "killed", False), "signal", "killed"),
        (ProcessEnded(1, 3, "exit code 3", False), "unknown", "the process ended without a result: exit code 3"),
        (ProcessEnded(1, 0, "", True, "not there: x"), "output_missing", "not there: x"),
    ],
)
def test_task_without_a_result_says_what_happened(it: Worker, ended: ProcessEnded, status: str, reason: str) -> None:
    assert it.do(TaskReceived(1, ANY), ended) == [ReportFailed(1, status, reason, ended.exit_code)]


def test_task_is_ended_when_its_time_is_over(it: Worker) -> None:
    it.do(TaskReceived(1, ANY, time_max_s=5))
    it.at(4.5, DeadlinePassed())
    assert it.state.next_deadline() == 5
    assert it.at(5, DeadlinePassed()) == [KillProcess(1)]
    assert it.do(DeadlinePassed()) == []  # once
    reason = "it ran for longer than 5 s; killed"
    assert it.do(ProcessEnded(1, -9, "killed", False)) == [ReportFailed(1, "max_wall_time", reason, -9)]


@pytest.mark.parametrize(
    ("used", "status", "what"),
    [
        (Resources(memory=101), "resource_exhaustion", "101 MB of memory, and was given 100 MB"),
        (Resources(disk=51), "sandbox_exhaustion", "51 MB of disk, and was given 50 MB"),
    ],
)
def test_task_is_ended_when_it_uses_more_than_it_was_given(it: Worker, used: Resources, status: str, what: str) -> None:
    it.do(TaskReceived(1, Resources(memory=100, disk=50)), Measured(1, Resources(memory=100, disk=50)))
    assert it.do(Measured(1, used)) == [KillProcess(1)]
    assert it.do(Measured(1, used)) == []
    (report,) = it.do(ProcessEnded(1, -9, "killed", False))
    assert report == ReportFailed(
        1,
        status,
        f"it used {what}; killed",
        -9,
        Resources(memory=max(100, used.memory or 0), disk=max(50, used.disk or 0)),
    )


def test_only_tasks_with_a_limit_are_measured(it: Worker) -> None:
    it.do(TaskReceived(1, ANY), TaskReceived(2, Resources(memory=5)))
    assert it.state.next_deadline() == MEASURE_S
    assert it.at(MEASURE_S, DeadlinePassed()) == [MeasureTasks({2: 5})]
    assert it.do(Measured(7, Resources())) == []  # it has just ended


def test_all_tasks_are_measured_when_asked_for() -> None:
    it = Worker(measures=True)
    it.do(TaskReceived(1, ANY), TaskReceived(2, Resources(memory=5)))
    assert it.at(MEASURE_S, DeadlinePassed()) == [MeasureTasks({1: 0.0, 2: 0.0})]  # exactly: labels are made of it


def test_task_is_cancelled(it: Worker) -> None:
    it.do(TaskReceived(1, ANY))
    assert it.do(KillRequested([1, 9])) == [KillProcess(1)]
    assert it.do(KillRequested([1])) == []
    assert it.do(ProcessEnded(1, -9, "killed", False)) == [ReportFailed(1, "cancelled", "it was cancelled; killed", -9)]


def test_a_task_that_was_taken_along_says_with_how_many(it: Worker) -> None:
    it.do(TaskReceived(1, ANY))
    assert it.do(ProcessEnded(1, -9, "gone", False, beside=2)) == [ReportFailed(1, "signal", "gone", -9, beside=2)]


# -- libraries -----------------------------------------------------------------------------------------------------


def test_library_starts_takes_calls_and_is_stopped(it: Worker) -> None:
    assert it.do(LibraryRequested(0, 2, False)) == [StartLibrary(0)]
    assert it.do(LibraryReady(0)) == [ReportLibraryUp(0, 2)]
    assert it.do(CallsReceived(0, [1, 2])) == [SendCalls(0, [1, 2])]
    assert it.state.tasks == [1, 2]
    assert it.do(CallsEnded(0, [1, 2])) == []
    assert it.do(LibraryStopRequested(0)) == [KillLibrary(0)]
    assert it.do(LibraryStopRequested(0)) == []
    assert it.do(LibraryEnded(0, "killed")) == []


def test_library_that_does_not_start_is_reported(it: Worker) -> None:
    it.do(LibraryRequested(0, 1, False))
    assert it.do(LibraryEnded(0, "no module")) == [ReportLibraryDown(0, "no module", False)]


def test_library_that_is_stopped_while_it_starts_says_nothing(it: Worker) -> None:
    it.do(LibraryRequested(0, 1, False), LibraryStopRequested(0))
    assert it.do(LibraryReady(0)) == []
    assert it.do(LibraryEnded(0, "killed")) == []


def test_calls_of_a_library_that_ends_are_told_apart(it: Worker) -> None:
    library(it).do(CallsReceived(0, [1, 2]))
    assert it.do(LibraryEnded(0, "crash")) == [
        ReportFailed(1, "library_exit", "its library ended: crash"),
        ReportFailed(2, "forsaken", "its library ended before it started: crash"),
        ReportLibraryDown(0, "crash", True),
    ]
    assert it.do(CallsReceived(0, [3])) == [ReportFailed(3, "forsaken", "its library has ended")]


def test_calls_sent_to_a_library_that_stops_go_back(it: Worker) -> None:
    library(it).do(LibraryStopRequested(0))
    assert it.do(CallsReceived(0, [3])) == [ReportFailed(3, "forsaken", "its library has ended")]


@pytest.mark.parametrize(
    ("died", "report"),
    [
        (CallDied(0, 1, -11, "SEGV"), ReportFailed(1, "signal", "SEGV", -11)),
        (CallDied(0, 1, 0, "left"), ReportFailed(1, "unknown", "left", 0)),
        (CallDied(0, 1, 0, "no x", "output_missing"), ReportFailed(1, "output_missing", "no x", 0)),
    ],
)
def test_call_without_a_result_says_what_happened(it: Worker, died: CallDied, report: ReportFailed) -> None:
    library(it).do(CallsReceived(0, [1]))
    assert it.do(died) == [report]
    assert it.do(died) == []


def test_time_of_a_call_runs_from_its_start(it: Worker) -> None:
    it.do(LibraryRequested(0, 1, False), CallsReceived(0, [1, 2], time_max_s=5))
    it.at(3, LibraryReady(0))
    assert it.at(7.5, DeadlinePassed()) == []  # it is looked at
    assert it.state.next_deadline() == 8
    it.at(7.9, CallsEnded(0, [1]))
    assert it.at(12.4, DeadlinePassed()) == [SendHeartbeat()]
    assert it.state.next_deadline() == 12.9
    assert it.at(12.9, DeadlinePassed()) == [KillCall(0, 2)]
    assert not it.state.counts(2)
    assert it.do(CallDied(0, 2, -9, "killed")) == [ReportFailed(2, "max_wall_time", "it ran for longer than 5 s", -9)]


def test_result_that_comes_when_the_call_is_being_killed_does_not_count(it: Worker) -> None:
    library(it).do(CallsReceived(0, [1]))
    assert it.state.counts(1)
    it.do(KillRequested([1]))
    assert not it.state.counts(1)
    assert it.do(CallsEnded(0, [1])) == [ReportFailed(1, "cancelled", "it was cancelled")]
    assert it.do(CallsEnded(0, [1])) == []


def test_running_call_in_direct_mode_is_ended_with_its_library(it: Worker) -> None:
    library(it, direct=True).do(CallsReceived(0, [1, 2, 3]))
    assert it.do(KillRequested([1, 3])) == [KillCall(0, 3), KillLibrary(0)]
    assert it.do(LibraryEnded(0, "killed")) == [
        ReportFailed(1, "cancelled", "it was cancelled"),
        ReportFailed(2, "forsaken", "its library ended before it started: killed"),
        ReportFailed(3, "cancelled", "it was cancelled"),
        ReportLibraryDown(0, "killed", True),
    ]


# -- what runs -----------------------------------------------------------------------------------------------------


def test_what_has_run_for_a_second_is_told_once(it: Worker) -> None:
    it.do(TaskReceived(1, ANY))
    library(it).do(CallsReceived(0, [2, 3]))  # one slot: the second waits
    assert it.state.next_deadline() == MEASURE_S
    it.at(0.5, TaskReceived(4, ANY))
    it.at(1.0, DeadlinePassed())
    assert it.running == [{1: 0.0, 2: 0.0}]
    it.at(1.2, CallsEnded(0, [2]))
    it.at(2.0, DeadlinePassed())
    it.at(3.0, DeadlinePassed())
    it.at(4.0, DeadlinePassed())
    assert it.running[1:] == [{4: 0.5}, {3: 1.2}]


def test_nothing_is_told_of_what_ends_within_a_second(it: Worker) -> None:
    it.do(TaskReceived(1, ANY))
    it.at(0.9, ProcessEnded(1, 0, "", True))
    it.at(10.0, DeadlinePassed())
    assert it.running == []


@pytest.mark.parametrize("direct", [False, True])
def test_what_runs_is_looked_at_for_the_record_of_the_run(it: Worker, direct: bool) -> None:
    it.state = VineWorkerState(VineWorkerSettings(PERIOD_S, THRESHOLD_S, IDLE_S, sample_every_s=0.6), 0.0)
    assert it.state.next_deadline() == PERIOD_S  # nothing runs
    assert it.at(0.3, DeadlinePassed()) == []
    it.do(TaskReceived(1, ANY))
    library(it, direct=direct).do(CallsReceived(0, [2, 3]))
    assert it.state.next_deadline() == 0.6
    sample = SampleTasks([1], {0: 2}, []) if direct else SampleTasks([1], {}, [0])
    assert it.at(0.6, DeadlinePassed()) == [sample]
    assert it.at(0.7, DeadlinePassed()) == []
    it.do(ProcessEnded(1, 0, "", True), CallsEnded(0, [2]), CallsEnded(0, [3]))
    assert it.at(3.0, DeadlinePassed()) == []


# -- the manager, and time -----------------------------------------------------------------------------------------


def test_heartbeats(it: Worker) -> None:
    assert it.state.next_deadline() == PERIOD_S
    assert it.at(PERIOD_S, ManagerHeard(), DeadlinePassed()) == [SendHeartbeat()]
    assert it.state.next_deadline() == 2 * PERIOD_S


def test_silent_manager_ends_the_worker(it: Worker) -> None:
    it.at(5, ManagerHeard())
    assert it.at(44, DeadlinePassed()) == [SendHeartbeat()]
    assert it.at(45, DeadlinePassed()) == [Exit("the manager sent nothing for 40 s", failed=True)]
    assert it.do(TaskReceived(1, ANY)) == []


def test_idle_worker_ends_but_not_while_it_has_something(it: Worker) -> None:
    library(it)
    for now in (30, 60, 90):
        it.at(now, ManagerHeard(), DeadlinePassed())
    it.do(CallsReceived(0, [1]))
    it.at(110, ManagerHeard())
    assert it.do(DeadlinePassed()) == [SendHeartbeat()]
    it.do(CallsEnded(0, [1]))
    it.at(209, ManagerHeard(), DeadlinePassed())
    assert it.at(210, DeadlinePassed()) == [Exit("it had nothing to do for 100 s", failed=False)]


@pytest.mark.parametrize("timeout", [0.0, None])
def test_worker_without_an_idle_timeout_stays(timeout: float | None) -> None:
    it = Worker(idle_timeout_s=timeout)
    assert it.at(10_000, ManagerHeard(), DeadlinePassed()) == [SendHeartbeat()]


def test_worker_ends_when_told_and_comes_back_when_its_connection_broke(it: Worker) -> None:
    assert it.do(StopRequested("it got SIGTERM")) == [Exit("it got SIGTERM", failed=False)]
    again = Exit("the connection to the manager broke", failed=True, again=True)
    assert Worker().do(ConnectionLost()) == [again]


def test_unknown_amounts_are_reported_as_unknown(it: Worker) -> None:
    assert it.do(TaskReceived(1, ANY), ProcessEnded(1, 0, "", True)) == [ReportEnded(1, UNKNOWN)]


def test_a_library_that_is_not_ready_in_time_is_ended(it: Worker) -> None:
    it.do(LibraryRequested(0, 1, False, 5.0), CallsReceived(0, [1]))
    assert it.at(4.9, DeadlinePassed()) == []
    assert it.at(5.0, DeadlinePassed()) == [KillLibrary(0)]
    assert it.at(6.0, DeadlinePassed()) == []
    words = "its context was not there after 5 s (context_timeout_s): killed"
    assert it.do(LibraryEnded(0, "killed")) == [
        ReportFailed(1, "forsaken", "its library ended before it started: killed"),
        ReportLibraryDown(0, words, False, timed_out=True),
    ]


def test_a_library_that_was_ready_in_time_has_all_the_time(it: Worker) -> None:
    it.do(LibraryRequested(0, 1, False, 5.0))
    it.at(4.0, LibraryReady(0))
    assert it.at(6.0, DeadlinePassed()) == []


def test_calls_that_end_with_their_library_say_with_how_many_others(it: Worker) -> None:
    it.do(LibraryRequested(0, 2, False), LibraryReady(0), CallsReceived(0, [1, 2, 3]))
    assert it.do(LibraryEnded(0, "gone"))[:3] == [
        ReportFailed(1, "library_exit", "its library ended: gone", beside=1),
        ReportFailed(2, "library_exit", "its library ended: gone", beside=1),
        ReportFailed(3, "forsaken", "its library ended before it started: gone"),
    ]


# -- after a sleep -------------------------------------------------------------------------------------------------


def test_what_came_in_a_sleep_is_not_started_before_a_dismissal_may_have_been_read(it: Worker) -> None:
    assert it.at(THRESHOLD_S, TaskReceived(1, ANY)) == []
    assert it.do(StopRequested("dismissed")) == [Exit("dismissed", failed=False)]


def test_what_came_in_a_sleep_is_started_when_nobody_has_given_the_worker_up(it: Worker) -> None:
    it.at(THRESHOLD_S, ManagerHeard(), LibraryRequested(0, 1, False))
    assert it.do(CallsReceived(0, [1], 0.0)) == []
    assert it.do(TaskReceived(2, ANY, time_max_s=5), KillRequested([1])) == []
    assert it.do(DeadlinePassed()) == [SendHeartbeat()]
    assert it.state.next_deadline() == THRESHOLD_S + WAKE_UP_S
    assert it.at(THRESHOLD_S + WAKE_UP_S, DeadlinePassed()) == [
        StartLibrary(0),
        SendCalls(0, [1]),
        StartProcess(2),
        KillCall(0, 1),
    ]
    assert it.do(TaskReceived(3, ANY)) == [StartProcess(3)]
    assert it.at(THRESHOLD_S + WAKE_UP_S + 5, DeadlinePassed()) == [KillProcess(2)]  # its time began with its start


def test_orders_keep_their_order_when_the_first_after_a_sleep_is_itself_an_order(it: Worker) -> None:
    it.at(THRESHOLD_S, TaskReceived(1, ANY), DeadlinePassed())
    assert it.at(THRESHOLD_S + WAKE_UP_S, TaskReceived(2, ANY)) == [StartProcess(1), StartProcess(2)]


def test_what_ran_in_a_sleep_is_reported_at_once(it: Worker) -> None:
    it.do(TaskReceived(1, ANY))
    assert it.at(THRESHOLD_S, ManagerHeard(), ProcessEnded(1, 0, "", True)) == [ReportEnded(1, UNKNOWN)]


def test_a_worker_with_orders_for_later_is_not_idle() -> None:
    it = Worker(idle_timeout_s=THRESHOLD_S - 1)
    it.at(THRESHOLD_S, TaskReceived(1, ANY))
    assert it.do(DeadlinePassed()) == [SendHeartbeat()]
    assert it.at(THRESHOLD_S + WAKE_UP_S, DeadlinePassed()) == [StartProcess(1)]


def test_a_worker_that_said_nothing_for_too_long_starts_nothing_though_it_has_heard_something_since(it: Worker) -> None:
    it.at(PERIOD_S - 1, ManagerHeard())
    assert it.at(THRESHOLD_S, TaskReceived(1, ANY)) == []
