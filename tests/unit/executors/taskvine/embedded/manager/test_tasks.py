"""Tasks at a TaskVine manager: places, ends, failures, cancels."""

from __future__ import annotations

import pytest

from tests.unit.executors.taskvine.embedded.manager.managing import MB, WHOLE, Manager, run
from trellis.executors.taskvine.embedded.manager import events
from trellis.executors.taskvine.embedded.manager.reports import MAX_FORSAKEN
from trellis.wire.vine import Mount, Resources, TaskShape


def test_a_task_runs_and_is_reported() -> None:
    manager = Manager()
    manager.worker("w")
    assert manager.submit(7) == [run("w", 7)]
    assert manager.ended("w", 7) == [events.ReportDone("w", [7], [])]
    assert manager.state.store.tasks == {}


def test_tasks_wait_for_room_and_go_in_the_order_in_which_they_came() -> None:
    manager = Manager()
    manager.worker("w", Resources(1, 100, 100, 0))
    manager.submit(1)
    assert manager.submit(2) == []
    assert manager.submit(3) == []
    assert manager.ended("w", 1) == [
        events.ReportDone("w", [1], []),
        run("w", 2, resources=Resources(1, 100, 100, 0)),
    ]


def test_tasks_that_came_at_once_go_in_one_message() -> None:
    manager = Manager()
    manager.worker("w")
    assert manager.handle(events.TasksSubmitted([1, 2, 3, 4, 5], [0] * 5)) == [run("w", 1, 2, 3, 4)]


def test_a_higher_priority_is_sooner() -> None:
    manager = Manager()
    manager.shape(1, TaskShape("regular", "c", Resources(), priority=1.0))
    manager.shape(2, TaskShape("regular", "c", Resources(), priority=5.0))
    manager.submit(1, shape=1)
    manager.submit(2, shape=2)
    manager.submit(3, shape=1)
    assert manager.worker("w")[1:] == [run("w", 2, resources=WHOLE)]
    assert manager.ended("w", 2)[1:] == [run("w", 1, resources=WHOLE)]


def test_what_does_not_fit_stops_nothing_else() -> None:
    manager = Manager()
    manager.shape(1, TaskShape("regular", "c", Resources(cores=8)))
    manager.worker("w")
    manager.submit(1, shape=1)
    assert manager.submit(2) == [run("w", 2)]


def test_a_task_that_fits_nowhere_is_told_of_once() -> None:
    manager = Manager()
    manager.shape(1, TaskShape("regular", "big", Resources(cores=8), features=("gpu",)))
    manager.worker("w")
    manager.submit(1, shape=1)
    told = events.TellUser("no worker has what tasks of big ask for: 8 cores, feature gpu")
    assert manager.wait(80) == [told]


def test_how_long_a_task_waited_that_was_cancelled_does_not_count_for_the_next() -> None:
    manager = Manager()
    manager.shape(1, TaskShape("regular", "big", Resources(cores=8)))
    manager.worker("w")
    manager.submit(1, shape=1)
    manager.wait(20)
    manager.cancel(1)
    manager.submit(2, shape=1)
    assert manager.wait(25) == []
    assert manager.wait(20) == [events.TellUser("no worker has what tasks of big ask for: 8 cores")]


@pytest.mark.parametrize("status", ["signal", "output_missing", "unknown", "max_wall_time", "input_missing"])
def test_a_failure_is_reported_as_the_worker_says(status: str) -> None:
    manager = Manager()
    manager.worker("w")
    manager.submit(1)
    failed = events.TaskFailed("w", 1, status, "why", 3)
    assert manager.handle(failed) == [events.ReportFailed(1, status, "why", 3)]
    assert manager.handle(failed) == []


def test_reports_that_come_twice_or_for_nobody_change_nothing() -> None:
    manager = Manager()
    manager.worker("w")
    manager.submit(1)
    manager.ended("w", 1)
    assert manager.ended("w", 1) == [events.ForgetResults("w", [1])]
    assert manager.ended("stranger", 1) == [events.ForgetResults("stranger", [1])]
    assert manager.failed("w", 1, "signal") == []
    assert manager.failed("stranger", 1, "signal") == []


# -- too little of a resource ----------------------------------------------------------------------------------


def test_who_had_a_share_and_too_little_runs_again_with_all_there_is() -> None:
    manager = Manager()
    manager.worker("w")
    manager.submit(1)
    more = Resources(1, 400, 1_000, 0)
    assert manager.failed("w", 1, "resource_exhaustion") == [run("w", 1, resources=more)]
    assert manager.failed("w", 1, "resource_exhaustion") == [events.ReportFailed(1, "resource_exhaustion", "why")]


