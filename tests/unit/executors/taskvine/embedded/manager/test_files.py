"""Files at a TaskVine manager: who needs them, how they come, what is done when they do not."""

from __future__ import annotations

from tests.unit.executors.taskvine.embedded.manager.managing import WHOLE, Manager, run
from trellis.executors.taskvine.embedded.manager import events
from trellis.executors.taskvine.embedded.manager.file_recovery import AVOID_S
from trellis.executors.taskvine.embedded.manager.replicas import TRANSIENT_ERROR_S
from trellis.wire.vine import Resources, TaskShape

SMALL = Resources(4, 400, 3, 0)  # room for three files


def tied(manager: Manager, worker: str) -> int:
    """A shape of tasks that only this worker takes."""
    shape = 100 + ord(worker)
    manager.shape(shape, TaskShape("regular", "c", Resources(cores=1), features=(worker,)))
    return shape


def workers(manager: Manager, *names: str, resources: Resources = WHOLE) -> None:
    for name in names:
        manager.worker(name, resources, features=[name])


# -- a file is there when a task runs --------------------------------------------------------------------------


def test_inputs_come_before_the_task_runs() -> None:
    manager = Manager()
    workers(manager, "a")
    manager.file(1)
    manager.file(2, "buffer")
    manager.file(3, "url")
    assert manager.submit(1, inputs=(1, 2, 3)) == [
        events.OrderFile("a", "f1", ""),
        events.OrderFile("a", "f2", ""),
        events.OrderFile("a", "f3", "http://f3"),
    ]
    assert manager.cached("a", 2, 1) == []
    assert manager.cached("a", 3) == [run("a", 1)]
    assert manager.submit(2, inputs=(1,)) == [run("a", 2)]


def test_two_tasks_wait_for_one_transfer() -> None:
    manager = Manager()
    workers(manager, "a")
    manager.file(1)
    manager.submit(1, inputs=(1,))
    assert manager.submit(2, inputs=(1,)) == []
    assert manager.cached("a", 1) == [run("a", 1, 2)]


def test_files_of_a_former_run_are_there_already() -> None:
    manager = Manager()
    manager.worker("a", cached=["f1"], cached_sizes=[5])
    manager.file(1, level="forever")
    assert manager.submit(1, inputs=(1,)) == [run("a", 1)]


def test_what_nobody_asked_for_goes() -> None:
    manager = Manager()
    workers(manager, "a")
    assert manager.cached("a", 9) == [events.EvictFiles("a", ["f9"])]
    assert manager.cached("stranger", 9) == []


# -- how long files are kept -----------------------------------------------------------------------------------


def test_a_file_goes_when_its_user_and_all_tasks_have_done_with_it() -> None:
    manager = Manager()
    workers(manager, "a")
    manager.file(1)
    manager.submit(1, inputs=(1,))
    manager.cached("a", 1)
    assert manager.handle(events.FilesDropped([1])) == []
    assert manager.ended("a", 1) == [
        events.EvictFiles("a", ["f1"]),
        events.ForgetFiles(["f1"]),
        events.ReportDone("a", [1], []),
    ]


def test_a_file_that_outlives_the_run_stays_at_the_worker() -> None:
    manager = Manager()
    workers(manager, "a")
    manager.file(1, level="forever")
    manager.submit(1, inputs=(1,))
    manager.cached("a", 1)
    manager.ended("a", 1)
    assert manager.handle(events.FilesDropped([1])) == [events.ForgetFiles(["f1"])]


def test_a_file_for_one_task_goes_with_it() -> None:
    manager = Manager()
    workers(manager, "a")
    manager.file(1, level="task")
    manager.submit(1, inputs=(1,))
    manager.cached("a", 1)
    assert manager.ended("a", 1) == [events.EvictFiles("a", ["f1"]), events.ReportDone("a", [1], [])]


def test_used_by_two_tasks_it_is_kept_as_others_are() -> None:
    manager = Manager()
    workers(manager, "a")
    manager.file(1, level="task")
    manager.submit(1, inputs=(1,))
    manager.submit(2, inputs=(1,))
    manager.cached("a", 1)
    assert manager.ended("a", 1, 2) == [events.ReportDone("a", [1, 2], [])]


def test_files_of_a_failed_task_go_as_well() -> None:
    manager = Manager()
    workers(manager, "a")
    manager.file(1, "temp")
    manager.submit(1, result_file=1)
    manager.handle(events.FilesDropped([1]))
    assert manager.failed("a", 1, "signal") == [
        events.ReportFailed(1, "signal", "why"),
        events.ForgetFiles(["f1"]),
    ]


