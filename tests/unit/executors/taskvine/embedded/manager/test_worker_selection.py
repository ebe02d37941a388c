"""Which worker gets a task."""

from __future__ import annotations

from random import Random

import pytest

from tests.unit.executors.taskvine.embedded.manager.managing import registration
from trellis.executors.taskvine.embedded.manager.records import InstalledLibrary, LibraryInstance, VineTask, VineWorker
from trellis.executors.taskvine.embedded.manager.replicas import CachedFile, ReplicaTable
from trellis.executors.taskvine.embedded.manager.store import Store, VineManagerSettings
from trellis.executors.taskvine.embedded.manager.worker_selection import can_host, offers, rank_instances, rank_workers
from trellis.wire.vine import LibrarySpec, Resources, TaskShape


@pytest.fixture
def workers() -> dict[str, VineWorker]:
    made = {name: VineWorker(registration(name), 0.0, 0.0) for name in ("a", "b", "c")}
    for worker, cores in zip(made.values(), (1, 3, 2), strict=True):
        worker.free = Resources(cores, 100, 100, 0)
    return made


@pytest.fixture
def replicas() -> ReplicaTable:
    """The larger file is at c, the smaller one at a and c; b has a temp that workers do not pass on."""
    table = ReplicaTable()
    for name in ("a", "b", "c"):
        table.add_worker(name, [], [])
    for name, size, there in (("large", 100, "c"), ("small", 10, "ac"), ("bound", 1, "b")):
        table.declare(CachedFile(name, "temp", "", "workflow", size, name != "bound"))
        for worker in there:
            table.made_here(name, worker)
            table.updated(name, worker, size)
    return table


def store(workers: dict[str, VineWorker], replicas: ReplicaTable, policy: str = "files") -> Store:
    return Store(VineManagerSettings(100.0, policy), Random(1), replicas, workers=workers)


def task(*inputs: str, **shape: object) -> VineTask:
    return VineTask(1, 0, TaskShape("regular", "c", Resources(cores=1), **shape), inputs)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("policy", "inputs", "order"),
    [
        ("files", ("small", "large"), "cab"),
        ("files", ("small",), "cab"),
        ("files", (), "bca"),
        ("worst", ("large",), "bca"),
        ("time", ("large",), "bac"),
    ],
)
def test_policies(
    policy: str, inputs: tuple[str, ...], order: str, workers: dict[str, VineWorker], replicas: ReplicaTable
) -> None:
    workers["a"].note_duration(1.0)
    workers["c"].note_duration(3.0)
    ranked = rank_workers(store(workers, replicas, policy), workers.values(), inputs)
    assert "".join(worker.name for worker in ranked) == order


def test_rand_is_another_order_each_time(workers: dict[str, VineWorker], replicas: ReplicaTable) -> None:
    known = store(workers, replicas, "rand")
    orders = {tuple(w.name for w in rank_workers(known, workers.values(), ())) for _ in range(50)}
    assert len(orders) == 6


def test_features_are_needed_all() -> None:
    worker = VineWorker(registration("a", features=["ssd", "gpu"]), 0.0, 0.0)
    assert offers(worker, task(features=("gpu", "ssd")))
    assert not offers(worker, task(features=("gpu", "tape")))
    assert not can_host(worker, task(features=("tape",)), 0.0)


def test_a_worker_that_ends_too_soon_takes_no_long_task() -> None:
    worker = VineWorker(registration("a"), 0.0, 0.0, ends_at=10.0)
    assert can_host(worker, task(time_min_s=5.0), 4.0)
    assert not can_host(worker, task(time_min_s=5.0), 5.0)
    assert not can_host(worker, task(), 10.0)


def test_a_task_avoids_a_worker_for_a_time(workers: dict[str, VineWorker]) -> None:
    avoiding = task()
    avoiding.avoid, avoiding.avoid_until = "a", 5.0
    assert [can_host(workers["a"], avoiding, now) for now in (4.9, 5.0)] == [False, True]
    assert can_host(workers["b"], avoiding, 0.0)


def test_calls_go_where_their_inputs_are_and_free_slots_come_before_busy_ones(
    workers: dict[str, VineWorker], replicas: ReplicaTable
) -> None:
    library = InstalledLibrary(LibrarySpec("l"))
    for number, name in enumerate("abc"):
        instance = LibraryInstance(number, "l", name, Resources(), 2, slots=2)
        instance.note_duration(0.001)
        instance.calls = {100, 101} if name == "c" else set()
        library.note_room(instance)
    ranked = rank_instances(store(workers, replicas), library, task("large", "small"))
    assert [instance.worker for instance in ranked] == ["a", "b", "c"]
