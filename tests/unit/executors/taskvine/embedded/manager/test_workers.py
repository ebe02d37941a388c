"""Workers at a TaskVine manager: they come, fall silent, go, and come again."""

from __future__ import annotations

import pytest

from tests.unit.executors.taskvine.embedded.manager.managing import WHOLE, Manager, registration, run
from trellis.executors.taskvine.embedded.manager import events
from trellis.wire.vine import VINE_PROTOCOL_VERSION, Resources, TaskShape


def left(worker: str, reason: str, tasks: int = 0) -> events.ReportWorkerLeft:
    return events.ReportWorkerLeft(worker, f"{worker}.host", reason, tasks)


def test_a_worker_is_welcomed_and_gets_what_waits() -> None:
    manager = Manager()
    manager.submit(1)
    assert manager.worker("w") == [events.Welcome("w"), run("w", 1)]


def test_a_worker_of_another_protocol_is_refused() -> None:
    manager = Manager()
    hello = registration("w")
    hello.protocol = 99
    reason = f"it speaks protocol 99, this manager {VINE_PROTOCOL_VERSION}: use the same Trellis"
    assert manager.handle(events.WorkerRegistered(hello)) == [events.Refuse("w", reason)]
    assert manager.state.store.workers == {}


def test_what_a_lost_worker_ran_runs_elsewhere() -> None:
    manager = Manager()
    manager.shape(1, TaskShape("regular", "c", Resources(), max_retries=-1))
    manager.worker("a")
    manager.submit(1, shape=1)
    for name, other in ("ab", "bc"):
        manager.worker(other)
        assert manager.left(name) == [left(name, "gone", 1), run(other, 1, resources=WHOLE)]
    assert manager.left("a") == []


def test_a_worker_that_registers_again_has_lost_its_tasks() -> None:
    manager = Manager()
    manager.worker("w")
    manager.submit(1)
    assert manager.worker("w") == [left("w", "it registered again", 1), events.Welcome("w"), run("w", 1)]


def test_a_worker_that_says_nothing_is_given_up() -> None:
    manager = Manager()
    manager.worker("w", block="b")
    manager.submit(1)
    assert manager.wait(99.0) == []
    reason = "it sent nothing for 100 s"
    told = events.TellUser(f"worker w on w.host is given up: {reason}")
    assert manager.wait(1.0) == [told, left("w", reason, 1), events.Dismiss("w", reason)]
    assert list(manager.state.store.given_up) == ["b"]
    assert manager.handle(events.WorkerHeard("w")) == [
        events.Dismiss("w", "the manager does not know it (it was given up)")
    ]


@pytest.mark.parametrize(
    "event",
    [
        events.WorkerHeard("w"),
        events.CacheUpdated("w", [], []),
        events.CacheFailed("w", "f", "x"),
        events.CallsEnded("w", [], []),
        events.TaskFailed("w", 9, "signal", "x"),
        events.LibraryUp("w", 9, 1),
        events.LibraryDown("w", 9, "x"),
    ],
)
def test_whatever_a_worker_says_is_a_sign_of_life(event: events.Event) -> None:
    manager = Manager()
    manager.worker("w")
    manager.wait(60.0)
    assert manager.handle(event) == []
    assert manager.wait(99.0) == []
    assert manager.wait(1.0) != []


def test_silence_while_the_manager_itself_was_suspended_does_not_count() -> None:
    manager = Manager()
    manager.worker("w")
    manager.submit(1)
    manager.wait(10.0)
    manager.now = 500.0
    assert manager.handle(events.DeadlinePassed()) == []
    assert manager.wait(88.0) == []  # silent for 11 s before
    assert len(manager.wait(2.0)) == 3


def test_an_idle_manager_sleeps() -> None:
    manager = Manager()
    assert manager.state.next_deadline() is None
    manager.worker("w")
    assert manager.state.next_deadline() == 100.0
    manager.submit(1)
    assert manager.state.next_deadline() == 1.0
    manager.ended("w", 1)
    manager.wait(1.0)
    assert manager.state.next_deadline() == 100.0


