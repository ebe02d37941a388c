"""The embedded TaskVine manager and its workers under faults, in simulated time, for many seeds.

``TRELLIS_SIMULATION_SEEDS=5000 pytest tests/simulation/test_vine.py`` tries more seeds;
``TRELLIS_SIMULATION_SEED=17 pytest tests/simulation/test_vine.py -k replay`` runs one again.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest

from tests.simulation.oracles import LivenessViolation
from tests.simulation.vine_simulation import Parts, VineScenario, VineSimulation
from trellis.errors import BadMessage
from trellis.executors.taskvine.embedded.manager import events
from trellis.executors.taskvine.embedded.manager.message_checks import check_worker_message
from trellis.executors.taskvine.embedded.manager.protocol import VineManagerProtocol
from trellis.executors.taskvine.embedded.manager.state import VineManagerState
from trellis.executors.taskvine.embedded.worker import events as worker_events
from trellis.executors.taskvine.embedded.worker.orders import TaskEnd
from trellis.executors.taskvine.embedded.worker.protocol import VineWorkerProtocol
from trellis.executors.taskvine.embedded.worker.state import VineWorkerState
from trellis.wire.codec import Buffer, Decoder
from trellis.wire.messages import DefineFunctions
from trellis.wire.vine import GetFile, Resources, ToVineWorker, VineTasks

# These compute all the time: on a busy machine they take as much longer.
pytestmark = pytest.mark.timeout(900)

SEEDS = int(os.environ.get("TRELLIS_SIMULATION_SEEDS", "120"))
EACH = 60  # seeds of a test: some seconds, and all kinds of scenarios
POLICIES = ("files", "time", "worst", "rand")
LABELS = ("fixed", "max", "max-xput", "bucketing")
# Seeds beyond the first ones that found defects.
REGRESSIONS = [
    94,  # a task was cancelled while its output came home: its result was kept for as long as its worker lived
    1414,  # a worker whose registration came twice was welcomed twice, and forgot the library that it was starting
]


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    """What is told in a failure is in its note."""
    caplog.set_level(logging.CRITICAL, "trellis")


def scenario_of(seed: int) -> VineScenario:
    return VineScenario(
        tasks=80 if seed % 3 == 0 else 30,
        workers=seed % 5,
        faults=(seed * 7) % 20,
        peers=seed % 4 != 0,
        temp_replicas=1 + seed % 3,
        policy=POLICIES[seed % 4],
        disk=5.0 if seed % 2 else 1_000.0,
        slow_factor=2.0 if seed % 5 == 0 else 0.0,
        autolabel=LABELS[seed % 7 % 4],
    )


def run(seed: int) -> VineSimulation:
    simulation = VineSimulation(seed, scenario_of(seed))
    try:
        simulation.run()
    except Exception as error:
        error.add_note(f"Replay: TRELLIS_SIMULATION_SEED={seed} pytest tests/simulation/test_vine.py -k replay")
        raise
    return simulation


@pytest.mark.parametrize("first", range(0, SEEDS, EACH))
def test_every_task_has_its_one_report_whatever_fails(first: int) -> None:
    outcomes: Counter[str] = Counter()
    for seed in range(first, first + EACH):
        outcomes.update(run(seed).user.outcomes.values())
    # The faults were such that everything there is did happen.
    assert set(outcomes) >= {
        "done",
        "input_missing",
        "missing_library",
        "output_missing",
        "signal",
        "cancelled",
        "library_exit",
        "resource_exhaustion",
        "max_wall_time",
    }


@pytest.mark.parametrize("seed", REGRESSIONS)
def test_seeds_that_once_failed_pass(seed: int) -> None:
    run(seed)


@pytest.mark.skipif("TRELLIS_SIMULATION_SEED" not in os.environ, reason="for one seed, given by hand")
def test_replay() -> None:
    run(int(os.environ["TRELLIS_SIMULATION_SEED"]))


def test_without_faults_tasks_end_as_they_are_meant_to() -> None:
    outcomes: Counter[str] = Counter()
    for seed in range(20):
        simulation = VineSimulation(seed, VineScenario(faults=0, ends=("",)))
        simulation.run()
        outcomes.update(simulation.user.outcomes.values())
    # Calls of the library that never starts, those who need their temps, and tasks that need more than they may have.
    assert set(outcomes) <= {
        "done",
        "missing_library",
        "input_missing",
        "resource_exhaustion",
        "max_wall_time",
    }
    assert outcomes["done"] > sum(outcomes.values()) * 0.6


def test_a_seed_gives_the_same_run_again() -> None:
    assert run(17).user.outcomes == run(17).user.outcomes


def test_a_failure_tells_its_story() -> None:
    simulation = VineSimulation(5)
    simulation._unsettled = lambda: ["something"]  # type: ignore[method-assign]
    with pytest.raises(LivenessViolation, match="something") as failure:
        simulation.run()
    (note,) = failure.value.__notes__
    assert note.startswith("VineSimulation seed 5, VineScenario(tasks=40, workers=3,")
    assert "DeadlinePassed()" in note


def test_peers_and_temp_replicas_follow_the_scenario() -> None:
    def orders(scenario: VineScenario) -> list[GetFile]:
        simulation = VineSimulation(3, scenario)
        simulation.run()
        return simulation.orders

    alone = orders(VineScenario(faults=0, peers=False, temp_replicas=3))
    assert {order.source for order in alone} <= {"", "http://x"}
    passed_on = orders(VineScenario(faults=0, temp_replicas=1))
    copied = orders(VineScenario(faults=0, temp_replicas=3))
    assert len(copied) > len(passed_on) > 0
    assert any(order.source.startswith(("w", "rescue")) for order in passed_on)


# -- the oracles see bugs, through codec and protocol objects ------------------------------------------------------


class ReportsTwice(VineManagerState):
    def handle(self, event: events.Event, now: float) -> list[events.Action]:
        actions = super().handle(event, now)
        return actions + [action for action in actions if isinstance(action, events.ReportFailed)]


class Oversells(VineManagerState):
    def handle(self, event: events.Event, now: float) -> list[events.Action]:
        actions = super().handle(event, now)
        for action in actions:
            if isinstance(action, events.StartLibrary):
                action.resources = Resources(5, 0, 0, 0)
        return actions


class DoesNotWaitForFiles(VineManagerState):
    def handle(self, event: events.Event, now: float) -> list[events.Action]:
        actions = super().handle(event, now)
        early = [action for action in actions if isinstance(action, events.OrderFile)]
        for action in early:
            actions += super().handle(events.CacheUpdated(action.worker, [action.name], [1]), now)
        return actions


class RunsAgain(VineManagerState):
    """A task that was cancelled is sent to another worker."""

    def handle(self, event: events.Event, now: float) -> list[events.Action]:
        actions = super().handle(event, now)
        killed = [action for action in actions if isinstance(action, events.KillTasks)]
        return actions + [events.RunTasks(each.worker, each.ids[:1], [Resources()], [-1]) for each in killed]


class MixesUpArguments(VineManagerProtocol):
    def _on_tasks(self, message: VineTasks, frames: list[Buffer]) -> None:
        message.sizes.reverse()
        super()._on_tasks(message, frames)


class ForgetsWhatWaitsForNames(VineManagerProtocol):
    def _hear(self, frames: list[Buffer]) -> None:
        self._awaits_names = False
        super()._hear(frames)


class KeepsWhoSendsNonsense(VineManagerProtocol):
    """And so waits for ever for what the message was about."""

    def on_worker_frames(self, peer: bytes, connection: int, frames: list[Buffer], now: float) -> None:
        try:
            check_worker_message(self._from_worker.decode(frames[0] if frames else b""))
        except BadMessage:
            return
        super().on_worker_frames(peer, connection, frames, now)


class KeepsResults(VineManagerProtocol):
    def _perform(self, action: events.Action) -> None:
        if not isinstance(action, events.ForgetResults | events.ForgetTasks):
            super()._perform(action)


class TeachesOnlyOne(VineManagerProtocol):
    """Functions that one worker knows are not told to others."""

    def _send_all(self, messages: Iterable[tuple[str, list[Buffer]]]) -> None:
        kept = [(worker, frames) for worker, frames in messages if worker != "rescue" or not self._defines(frames)]
        super()._send_all(kept)

    @staticmethod
    def _defines(frames: list[Buffer]) -> bool:
        return isinstance(Decoder[Any](ToVineWorker).decode(frames[0]), DefineFunctions)


class LosesResults(VineWorkerProtocol):
    def on_process_ended(self, id_: int, end: TaskEnd, now: float) -> None:
        if id_ % 10:
            super().on_process_ended(id_, end, now)
        else:
            self.state.handle(worker_events.ProcessEnded(id_, 0, "", True), now)


class MixesUpResults(VineWorkerProtocol):
    def on_process_ended(self, id_: int, end: TaskEnd, now: float) -> None:
        super().on_process_ended(id_, end._replace(payload=b"another's") if end.payload else end, now)


class KeepsOrders(VineWorkerProtocol):
    def _perform(self, action: worker_events.Action) -> None:
        if isinstance(action, worker_events.ReportFailed):
            self._orders[action.id] = self._orders.get(action.id)  # type: ignore[assignment]
        kept = dict(self._orders)
        super()._perform(action)
        self._orders.update(kept)


class StartsTooManyCalls(VineWorkerState):
    def _on_library_ready(self, instance: int, now: float) -> list[worker_events.Action]:
        self._libraries[instance].running += 1
        return super()._on_library_ready(instance, now)


class NeverBeats(VineWorkerState):
    """Its deadlines pass, and it does nothing about them."""

    def _on_deadline_passed(self, now: float) -> list[worker_events.Action]:
        return []


@pytest.mark.parametrize(
    ("parts", "seen"),
    [
        (Parts(manager_machine=ReportsTwice), "is reported twice"),
        (Parts(manager_machine=Oversells), "is oversold"),
        (Parts(manager_machine=DoesNotWaitForFiles), "without f"),
        (Parts(manager_machine=RunsAgain), "runs after its report|runs at .* already"),
        (Parts(manager=MixesUpArguments), "the arguments or the function of another"),
        (Parts(manager=ForgetsWhatWaitsForNames), "was refused: a file that was not declared"),
        (Parts(manager=KeepsWhoSendsNonsense), "have not ended|is busy for nothing|left over|runs at"),
        (Parts(manager=KeepsResults), "left over"),
        (Parts(manager=TeachesOnlyOne), "have not ended|could not be started"),
        (Parts(worker=LosesResults), "have not ended|left over"),
        (Parts(worker=MixesUpResults), "the result of another"),
        (Parts(worker=KeepsOrders), "left over"),
        (Parts(worker_machine=StartsTooManyCalls), "counted wrong"),
        (Parts(worker_machine=NeverBeats), "is busy for nothing"),
    ],
    ids=lambda value: "" if isinstance(value, str) else next(part.__name__ for part in value if part not in Parts()),
)
def test_a_bug_is_seen(parts: Parts, seen: str) -> None:
    def search() -> None:
        for seed in range(80):
            VineSimulation(seed, VineScenario(faults=12), parts).run()

    with pytest.raises(AssertionError, match=seen):
        search()
