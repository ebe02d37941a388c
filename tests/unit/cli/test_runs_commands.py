"""`trellis status`, `tasks`, `explain`, `cancel`, `blocks`, `runs`: what they print, for people and for programs."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.watching.played import Apps, Played, kernel_of
from trellis.cli import runs_commands
from trellis.cli.main import main
from trellis.core.reports import BlockReport, ExecutorReport, ManagerReport
from trellis.dataflow.kernel import DataFlowKernel
from trellis.watching import find_runs, run_file

REPORT = ExecutorReport(
    "played",
    "Played",
    workers=4,
    queued=1200,
    assigned=3,
    running=2,
    managers=[
        ManagerReport("4f2a", "node7", "0", 2, 2, 3, "active", 0.4),
        ManagerReport("9c1b", "node8", "1", 2, 0, 0, "held"),
    ],
    blocks=[
        BlockReport("0", "RUNNING", "4711", "", 2, 1000.0),
        BlockReport("1", "PENDING", "4712", "Priority", 0, 1000.0),
    ],
    max_blocks=2,
    notes=["the queue is long"],
)

Say = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def _only_runs_below(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(find_runs, "own_processes", list)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def played() -> Played:
    executor = Played()
    executor.answers = lambda: REPORT
    return executor


@pytest.fixture
def kernel(played: Played, tmp_path: Path) -> Iterator[DataFlowKernel]:
    kernel = kernel_of(played, tmp_path / "runinfo")
    yield kernel
    kernel.cleanup()


@pytest.fixture
def apps(kernel: DataFlowKernel) -> Apps:
    return Apps(kernel)


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    def run(*words: str) -> tuple[int, str, str]:
        code = main(words)
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return run


def objects(say: Say, *words: str) -> Any:
    code, out, err = say(*words, "--json")
    assert err == ""
    return code, json.loads(out)


def has_failed(apps: Apps, played: Played, error: str = "too [red]large[/red]\n\x1b[31m") -> Any:
    future = apps.simulate()
    played.end(future, exception=ValueError(error))
    future.exception()
    return future


def test_status(kernel: DataFlowKernel, apps: Apps, played: Played, say: Say) -> None:
    has_failed(apps, played)
    apps.simulate()
    apps.stubborn(apps.simulate())
    code, out, err = say("status")
    lines = out.splitlines()
    assert (code, err) == (0, "")
    assert lines[0].startswith(f"run runinfo/000  {kernel.workflow_name}  pid {os.getpid()} on ")
    assert "  live for " in lines[0]
    assert "tasks  1 of 4 tasks, 1 pending, 2 launched, 1 failed" in lines
    table = lines.index("app       total  pending  launched  failed")
    assert [line.split() for line in lines[table + 1 : table + 3]] == [
        ["simulate", "3", "2", "1"],
        ["stubborn", "1", "1"],
    ]
    assert "played Played  2 of 4 workers busy, 1,200 queued, 3 at managers, 2 managers on 2 hosts" in lines
    assert "  blocks: 1 RUNNING, 1 PENDING; at most 2 at a time" in lines
    assert "  block 1 (job 4712) PENDING: Priority" in lines
    assert "  manager 9c1b on node8 is held" in lines
    assert "  ! the queue is long" in lines
    assert "  task 0 (app simulate) on node7: ValueError: too [red]large[/red]  [31m" in lines
    assert "\x1b" not in out


def test_status_before_there_are_tasks(kernel: DataFlowKernel, say: Say) -> None:
    assert "no task was submitted yet" in say("status")[1]


def test_an_executor_that_cannot_work_says_why(kernel: DataFlowKernel, played: Played, say: Say) -> None:
    played.answers = lambda: ExecutorReport("played", "Played", 0, error="no block can start")
    assert "  cannot work any more: no block can start" in say("status")[1]
    played.answers = lambda: ExecutorReport("played", "Played", 0)
    assert "played Played  tells nothing of its workers" in say("status")[1].splitlines()


def test_tasks(kernel: DataFlowKernel, apps: Apps, played: Played, say: Say) -> None:
    has_failed(apps, played)
    running = apps.stubborn()
    apps.simulate(running)
    played.begin(running)
    lines = say("tasks")[1].splitlines()
    assert lines[0].split() == ["task", "app", "state", "executor", "where", "time", "about"]
    assert [line.split()[:4] for line in lines[1:]] == [
        ["0", "simulate", "failed", "played"],
        ["1", "stubborn", "running", "played"],
        ["2", "simulate", "pending", "played"],
    ]
    assert "node7 worker 3" in lines[2]
    assert lines[3].endswith("waits for 1")
    assert [line.split()[0] for line in say("tasks", "--failed")[1].splitlines()[1:]] == ["0"]
    assert [
        line.split()[0] for line in say("tasks", "--state", "running", "--app", "stubborn")[1].splitlines()[1:]
    ] == ["1"]
    assert "2 more tasks of these: --limit 3 lists all" in say("tasks", "--limit", "1")[1]
    assert "more" not in say("tasks", "--limit", "0")[1]


def test_no_tasks_and_wrong_names(kernel: DataFlowKernel, apps: Apps, say: Say) -> None:
    apps.simulate()
    assert say("tasks", "--failed")[1] == "there is no such task now\n"
    assert "  ! no app nothing was called; apps that were: simulate" in say("tasks", "--app", "nothing")[1]
    code, out, err = say("tasks", "--state", "done")
    assert (code, out) == (1, "")
    assert err.startswith("trellis tasks: there is no state 'done': states are pending, running")


def test_explain(kernel: DataFlowKernel, apps: Apps, say: Say) -> None:
    apps.simulate(apps.simulate())
    out = say("explain", "1")[1].splitlines()
    assert out[0] == "task 1 (app simulate)  pending"
    assert out[1] == "Task 1 (app simulate) waits for task 0 (app simulate)"
    assert out[2].startswith("  - task 0 (app simulate) is at executor played for ")
    assert out[3] == "    * all 4 workers: are busy (one is free)"
    code, _, err = say("explain", "7")
    assert (code, err) == (1, "trellis explain: there is no task 7: tasks are numbered from 0 to 1\n")


@pytest.mark.parametrize("number", ["-1", "x", "1.5", "²"])
def test_what_is_no_number_of_a_task_is_refused(number: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["explain", "--", number])
    assert ended.value.code == 2
    assert f"must be a whole number of at least 0, not '{number}'" in capsys.readouterr().err


def test_cancel(kernel: DataFlowKernel, apps: Apps, say: Say) -> None:
    futures = [apps.simulate() for _ in range(20)]
    apps.stubborn()
    assert say("cancel", "3") == (0, "1 task cancelled: 3\n", "")
    code, out, _ = say("cancel", "3", "20", "99", "--app", "simulate", "--run", kernel.run_dir)
    assert out.splitlines() == [
        "19 tasks cancelled: 0, 1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12, …",
        "1 task cannot be stopped while running: 20",
        "1 task had ended before: 3",
        "1 task not known to this run: 99",
    ]
    assert code == 1
    assert all(future.cancelled() for future in futures)
    assert say("cancel", "--app", "simulate")[1].startswith("nothing to cancel")
    code, _, err = say("cancel")
    assert (code, err) == (2, "trellis cancel: say which: numbers of tasks, or --app APP (see --help)\n")


def test_blocks(kernel: DataFlowKernel, played: Played, say: Say) -> None:
    lines = say("blocks")[1].splitlines()
    assert [line.split() for line in lines if " PENDING " in line][-1][:4] == ["1", "PENDING", "4712", "0"]
    assert any(line.endswith("Priority") for line in lines)
    assert any(line.split() == ["4f2a", "node7", "0", "2/2", "3", "active", "0.4", "s", "ago"] for line in lines)
    played.answers = lambda: ExecutorReport("played", "Played", 2)
    assert "  has no blocks" in say("blocks")[1].splitlines()
    played.answers = lambda: ExecutorReport("played", "Played", 2, max_blocks=0)
    assert "  has no block now; at most 0 at a time" in say("blocks")[1].splitlines()


def test_runs_also_those_that_have_ended(
    kernel: DataFlowKernel, played: Played, apps: Apps, say: Say, tmp_path: Path
) -> None:
    has_failed(apps, played)
    other = kernel_of(Played(), tmp_path / "runinfo")
    other.cleanup()
    (tmp_path / "runinfo" / "005").mkdir()
    (tmp_path / "runinfo" / "005" / "run.json").write_text("{oops")
    code, out, err = say("runs")
    rows = [line.split() for line in out.splitlines()]
    assert [row[:2] for row in rows] == [["run", "state"], ["runinfo/000", "live"], ["runinfo/001", "ended"]]
    assert rows[1][-2:] == ["1", "1"]
    assert "005/run.json is damaged" in err
    assert code == 0
    assert say("runs", "runinfo/001")[1].splitlines()[1].startswith("runinfo/001  ended")


def test_where_there_are_no_runs_that_is_said(say: Say, tmp_path: Path) -> None:
    assert say("runs") == (
        0,
        "",
        f"trellis runs: there are no runs in ./runinfo, and none goes on elsewhere (here: {tmp_path})\n",
    )
    assert say("runs", "nowhere") == (2, "", "trellis runs: there is no directory nowhere\n")
    for command in (["status"], ["tasks"], ["blocks"], ["explain", "1"], ["cancel", "1"]):
        code, out, err = say(*command)
        assert (code, out) == (2, "")
        assert err.startswith(f"trellis {command[0]}: there is no run: no directory runinfo here ({tmp_path})")


def test_an_ended_run_tells_how_it_ended_and_answers_nothing_else(played: Played, tmp_path: Path, say: Say) -> None:
    kernel = kernel_of(played, tmp_path / "runinfo")
    has_failed(Apps(kernel), played)
    Apps(kernel).simulate()
    kernel.cleanup()
    code, out, _ = say("status")
    assert code == 0
    assert "  ended " in out.splitlines()[0]
    assert "tasks  2 of 2 tasks, 2 failed" in out.splitlines()
    assert "1 of the failed ones had not ended when the run did (abandoned)" in out.splitlines()
    code, out, err = say("tasks")
    assert (code, out) == (1, "")
    assert err.splitlines()[0] == "trellis tasks: runinfo/000: it has ended"
    code, told = objects(say, "status")
    assert (code, told["state"], told["states"], told["abandoned"]) == (0, "ended", {"failed": 2}, 1)


def test_one_that_was_killed_is_told_with_an_exit_code(played: Played, tmp_path: Path, say: Say) -> None:
    kernel = kernel_of(played, tmp_path / "runinfo")
    began = run_file.read(kernel.run_dir)
    kernel.cleanup()
    run_file.write(began.__class__(**{name: getattr(began, name) for name in began.__slots__} | {"process_start": 1}))
    code, out, _ = say("status")
    assert code == 1
    assert "killed, last sign of life" in out
    assert "has ended without cleaning up: it was killed" in out
    code, told = objects(say, "tasks")
    assert (code, told["state"], told["total"]) == (1, "killed", None)


def test_objects_for_programs(kernel: DataFlowKernel, apps: Apps, played: Played, say: Say) -> None:
    apps.simulate(apps.simulate())
    for command, names in (
        (["status"], {"run", "state", "at", "total", "remaining", "states", "apps", "rate_per_s", "executors"}),
        (["tasks"], {"tasks", "total", "notes"}),
        (["explain", "1"], {"task", "text", "waits", "standing", "notes"}),
        (["blocks"], {"run", "state", "at", "executors"}),
        (["runs"], {"runs"}),
        (["cancel", "1"], {"cancelled", "running", "final", "unknown"}),
    ):
        code, told = objects(say, *command)
        assert (code, told["format"]) == (0, 1)
        assert names <= told.keys()


def test_watching_goes_on_until_the_run_has_ended(
    kernel: DataFlowKernel, apps: Apps, played: Played, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    apps.simulate()
    rounds: list[float] = []

    def sleep(seconds: float) -> None:
        rounds.append(seconds)
        if len(rounds) == 2:
            kernel.cleanup()

    monkeypatch.setattr(runs_commands, "_pause", sleep)
    code, out, _ = say("status", "--watch", "0.2")
    assert code == 0
    assert [line.split()[1] for line in out.splitlines()] == ["live", "live", "ended"]
    assert "0 of 1 tasks" in out.splitlines()[0]
    code, out, _ = say("status", "--watch", "--json")
    assert [json.loads(line)["state"] for line in out.splitlines()] == ["ended"]


def test_a_terminal_gets_colours_and_lines_that_fit(
    kernel: DataFlowKernel, apps: Apps, played: Played, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_failed(apps, played, "too large " * 50)
    for name, value in (("FORCE_COLOR", "1"), ("TERM", "xterm-256color"), ("COLUMNS", "80")):
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_COLOR", raising=False)
    for command in (["status"], ["tasks", "--failed"], ["blocks"], ["runs"], ["explain", "0"]):
        out = say(*command)[1]
        assert "\x1b[" in out
        assert max(map(_width, out.splitlines())) <= 80


def _width(line: str) -> int:
    from rich.text import Text

    return Text.from_ansi(line).cell_len


def test_output_that_nobody_reads_to_its_end_is_no_error(
    kernel: DataFlowKernel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def closed(self: object, view: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(runs_commands.StandardOutput, "print", closed)
    with open(tmp_path / "out", "w") as file:
        monkeypatch.setattr("sys.stdout", file)
        assert main(["status"]) == 0
