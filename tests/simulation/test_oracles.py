"""A simulation that finds nothing proves little: each bug put in on purpose must be found."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import msgspec
import pytest

from tests.simulation.oracles import Ledger, LivenessViolation, SafetyViolation, TaskPlan
from tests.simulation.simulation import Machines, Scenario, Simulation
from trellis.errors import BadMessage
from trellis.executors.htex.interchange import events as routing
from trellis.executors.htex.interchange.manager_table import ManagerEntry
from trellis.executors.htex.interchange.protocol import InterchangeProtocol
from trellis.executors.htex.interchange.selection import Selection
from trellis.executors.htex.interchange.state import InterchangeState
from trellis.executors.htex.manager import events
from trellis.executors.htex.manager.events import Running
from trellis.executors.htex.manager.protocol import ManagerProtocol
from trellis.executors.htex.manager.state import ManagerSettings, ManagerState
from trellis.executors.htex.submit import submission
from trellis.executors.htex.submit.submission import Submission
from trellis.wire import stream
from trellis.wire.codec import Buffer
from trellis.wire.messages import (
    Demand,
    ManagerLoss,
    TasksCancelled,
    TasksRefused,
    TasksTimedOut,
    TasksUnfit,
    WorkerLoss,
)

# A bug is found by one of so many seeds.
ENOUGH = 150
FAULTY = Scenario(faults=14)
QUIET = Scenario(faults=0)
RESTARTED = Scenario(faults=0, interchange_dies=1)
CROWDED = Scenario(faults=0, tasks=200)
CROWDED_AND_FAULTY = Scenario(faults=14, tasks=200, crowds=1.0)
SLEEPY = Scenario(faults=0, pauses=8, tasks=200)
CUT_OFTEN = Scenario(faults=60, tasks=100, managers=2)


class ResolvesTwice(Submission):
    def _on_results(self, ids: Sequence[int]) -> list[submission.Action]:
        return [submission.Resolve(ids, range(len(ids)))]


class ForgetsAFailure(Submission):
    def _fail(self, ids: list[int], cause: object) -> list[submission.Action]:
        return super()._fail(ids[1:], cause)


class LosesATask(InterchangeState):
    def _report_lost(self, manager: ManagerEntry, reason: str) -> list[routing.Action]:
        actions = super()._report_lost(manager, reason)
        assert isinstance(actions[0], routing.ReportManagerLost)
        actions[0].ids = actions[0].ids[1:]
        return actions


class RequeuesWhatStarted(InterchangeState):
    def _report_lost(self, manager: ManagerEntry, reason: str) -> list[routing.Action]:
        manager._started.clear()
        return super()._report_lost(manager, reason)


class SendsTwice(InterchangeState):
    def handle(self, event: routing.Event, now: float) -> list[routing.Action]:
        actions = super().handle(event, now)
        sent = [action for action in actions if isinstance(action, routing.SendTasks)]
        for action in sent[1:]:
            action.ids = [sent[0].ids[0], *action.ids[1:]]
        return actions


class SendsTooMany(InterchangeState):
    def __init__(self, heartbeat_threshold_s: float, selection: Selection, rng: Random) -> None:
        super().__init__(heartbeat_threshold_s, selection, rng)
        take = self._queue.take_plain
        self._queue.take_plain = lambda most: take(most + 1)  # type: ignore[method-assign]

    def check_invariants(self) -> None:
        """So that only the manager can notice."""


class ForgetsUnclaimedTasks(InterchangeState):
    def __init__(self, heartbeat_threshold_s: float, selection: Selection, rng: Random) -> None:
        super().__init__(heartbeat_threshold_s, selection, rng)
        self._tasks.end_claims = lambda now: []  # type: ignore[method-assign]


class EndsClaimsAtOnce(InterchangeState):
    """And what managers hold runs a second time."""

    def handle(self, event: routing.Event, now: float) -> list[routing.Action]:
        match event:
            case routing.ResumeEnded():
                event = routing.ResumeEnded([])
            case routing.ManagerRegistered(registration):
                event = routing.ManagerRegistered(msgspec.structs.replace(registration, holding=[]))
        return super().handle(event, now)


class NeverChecks(InterchangeState):
    """What was on its way when a connection broke is waited for."""

    def handle(self, event: routing.Event, now: float) -> list[routing.Action]:
        return [action for action in super().handle(event, now) if not isinstance(action, routing.SendCheck)]


class TakesWhatIsOnItsWayForMissing(InterchangeState):
    def handle(self, event: routing.Event, now: float) -> list[routing.Action]:
        actions = super().handle(event, now)
        for action in [action for action in actions if isinstance(action, routing.SendCheck)]:
            actions += super().handle(routing.TasksMissing(action.manager, action.ids), now)
        return actions


class ForgetsSilence(InterchangeState):
    def _on_deadline_passed(self, now: float) -> list[routing.Action]:
        for name, known in self.managers.items():
            if known._closed_at is None:
                self._managers.hear(name, now)
        return super()._on_deadline_passed(now)


class IgnoresClosedConnections(InterchangeState):
    """What was on its way when a connection broke is waited for."""

    def _on_manager_disconnected(self, name: str, now: float) -> list[routing.Action]:
        return []


class KeepsSlots(InterchangeState):
    def _on_tasks_ended(self, manager: ManagerEntry, event: routing.TasksEnded, now: float) -> list[routing.Action]:
        return super()._on_tasks_ended(manager, routing.TasksEnded(event.manager, event.ids[1:]), now)


class NeverDismissesTheDrained(InterchangeState):
    def _dismiss_when_drained(self, manager: ManagerEntry) -> list[routing.Action]:
        return []


class CancelsWhatItSends(InterchangeState):
    def handle(self, event: routing.Event, now: float) -> list[routing.Action]:
        if not isinstance(event, routing.CancelRequested):
            return super().handle(event, now)
        queued = [id_ for id_ in event.ids if id_ in self.waiting]
        return [routing.ReportCancelled(queued)] if queued else []


class OffersTwice(ManagerState):
    def _offer(self, now: float) -> list[events.Action]:
        actions = super()._offer(now)
        return [*actions, *actions]


class CancelsInSilence(ManagerState):
    def _cancel(self, asked: set[int], now: float) -> list[events.Action]:
        super()._cancel(asked, now)
        return []


class ReportsBeforeTheEnd(ManagerState):
    def _on_interrupted(self, event: events.Interrupted, now: float) -> list[events.Action]:
        report = self._offered._to_end.get(event.task)
        actions = super()._on_interrupted(event, now)
        if event.caught and isinstance(report, events.ReportCancelled):
            actions.append(report)
        return actions


class NeverKills(ManagerState):
    def _on_deadline_passed(self, running: Running, now: float) -> list[events.Action]:
        actions = super()._on_deadline_passed(running, now)
        return [action for action in actions if not isinstance(action, events.KillWorker)]


class ForgetsTheWidowed(ManagerState):
    def _on_worker_exited(self, event: events.WorkerExited, now: float) -> list[events.Action]:
        actions = super()._on_worker_exited(event, now)
        return [action for action in actions if not isinstance(action, events.ReportWorkerLost)]


class NeverLooksForLostTasks(ManagerState):
    """A task whose worker died before it was on the board."""

    def _on_taken_back(self, event: events.TakenBack, now: float) -> list[events.Action]:
        self._lost_tasks.due = None
        return super()._on_taken_back(event, now)


class CancelsOnlyWhatRuns(ManagerState):
    """And what is in the workers' queue starts all the same."""

    def _on_taken_back(self, event: events.TakenBack, now: float) -> list[events.Action]:
        for task in self._offered._to_end.keys() & set(event.ids):
            del self._offered._to_end[task]
        return super()._on_taken_back(event, now)

    def _on_cancel_requested(self, ids: Sequence[int], running: Running, now: float) -> list[events.Action]:
        actions = super()._on_cancel_requested(ids, running, now)
        early = [task for task in self._offered._to_end if task not in running]
        return [*actions, events.ReportCancelled(early)] if early else actions


