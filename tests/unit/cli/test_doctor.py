"""The steps of an examination, with executors that only pretend; and what the command prints."""

from __future__ import annotations

import platform
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from trellis.cli import examination
from trellis.cli.examination import Examination, Place, StepFailed, Verdict, judge, last_lines, where_am_i
from trellis.cli.main import main
from trellis.core.interfaces import ExecutorContext
from trellis.core.jobs import JobState, JobStatus


class FakeProvider:
    init_blocks, min_blocks, max_blocks = 7, 5, 9


class FakeExecutor:
    """Has one block, whose job and manager are as told."""

    label = "fake"
    address_probe_timeout = None

    def __init__(self, *, status: JobStatus, managers: int = 0, rejected: bool = False) -> None:
        self.provider = FakeProvider()
        self.job_status = status
        self.blocks_to_job_id = {} if rejected else {"0": 4711}
        self.managers = managers
        self.log: list[str] = []
        self.run: Callable[..., Any] = lambda func, *args: func(*args)

    def start(self, context: ExecutorContext) -> None:
        self.log.append(f"start {context.strategy} {self.provider.init_blocks} {self.provider.max_blocks}")
        self.context = context

    def launch(self, attempt: object) -> None: ...

    def shutdown(self) -> None:
        self.log.append("shutdown")

    def poll_facade(self) -> None: ...

    def status(self) -> dict[str, JobStatus]:
        return {"0": self.job_status}

    def connected_managers(self) -> list[dict[str, Any]]:
        return [{"hostname": "node1", "worker_count": 4}] * self.managers

    def submit(self, func: Callable[..., Any], resource_specification: dict[str, Any], *args: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(self.run(func, *args))
        except Exception as error:
            future.set_exception(error)
        return future


RUNNING = JobStatus(JobState.RUNNING)


def examine(executor: FakeExecutor, *packages: str, timeout_s: float = 0.01) -> dict[str, Verdict]:
    events = Examination(executor, "runinfo", packages, timeout_s).run()
    return {event.step: event for event in events if isinstance(event, Verdict)}


def test_everything_works_on_one_block() -> None:
    executor = FakeExecutor(status=RUNNING, managers=1)
    verdicts = examine(executor, "json")
    assert {verdict.state for verdict in verdicts.values()} == {"ok"}
    assert verdicts["a block is submitted"].detail == "job 4711"
    assert verdicts["a manager connects"].detail == "node1, 4 workers"
    assert executor.log == ["start none 1 1", "shutdown"]


def test_what_comes_after_a_failure_is_skipped_and_all_is_ended() -> None:
    executor = FakeExecutor(status=JobStatus(JobState.FAILED, "invalid partition x"), rejected=True)
    verdicts = examine(executor, "json")
    assert verdicts["a block is submitted"].state == "failed"
    assert "partition" in verdicts["a block is submitted"].hint
    assert [verdict.state for verdict in list(verdicts.values())[2:]] == ["skipped"] * 4
    assert executor.log[-1] == "shutdown"


def test_the_last_words_of_a_job_are_evidence(tmp_path: Path) -> None:
    stderr = tmp_path / "stderr"
    stderr.write_text("+ set -x\nno worker fits this node: 2.0 GB of memory, 4 for each worker\n")
    verdicts = examine(FakeExecutor(status=JobStatus(JobState.MISSING, "it ended early", 1, None, str(stderr))))
    failed = verdicts["its job runs"]
    assert failed.detail == "it ended early\nno worker fits this node: 2.0 GB of memory, 4 for each worker"
    assert "too small for one worker" in failed.hint


def test_a_manager_that_was_refused_is_no_mystery(monkeypatch: pytest.MonkeyPatch) -> None:
    executor = FakeExecutor(status=JobStatus(JobState.FAILED, "it ended"))
    start = executor.start

    def refuse(context: ExecutorContext) -> None:
        start(context)
        assert context.notify is not None
        context.notify("interchange has 1, manager has 2")

    monkeypatch.setattr(executor, "start", refuse)
    failed = examine(executor)["its job runs"]
    assert failed.detail == "it ended\ninterchange has 1, manager has 2"
    assert "another version of Trellis" in failed.hint


def test_a_manager_that_never_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examination, "CONNECT_TIMEOUT_S", 0.01)
    failed = examine(FakeExecutor(status=RUNNING))["a manager connects"]
    assert failed.detail == "the job runs, but no manager has connected after 0.01 s"
    assert "launch_cmd" in failed.hint


