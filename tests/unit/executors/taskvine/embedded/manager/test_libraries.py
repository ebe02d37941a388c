"""Libraries at a TaskVine manager: where they start, which calls they get, what it means when they end."""

from __future__ import annotations

import pytest

from tests.unit.executors.taskvine.embedded.manager.managing import ONE, WHOLE, Manager, run
from trellis.executors.common.lookahead import MOST_AHEAD_PER_WORKER
from trellis.executors.taskvine.embedded.manager import events
from trellis.executors.taskvine.embedded.manager.dispatcher import PATIENCE_S
from trellis.executors.taskvine.embedded.manager.instances import LIBRARY_PAUSE_S, MAX_LIBRARY_FAILURES
from trellis.executors.taskvine.embedded.manager.reports import MAX_EXITS, MAX_FORSAKEN_CALL
from trellis.wire.vine import Mount, Resources, TaskShape


@pytest.fixture
def manager() -> Manager:
    """Shape 1 is a call of library "l", which takes one core and two calls at a time; shape 2 one of library "m"."""
    made = Manager()
    for shape, library in ((1, "l"), (2, "m")):
        made.library(library, slots=2, resources=Resources(cores=1))
        made.shape(shape, TaskShape("serverless", "calls", Resources(), library=library))
    return made


def calls(worker: str, *ids: int, instance: int = 0) -> events.RunTasks:
    return run(worker, *ids, resources=None, instance=instance)


def start(worker: str, instance: int = 0, library: str = "l", resources: Resources = ONE) -> events.StartLibrary:
    return events.StartLibrary(worker, library, instance, resources)


def up(manager: Manager, worker: str, instance: int = 0, slots: int = 2) -> list[events.Action]:
    return manager.handle(events.LibraryUp(worker, instance, slots))


def down(manager: Manager, worker: str, instance: int = 0) -> list[events.Action]:
    return manager.handle(events.LibraryDown(worker, instance, "ImportError: x"))


def submit(manager: Manager, *ids: int, shape: int = 1) -> list[events.Action]:
    return manager.handle(events.TasksSubmitted(ids, [shape] * len(ids)))


# -- starts --------------------------------------------------------------------------------------------------------


def test_a_library_starts_when_a_call_needs_it_and_gets_its_calls_when_it_is_up(manager: Manager) -> None:
    assert manager.worker("a") == [events.Welcome("a")]
    assert submit(manager, 1) == [start("a")]
    assert submit(manager, 2) == []  # the second slot
    assert submit(manager, 3) == [start("a", 1)]
    assert up(manager, "a") == [calls("a", 1, 2)]
    assert up(manager, "a", 1) == [calls("a", 3, instance=1)]


def test_calls_of_two_shapes_need_no_more_instances_than_there_are_calls(manager: Manager) -> None:
    manager.shape(3, TaskShape("serverless", "other", Resources(), library="l"))
    manager.worker("a")
    assert submit(manager, 1) == [start("a")]
    assert submit(manager, 2, shape=3) == []


@pytest.mark.parametrize(
    ("spec", "slots"),
    [({"slots": 3}, 3), ({"slots": 0}, 4), ({"slots": 3, "exec_mode": "direct"}, 1)],
    ids=["as it says", "as many as cores", "direct: one"],
)
def test_slots_that_a_starting_instance_will_have(spec: dict[str, object], slots: int) -> None:
    manager = Manager()
    manager.library("l", resources=Resources(cores=4), **spec)
    manager.shape(1, TaskShape("serverless", "calls", Resources(), library="l"))
    manager.worker("a", Resources(8, 8, 8, 0))
    started = submit(manager, *range(slots + 1))
    assert len(started) == 2
    manager = Manager()
    manager.library("l", resources=Resources(cores=4), **spec)
    manager.shape(1, TaskShape("serverless", "calls", Resources(), library="l"))
    manager.worker("a", Resources(8, 8, 8, 0))
    assert len(submit(manager, *range(slots))) == 1


def test_a_library_that_says_nothing_has_a_worker_for_itself() -> None:
    manager = Manager()
    manager.library("l")
    manager.shape(1, TaskShape("serverless", "calls", Resources(), library="l"))
    manager.worker("a")
    assert submit(manager, 1) == [start("a", resources=WHOLE)]


def test_a_library_starts_when_its_files_are_there(manager: Manager) -> None:
    manager.file(1)
    manager.file(2, level="worker")
    manager.library("n", inputs=[Mount(1, "data")], environment=2, resources=Resources(cores=1))
    manager.shape(3, TaskShape("serverless", "calls", Resources(), library="n"))
    manager.worker("a")
    orders: list[events.Action] = [events.OrderFile("a", "f1", ""), events.OrderFile("a", "f2", "")]
    assert submit(manager, 1, shape=3) == orders
    assert manager.cached("a", 1) == []
    assert manager.cached("a", 2) == [start("a", library="n")]
    assert manager.handle(events.FilesDropped([1, 2])) == []  # the library names them


