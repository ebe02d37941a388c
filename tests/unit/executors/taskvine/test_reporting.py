"""What a TaskVineExecutor says of itself and of tasks, from what its manager answers, or does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from trellis.core.reports import Begun, BlockReport, Hindrance, ManagerReport
from trellis.executors.taskvine import reporting
from trellis.executors.taskvine.factory_keeper import last_worker_end
from trellis.executors.taskvine.reporting import (
    executor_report,
    factory_hindrances,
    hand_hindrances,
    silence,
    task_standing,
)
from trellis.wire.questions import Obstacle
from trellis.wire.vine import Resources, VineStatus, WorkerStatus
from trellis.wire.vine_watching import VineStanding

FOUR = Resources(4, 400, 1_000, 0)
WORKER = WorkerStatus("w", "h", FOUR, FOUR, 5, {}, 0, 0.0, 0.0, "b", False, 2, "draining", 1.5)
STATUS = VineStatus(0, 3, 5, 9, 0, [WORKER], 0, 0, 0, 0, 0, 0, [], ["library sim is not ready: it is starting"])
BEGUN = Begun("h", "b", "w", 0, 100.0)
SILENT = "the manager does not answer: it is stopped (SIGSTOP)"
WHY = Hindrance("factory", "why", "")


def test_a_report_counts_what_waits_and_runs() -> None:
    block = BlockReport("b", "RUNNING")
    report = executor_report("vine", "TaskVineExecutor", STATUS, True, 8, [block], 2, "", ["factory: why"])
    assert (report.workers, report.queued, report.assigned, report.running) == (4, 3, 2, 3)
    assert report.managers == [ManagerReport("w", "h", "b", 4, 3, 5, "draining", 1.5)]
    assert (report.blocks, report.max_blocks, report.error) == ([block], 2, "")
    assert report.notes == ["factory: why", "library sim is not ready: it is starting", "worker w on h is draining"]


def test_a_report_without_an_answer_has_what_was_known() -> None:
    report = executor_report("vine", "TaskVineExecutor", STATUS, False, 8, [], None, "", [], SILENT)
    assert (report.queued, report.assigned, report.running, report.workers) == (None, None, None, 4)
    assert report.notes[0] == f"{SILENT}: what is told of workers is older; 8 tasks are outstanding"
    nothing = executor_report("vine", "TaskVineExecutor", None, False, 8, [], None, "", [], SILENT)
    assert (nothing.workers, nothing.notes) == (0, [f"{SILENT}; 8 tasks are outstanding"])


def test_a_report_of_an_executor_that_cannot_work_says_why() -> None:
    report = executor_report("vine", "TaskVineExecutor", STATUS, True, 8, [], None, "it died", [])
    assert (report.error, report.workers, report.notes) == ("it died", 0, [])


def test_a_task_in_the_queue_has_all_hindrances() -> None:
    answer = VineStanding(1, "queued", "it waits", 2, 5, obstacles=[Obstacle("w", "busy", "later")])
    standing = task_standing(answer, None, ("", ""), [WHY])
    assert (standing.stage, standing.text, standing.position, standing.queue) == ("queued", "it waits", 2, 5)
    assert standing.hindrances == [Hindrance("w", "busy", "later"), WHY]


def test_a_task_at_a_worker_has_only_those_of_there() -> None:
    answer = VineStanding(1, "assigned", "inputs", worker="w", obstacles=[Obstacle("file", "comes", "")])
    standing = task_standing(answer, None, ("h", "b"), [WHY])
    assert (standing.stage, standing.position, standing.hindrances) == ("assigned", None, [Hindrance("file", "comes")])


def test_a_task_that_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporting.time, "time", lambda: 110.0)
    answer = VineStanding(1, "running", "w runs it", worker="w", running_s=4.0)
    assert task_standing(answer, None, ("h", "b"), []).begun == Begun("h", "b", "w", 0, 106.0)
    assert task_standing(answer, BEGUN, ("h", "b"), []).begun == BEGUN
    lost = BEGUN._replace(manager_id="gone")  # it runs again elsewhere
    assert task_standing(answer, lost, ("h", "b"), []).begun == Begun("h", "b", "w", 0, 106.0)


def test_without_an_answer_what_is_known_is_said() -> None:
    known = task_standing(None, BEGUN, ("", ""), [WHY], SILENT)
    assert (known.stage, known.begun) == ("running", BEGUN)
    assert known.text == f"worker w on h runs it, as was said before; {SILENT}"
    unknown = task_standing(None, None, ("", ""), [WHY], SILENT)
    assert (unknown.stage, unknown.hindrances) == ("unknown", [Hindrance("manager", SILENT), WHY])


def test_a_silent_manager_that_is_stopped_is_said_to_be() -> None:
    assert silence(True) == SILENT
    assert silence(False) == "the manager does not answer: it is very busy, or being started"


def test_an_answer_of_another_version_is_no_fault() -> None:
    assert task_standing(VineStanding(1, "elsewhere", "it is far away"), None, ("", ""), []).stage == "unknown"


def test_why_a_factory_has_no_more_workers() -> None:
    assert factory_hindrances("it is stopped", 0, 3, "") == [Hindrance("factory", "it is stopped", "")]
    (full,) = factory_hindrances("", 3, 3, "")
    assert full.reason == "there are as many workers as it may start: max_workers=3"
    (coming,) = factory_hindrances("", 1, 3, "")
    assert coming.reason == "1 of at most 3 workers are connected; others are being started"
    (failing,) = factory_hindrances("", 0, 3, "exit code 127")
    assert failing.reason == "0 of at most 3 workers are connected; the last one that ended: exit code 127"


def test_the_last_end_of_a_worker_is_read_from_the_log_of_its_factory(tmp_path: Path) -> None:
    assert last_worker_end(str(tmp_path)) == ""
    log = "worker 1 with pid 7 ended: exit code 1\nworker 2 with pid 8 ended: exit code 127\nworker 3 started\n"
    (tmp_path / "factory.log").write_text(log)
    assert last_worker_end(str(tmp_path)) == "exit code 127"


def test_workers_that_are_started_by_hand() -> None:
    (hindrance,) = hand_hindrances("trellis vine-worker x", 0)
    assert hindrance.until == "start them with: trellis vine-worker x"
    assert hand_hindrances("trellis vine-worker x", 1) == []