@pytest.mark.parametrize("status", ["resource_exhaustion", "sandbox_exhaustion"])
def test_who_had_what_was_asked_for_does_not(status: str) -> None:
    manager = Manager()
    manager.shape(1, TaskShape("regular", "c", Resources(1, 100, 100, 0)))
    manager.shape(2, TaskShape("regular", "c", Resources()))
    manager.worker("w")
    for shape in (1, 2):
        manager.submit(shape, shape=shape)
        assert manager.failed("w", shape, status) == [events.ReportFailed(shape, status, "why")]


def test_max_retries_0_is_no_second_attempt() -> None:
    manager = Manager()
    manager.shape(1, TaskShape("regular", "c", Resources(cores=1), max_retries=0))
    manager.worker("w")
    manager.submit(1, shape=1)
    assert manager.failed("w", 1, "resource_exhaustion") == [events.ReportFailed(1, "resource_exhaustion", "why")]


def test_labels_are_used_when_enough_was_measured_and_no_more_than_a_worker_has() -> None:
    manager = Manager(autolabel="max", autolabel_window=2)
    manager.shape(1, TaskShape("regular", "c", Resources()))
    manager.worker("w", Resources(4, 4_000, 4_000, 0))
    for id_ in (1, 2):
        assert manager.submit(id_, shape=1) == [run("w", id_, resources=Resources(4, 4_000, 4_000, 0))]
        manager.ended("w", id_, used=Resources(1, 900, 100, 0))
    assert manager.submit(3, shape=1) == [run("w", 3, resources=Resources(1, 1_000, 250, 0))]
    assert manager.failed("w", 3, "resource_exhaustion") == [run("w", 3, resources=Resources(4, 4_000, 4_000, 0))]
    manager.ended("w", 3, used=Resources(1, 3_900, 100, 0))
    manager.left("w")
    assert manager.submit(4, shape=1) == []
    small = Resources(2, 500, 500, 0)
    assert manager.worker("small", small)[1:] == [run("small", 4, resources=small)]


# -- tasks that could not be started ---------------------------------------------------------------------------


def test_a_forsaken_task_goes_elsewhere() -> None:
    manager = Manager()
    manager.worker("a")
    manager.worker("b")
    manager.submit(1)
    first = manager.at(1)
    other = "b" if first == "a" else "a"
    assert manager.failed(first, 1, "forsaken") == [run(other, 1)]


def test_with_one_worker_it_is_tried_there_again_until_it_is_enough() -> None:
    manager = Manager()
    manager.worker("w")
    manager.submit(1)
    for _ in range(MAX_FORSAKEN - 1):
        assert manager.failed("w", 1, "forsaken") == [run("w", 1)]
    assert manager.failed("w", 1, "forsaken") == [events.ReportFailed(1, "forsaken", f"why ({MAX_FORSAKEN} times)")]


def test_a_worker_that_starts_nothing_is_sent_away() -> None:
    manager = Manager()
    manager.worker("w")
    for id_ in range(1, 11):
        manager.submit(id_)
        manager.failed("w", id_, "forsaken")
        manager.cancel(id_)
        manager.failed("w", id_, "cancelled")
    manager.submit(11)
    reason = "it could not start 11 tasks in a row: why"
    assert manager.failed("w", 11, "forsaken") == [
        events.ReportWorkerLeft("w", "w.host", reason, 0),
        events.Dismiss("w", reason),
    ]


# -- slow tasks ------------------------------------------------------------------------------------------------


def test_a_task_that_is_much_slower_than_others_runs_elsewhere() -> None:
    manager = Manager(slow_factor=3.0)
    manager.worker("a")
    manager.worker("b")
    for id_ in range(10):
        manager.submit(id_)
        manager.ended(manager.at(id_), id_, duration_s=1.0)
    manager.submit(10)
    slow = manager.at(10)
    assert manager.wait(3.0) == []
    assert manager.wait(1.0) == [events.KillTasks(slow, [10])]
    assert manager.failed(slow, 10, "cancelled") == [run("b" if slow == "a" else "a", 10)]
    assert manager.wait(90.0) == []  # each once


def test_without_a_factor_slow_tasks_are_left_alone() -> None:
    manager = Manager()
    manager.worker("a")
    manager.worker("b")
    for id_ in range(10):
        manager.submit(id_)
        manager.ended(manager.at(id_), id_)
    manager.submit(10)
    assert manager.wait(90.0) == []


# -- cancels, in each place ------------------------------------------------------------------------------------

