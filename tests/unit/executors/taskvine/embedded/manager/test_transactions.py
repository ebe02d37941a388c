"""The log of transactions has the lines that TaskVine's tools read."""

from __future__ import annotations

import json
import os
from pathlib import Path

from trellis.executors.taskvine.embedded.manager.transactions import Transactions
from trellis.wire.vine import UNKNOWN, CallsEnded, Resources, TaskShape

SHAPE = TaskShape("regular", "my app", Resources(cores=1, memory=100))
GIVEN = Resources(1, 100, 50, 0)


def lines_of(directory: Path) -> list[list[str]]:
    text = (directory / "vine-logs" / "transactions").read_text()
    return [line.split(maxsplit=5) for line in text.splitlines() if not line.startswith("#")]


def run_one(log: Transactions, worker: str = "w") -> None:
    log.running(worker, [0], [GIVEN])
    log.ended(worker, CallsEnded([0], [], [1000.0], [2.5], [10]))


def test_the_life_of_a_task(tmp_path: Path) -> None:
    log = Transactions.below(tmp_path)
    log.define_shapes([7], [SHAPE])
    log.ready([0], [7])
    run_one(log)
    log.done([0])
    log.close()

    lines = lines_of(tmp_path)
    assert [line[2:5] for line in lines] == [
        ["MANAGER", str(os.getpid()), "START"],
        ["TASK", "1", "READY"],
        ["TASK", "1", "RUNNING"],
        ["TASK", "1", "WAITING_RETRIEVAL"],
        ["TASK", "1", "RETRIEVED"],
        ["TASK", "1", "DONE"],
        ["MANAGER", str(os.getpid()), "END"],
    ]
    assert {line[1] for line in lines} == {str(os.getpid())}
    assert [int(line[0]) for line in lines] == sorted(int(line[0]) for line in lines)
    category, which, attempt, asked = lines[1][5].split()
    assert (category, which, attempt) == ("my_app", "FIRST_RESOURCES", "1")
    assert json.loads(asked) == {"cores": [1, "cores"], "memory": [100, "MB"]}
    worker, _, given = lines[2][5].split()
    assert worker == "worker-w"
    assert json.loads(given)["disk"] == [50, "MB"]
    result, code, exceeded, used = lines[4][5].split()
    assert (result, code, exceeded) == ("SUCCESS", "0", "{}")
    assert json.loads(used)["time_worker_end"] == [1002.5, "s"]
    assert json.loads(used)["cores"] == [1, "cores"]
    assert lines[5][5] == "SUCCESS 0"


def test_what_was_measured_is_told_in_place_of_what_was_given(tmp_path: Path) -> None:
    log = Transactions.below(tmp_path)
    log.define_shapes([7], [SHAPE])
    log.ready([0], [7])
    log.running("w", [0], [GIVEN])
    log.ended("w", CallsEnded([0], [], [1000.0], [2.5], [10], [Resources(memory=33)]))
    log.close()
    used = json.loads(lines_of(tmp_path)[4][5].split()[3])
    assert used["memory"] == [33, "MB"]
    assert "cores" not in used


def test_another_attempt_has_a_line_of_its_own(tmp_path: Path) -> None:
    log = Transactions.below(tmp_path)
    log.define_shapes([7], [SHAPE])
    log.ready([0], [7])
    log.connected("w", "127.0.0.1:99", GIVEN)
    log.running("w", [0], [GIVEN])
    log.disconnected("w", "its connection closed")
    run_one(log, "v")
    log.close()
    told = [(line[2], line[4], line[5].split()[-2]) for line in lines_of(tmp_path) if line[4] == "READY"]
    assert told == [("TASK", "READY", "1"), ("TASK", "READY", "2")]
    assert ["worker-w", "DISCONNECTION", "its_connection_closed"] in [line[3:] for line in lines_of(tmp_path)]


def test_a_result_that_nobody_waits_for_leaves_no_line(tmp_path: Path) -> None:
    log = Transactions.below(tmp_path)
    log.ended("w", CallsEnded([5], [], [1000.0], [2.5], [10], [UNKNOWN]))
    log.close()
    assert [line[2] for line in lines_of(tmp_path)] == ["MANAGER", "MANAGER"]


def test_a_failure(tmp_path: Path) -> None:
    log = Transactions.below(tmp_path)
    log.define_shapes([7], [SHAPE])
    log.ready([0, 1], [7, 7])
    log.running("w", [0], [GIVEN])
    log.failed(0, "output_missing", 3)
    log.failed(1, "cancelled", 0)  # never began
    log.close()
    ends = [line[3:] for line in lines_of(tmp_path) if line[4] in ("RETRIEVED", "DONE")]
    assert ends == [
        ["1", "RETRIEVED", "OUTPUT_MISSING 3 {} {}"],
        ["1", "DONE", "OUTPUT_MISSING 3"],
        ["2", "DONE", "CANCELLED 0"],
    ]


def test_files_and_libraries(tmp_path: Path) -> None:
    log = Transactions.below(tmp_path)
    log.connected("w", "127.0.0.1:99", GIVEN)
    log.cached("w", ["temp-1"], [1000], [0.5], ())
    log.cached("w", ["file-2"], [1000], [0.5], {"file-2"})
    log.came_home("w", "file-1", 20, 0.25)
    log.library_sent("w", "lib", 0, GIVEN)
    log.library_up("w", 0)
    log.library_down("w", 0)
    log.close()
    lines = lines_of(tmp_path)
    assert lines[1][2:] == ["WORKER", "worker-w", "CONNECTION", "127.0.0.1:99"]
    assert lines[2][4] == "RESOURCES"
    name, size, took, since = lines[3][5].split()
    assert (name, size, took) == ("temp-1", "1000", "500000")
    assert abs(int(lines[3][0]) - int(since) - 500_000) <= 1
    assert [line[5].split()[:3] for line in lines if line[4] == "TRANSFER"] == [
        ["INPUT", "file-2", "1000"],
        ["OUTPUT", "file-1", "20"],
    ]
    assert [line[4] for line in lines if line[2] == "LIBRARY"] == ["SENT", "STARTED", "FAILURE"]


def test_lines_are_written_when_told_and_the_file_explains_itself(tmp_path: Path) -> None:
    log = Transactions.below(tmp_path)
    path = tmp_path / "vine-logs" / "transactions"
    assert path.read_text() == ""
    log.flush()
    assert path.read_text().startswith("# time manager_pid")
    assert " START " in path.read_text()
    log.close()