class GivesBackAndKeeps(ManagerState):
    def _give_back(self) -> list[events.Action]:
        actions = super()._give_back()
        for action in actions:
            if isinstance(action, events.GiveBack):
                self._backlog.put_back(action.ids)
        return actions


class ForgetsWhatComesBack(InterchangeState):
    def _put_back(self, manager: ManagerEntry, ids: Sequence[int], now: float) -> list[routing.Action]:
        return super()._put_back(manager, ids[1:], now)


class IgnoresWhatComesBack(InterchangeState):
    def handle(self, event: routing.Event, now: float) -> list[routing.Action]:
        if isinstance(event, routing.TasksReturned):
            event = routing.TasksStarted(event.manager, [])
        return super().handle(event, now)


class NeverAsksBack(InterchangeState):
    def handle(self, event: routing.Event, now: float) -> list[routing.Action]:
        return [action for action in super().handle(event, now) if not isinstance(action, routing.AskBack)]


class ReoffersWhatRuns(ManagerState):
    def _on_taken_back(self, event: events.TakenBack, now: float) -> list[events.Action]:
        return [*super()._on_taken_back(event, now), *(events.Offer([task]) for task in list(event.running)[:1])]


class AccusesAtOnce(ManagerState):
    """What a worker has just taken is taken for lost."""

    def _on_taken_back(self, event: events.TakenBack, now: float) -> list[events.Action]:
        self._lost_tasks._suspects = dict.fromkeys(self._offered.tasks, 2)
        return super()._on_taken_back(event, now)