# -- temps, lost and made again --------------------------------------------------------------------------------


def test_a_consumer_waits_for_its_producer() -> None:
    manager = Manager()
    workers(manager, "a")
    manager.file(1, "temp")
    manager.submit(1, result_file=1)
    assert manager.submit(2, inputs=(1,)) == []
    assert manager.cached("a", 1) == [run("a", 2)]


def test_a_lost_temp_is_made_again_when_it_is_needed_and_so_are_those_that_it_needs() -> None:
    manager = Manager()
    workers(manager, "a")
    manager.make("a", 1, 1)
    manager.file(2, "temp")
    manager.submit(2, inputs=(1,), result_file=2)
    manager.cached("a", 2)
    assert manager.ended("a", 2) == [events.ReportDone("a", [2], [2])]
    manager.left("a")
    workers(manager, "b")
    assert manager.submit(3, inputs=(2,)) == [run("b", 1)]
    assert manager.cached("b", 1) == [run("b", 2)]
    assert manager.ended("b", 1) == [events.ForgetResults("b", [1])]
    assert manager.cached("b", 2) == [run("b", 3)]


def test_nothing_is_made_again_for_nobody() -> None:
    manager = Manager()
    workers(manager, "a")
    manager.make("a", 1, 1)
    assert manager.left("a") == [events.ReportWorkerLeft("a", "a.host", "gone", 0)]
    assert manager.worker("b") == [events.Welcome("b")]


def test_what_a_producer_carries_is_forgotten_with_its_temp() -> None:
    manager = Manager()
    workers(manager, "a")
    manager.make("a", 1, 1)
    assert manager.handle(events.FilesDropped([1])) == [
        events.ForgetTasks([1]),
        events.EvictFiles("a", ["f1"]),
        events.ForgetFiles(["f1"]),
    ]


def test_a_temp_is_kept_for_those_that_are_made_of_it() -> None:
    manager = Manager()
    workers(manager, "a")
    manager.make("a", 1, 1)
    manager.file(2, "temp")
    manager.submit(2, inputs=(1,), result_file=2)
    manager.cached("a", 2)
    manager.ended("a", 2)
    assert manager.handle(events.FilesDropped([1])) == []
    assert manager.handle(events.FilesDropped([2])) == [
        events.ForgetTasks([2]),
        events.EvictFiles("a", ["f2"]),
        events.ForgetFiles(["f2"]),
        events.ForgetTasks([1]),
        events.EvictFiles("a", ["f1"]),
        events.ForgetFiles(["f1"]),
    ]


def test_a_temp_may_be_dropped_while_it_is_made_again() -> None:
    manager = Manager()
    workers(manager, "a")
    manager.make("a", 1, 1)
    manager.left("a")
    workers(manager, "b")
    manager.submit(2, inputs=(1,))
    manager.cancel(2)
    assert manager.handle(events.FilesDropped([1])) == []
    assert (
        manager.ended("b", 1)
        == [
            events.ForgetTasks([1]),
            events.ForgetFiles(["f1"]),
            events.ForgetResults("b", [1]),
        ]
        or manager.state.store.tasks == {}
    )


def test_when_it_cannot_be_made_again_those_that_need_it_fail() -> None:
    manager = Manager()
    workers(manager, "a")
    manager.make("a", 1, 1)
    manager.file(2, "temp")
    manager.submit(2, inputs=(1,), result_file=2)
    manager.left("a")
    workers(manager, "b")
    manager.submit(3, inputs=(2,))
    words = "f1 could not be made: why"
    assert manager.failed("b", 1, "signal") == [
        events.ForgetTasks([1]),
        events.ReportFailed(2, "input_missing", words),
        events.ReportFailed(3, "input_missing", f"f2 could not be made: {words}"),
    ]


def test_a_temp_that_no_task_makes_fails_its_consumer_at_once() -> None:
    manager = Manager()
    workers(manager, "a")
    manager.file(1, "temp")
    assert manager.submit(1, inputs=(1,)) == [
        events.ReportFailed(1, "input_missing", "f1: no worker has it, and no task makes it")
    ]