CANCELLED = events.ReportFailed(1, "cancelled", "it was cancelled")


def test_a_queued_task_is_cancelled_at_once() -> None:
    manager = Manager()
    manager.submit(1)
    assert manager.cancel(1) == [CANCELLED]
    assert manager.cancel(1) == []
    assert manager.worker("w") == [events.Welcome("w")]


def test_a_running_task_is_killed_first() -> None:
    manager = Manager()
    manager.worker("w")
    manager.submit(1)
    assert manager.cancel(1) == [events.KillTasks("w", [1])]
    assert manager.cancel(1) == []
    assert manager.failed("w", 1, "cancelled") == [CANCELLED]


def test_one_that_ended_just_before_has_its_result() -> None:
    manager = Manager()
    manager.worker("w")
    manager.submit(1)
    manager.cancel(1)
    assert manager.ended("w", 1) == [events.ReportDone("w", [1], [])]


def test_one_whose_worker_is_lost_meanwhile_is_cancelled() -> None:
    manager = Manager()
    manager.worker("w")
    manager.submit(1)
    manager.cancel(1)
    assert manager.left("w") == [events.ReportWorkerLeft("w", "w.host", "gone", 1), CANCELLED]


def test_a_task_that_waits_for_its_inputs_is_cancelled_and_they_need_not_come() -> None:
    manager = Manager()
    manager.worker("w")
    manager.worker("busy", Resources(0, 0, 0, 0))
    manager.file(1, peer=True)
    assert manager.submit(1, inputs=(1,)) == [events.OrderFile("w", "f1", "")]
    assert manager.cancel(1) == [CANCELLED]
    assert manager.cached("w", 1) == []


def test_a_task_that_waits_for_a_temp_is_cancelled() -> None:
    manager = Manager()
    manager.file(5, "temp")
    manager.submit(2, result_file=5)
    manager.submit(1, inputs=(5,))
    manager.worker("w")
    assert manager.cancel(1) == [CANCELLED]
    assert manager.cached("w", 5) == []
    assert manager.ended("w", 2) == [events.ReportDone("w", [2], [2])]


def test_a_task_whose_outputs_come_home_is_cancelled() -> None:
    manager = Manager()
    manager.worker("w")
    manager.file(1)
    manager.submit(1, outputs=(1,))
    manager.cached("w", 1)
    manager.ended("w", 1)
    assert manager.cancel(1) == [CANCELLED]
    assert manager.handle(events.CameHome("f1")) == []


# -- outputs that come home ------------------------------------------------------------------------------------


def test_a_task_is_reported_when_all_its_outputs_are_home() -> None:
    manager = Manager()
    manager.worker("w")
    manager.file(1)
    manager.file(2)
    assert manager.submit(1, outputs=(1, 2)) == [run("w", 1)]
    manager.cached("w", 1, 2)
    assert manager.ended("w", 1) == [events.BringHome("w", "f1"), events.BringHome("w", "f2")]
    assert manager.handle(events.CameHome("f2")) == []
    assert manager.ended("w", 1) == []  # said twice
    assert manager.handle(events.CameHome("f1")) == [events.ReportDone("w", [1], [])]


def test_an_output_that_cannot_come_home_fails_its_task() -> None:
    manager = Manager()
    manager.worker("w")
    manager.file(1)
    manager.submit(1, outputs=(1,))
    manager.cached("w", 1)
    manager.ended("w", 1)
    assert manager.handle(events.CameHome("f1", "disk full")) == [
        events.ReportFailed(1, "output_transfer_error", "f1: disk full")
    ]


@pytest.mark.parametrize("error", ["", "disk full"])
def test_what_a_task_that_raised_has_made_comes_home_and_its_outcome_is_what_it_raised(error: str) -> None:
    manager = Manager()
    manager.worker("w")
    for file in (1, 2):
        manager.file(file, level="task")
    manager.submit(1, outputs=(1, 2))
    manager.cached("w", 1)
    raised = events.CallsEnded("w", [1], [1.0], failed=[0])
    assert manager.handle(raised) == [events.BringHome("w", "f1")]
    assert manager.handle(raised) == []  # said twice
    assert manager.handle(events.CameHome("f1", error)) == [events.ReportDone("w", [1], [])]


def test_what_a_task_without_a_result_has_made_comes_home_before_it_fails() -> None:
    manager = Manager()
    manager.worker("w")
    for file in (1, 2):
        manager.file(file)
    manager.submit(1, outputs=(1, 2))
    manager.cached("w", 1)
    assert manager.failed("w", 1, "signal") == [events.BringHome("w", "f1")]
    assert manager.failed("w", 1, "signal") == []  # said twice
    assert manager.handle(events.CameHome("f1", "disk full"))[0] == events.ReportFailed(1, "signal", "why")