def test_nothing_runs_before_enough_workers_are_there_and_then_it_goes_on() -> None:
    manager = Manager(wait_for_workers=2)
    manager.file(1)
    manager.worker("a")
    assert manager.submit(1) == []
    assert manager.worker("b") == [events.Welcome("b"), run("a", 1)]
    manager.left("a")
    assert manager.at(1) == "b"


def test_features_and_ends_of_workers_are_heeded() -> None:
    manager = Manager()
    manager.shape(1, TaskShape("regular", "c", Resources(cores=1), features=("gpu",)))
    manager.shape(2, TaskShape("regular", "c", Resources(cores=1), time_min_s=50.0))
    manager.worker("short", ends_in_s=40.0)
    assert manager.submit(1, shape=1) == []
    assert manager.submit(2, shape=2) == []
    assert manager.submit(3) == [run("short", 3)]
    assert manager.worker("gpu", features=["gpu"], ends_in_s=60.0)[1:] == [
        events.RunTasks("gpu", [1, 2], [Resources(1, 100, 250, 0)] * 2, [-1, -1])
    ]


def test_gpus_are_packed_as_cores_are() -> None:
    manager = Manager()
    manager.shape(1, TaskShape("regular", "c", Resources(cores=1, gpus=1)))
    manager.worker("w", Resources(4, 400, 400, 2))
    resources = Resources(1, 200, 200, 1)
    assert manager.handle(events.TasksSubmitted([1, 2, 3], [1, 1, 1])) == [run("w", 1, 2, resources=resources)]


@pytest.mark.parametrize(("policy", "worker"), [("files", "b"), ("worst", "a"), ("time", "c")])
def test_the_policy_chooses_the_worker(policy: str, worker: str) -> None:
    manager = Manager(policy=policy)
    manager.file(1, level="forever")
    manager.worker("b", cached=["f1"], cached_sizes=[5])
    manager.shape(1, TaskShape("regular", "c", Resources(cores=1), features=("mine",)))
    manager.worker("c", features=["mine"])
    manager.submit(1, shape=1)
    manager.ended("c", 1, duration_s=0.1)
    for name in ("a", "b"):
        if name == "a":
            manager.worker("a", Resources(8, 800, 2_000, 0))
        manager.state.store.workers[name].note_duration(1.0)
    manager.submit(2, inputs=(1,))
    assert manager.at(2) == worker


def test_a_block_that_is_drained_gets_nothing_more_and_ends_when_it_is_idle() -> None:
    manager = Manager()
    manager.worker("a", block="0")
    manager.worker("b", Resources(1, 100, 250, 0), block="1")
    manager.submit(1)
    assert manager.at(1) == "a"
    assert manager.handle(events.BlocksDrained(["0"])) == []
    manager.submit(2)
    manager.submit(3)
    assert manager.at(2) == "b"
    assert manager.ended("a", 1) == [events.ReportDone("a", [1], [])]  # and not the third task
    reason = "its block is to end"
    assert manager.handle(events.BlocksDrained(["0"])) == [
        events.ReportWorkerLeft("a", "a.host", reason, 0),
        events.Dismiss("a", reason),
    ]


def test_workers_without_a_block_are_not_drained() -> None:
    manager = Manager()
    manager.worker("a")
    assert manager.handle(events.BlocksDrained([""])) == []


def test_no_library_starts_in_a_block_that_is_drained() -> None:
    manager = Manager()
    manager.library("l", resources=Resources(cores=1))
    manager.shape(1, TaskShape("serverless", "c", Resources(), library="l"))
    manager.worker("a", block="0")
    manager.submit(1)
    manager.handle(events.BlocksDrained(["0"]))
    manager.shape(2, TaskShape("serverless", "c", Resources(), library="l", priority=1.0))
    assert manager.submit(2, shape=2) == []