def test_a_file_that_does_not_come_is_a_failed_start(manager: Manager) -> None:
    manager.file(1)
    manager.library("n", inputs=[Mount(1, "data")])
    manager.shape(3, TaskShape("serverless", "calls", Resources(), library="n"))
    manager.worker("a")
    submit(manager, 1, shape=3)
    words = "library n does not start: its file f1: no"
    assert manager.not_cached("a", 1) == [events.TellUser(words), events.OrderFile("a", "f1", "")]
    assert manager.not_cached("a", 1) == [events.ReportFailed(1, "missing_library", words)]


def test_short_calls_are_sent_ahead(manager: Manager) -> None:
    manager.worker("a", Resources(1, 1, 1, 0))
    submit(manager, 0)
    up(manager, "a")
    manager.ended("a", 0, duration_s=0.00001)
    actions = submit(manager, *range(1, 300))
    assert actions == [calls("a", *range(1, 1 + 2 * (1 + MOST_AHEAD_PER_WORKER)))]


def test_long_calls_are_not(manager: Manager) -> None:
    manager.worker("a", Resources(1, 1, 1, 0))
    submit(manager, 0)
    up(manager, "a")
    manager.ended("a", 0, duration_s=1.0)
    assert submit(manager, *range(1, 9)) == [calls("a", 1, 2)]


# -- failed starts -------------------------------------------------------------------------------------------------

WORDS = "library l does not start: ImportError: x"


def test_a_library_that_does_not_start_is_tried_twice_then_its_calls_fail(manager: Manager) -> None:
    manager.worker("a")
    submit(manager, 1, 2)
    assert down(manager, "a") == [events.TellUser(WORDS), start("a", 1)]
    assert down(manager, "a", 1) == [
        events.ReportFailed(1, "missing_library", WORDS),
        events.ReportFailed(2, "missing_library", WORDS),
    ]
    assert submit(manager, 3) == [events.ReportFailed(3, "missing_library", WORDS)]


def test_another_worker_is_tried_first(manager: Manager) -> None:
    manager.worker("a")
    manager.worker("b")
    submit(manager, 1)
    assert down(manager, "a") == [events.TellUser(WORDS), start("b", 1)]
    assert up(manager, "b", 1) == [calls("b", 1, instance=1)]
    assert submit(manager, 2, 3) == [start("b", 2), calls("b", 2, instance=1)]
    assert manager.wait(LIBRARY_PAUSE_S) == []


def test_a_new_worker_is_another_chance(manager: Manager) -> None:
    manager.worker("a")
    submit(manager, 1)
    down(manager, "a")
    down(manager, "a", 1)
    manager.worker("b")
    assert submit(manager, 2) == [start("b", 2)]


def test_so_is_another_installation(manager: Manager) -> None:
    manager.worker("a")
    submit(manager, 1)
    down(manager, "a")
    down(manager, "a", 1)
    manager.library("l", slots=1, resources=Resources(cores=2))
    manager.wait(LIBRARY_PAUSE_S)
    assert submit(manager, 2) == [start("a", 2, resources=Resources(2, 200, 500, 0))]


def test_with_many_workers_it_is_not_tried_on_all(manager: Manager) -> None:
    names = [f"w{number}" for number in range(9)]
    for name in names:
        manager.worker(name)
    actions = submit(manager, 1)
    for attempt in range(MAX_LIBRARY_FAILURES):
        (started,) = [action for action in actions if isinstance(action, events.StartLibrary)]
        assert started.instance == attempt
        actions = down(manager, started.worker, attempt)
    assert actions == [events.ReportFailed(1, "missing_library", WORDS)]


def test_a_library_that_runs_elsewhere_is_not_given_up(manager: Manager) -> None:
    manager.worker("a", Resources(1, 1, 1, 0))
    submit(manager, 1)
    up(manager, "a")
    manager.worker("b")
    submit(manager, 2, 3, 4)
    for instance in range(1, 9):
        down(manager, "b", instance)
        manager.wait(LIBRARY_PAUSE_S + 1)
    assert not manager.state.store.libraries["l"].broken


def test_a_library_that_ends_before_its_first_call_has_not_started(manager: Manager) -> None:
    manager.worker("a")
    submit(manager, 1)
    up(manager, "a")
    assert down(manager, "a") == [events.TellUser(WORDS)]
    assert manager.failed("a", 1, "forsaken") == [start("a", 1)]


def test_a_call_of_a_library_that_was_never_installed_fails_at_once(manager: Manager) -> None:
    manager.shape(3, TaskShape("serverless", "calls", Resources(), library="x"))
    assert submit(manager, 1, shape=3) == [events.ReportFailed(1, "missing_library", "there is no library x")]


# -- libraries that die --------------------------------------------------------------------------------------------