def test_the_other_outputs_come_home_when_one_cannot() -> None:
    manager = Manager()
    manager.worker("w")
    for file in (1, 2):
        manager.file(file)
    manager.submit(1, outputs=(1, 2))
    manager.cached("w", 1, 2)
    manager.ended("w", 1)
    assert manager.handle(events.CameHome("f1", "disk full")) == []
    failed = events.ReportFailed(1, "output_transfer_error", "f1: disk full")
    assert manager.handle(events.CameHome("f2"))[0] == failed


def test_a_task_without_a_result_does_not_run_again_when_its_worker_is_lost_meanwhile() -> None:
    manager = Manager()
    manager.worker("w")
    manager.file(1)
    manager.submit(1, outputs=(1,))
    manager.cached("w", 1)
    manager.failed("w", 1, "signal")
    assert events.ReportFailed(1, "signal", "why") in manager.left("w")
    assert manager.state.store.tasks == {}


def test_a_task_that_raised_and_made_nothing_has_ended() -> None:
    manager = Manager()
    manager.worker("w")
    manager.file(1)
    manager.submit(1, outputs=(1,))
    assert manager.handle(events.CallsEnded("w", [1], [1.0], failed=[0])) == [events.ReportDone("w", [1], [])]


def test_when_its_worker_is_lost_meanwhile_the_task_runs_again() -> None:
    manager = Manager()
    manager.worker("w")
    manager.file(1)
    manager.submit(1, outputs=(1,))
    manager.cached("w", 1)
    manager.ended("w", 1)
    assert manager.left("w") == [
        events.ReportWorkerLeft("w", "w.host", "gone", 1),
        events.ForgetResults("w", [1]),
    ]
    assert manager.worker("v")[1:] == [run("v", 1)]


def test_a_task_that_names_a_dropped_file_fails() -> None:
    manager = Manager()
    manager.file(1)
    assert manager.handle(events.FilesDropped([1])) == [events.ForgetFiles(["f1"])]
    assert manager.submit(1, inputs=(1,)) == [events.ReportFailed(1, "input_missing", "nobody knows file 1 (any more)")]


def test_the_environment_of_a_shape_is_at_the_worker_before_its_tasks_run() -> None:
    manager = Manager()
    manager.file(3, level="worker")
    manager.shape(1, TaskShape("regular", "c", Resources(cores=1), environment=3))
    manager.worker("w")
    assert manager.submit(1, shape=1) == [events.OrderFile("w", "f3", "")]
    assert manager.cached("w", 3) == [run("w", 1)]
    assert manager.submit(2, shape=1) == [run("w", 2)]
    assert manager.handle(events.FilesDropped([3])) == []  # the shape names it


def test_many_tasks_share_a_large_file_and_the_manager_sends_it_once() -> None:
    manager = Manager()
    manager.file(1, size_mb=100)
    names = [f"w{number}" for number in range(8)]
    for name in names:
        manager.worker(name)
    ids = list(range(200))
    inputs = {position: [Mount(1, "in")] for position in ids}
    actions = manager.handle(events.TasksSubmitted(ids, [0] * 200, inputs))
    sent: list[events.OrderFile] = []
    done = 0
    while done < 200:
        more: list[events.Action] = []
        for action in actions:
            match action:
                case events.OrderFile(worker):
                    sent.append(action)
                    more += manager.handle(events.CacheUpdated(worker, ["f1"], [100 * MB]))
                case events.RunTasks(worker, begun):
                    more += manager.ended(worker, *begun)
                case events.ReportDone(_, reported):
                    done += len(reported)
        actions = more
    assert [order.source for order in sent].count("") == 1
    assert sorted(order.worker for order in sent) == names


def test_a_chain_of_temps_stays_where_it_is() -> None:
    manager = Manager()
    for name in ("a", "b", "c"):
        manager.worker(name)
    manager.make("a", 0, 0)
    for link in range(1, 51):
        manager.file(link, "temp")
        assert manager.submit(link, inputs=(link - 1,), result_file=link) == [run("a", link)]
        manager.cached("a", link)
        manager.ended("a", link)


def test_a_task_that_waits_for_all_memory_stops_no_smaller_ones() -> None:
    manager = Manager()
    manager.worker("w")
    manager.submit(1)
    manager.submit(2)
    assert manager.failed("w", 1, "resource_exhaustion") == []
    assert manager.submit(3) == [run("w", 3)]
