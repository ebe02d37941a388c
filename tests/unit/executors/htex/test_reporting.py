"""What an HTEX tells of itself and of a task, whatever of its processes answers."""

from __future__ import annotations

from typing import Any

import pytest

from trellis.core.interfaces import Attempt
from trellis.core.reports import Begun, ExecutorReport, Hindrance, ManagerReport, Standing
from trellis.errors import CommandClientBadError
from trellis.executors import HighThroughputExecutor, MPIExecutor
from trellis.executors.htex.reporting import executor_report, managers_by_block, task_standing
from trellis.wire.questions import ManagerStatus, Obstacle, StandingAtManager, StandingReply, StatusReply

MANAGER = ManagerStatus("m", "0", "node1", 4, 4, 3, 0.0, False, False, 1.5, 0.0, "", "", busy=3, begun=2, state="held")
STATUS = StatusReply(1, 5, 3, [MANAGER], ["0"])
BEGUN = Begun("node1", "0", "m", 2, 100.0)
BLOCK = Hindrance("block 1", "its job has not started yet")
AT_MANAGER = StandingReply(1, "assigned", "manager m on node1 has it", manager="m", queue=4)
SILENT = "the interchange does not answer: it is stopped, very busy, or being started again"
NOWHERE = ("", "")


def report(status: StatusReply | None, is_new: bool, error: str = "") -> ExecutorReport:
    return executor_report("h", "HTEX", status, is_new, 8, [], 2, error)


def test_a_report_counts_what_waits_and_what_runs() -> None:
    assert report(STATUS, is_new=True) == ExecutorReport(
        "h",
        "HTEX",
        4,
        queued=5,
        assigned=1,
        running=2,
        managers=[ManagerReport("m", "node1", "0", 4, 3, 3, "held", 1.5)],
        blocks=[],
        max_blocks=2,
        notes=["manager m on node1 (block 0) is held"],
    )
    assert managers_by_block(STATUS) == {"0": 1}


def test_an_interchange_that_does_not_answer() -> None:
    old = report(STATUS, is_new=False)
    assert (old.queued, old.running, old.workers) == (None, None, 4)
    assert old.notes[-1].endswith("8 tasks are outstanding")
    never = report(None, is_new=False)
    assert (never.queued, never.managers) == (None, ())
    assert never.notes == ["the interchange does not answer; 8 tasks are outstanding"]
    assert managers_by_block(None) == {}


def test_an_executor_that_cannot_work_says_why() -> None:
    assert report(STATUS, is_new=True, error="all blocks have failed").error == "all blocks have failed"


def test_a_task_in_the_queue_is_told_of_blocks_too() -> None:
    known = StandingReply(1, "queued", "it waits", 3, 9, obstacles=[Obstacle("manager m", "busy", "soon")])
    assert task_standing(known, None, None, NOWHERE, [BLOCK]) == Standing(
        "queued", "it waits", 3, 9, hindrances=[Hindrance("manager m", "busy", "soon"), BLOCK]
    )


def test_a_task_that_runs() -> None:
    answer = StandingAtManager("m", 1, "running", "worker 2 runs it", 2, 100.0)
    assert task_standing(AT_MANAGER, answer, None, ("node1", "0"), [BLOCK]) == Standing(
        "running", "worker 2 runs it", begun=BEGUN
    )


def test_a_task_that_waits_at_its_manager() -> None:
    answer = StandingAtManager("m", 1, "assigned", "it waits there", obstacles=[Obstacle("manager m", "busy")])
    assert task_standing(AT_MANAGER, answer, None, NOWHERE, [BLOCK]) == Standing(
        "assigned", "it waits there", hindrances=[Hindrance("manager m", "busy")]
    )


def test_a_manager_that_does_not_answer() -> None:
    found = task_standing(AT_MANAGER, None, None, NOWHERE, [BLOCK])
    assert found.stage == "assigned"
    assert found.text.endswith("the manager does not answer: it is stopped, cut off, or very busy")
    known_to_run = task_standing(AT_MANAGER, None, BEGUN, NOWHERE, [BLOCK])
    assert (known_to_run.stage, known_to_run.begun) == ("running", BEGUN)
    assert known_to_run.text.startswith("worker 2 of manager m on node1 runs it, as was said before; manager m")


def test_nobody_answers() -> None:
    assert task_standing(None, None, None, NOWHERE, [BLOCK]) == Standing(
        "unknown", SILENT, hindrances=[Hindrance("interchange", SILENT), BLOCK]
    )
    found = task_standing(None, None, BEGUN, NOWHERE, [BLOCK])
    assert (found.stage, found.begun) == ("running", BEGUN)


def test_an_odd_stage_is_unknown() -> None:
    assert task_standing(StandingReply(1, "flying", "?"), None, None, NOWHERE, []).stage == "unknown"


# -- an executor without its processes -----------------------------------------------------------------------------


class _Dead:
    """A client whose interchange is gone."""

    def status(self, timeout_s: float) -> StatusReply:
        raise CommandClientBadError("it is gone")

    def standing(self, id_: int, timeout_s: float) -> tuple[None, None]:
        raise CommandClientBadError("it is gone")

    def where_it_runs(self, id_: int) -> None:
        return None

    outstanding = 2


@pytest.mark.parametrize("kind", [HighThroughputExecutor, MPIExecutor])
def test_an_executor_that_does_not_run_says_so(kind: type[HighThroughputExecutor]) -> None:
    executor = kind()
    report = executor.report()
    assert (report.error, report.kind, report.max_blocks) == ("it is not running", kind.__name__, 1)
    attempt = Attempt(len, (), {}, sink=_NOBODY)
    assert executor.standing(attempt).stage == "unknown"


def test_an_executor_whose_interchange_is_gone() -> None:
    executor = HighThroughputExecutor()
    executor._client = _Dead()  # type: ignore[assignment]
    attempt = Attempt(len, (), {}, sink=_NOBODY)
    assert "it is not running, or refused it" in executor.standing(attempt).text
    attempt.executor_id = 0
    assert executor.standing(attempt).text == SILENT
    assert executor.report().notes[-1].endswith("2 tasks are outstanding")
    executor._executor_exception = RuntimeError("all blocks have failed")
    assert executor.standing(attempt).text.endswith("cannot work any more: all blocks have failed")
    assert executor.report().error == "all blocks have failed"


_NOBODY: Any = None
