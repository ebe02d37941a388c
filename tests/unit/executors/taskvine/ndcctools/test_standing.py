"""Every reason why a task of the real TaskVine does not run that can be seen from outside of it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.executors.taskvine.ndcctools.test_placements import SENT, STARTED, row
from tests.unit.executors.taskvine.ndcctools.test_tasks import Books
from tests.unit.executors.taskvine.ndcctools.test_workers import row as worker_row
from trellis.executors.taskvine.ndcctools.asked_tasks import AskedTasks
from trellis.executors.taskvine.ndcctools.placements import LibraryAtWorker, Placements
from trellis.executors.taskvine.ndcctools.standing import QueuedTask, SeenWorker, at_worker, queued
from trellis.executors.taskvine.ndcctools.task_book import NewTask
from trellis.executors.taskvine.ndcctools.waiting import WorkerNeed
from trellis.executors.taskvine.ndcctools.workers import WorkerBook
from trellis.wire.payload import dump_call
from trellis.wire.questions import Obstacle
from trellis.wire.vine import FileSpec, Mount, Resources, TaskShape
from trellis.wire.vine_watching import VineStanding

TWO = Resources(2, 100, 1_000, 0)
NONE = Resources(0, 0, 0, 0)
ENDS = "when a task there has ended"


ONE = Resources(cores=1)


def task(resources: Resources = ONE, library: str = "", **more: Any) -> QueuedTask:
    need = WorkerNeed("x", resources, more.pop("features", ()), more.pop("time_min_s", 0.0))
    return QueuedTask(need, 2, 7, "sums", library, **more)


def worker(
    used: Resources = NONE, tasks: int = 0, calls: int = 0, libraries: tuple[LibraryAtWorker, ...] = ()
) -> SeenWorker:
    return SeenWorker("w on h", TWO, used, tasks, calls, libraries)


def reasons(asked: QueuedTask, *workers: SeenWorker, wanted: int = 0) -> list[tuple[str, str]]:
    return [(each.place, each.reason) for each in queued(1, asked, workers, wanted, 100.0).obstacles]


def test_without_workers() -> None:
    text = "it waits in TaskVine's queue, 2 tasks are before it; no worker is connected"
    assert queued(1, task(), [], 0, 0.0) == VineStanding(1, "queued", text, 2, 7)


@pytest.mark.parametrize(
    ("asked", "used", "reason"),
    [
        (Resources(cores=4), NONE, "4 cores asked for, and it has 2 cores, 100 MB of memory, 1000 MB of disk"),
        (Resources(cores=2), Resources(1, 0, 0, 0), "it has 1 of 2 cores free, and 2 are needed (taken by 3 tasks)"),
        (
            Resources(memory=60),
            Resources(0, 50, 0, 0),
            "it has 50 of 100 MB of memory free, and 60 are needed (taken by 3 tasks)",
        ),
        (
            Resources(),
            Resources(1, 0, 0, 0),
            "the task says nothing of resources, so it takes a whole worker: this one has 3 tasks",
        ),
        (Resources(cores=1), NONE, "it has room"),
    ],
)
def test_why_not_at_a_worker(asked: Resources, used: Resources, reason: str) -> None:
    assert reasons(task(asked), worker(used, 3)) == [("worker w on h", reason)]


def test_what_taskvine_does_not_tell_of_workers() -> None:
    found = dict(reasons(task(features=("fast",), time_min_s=60.0), worker()))
    assert found["features"] == "it needs workers with fast, and TaskVine does not tell which have that"
    assert found["time"] == "it takes at least 60 s, and gets no worker that ends before (running_time_min)"


def test_workers_that_are_waited_for() -> None:
    found = reasons(task(), worker(), wanted=3)
    words = "1 of the first 3 workers have come (wait_for_workers): nothing starts before"
    assert found[0] == ("all workers", words)


def test_files_that_are_still_to_be_made() -> None:
    doing = "a task of c makes it, which waits in the queue itself"
    assert reasons(task(files={"x": doing}), worker())[0] == ("file x", doing)


def test_what_taskvine_has_learnt_of_a_category() -> None:
    found = reasons(task(learns=True), worker())[-1]
    assert found == ("category sums", "TaskVine gives it what others of its category have used (autolabel)")


# -- libraries -----------------------------------------------------------------------------------------------------

STARTING, READY = LibraryAtWorker(90.0, None), LibraryAtWorker(90.0, 95.0)


@pytest.mark.parametrize(
    ("libraries", "calls", "slots", "reason"),
    [
        ((STARTING,), 0, 2, "it is not ready: it has been starting for 10 s"),
        ((READY,), 2, 2, "all its 2 slots are busy"),
        ((READY,), 1, 1, "its only slot is busy"),
        ((READY, READY), 2, 2, "it has a free slot"),
        ((READY,), 1, 0, "its only slot is busy"),  # as many as it has cores
        ((), 0, 2, "it has room"),
    ],
)
def test_why_no_slot_of_a_library(libraries: tuple[LibraryAtWorker, ...], calls: int, slots: int, reason: str) -> None:
    asked = task(library="idx", slots=slots, context_timeout_s=300.0)
    assert reasons(asked, worker(calls=calls, libraries=libraries)) == [("library idx at worker w on h", reason)]


def test_a_library_without_resources_takes_a_whole_worker() -> None:
    words = "the library says nothing of resources, so it takes a whole worker: this one has 1 task"
    assert reasons(task(Resources(), "idx"), worker(TWO, 1)) == [("library idx at worker w on h", words)]


def test_a_library_that_has_ended_says_how() -> None:
    assert reasons(task(library="idx", library_trouble="no module"), worker())[0] == ("library idx", "no module")


# -- at a worker ---------------------------------------------------------------------------------------------------


def test_a_task_at_a_worker_runs_or_waits_for_its_library() -> None:
    running = VineStanding(1, "running", "worker w on h runs it", worker="w", running_s=4.0)
    assert at_worker(1, "w on h", "w", 96.0, "", 100.0) == running
    text = "it was sent to worker w on h, where library idx is not ready"
    obstacle = Obstacle("library idx at worker w on h", "it is starting", "when its context is there")
    assert at_worker(1, "w on h", "w", None, "idx", 100.0) == VineStanding(
        1, "assigned", text, worker="w", obstacles=[obstacle]
    )


# -- from the books ------------------------------------------------------------------------------------------------


class House:
    """Books with tasks, and workers; TaskVine's numbers begin with 101."""

    def __init__(self, wait_for_workers: int = 0) -> None:
        self.books = Books()
        self.workers, self.placements = WorkerBook(), Placements()
        self.asked = AskedTasks(self.books.tasks, self.workers, self.placements, wait_for_workers, False)

    def add(self, id_: int, shape: int = 1, reads: int | None = None, makes: int = -1) -> None:
        inputs = [] if reads is None else [Mount(reads, "in")]
        assert self.books.tasks.add(NewTask(id_, 1, shape, dump_call((), {}, "t"), inputs, [], makes)) is None

    def look(self, *numbers: int, workers: int = 1) -> None:
        rows = [{**worker_row(n), **(row(f"10.0.0.1:{n}", *numbers) if n == 1 else {})} for n in range(1, workers + 1)]
        self.workers.look(rows)
        self.placements.look(rows, 50.0)
        self.asked.look(len(rows))

    def standing(self, id_: int) -> VineStanding:
        return self.asked.standing(7, id_, 60.0)


