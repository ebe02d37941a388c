"""The whole of HTEX under faults, in simulated time, for many seeds.

``TRELLIS_SIMULATION_SEEDS=20000 pytest tests/simulation`` tries more seeds;
``TRELLIS_SIMULATION_SEED=17 pytest tests/simulation -k replay`` runs one again.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from random import Random

import pytest

from tests.simulation.freezing import Freezer
from tests.simulation.network import World
from tests.simulation.simulation import Machines, Scenario, Simulation
from trellis.executors.htex.interchange.events import Action, Event, TasksSubmitted
from trellis.executors.htex.interchange.selection import Selection
from trellis.executors.htex.interchange.state import InterchangeState
from trellis.executors.htex.manager.state import ManagerSettings, ManagerState
from trellis.executors.htex.submit.submission import MOST_DEATHS

# These compute all the time: on a busy machine they take as much longer.
pytestmark = pytest.mark.timeout(900)

SEEDS = int(os.environ.get("TRELLIS_SIMULATION_SEEDS", "360"))
EACH = 180  # seeds of a test: some seconds, and all kinds of scenarios
# Seeds beyond the first ones that found defects. They stand for the same defect only while the simulation makes the
# same choices; who changes it may look for new ones, with the bugs of test_oracles.py.
REGRESSIONS = [
    1111,  # a manager that came back after its connection broke kept tasks that never reached it
    1298,  # a drained manager left while a task was on its way to it
    1005,  # a result that came after SIGTERM counted, and its slot was given away while the worker still ran
    1007,  # a worker died when it had just taken a task, and nobody missed the task
    1017,  # functions that went with a broken connection were not sent again
    1023,  # a report that went with a broken connection was not said again
]


def scenario_of(seed: int) -> Scenario:
    return Scenario(
        tasks=200 if seed % 3 == 0 else 40,
        managers=seed % 5,
        faults=seed % 16,
        rescue=seed % 7 != 0,
        interchange_dies=seed % 3 + 1 if seed % 11 == 0 else 0,
        pauses=seed % 6 if seed % 13 == 0 else 0,
        drains=seed % 4 if seed % 17 == 0 else 0,
        selection="block_id" if seed % 2 else "random",
    )


def run(seed: int) -> Simulation:
    simulation = Simulation(seed, scenario_of(seed))
    try:
        simulation.run()
    except Exception as error:
        error.add_note(f"Replay: TRELLIS_SIMULATION_SEED={seed} pytest tests/simulation -k replay")
        raise
    return simulation


@pytest.mark.parametrize("first", range(0, SEEDS, EACH))
def test_every_task_has_its_one_outcome_whatever_fails(first: int) -> None:
    outcomes: Counter[str] = Counter()
    for seed in range(first, first + EACH):
        outcomes.update(run(seed).outcomes.values())
    # The faults were such that everything there is did happen.
    everything = {"result", "WorkerLoss", "ManagerLoss", "TasksTimedOut", "TasksCancelled", "TasksRefused", "str"}
    assert set(outcomes) >= everything


@pytest.mark.parametrize("seed", REGRESSIONS)
def test_seeds_that_once_failed_pass(seed: int) -> None:
    run(seed)


@pytest.mark.skipif("TRELLIS_SIMULATION_SEED" not in os.environ, reason="for one seed, given by hand")
def test_replay() -> None:
    run(int(os.environ["TRELLIS_SIMULATION_SEED"]))


def test_a_quiet_network_loses_nothing() -> None:
    # Managers drain and leave while tasks are on their way, and still no task fails but for its walltime.
    for seed in range(50):
        simulation = Simulation(seed, Scenario(faults=0))
        simulation.run()
        assert set(simulation.outcomes.values()) <= {"result", "TasksTimedOut"}


def test_what_people_are_told_is_true_and_asking_disturbs_nothing() -> None:
    answers = 0
    for seed in range(60):
        scenario = replace(scenario_of(seed), questions=30)
        simulation = Simulation(seed, scenario)
        simulation.run()
        answers += simulation.answers
    assert answers > 5_000


def test_without_managers_tasks_wait() -> None:
    simulation = Simulation(1, Scenario(tasks=10, managers=0, faults=0, rescue=False))
    simulation.run()
    assert sorted(simulation.waiting) == list(range(10))
    assert simulation.outcomes == {}


def test_an_interchange_that_dies_takes_nothing_along() -> None:
    # Managers come back and say what they hold: what ran still runs, and nothing runs twice.
    for seed in range(50):
        simulation = Simulation(seed, Scenario(faults=0, interchange_dies=1 + seed % 2))
        simulation.run()
        assert set(simulation.outcomes.values()) <= {"result", "TasksTimedOut"}
        assert simulation.started_twice == []


def test_when_interchanges_die_again_and_again_all_tasks_fail_and_all_managers_end() -> None:
    simulation = Simulation(3, Scenario(interchange_dies=10 * MOST_DEATHS, faults=0, faults_s=5.0, rescue=False))
    simulation.run()
    assert len(simulation.outcomes) == 40
    assert "str" in simulation.outcomes.values()  # the cause
    assert [manager for manager in simulation.managers if manager.alive] == []


def test_a_seed_gives_the_same_run_again() -> None:
    assert run(17).outcomes == run(17).outcomes


def test_a_failure_tells_its_story(monkeypatch: pytest.MonkeyPatch) -> None:
    simulation = Simulation(5)
    monkeypatch.setattr(simulation, "_settled", lambda: False)
    with pytest.raises(AssertionError) as failure:
        simulation.run()
    (note,) = failure.value.__notes__
    assert note.startswith("Simulation seed 5, Scenario(tasks=40, crowds=0.2, managers=3,")
    assert "interchange, from rescue: Heartbeat()" in note


# -- what the parameters of a scenario do ------------------------------------------------------------------------


def test_a_scenario_has_as_many_tasks_and_managers_as_it_says() -> None:
    simulation = Simulation(1, Scenario(tasks=7, managers=2, faults=0))
    simulation.run()
    assert len(simulation.outcomes) == 7
    assert len(simulation.managers) == 3  # and the rescue


def test_crowds_come_at_once_and_short_tasks_are_sent_ahead_and_asked_back() -> None:
    seen: set[str] = set()
    largest = 0

    class Interchange(InterchangeState):
        def handle(self, event: Event, now: float) -> list[Action]:
            nonlocal largest
            actions = super().handle(event, now)
            seen.update(type(action).__name__ for action in actions)
            if any(len(manager.tasks) > manager.registration.capacity for manager in self.managers.values()):
                seen.add("ahead")
            if isinstance(event, TasksSubmitted):
                largest = max(largest, len(event.ids))
            return actions

    Simulation(1, Scenario(tasks=200, crowds=0.0, faults=0), Machines(interchange=Interchange)).run()
    assert largest == 8
    Simulation(1, Scenario(tasks=200, crowds=1.0, faults=0), Machines(interchange=Interchange)).run()
    assert largest >= 30
    assert seen >= {"ahead", "AskBack"}


def test_so_many_tasks_have_demands_as_the_scenario_says() -> None:
    for demands, expected in ((0.0, 0), (1.0, 40)):
        simulation = Simulation(1, Scenario(crowds=0.0, faults=0, demands=demands))
        simulation.run()
        assert simulation.demanding == expected


def test_heartbeats_follow_the_scenario() -> None:
    seen: set[tuple[object, float]] = set()

    class Manager(ManagerState):
        def __init__(self, settings: ManagerSettings, now: float) -> None:
            seen.add((settings.heartbeat_period_s, settings.heartbeat_threshold_s))
            super().__init__(settings, now)

    class Interchange(InterchangeState):
        def __init__(self, heartbeat_threshold_s: float, selection: Selection, rng: Random) -> None:
            seen.add((selection, heartbeat_threshold_s))
            super().__init__(heartbeat_threshold_s, selection, rng)

    scenario = Scenario(heartbeat_period_s=0.5, heartbeat_threshold_s=50, selection="block_id", faults=0)
    Simulation(1, scenario, Machines(interchange=Interchange, manager=Manager)).run()
    assert seen == {("block_id", 50), (0.5, 50)}


def test_faults_are_spread_over_their_time() -> None:
    quick, slow = (Simulation(1, Scenario(faults_s=faults_s)) for faults_s in (2, 30))
    quick.run()
    slow.run()
    assert quick.now_s < 30 <= slow.now_s


def test_pauses_and_jumps_lose_managers_and_no_task() -> None:
    outcomes: Counter[str] = Counter()
    for seed in range(40):
        simulation = Simulation(seed, Scenario(faults=0, pauses=4))
        simulation.run()
        outcomes.update(simulation.outcomes.values())
    assert set(outcomes) <= {"result", "TasksTimedOut", "ManagerLoss", "TasksUnfit"}
    assert outcomes["ManagerLoss"] > 0


def test_drained_blocks_end_and_their_tasks_run_elsewhere() -> None:
    for seed in range(40):
        simulation = Simulation(seed, Scenario(faults=0, drains=3))
        simulation.run()
        drained = set(simulation.submit_side.drained_blocks)
        assert drained
        assert [manager.name for manager in simulation.managers if manager.alive and manager.block in drained] == []


def test_a_jump_of_time_makes_everything_late_and_nothing_lost() -> None:
    world = World(seed=1)
    happened: list[tuple[str, float]] = []
    for name, delay_s in (("first", 1.0), ("second", 2.0), ("third", 20.0)):
        world.after(delay_s, lambda name: happened.append((name, world.now)), name)
    world.jump(10.0)
    while world.next_tick is not None:
        world.step()
    assert happened == [("first", 10.0), ("second", 10.0), ("third", 20.0)]


def test_what_comes_to_a_stopped_process_waits_in_its_order() -> None:
    world = World(seed=1)
    happened: list[tuple[str, float]] = []
    freezer = Freezer(world)

    def on_message(text: str) -> None:
        if not freezer.defer(on_message, text):
            happened.append((text, world.now))

    freezer.freeze(5.0)
    freezer.freeze(1.0)  # it is stopped already
    for number, delay_s in enumerate((1.0, 5.0, 5.0, 6.0)):
        world.after(delay_s, on_message, str(number))
    while world.next_tick is not None:
        world.step()
    assert happened == [("0", 5.0), ("1", 5.0), ("2", 5.0), ("3", 6.0)]