class NeverNoticesSilence(ManagerState):
    def _on_deadline_passed(self, running: Running, now: float) -> list[events.Action]:
        self._liveness.heard(now)
        return super()._on_deadline_passed(running, now)


class NeverDrains(InterchangeState):
    def handle(self, event: routing.Event, now: float) -> list[routing.Action]:
        return [] if isinstance(event, routing.DrainRequested) else super().handle(event, now)


class IgnoresItsDismissal(ManagerState):
    def handle(self, event: events.Event, now: float) -> list[events.Action]:
        return [] if isinstance(event, events.StopRequested) else super().handle(event, now)


class TakesLateResults(ManagerState):
    def counts(self, task: int) -> bool:
        return task in self._offered.tasks


class IgnoresTheWitness(InterchangeState):
    def _on_witness_reported(self, event: routing.WitnessReported, now: float) -> list[routing.Action]:
        return super()._on_witness_reported(routing.WitnessReported(event.manager, event.running, []), now)


class LeavesWithoutGivingBack(ManagerState):
    def _give_up(self, reason: str, failed: bool) -> list[events.Action]:
        return self._exit(reason, failed)


class StartsAtOnceWhenItWakes(ManagerState):
    """Though it may have been given up in its sleep."""

    def __init__(self, settings: ManagerSettings, now: float) -> None:
        super().__init__(settings, now)
        self._liveness.has_overslept = lambda now: False  # type: ignore[method-assign]


# -- bugs of the protocol objects --------------------------------------------------------------------------------


class ForgetsThatConnectionsBreak(InterchangeProtocol):
    """Functions that were on their way are not sent again."""

    def _handle(self, event: routing.Event) -> None:
        self._payloads.doubt = lambda manager: None  # type: ignore[method-assign]
        super()._handle(event)


class IgnoresBadReports(InterchangeProtocol):
    def _refuse_report(self, name: str, frames: list[Buffer], error: BadMessage) -> bool:
        return True


class MixesUpArguments(InterchangeProtocol):
    def on_client_frames(self, peer: bytes, frames: list[Buffer], now: float) -> None:
        super().on_client_frames(peer, frames, now)
        tasks = self._payloads._tasks
        if len(tasks) > 1:
            first, second, *_ = tasks
            tasks[first], tasks[second] = tasks[second], tasks[first]


class SaysNothingAgain(ManagerProtocol):
    def on_connection_changes(self, changes: Sequence[bool], now: float) -> None:
        self._link._kept.clear()
        super().on_connection_changes(changes, now)


class MixesUpResults(ManagerProtocol):
    def on_turn_end(self) -> None:
        self._link._results._payloads.reverse()
        super().on_turn_end()


class AnswersNoWorker(ManagerProtocol):
    def on_worker_frames(self, worker: int, frames: Sequence[stream.StreamFrame], now: float) -> None:
        super().on_worker_frames(worker, [frame for frame in frames if frame.kind != stream.FETCH], now)


class KeepsResultsBack(ManagerProtocol):
    """Until there is something else to report."""

    def on_turn_end(self) -> None:
        pass