def test_where_tasks_are_is_read_from_the_books() -> None:
    it = House()
    it.books.tasks.define_shape(3, TaskShape("regular", "soon", Resources(cores=1), priority=5.0))
    for id_, shape in ((1, 1), (2, 1), (3, 1), (4, 3)):
        it.add(id_, shape)
    it.look(101)
    assert it.standing(9).stage == "unknown"
    assert (it.standing(1).stage, it.standing(1).worker, it.standing(1).running_s) == ("running", "worker-1", 10.0)
    assert (it.standing(3).position, it.standing(3).queue) == (2, 3)  # one of higher priority came later
    assert it.standing(4).position == 0
    (status,) = it.asked.statuses()
    assert (status.tasks, status.assigned) == (1, 0)


def test_calls_wait_for_their_library() -> None:
    it = House()
    it.add(1, 2)
    it.add(2, 2)
    it.look(101, 9)
    it.placements.read(SENT)
    assert it.standing(1).stage == "assigned"
    assert it.standing(2).obstacles[0].reason == "it is not ready: it has been starting for 55 s"
    (status,) = it.asked.statuses()
    assert (status.tasks, status.assigned) == (1, 1)
    it.placements.read(STARTED)
    assert it.standing(1).stage == "running"
    assert it.standing(2).obstacles[0].reason == "it has a free slot"


def test_a_file_that_a_task_makes() -> None:
    it = House()
    it.books.files.declare(FileSpec(5, "temp", "", "workflow"), b"")
    it.add(1, makes=5)
    it.add(2, reads=5)
    it.look(101)
    (first, *_) = it.standing(2).obstacles
    assert first.reason == "a task of sums makes it, which runs at worker-1 on n1"
    it.look()
    assert it.standing(2).obstacles[0].reason == "a task of sums makes it, which waits in the queue itself"


def test_enough_workers_are_enough_for_good() -> None:
    it = House(wait_for_workers=2)
    it.add(1)
    it.look()
    assert it.standing(1).obstacles[0].place == "all workers"
    it.look(workers=2)
    it.look()
    assert it.standing(1).obstacles[0].place != "all workers"


def test_a_library_that_ended_is_remembered_until_a_call_ends_in_it() -> None:
    it = House()
    it.add(1, 2)
    it.look()
    it.books.libraries.failed("Library idx failed on worker n1 (x)\n")
    assert it.standing(1).obstacles[0] == Obstacle("library idx", "it ended on worker n1 (x): it wrote nothing", "")
    it.books.libraries.worked("idx")
    assert it.standing(1).obstacles[0].place != "library idx"
