"""What a manager says of a task that somebody asks about: where it is, and every reason why it does not run."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.executors.taskvine.embedded.manager.managing import ONE, Manager
from trellis.executors.taskvine.embedded.manager import events
from trellis.executors.taskvine.embedded.manager.standing import standing_of
from trellis.wire.questions import Obstacle
from trellis.wire.vine import Mount, Resources, TaskShape
from trellis.wire.vine_watching import VineStanding

SMALL = Resources(1, 100, 1_000, 0)
BUSY = "it has 0 of 1 core free, and 1 is needed (taken by 1 task)"
ENDS = "when a task there has ended"


def standing(it: Manager, id_: int) -> VineStanding:
    return standing_of(it.state.store, 7, id_, it.now)


def obstacles(it: Manager, id_: int) -> list[tuple[str, str]]:
    return [(each.place, each.reason) for each in standing(it, id_).obstacles]


def calls(it: Manager, name: str = "lib", **more: Any) -> None:
    """Shape 5 is a call of this library."""
    it.library(name, **more)
    it.shape(5, TaskShape("serverless", "call", Resources(), library=name))


@pytest.fixture
def it() -> Manager:
    return Manager()


# -- where it is ---------------------------------------------------------------------------------------------------


def test_a_task_that_nobody_has(it: Manager) -> None:
    text = "the manager does not have it: it has just ended, or will come"
    assert standing(it, 1) == VineStanding(7, "unknown", text)


def test_a_task_without_workers(it: Manager) -> None:
    it.submit(1)
    text = "it waits in the queue of the manager, it is the next; no worker is connected"
    assert standing(it, 1) == VineStanding(7, "queued", text, 0, 1)


def test_a_task_that_runs_tells_where_and_for_how_long(it: Manager) -> None:
    it.worker("w")
    it.submit(1)
    it.wait(3)
    assert standing(it, 1) == VineStanding(7, "running", "worker w on w.host runs it", worker="w", running_s=3)
    it.cancel(1)
    assert standing(it, 1).text == "worker w on w.host runs it, and was told to end it"


def test_the_place_in_the_queue_counts_those_of_higher_priority_and_those_that_came_before(it: Manager) -> None:
    it.shape(1, TaskShape("regular", "c", Resources(cores=1), priority=5.0))
    for id_ in (1, 2, 3):
        it.submit(id_)
    it.submit(4, shape=1)
    it.cancel(1)
    assert (standing(it, 3).position, standing(it, 3).queue) == (2, 3)
    assert standing(it, 4).position == 0
    assert "2 tasks are before it" in standing(it, 3).text


def test_a_task_whose_inputs_are_on_their_way(it: Manager) -> None:
    it.worker("w")
    it.file(1)
    it.submit(1, inputs=(1,))
    found = standing(it, 1)
    assert (found.stage, found.worker) == ("assigned", "w")
    assert found.text == "it has a place at worker w on w.host, and a file that it reads is not there yet"
    assert found.obstacles == [Obstacle("file /f1", "it is on its way from the manager", "when it has come")]


def test_a_task_whose_outputs_come_home(it: Manager) -> None:
    it.worker("w")
    it.file(1)
    it.submit(1, outputs=(1,))
    it.cached("w", 1)
    it.ended("w", 1)
    text = "it has run at worker w on w.host; a file that it has made is not there yet"
    assert (standing(it, 1).stage, standing(it, 1).text) == ("running", text)


# -- files ---------------------------------------------------------------------------------------------------------


def test_a_task_that_waits_for_a_temp_says_who_makes_it(it: Manager) -> None:
    it.file(1, "temp")
    it.submit(1, outputs=(1,))
    it.submit(2, inputs=(1,))
    it.worker("w", SMALL)
    found = standing(it, 2)
    assert found.stage == "queued"
    assert found.text == "it waits for a file that other tasks have to make (again) first"
    reason = "a task of c makes it, which runs at worker w on w.host"
    assert found.obstacles == [Obstacle("file f1", reason, "when that task has ended")]


def test_a_temp_whose_task_waits_itself(it: Manager) -> None:
    it.shape(1, TaskShape("regular", "big", Resources(cores=9)))
    it.file(1, "temp")
    it.submit(1, shape=1, outputs=(1,))
    it.submit(2, inputs=(1,))
    it.worker("w")
    assert obstacles(it, 2) == [("file f1", "a task of big makes it, which waits in the queue itself")]


def test_a_file_that_is_sent_to_another_worker_first(it: Manager) -> None:
    it.worker("w", SMALL)
    it.worker("x", SMALL)
    it.file(1)
    it.submit(1, inputs=(1,))
    it.submit(2, inputs=(1,))
    other = next(id_ for id_ in (1, 2) if "on its way" not in standing(it, id_).obstacles[0].reason)
    (only,) = standing(it, other).obstacles
    assert only.reason == "it is being sent to another worker first, which will pass it on"


def test_a_url_that_could_not_be_had_is_tried_again(it: Manager) -> None:
    it.worker("w")
    it.file(1, "url")
    it.submit(1, inputs=(1,))
    it.not_cached("w", 1)
    (only,) = standing(it, 1).obstacles
    assert (only.place, only.until) == ("file http://f1", "in 1 s it is tried again")
    assert only.reason == "it could not be had from http://f1 just now"


def test_many_files_are_counted(it: Manager) -> None:
    it.worker("w")
    for id_ in range(8):
        it.file(id_)
    it.submit(1, inputs=tuple(range(8)))
    assert [place for place, _ in obstacles(it, 1)][-1] == "3 more files"


def test_no_room_in_a_cache(it: Manager) -> None:
    it.worker("w")
    it.file(1, size_mb=2_000)
    it.submit(1, inputs=(1,))
    reason = "its cache, of 1000 MB, has no room for the task's inputs beside what is in use there"
    assert obstacles(it, 1) == [("worker w on w.host", reason)]


# -- workers -------------------------------------------------------------------------------------------------------


def test_all_workers_are_busy(it: Manager) -> None:
    for name in "abcde":
        it.worker(name, SMALL)
    for id_ in range(6):
        it.submit(id_)
    place = "workers a on a.host, b on b.host, c on c.host and 2 more"
    assert standing(it, 5).obstacles == [Obstacle(place, BUSY, ENDS)]


def test_a_worker_that_is_too_small(it: Manager) -> None:
    it.worker("w", SMALL)
    it.shape(1, TaskShape("regular", "big", Resources(cores=4, memory=9_000)))
    it.submit(1, shape=1)
    reason = "4 cores, 9000 MB of memory are asked for, and it has 1 core, 100 MB of memory, 1000 MB of disk"
    until = "never there: ask for less, or for larger workers"
    assert standing(it, 1).obstacles == [Obstacle("worker w on w.host", reason, until)]


def test_a_worker_without_a_feature(it: Manager) -> None:
    it.worker("w")
    it.shape(1, TaskShape("regular", "c", Resources(cores=1), features=("fast",)))
    it.submit(1, shape=1)
    assert obstacles(it, 1) == [("worker w on w.host", "it does not offer fast (features)")]


def test_a_worker_that_ends_too_soon(it: Manager) -> None:
    it.worker("w", ends_in_s=30.0)
    it.shape(1, TaskShape("regular", "c", Resources(cores=1), time_min_s=60.0))
    it.submit(1, shape=1)
    reason = "it ends in 30 s, and the task takes at least 60 s (running_time_min)"
    assert obstacles(it, 1) == [("worker w on w.host", reason)]


def test_a_worker_whose_block_is_to_end(it: Manager) -> None:
    it.worker("w", block="b")
    it.submit(1)
    it.handle(events.BlocksDrained(["b"]))
    it.submit(2)
    assert obstacles(it, 2) == [("worker w on w.host", "it gets nothing more, because its block is to end")]


def test_a_worker_where_it_went_wrong(it: Manager) -> None:
    it.worker("w", SMALL)
    it.worker("x", SMALL)
    it.submit(1)
    it.submit(2)
    first = it.at(1)
    it.failed(first, 1, "forsaken")
    assert dict(obstacles(it, 1))[f"worker {first} on {first}.host"] == "the task went wrong or was too slow there"


def test_a_task_that_wants_a_worker_for_itself(it: Manager) -> None:
    it.worker("w")
    it.submit(1)
    it.submit(2)
    it.state.store.tasks[2].alone = True
    it.failed("w", 2, "forsaken")
    reason = "the task is to have it for itself, because workers ended under it before"
    assert obstacles(it, 2) == [("worker w on w.host", reason)]


def test_a_worker_that_a_task_has_for_itself(it: Manager) -> None:
    it.worker("w")
    it.submit(1)
    it.state.store.workers["w"].loner = 1
    it.submit(2)
    reason = "a task has it for itself, because workers ended under that one before"
    assert obstacles(it, 2) == [("worker w on w.host", reason)]


def test_workers_that_are_waited_for() -> None:
    it = Manager(wait_for_workers=3)
    it.worker("w")
    it.submit(1)
    assert obstacles(it, 1)[0] == (
        "all workers",
        "1 of the first 3 workers have come (wait_for_workers): nothing starts before",
    )


# -- categories ----------------------------------------------------------------------------------------------------


def test_what_was_learnt_of_a_category_is_said() -> None:
    it = Manager(autolabel="max", autolabel_window=1)
    it.worker("w", Resources(4, 600, 1_000, 0))
    it.submit(1)
    it.ended("w", 1, used=Resources(memory=300))
    for id_ in (2, 3):
        it.submit(id_)
    place, reason = obstacles(it, 3)[-1]
    assert place == "category c"
    assert reason == "by what 1 others have used, it gets 1 core, 500 MB of memory (autolabel)"


def test_a_task_that_had_too_little_waits_for_all_of_a_worker(it: Manager) -> None:
    it.worker("w")
    it.submit(1)
    it.submit(2)
    it.failed("w", 1, "resource_exhaustion")
    place, reason = obstacles(it, 1)[-1]
    assert (place, reason) == (
        "category c",
        "it had too little of a resource, and is to get all that a worker has",
    )


# -- libraries -----------------------------------------------------------------------------------------------------


def test_a_library_that_is_starting(it: Manager) -> None:
    calls(it, context_timeout_s=60.0)
    it.worker("w")
    it.submit(1, shape=5)
    it.wait(2)
    assert standing(it, 1).obstacles == [
        Obstacle(
            "library lib at worker w on w.host",
            "it is not ready: it has been starting for 2 s",
            "when its context is there; after 60 s (context_timeout_s) it is given up",
        )
    ]


def test_a_library_whose_files_are_on_their_way(it: Manager) -> None:
    it.file(1)
    calls(it, inputs=[Mount(1, "in")])
    it.worker("w")
    it.submit(1, shape=5)
    assert obstacles(it, 1) == [
        ("library lib at worker w on w.host", "it is not ready: file /f1 is on the way there"),
    ]


def test_a_library_all_of_whose_slots_are_busy(it: Manager) -> None:
    calls(it, slots=2)
    it.worker("w")
    for id_ in (1, 2, 3):
        it.submit(id_, shape=5)
    it.handle(events.LibraryUp("w", 0, 2))
    found = standing(it, 3)
    assert found.stage == "queued"
    assert obstacles(it, 3) == [("library lib at worker w on w.host", "all its 2 slots are busy")]


def test_a_call_that_was_sent_ahead(it: Manager) -> None:
    calls(it, slots=1)
    it.worker("w")
    it.submit(1, shape=5)
    it.handle(events.LibraryUp("w", 0, 1))
    for _ in range(20):
        it.ended("w", *[id_ for id_ in it.state.store.tasks if it.at(id_)], duration_s=0.001)
        for id_ in range(100, 104):
            if id_ not in it.state.store.tasks:
                it.submit(id_, shape=5)
    ahead = [id_ for id_ in sorted(it.state.store.tasks) if standing(it, id_).stage == "assigned"]
    assert ahead, "nothing was sent ahead"
    text = "it was sent ahead to library lib at worker w on w.host, which runs other calls"
    assert standing(it, ahead[0]).text == text
    assert standing(it, min(it.state.store.instances[0].calls)).stage == "running"


def test_a_library_that_did_not_start_says_its_last_words(it: Manager) -> None:
    calls(it)
    it.worker("w")
    it.worker("x")
    it.submit(1, shape=5)
    first = it.state.store.instances[0].worker
    it.handle(events.LibraryDown(first, 0, "no module sim"))
    found = obstacles(it, 1)
    assert ("library lib", "it did not start once; the last time: no module sim") in found
    assert (f"library lib at worker {first} on {first}.host", "it did not start there just now") in found


def test_a_library_that_has_no_room(it: Manager) -> None:
    it.worker("w", SMALL)
    it.submit(1)
    calls(it, resources=ONE)
    it.submit(2, shape=5)
    assert obstacles(it, 2) == [("library lib at worker w on w.host", BUSY)]


def test_a_library_that_is_too_large(it: Manager) -> None:
    it.worker("w", SMALL)
    calls(it, resources=Resources(cores=2))
    it.submit(2, shape=5)
    reason = "2 cores are asked for, and it has 1 core, 100 MB of memory, 1000 MB of disk"
    assert obstacles(it, 2) == [("library lib at worker w on w.host", reason)]


def test_a_library_whose_file_has_to_be_made(it: Manager) -> None:
    it.file(1, "temp")
    it.shape(1, TaskShape("regular", "big", Resources(cores=9)))
    it.submit(1, shape=1, outputs=(1,))
    calls(it, inputs=[Mount(1, "in")])
    it.worker("w")
    it.submit(2, shape=5)
    assert ("file f1", "a task of big makes it, which waits in the queue itself") in obstacles(it, 2)


def test_a_library_that_makes_way(it: Manager) -> None:
    calls(it, slots=1)
    it.worker("w")
    it.submit(1, shape=5)
    it.handle(events.LibraryUp("w", 0, 1))
    it.state.store.drain_instance(it.state.store.instances[0])
    it.submit(2, shape=5)
    reason = "it takes no more calls: it makes way for others that have waited for long"
    assert obstacles(it, 2) == [("library lib at worker w on w.host", reason)]