BUGS = [
    (Machines(interchange=IgnoresTheWitness), CROWDED_AND_FAULTY, SafetyViolation),
    (Machines(manager=LeavesWithoutGivingBack), CROWDED_AND_FAULTY, SafetyViolation),
    (Machines(submission=ResolvesTwice), FAULTY, SafetyViolation),
    (Machines(submission=ForgetsAFailure), FAULTY, LivenessViolation),
    (Machines(interchange=LosesATask), FAULTY, LivenessViolation),
    (Machines(interchange=RequeuesWhatStarted), FAULTY, SafetyViolation),
    (Machines(interchange=ForgetsUnclaimedTasks), RESTARTED, LivenessViolation),
    (Machines(interchange=EndsClaimsAtOnce), RESTARTED, SafetyViolation),
    (Machines(interchange=NeverChecks), FAULTY, LivenessViolation),
    (Machines(interchange=TakesWhatIsOnItsWayForMissing), CUT_OFTEN, SafetyViolation),
    (Machines(interchange=SendsTwice), QUIET, SafetyViolation),
    (Machines(manager=OffersTwice), QUIET, SafetyViolation),
    (Machines(interchange=SendsTooMany), QUIET, SafetyViolation),
    (Machines(interchange=ForgetsSilence), FAULTY, LivenessViolation),
    (Machines(interchange=IgnoresClosedConnections), FAULTY, LivenessViolation),
    (Machines(interchange=KeepsSlots), QUIET, LivenessViolation),
    (Machines(interchange=NeverDismissesTheDrained), QUIET, LivenessViolation),
    (Machines(interchange=CancelsWhatItSends), FAULTY, (SafetyViolation, KeyError)),
    (Machines(manager=CancelsInSilence), FAULTY, LivenessViolation),
    (Machines(manager=ReportsBeforeTheEnd), FAULTY, (SafetyViolation, KeyError)),
    (Machines(manager=NeverKills), FAULTY, LivenessViolation),
    (Machines(manager=ForgetsTheWidowed), FAULTY, LivenessViolation),
    (Machines(manager=NeverLooksForLostTasks), FAULTY, LivenessViolation),
    (Machines(manager=CancelsOnlyWhatRuns), FAULTY, (SafetyViolation, KeyError)),
    (Machines(manager=GivesBackAndKeeps), CROWDED, (AssertionError, KeyError)),
    (Machines(interchange=ForgetsWhatComesBack), CROWDED, (LivenessViolation, SafetyViolation)),
    (Machines(interchange=IgnoresWhatComesBack), CROWDED, LivenessViolation),
    (Machines(interchange=NeverAsksBack), CROWDED, LivenessViolation),
    (Machines(manager=ReoffersWhatRuns), CROWDED, (SafetyViolation, KeyError)),
    (Machines(manager=AccusesAtOnce), Scenario(faults=14, tasks=200), SafetyViolation),
    (Machines(manager=NeverNoticesSilence), Scenario(interchange_dies=30, rescue=False), LivenessViolation),
    (Machines(interchange=NeverDrains), Scenario(faults=0, drains=2), LivenessViolation),
    (Machines(manager=IgnoresItsDismissal), Scenario(faults=0, pauses=4), (LivenessViolation, SafetyViolation)),
    (Machines(manager=StartsAtOnceWhenItWakes), SLEEPY, SafetyViolation),
    (Machines(manager=TakesLateResults), FAULTY, (AssertionError, KeyError)),
    (Machines(interchange_protocol=ForgetsThatConnectionsBreak), CUT_OFTEN, SafetyViolation),
    (Machines(interchange_protocol=IgnoresBadReports), FAULTY, LivenessViolation),
    (Machines(interchange_protocol=MixesUpArguments), QUIET, SafetyViolation),
    (Machines(manager_protocol=SaysNothingAgain), CUT_OFTEN, (LivenessViolation, SafetyViolation)),
    (Machines(manager_protocol=MixesUpResults), QUIET, SafetyViolation),
    (Machines(manager_protocol=AnswersNoWorker), QUIET, LivenessViolation),
    (Machines(manager_protocol=KeepsResultsBack), QUIET, LivenessViolation),
]


