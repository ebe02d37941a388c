"""What is reported of tasks becomes exceptions that say what happened, to which task, and where."""

from __future__ import annotations

import pickle
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from trellis.core.interfaces import Attempt, Outcome, RunInfo
from trellis.core.measurements import Usage
from trellis.errors import AppTimeout, InvalidResourceSpecification, ManagerLost, MemoryLimitExceeded, WorkerLost
from trellis.executors.htex.submit.outcomes import failure, outcomes_of
from trellis.transport.shared_files import Writer
from trellis.wire.measures import TaskUse
from trellis.wire.messages import (
    ManagerLoss,
    Results,
    TasksCancelled,
    TasksOverMemory,
    TasksTimedOut,
    TasksUnfit,
    WorkerLoss,
)
from trellis.wire.payload import dump_exception, dump_result


class Nobody:
    def deliver(self, outcomes: Any) -> None:
        raise AssertionError


def attempt(id_: int = 5, **keywords: Any) -> Attempt:
    attempt = Attempt(len, (), {}, sink=Nobody(), name="simulate", **keywords)
    attempt.executor_id = id_
    return attempt


@pytest.mark.parametrize(
    ("report", "type_", "facts"),
    [
        (ManagerLoss("m1", "0", "nid7", [5], "its connection closed"), ManagerLost, ["m1", "nid7", "closed"]),
        (WorkerLoss("m1", 5, 3, "nid7", "killed by signal 9"), WorkerLost, ["worker 3", "nid7", "signal 9"]),
        (
            WorkerLoss("m1", 5, 3, "h", "signal 9 (SIGKILL), perhaps by the system for lack of memory"),
            WorkerLost,
            ["fewer"],
        ),
        (
            WorkerLoss("m1", 5, 3, "h", "out of memory: the system killed it"),
            WorkerLost,
            ["have fewer workers"],
        ),
        (WorkerLoss("m1", 5, 3, "h", "signal 7 (SIGBUS)"), WorkerLost, ["PYTHONFAULTHANDLER=1"]),
        (WorkerLoss("m1", 5, 3, "h", "exit code 7"), WorkerLost, ["does it call os._exit()"]),
        (TasksTimedOut("m1", [5], [2.5]), AppTimeout, ["2.5 s"]),
        (TasksCancelled([5]), CancelledError, ["cancelled"]),
        (TasksOverMemory("m1", [4, 5], [1.0, 100.0], [2.0, 130.4]), MemoryLimitExceeded, ["130 MB", "100 MB"]),
        (TasksUnfit([5], "it needs 64 cores"), InvalidResourceSpecification, ["'cores'", "64 cores"]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_report_becomes_its_exception(report: object, type_: type[BaseException], facts: list[str]) -> None:
    exception = failure(report, attempt(walltime_s=2.5, resources={"cores": 64}), "htex")
    assert type(exception) is type_
    for fact in ["simulate", *facts]:
        assert fact in str(exception)


def test_a_memory_limit_tells_its_figures_also_after_a_journey() -> None:
    exception = pickle.loads(pickle.dumps(MemoryLimitExceeded("simulate", 100.0, 130.5)))
    assert (exception.task_name, exception.limit_mb, exception.peak_mb) == ("simulate", 100.0, 130.5)


def results(*payload_sizes: int, failed: list[int]) -> Results:
    count = len(payload_sizes)
    starts = [float(position) for position in range(count)]
    return Results("m1", list(range(count)), failed, list(range(count)), starts, [0.5] * count, list(payload_sizes))


def test_results_become_values_and_exceptions_with_where_they_ran() -> None:
    payloads = [dump_result("no"), dump_result(42), dump_exception(ValueError("bad"))]
    message = results(1, 1, 1, failed=[2])
    value, error = outcomes_of(message, payloads, [1, 2], ("nid7", "0"), None)
    assert (value.value, value.exception) == (42, None)
    assert value.run_info == RunInfo("nid7", "0", "m1", 1, 1.0, 0.5)
    assert repr(error.exception) == "ValueError('bad')"


def test_what_a_task_has_used_is_in_its_run_info() -> None:
    message = structs.replace(results(1, 1, failed=[]), used=[None, TaskUse(1.5, 0.25, 2**30, 7, 8)])
    unknown, known = outcomes_of(message, [dump_result(1), dump_result(2)], [0, 1], ("", ""), None)
    assert unknown.run_info is not None
    assert known.run_info is not None
    assert (unknown.run_info.usage, known.run_info.usage) == (None, Usage(1.5, 0.25, 2**30, 7, 8))


def test_a_large_result_is_read_from_its_file_which_goes(tmp_path: Path) -> None:
    reference = Writer(str(tmp_path), "results").write(dump_result("large"))
    assert reference is not None
    (outcome,) = outcomes_of(results(1, failed=[]), [reference], [0], ("", ""), str(tmp_path))
    assert outcome.value == "large"
    assert list(tmp_path.iterdir()) == []


def test_a_result_whose_file_is_gone_fails_that_task_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    reference = Writer(str(tmp_path), "results").write(dump_result("large"))
    assert reference is not None
    next(tmp_path.iterdir()).unlink()
    payloads = [reference, dump_result(1)]
    lost, fine = outcomes_of(results(1, 1, failed=[]), payloads, [0, 1], ("", ""), str(tmp_path))
    assert isinstance(lost.exception, Exception)
    assert isinstance(fine, Outcome)
    assert fine.value == 1
    assert "a result is lost" in caplog.text