def test_a_job_that_waits() -> None:
    failed = examine(FakeExecutor(status=JobStatus(JobState.PENDING, "Priority")))["its job runs"]
    assert failed.detail == "the job still waits in its queue after 0.01 s\nPriority"
    assert "--timeout" in failed.hint


def test_a_job_that_waits_for_ever_is_told_at_once() -> None:
    executor = FakeExecutor(status=JobStatus(JobState.PENDING, "PartitionTimeLimit"))
    failed = examine(executor, timeout_s=1000)["its job runs"]
    assert failed.detail == "the job waits, and will do so for ever: PENDING (PartitionTimeLimit)"
    assert "ask for less with walltime=" in failed.hint


def test_another_python_on_the_worker() -> None:
    executor = FakeExecutor(status=RUNNING, managers=1)
    executor.run = lambda func, *args: Place("node1", "3.2.1", "/usr/bin/python3")
    failed = examine(executor)["a task runs"]
    assert f"the worker has Python 3.2.1 (/usr/bin/python3 on node1), the program {platform.python_version()}" in str(
        failed
    )


def test_all_packages_that_are_missing_are_named() -> None:
    verdicts = examine(FakeExecutor(status=RUNNING, managers=1), "nosuch_one", "json", "nosuch_two")
    states = {name: verdict.state for name, verdict in verdicts.items() if name.startswith("import ")}
    assert states == {"import nosuch_one": "failed", "import json": "ok", "import nosuch_two": "failed"}
    assert f"{where_am_i().executable} on {where_am_i().hostname}" in verdicts["import nosuch_one"].detail


def test_an_executor_without_blocks_for_itself() -> None:
    executor = FakeExecutor(status=RUNNING)
    executor.provider.init_blocks = executor.provider.max_blocks = 0
    failed = examine(executor)["fake starts"]
    assert "starts no blocks" in failed.detail
    assert "max_blocks=1" in failed.hint


def test_long_probes_are_cut_short_and_short_ones_stay() -> None:
    for given, then in ((None, 5), (60, 5), (2, 2)):
        executor = FakeExecutor(status=RUNNING, managers=1)
        executor.address_probe_timeout = given  # type: ignore[assignment]
        examine(executor)
        assert executor.address_probe_timeout == then


def test_a_failure_that_nobody_foresaw_is_a_verdict_too() -> None:
    def fail() -> str:
        raise OSError("out of memory")

    verdict = judge("x", fail)
    assert (verdict.state, verdict.detail) == ("failed", "OSError: out of memory")
    assert "memory of the job was used up" in verdict.hint


def test_a_known_cause_goes_before_the_hint_of_a_step() -> None:
    assert StepFailed("nothing known", "look there").hint == "look there"
    assert "walltime" in StepFailed("CANCELLED DUE TO TIME LIMIT", "look there").hint


def test_last_lines() -> None:
    assert last_lines("+ trace\none\ntwo\n\n") == "one\ntwo"
    assert last_lines("\n".join(map(str, range(100)))).splitlines() == [str(n) for n in range(88, 100)]
    assert last_lines(None) == ""


# -- the command -----------------------------------------------------------------------------------------------


def test_threads_have_no_blocks_to_try(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "config.py"
    path.write_text(f"import trellis\nmine = trellis.Config(run_dir={str(tmp_path)!r})\n")
    assert main(["doctor", str(path), "--import", "json", "nosuch_package"]) == 1
    output = capsys.readouterr().out
    assert [line.split()[1] for line in output.splitlines() if line[0] in "✓✗–"] == ["ok", "ok", "ok", "ok", "failed"]
    assert "cannot import nosuch_package" in output
    assert output.endswith("1 step failed.\n")


@pytest.mark.parametrize("timeout", ["0", "-1", "soon", "inf"])
def test_a_timeout_that_makes_no_sense(timeout: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["doctor", "config.py", "--timeout", timeout])
    assert "must be a number of seconds above 0" in capsys.readouterr().err