def name(machines: Machines) -> str:
    return next(used.__name__ for used, real in zip(machines, Machines(), strict=True) if used is not real)


@pytest.mark.parametrize(("machines", "scenario", "kind"), BUGS, ids=[name(machines) for machines, _, _ in BUGS])
def test_a_bug_is_found(
    machines: Machines, scenario: Scenario, kind: type[Exception] | tuple[type[Exception], ...]
) -> None:
    for seed in range(ENOUGH):
        try:
            Simulation(seed, scenario, machines).run()
        except kind:
            return
    pytest.fail(f"{name(machines)} was not found by {ENOUGH} seeds")


# -- the ledger, rule by rule ------------------------------------------------------------------------------------


@pytest.fixture
def ledger() -> Ledger:
    ledger = Ledger()
    ledger.plans = {1: TaskPlan(1, 1.0), 2: TaskPlan(2, 1.0, walltime_s=5.0)}
    return ledger


def test_a_task_may_start_once(ledger: Ledger) -> None:
    ledger.started(1, "m")
    with pytest.raises(SafetyViolation, match="second time"):
        ledger.started(1, "m")


def test_what_a_disturbed_manager_had_not_announced_may_start_again(ledger: Ledger) -> None:
    ledger.started(1, "m")
    ledger.disturbed.add("m")
    ledger.started(1, "n")
    assert ledger.started_twice == [1]


def test_what_was_announced_is_not_sent_again_unless_given_back(ledger: Ledger) -> None:
    ledger.announced([1, 2])
    ledger.given_back([2])
    ledger.sent([2])
    with pytest.raises(SafetyViolation, match="announced as started"):
        ledger.sent([1])
    ledger.interchange_died()
    ledger.sent([1])


def test_a_cancelled_task_may_not_start(ledger: Ledger) -> None:
    ledger.cancel_wanted.add(1)
    ledger.failed(1, TasksCancelled([1]))
    with pytest.raises(SafetyViolation, match="although it was reported as cancelled"):
        ledger.started(1, "m")


def test_a_result_needs_a_run(ledger: Ledger) -> None:
    ledger.started(1, "m")
    with pytest.raises(SafetyViolation, match="no worker ran it"):
        ledger.resolved(1)


def test_a_task_ends_once(ledger: Ledger) -> None:
    ledger.started(1, "m")
    ledger.completed(1, "m")
    ledger.resolved(1)
    with pytest.raises(SafetyViolation, match="ends twice: result, then WorkerLoss"):
        ledger.failed(1, WorkerLoss("m", 1, 0, "host", "it died"))


def test_only_submitted_tasks_end(ledger: Ledger) -> None:
    with pytest.raises(SafetyViolation, match="nobody submitted"):
        ledger.resolved(3)


@pytest.mark.parametrize(
    "cause",
    [
        TasksCancelled([1]),
        TasksUnfit([1], "no manager has so much"),
        TasksTimedOut("m", [1], [1.0]),
        WorkerLoss("m", 1, 0, "host", "it died"),
        TasksRefused([1], "it makes no sense"),
        ManagerLoss("m", "0", "host", [1], "it was lost"),
        "the interchange died",
    ],
    ids=lambda cause: type(cause).__name__,
)
def test_a_failure_needs_its_reason(ledger: Ledger, cause: object) -> None:
    with pytest.raises(SafetyViolation, match="without a reason"):
        ledger.failed(1, cause)


def test_failures_with_a_reason_are_right(ledger: Ledger) -> None:
    ledger.started(2, "m")
    ledger.worker_died(2, "m", by_itself=False)
    ledger.failed(2, TasksTimedOut("m", [2], [5.0]))
    ledger.disturbed.add("m")
    ledger.failed(1, ManagerLoss("m", "0", "host", [1], "it was lost"))
    ledger.given_up = True
    ledger.plans[3] = TaskPlan(3, 1.0)
    ledger.failed(3, "the interchange died")
    ledger.plans[4] = TaskPlan(4, 1.0, demand=Demand(cores=8))
    ledger.failed(4, TasksUnfit([4], "no manager has so much"))
    assert ledger.waiting == []
    assert ledger.outcomes == {2: "TasksTimedOut", 1: "ManagerLoss", 3: "str", 4: "TasksUnfit"}