def test_what_the_worker_says_of_each_call_counts(manager: Manager) -> None:
    manager.worker("a")
    submit(manager, 1, 2)
    up(manager, "a")
    assert manager.failed("a", 1, "library_exit") == [calls("a", 1)]  # its end is not known yet
    assert down(manager, "a") == []
    assert manager.failed("a", 1, "forsaken") == [start("a", 1)]
    assert manager.failed("a", 2, "library_exit") == []
    assert up(manager, "a", 1) == [calls("a", 1, 2, instance=1)]


def test_a_call_that_kills_its_library_again_and_again_fails(manager: Manager) -> None:
    manager.worker("a")
    submit(manager, 1)
    for instance in range(MAX_EXITS - 1):
        up(manager, "a", instance)
        manager.failed("a", 1, "library_exit")
        down(manager, "a", instance)
        manager.failed("a", 1, "forsaken")
    up(manager, "a", MAX_EXITS - 1)
    assert manager.failed("a", 1, "library_exit") == [events.ReportFailed(1, "library_exit", "why (3 times)")]
    assert not manager.state.store.libraries["l"].broken


def test_calls_that_were_sent_ahead_to_a_dying_library_are_not_held_against_the_worker(manager: Manager) -> None:
    manager.worker("a", Resources(1, 1, 1, 0))
    submit(manager, 0)
    up(manager, "a")
    manager.ended("a", 0, duration_s=0.00001)
    submit(manager, *range(1, 40))
    down(manager, "a")
    for id_ in range(1, 40):
        assert events.Dismiss not in {type(action) for action in manager.failed("a", id_, "forsaken")}
    assert len(manager.state.store.tasks) == 39


def test_calls_of_a_lost_worker_run_elsewhere(manager: Manager) -> None:
    manager.worker("a")
    submit(manager, 1)
    up(manager, "a")
    manager.worker("b")
    assert manager.left("a") == [events.ReportWorkerLeft("a", "a.host", "gone", 1), start("b", 1)]
    assert up(manager, "a") == []
    assert up(manager, "b", 1) == [calls("b", 1, instance=1)]


# -- room ----------------------------------------------------------------------------------------------------------


def test_an_idle_library_makes_way_and_a_busy_one_does_not(manager: Manager) -> None:
    manager.shape(3, TaskShape("regular", "whole", Resources()))
    manager.worker("a")
    submit(manager, 1)
    up(manager, "a")
    assert submit(manager, 5, shape=3) == []
    assert manager.ended("a", 1) == [
        events.ReportDone("a", [1], []),
        events.StopLibrary("a", 0),
        run("a", 5, resources=WHOLE),
    ]
    assert submit(manager, 2) == []
    assert manager.ended("a", 5) == [events.ReportDone("a", [5], []), start("a", 1)]


def test_what_came_earlier_does_not_wait_for_ever_beside_a_busy_library(manager: Manager) -> None:
    manager.shape(3, TaskShape("regular", "whole", Resources()))
    manager.worker("a", Resources(1, 100, 250, 0))
    submit(manager, 1, 2)
    up(manager, "a")
    submit(manager, 5, shape=3)
    submit(manager, *range(6, 20))
    manager.wait(PATIENCE_S + 2)
    assert manager.ended("a", 1) == [events.ReportDone("a", [1], [])]  # no more calls for it
    assert manager.ended("a", 2) == [
        events.ReportDone("a", [2], []),
        events.StopLibrary("a", 0),
        run("a", 5, resources=Resources(1, 100, 250, 0)),
    ]


def test_one_library_makes_way_for_another(manager: Manager) -> None:
    manager.worker("a", Resources(1, 100, 250, 0))
    submit(manager, 1)
    up(manager, "a")
    submit(manager, 2, shape=2)
    assert manager.ended("a", 1) == [
        events.ReportDone("a", [1], []),
        events.StopLibrary("a", 0),
        start("a", 1, "m"),
    ]


def test_libraries_that_are_replaced_end(manager: Manager) -> None:
    manager.worker("a")
    submit(manager, 1)
    up(manager, "a")
    assert manager.library("l", slots=1) == [events.StopLibrary("a", 0)]
    assert manager.failed("a", 1, "library_exit") == [start("a", 1, resources=WHOLE)]


def test_a_call_is_cancelled_where_it_runs(manager: Manager) -> None:
    manager.worker("a")
    submit(manager, 1)
    up(manager, "a")
    assert manager.cancel(1) == [events.KillTasks("a", [1])]
    assert manager.failed("a", 1, "cancelled") == [events.ReportFailed(1, "cancelled", "it was cancelled")]
    assert down(manager, "a") == []  # it had to end for that: no failure of its own


def test_a_call_that_can_never_be_started_fails(manager: Manager) -> None:
    manager.worker("a")
    submit(manager, 1)
    up(manager, "a")
    for _ in range(MAX_FORSAKEN_CALL - 1):
        assert manager.failed("a", 1, "forsaken") == [calls("a", 1)]
    words = f"why ({MAX_FORSAKEN_CALL} times)"
    assert manager.failed("a", 1, "forsaken") == [events.ReportFailed(1, "forsaken", words)]