def test_who_was_promised_a_temp_that_is_lost_waits_for_it_again() -> None:
    manager = Manager()
    workers(manager, "a", "b")
    manager.submit(1, shape=tied(manager, "a"), result_file=_temp(manager, 1))
    manager.cached("a", 1)
    manager.ended("a", 1)
    assert manager.submit(2, shape=tied(manager, "b"), inputs=(1,)) == [events.OrderFile("b", "f1", "a")]
    assert manager.left("a") == [events.ReportWorkerLeft("a", "a.host", "gone", 0)]
    assert manager.not_cached("b", 1) == []
    assert manager.worker("c", features=["a"])[1:] == [run("c", 1)]
    assert manager.cached("c", 1) == [events.OrderFile("b", "f1", "c")]
    assert manager.cached("b", 1) == [run("b", 2)]


def _temp(manager: Manager, number: int, peer: bool = True) -> int:
    manager.file(number, "temp", peer=peer)
    return number


def test_temps_have_as_many_replicas_as_is_asked_for() -> None:
    manager = Manager(temp_replicas=2)
    workers(manager, "a")
    manager.make("a", 1, 1)
    assert manager.worker("b") == [events.Welcome("b"), events.OrderFile("b", "f1", "a")]
    assert manager.cached("b", 1) == []
    assert manager.worker("c") == [events.Welcome("c")]
    assert manager.left("b") == [
        events.ReportWorkerLeft("b", "b.host", "gone", 0),
        events.OrderFile("c", "f1", "a"),
    ]


def test_a_temp_that_workers_do_not_pass_on_goes_through_the_manager() -> None:
    manager = Manager()
    workers(manager, "a", "b")
    manager.submit(1, shape=tied(manager, "b"), result_file=_temp(manager, 1, peer=False))
    manager.cached("b", 1)
    manager.ended("b", 1)
    assert manager.submit(2, inputs=(1,)) == [run("b", 2)]
    assert manager.submit(3, shape=tied(manager, "a"), inputs=(1,)) == [events.OrderFile("a", "f1", "")]
    assert manager.cached("a", 1) == [run("a", 3)]


# -- transfers that fail ---------------------------------------------------------------------------------------


def test_what_the_manager_cannot_send_fails_after_three_attempts() -> None:
    manager = Manager()
    workers(manager, "a")
    manager.file(1)
    order = events.OrderFile("a", "f1", "")
    assert manager.submit(1, inputs=(1,)) == [order]
    assert manager.not_cached("a", 1) == [order]
    assert manager.not_cached("a", 1) == [order]
    assert manager.not_cached("a", 1) == [events.ReportFailed(1, "input_missing", "f1: no")]


def test_the_second_attempt_is_elsewhere() -> None:
    manager = Manager()
    workers(manager, "a", "b")
    manager.file(1)
    manager.submit(1, inputs=(1,))
    assert manager.not_cached("a", 1) == [events.OrderFile("b", "f1", "")]
    assert manager.not_cached("b", 1) == [events.OrderFile("a", "f1", "")]


def test_a_task_does_not_avoid_a_worker_for_ever() -> None:
    manager = Manager()
    workers(manager, "a", "b")
    manager.file(1)
    manager.submit(1, inputs=(1,))
    manager.not_cached("a", 1)
    manager.left("b")
    assert manager.wait(AVOID_S + 1) == [events.OrderFile("a", "f1", "")]


def test_after_a_peer_another_source_is_tried() -> None:
    manager = Manager()
    workers(manager, "a", "b")
    manager.file(1)
    manager.submit(1, shape=tied(manager, "a"), inputs=(1,))
    manager.cached("a", 1)
    assert manager.submit(2, shape=tied(manager, "b"), inputs=(1,)) == [events.OrderFile("b", "f1", "a")]
    assert manager.not_cached("b", 1) == [events.OrderFile("b", "f1", "")]


def test_a_worker_that_fails_twice_to_send_a_temp_has_lost_it() -> None:
    manager = Manager()
    workers(manager, "a", "b")
    manager.submit(1, shape=tied(manager, "a"), result_file=_temp(manager, 1))
    manager.cached("a", 1)
    manager.ended("a", 1)
    manager.submit(2, shape=tied(manager, "b"), inputs=(1,))
    assert manager.not_cached("b", 1) == []
    assert manager.wait(TRANSIENT_ERROR_S + 1) == [events.OrderFile("b", "f1", "a")]
    assert manager.not_cached("b", 1) == [events.EvictFiles("a", ["f1"]), run("a", 1)]


def test_a_file_that_a_worker_has_lost_is_sent_again() -> None:
    manager = Manager()
    workers(manager, "a")
    manager.file(1)
    manager.submit(1, inputs=(1,))
    manager.cached("a", 1)
    assert manager.not_cached("a", 1) == [events.EvictFiles("a", ["f1"])]
    assert manager.failed("a", 1, "forsaken") == [events.OrderFile("a", "f1", "")]


def test_a_worker_that_gets_no_files_is_sent_away() -> None:
    manager = Manager()
    workers(manager, "a")
    for number in range(3):
        manager.file(number)
        manager.submit(number, inputs=(number,))
        for _ in range(3):
            manager.not_cached("a", number)
    manager.file(9)
    manager.submit(9, inputs=(9,))
    reason = "it could not get 10 files in a row: no"
    assert manager.not_cached("a", 9) == [
        events.ReportWorkerLeft("a", "a.host", reason, 0),
        events.Dismiss("a", reason),
    ]


# -- caches have limits ----------------------------------------------------------------------------------------


def test_the_least_recently_used_file_makes_room() -> None:
    manager = Manager()
    workers(manager, "a", resources=SMALL)
    manager.shape(1, TaskShape("regular", "c", Resources(1, 1, 0, 0)))
    for number in (1, 2, 3):
        manager.file(number)
        manager.submit(number, shape=1, inputs=(number,))
        manager.cached("a", number)
        manager.ended("a", number)
    manager.submit(4, shape=1, inputs=(1,))
    manager.ended("a", 4)
    manager.file(4)
    assert manager.submit(5, shape=1, inputs=(4,)) == [
        events.EvictFiles("a", ["f2"]),
        events.OrderFile("a", "f4", ""),
    ]


def test_what_is_in_use_or_cannot_be_had_again_stays_and_the_task_waits() -> None:
    manager = Manager()
    workers(manager, "a", resources=SMALL)
    manager.shape(1, TaskShape("regular", "c", Resources(1, 1, 0, 0)))
    manager.file(1)
    manager.submit(1, shape=1, inputs=(1,))
    manager.cached("a", 1)
    manager.submit(2, shape=1, result_file=_temp(manager, 2))
    manager.cached("a", 2)
    manager.ended("a", 2)
    manager.file(3, size_mb=2)
    assert manager.submit(3, shape=1, inputs=(3,)) == []
    assert manager.ended("a", 1) == [
        events.ReportDone("a", [1], []),
        events.EvictFiles("a", ["f1"]),
        events.OrderFile("a", "f3", ""),
    ]


# -- the submit side fetches -----------------------------------------------------------------------------------


def test_a_temp_is_fetched_from_where_it_is() -> None:
    manager = Manager()
    workers(manager, "a")
    manager.make("a", 1, 1)
    assert manager.handle(events.FetchRequested(5, 1)) == [events.AnswerFetch(5, "a", "f1")]


def test_a_temp_that_was_lost_is_made_again_to_be_fetched() -> None:
    manager = Manager()
    workers(manager, "a")
    manager.make("a", 1, 1)
    manager.left("a")
    workers(manager, "b")
    assert manager.handle(events.FetchRequested(5, 1)) == [run("b", 1)]
    manager.left("b")
    workers(manager, "c")
    assert manager.cached("c", 1) == [events.AnswerFetch(5, "c", "f1")]


def test_what_cannot_be_fetched_is_answered_with_the_reason() -> None:
    manager = Manager()
    workers(manager, "a")
    manager.file(1, "temp")
    manager.file(2)
    words = "f1: no worker has it, and no task makes it"
    assert manager.handle(events.FetchRequested(5, 1)) == [events.AnswerFetch(5, "", "f1", words)]
    assert manager.handle(events.FetchRequested(6, 2)) == [events.AnswerFetch(6, "", "f2", "no worker has it")]
    assert manager.handle(events.FetchRequested(7, 3)) == [
        events.AnswerFetch(7, "", "", "nobody knows this file (any more)")
    ]


def test_a_fetch_fails_with_the_producer() -> None:
    manager = Manager()
    workers(manager, "a")
    manager.submit(1, result_file=_temp(manager, 1))
    assert manager.handle(events.FetchRequested(5, 1)) == []
    assert manager.failed("a", 1, "signal") == [
        events.ReportFailed(1, "signal", "why"),
        events.AnswerFetch(5, "", "f1", "f1 could not be made: why"),
    ]
