"""All providers at a batch system that misbehaves, and a program that works through each of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.providers.fake_batch import COMMANDS
from tests.providers.systems import PROVIDERS, FakeSystem
from trellis.core.jobs import JobState, JobStatus
from trellis.core.waiting import why_it_waits
from trellis.dataflow.dflow import DataFlowKernelLoader
from trellis.errors import ExecutionProviderException, SubmitException


@pytest.fixture(params=sorted(PROVIDERS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def system(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeSystem]:
    system = FakeSystem(tmp_path, name)
    monkeypatch.setenv("PATH", system.path)
    yield system
    for job_id in list(system.provider._jobs):
        system.provider.cancel([job_id])


def wait_for(system: FakeSystem, job_id: Any, condition: Callable[[JobStatus], bool]) -> JobStatus:
    deadline = time.monotonic() + 30
    while not condition(status := system.provider.status([job_id])[0]):
        assert time.monotonic() < deadline, status
        time.sleep(0.02)
    return JobStatus(status.state, status.message, status.exit_code, status.stdout_path, status.stderr_path)


def test_output_is_where_the_status_says(system: FakeSystem) -> None:
    job_id = system.provider.submit("echo out; echo err >&2; exit 3", 1)
    status = wait_for(system, job_id, lambda status: status.terminal)
    assert (status.stdout, status.stderr_summary) == ("out\n", "err\n")


def test_a_job_that_waits(system: FakeSystem) -> None:
    system.set("hold")
    job_id = system.provider.submit("true", 1)
    assert system.provider.status([job_id])[0].state is JobState.PENDING
    system.provider.cancel([job_id])
    assert wait_for(system, job_id, lambda status: status.terminal).state is JobState.CANCELLED


def test_a_system_that_is_down_raises_and_changes_nothing(system: FakeSystem) -> None:
    job_id = system.provider.submit("sleep 1000", 1)
    wait_for(system, job_id, lambda status: status.state is JobState.RUNNING)
    system.set("down")
    for call in (system.provider.status, system.provider.cancel):
        with pytest.raises(ExecutionProviderException, match="failed with exit code 1"):
            call([job_id])
    with pytest.raises(SubmitException):
        system.provider.submit("true", 1)
    system.unset("down")
    assert system.provider.status([job_id])[0].state is JobState.RUNNING


@pytest.mark.parametrize(("code", "state"), [(0, JobState.COMPLETED), (3, JobState.FAILED)])
def test_a_system_that_forgets_ended_jobs_at_once(system: FakeSystem, code: int, state: JobState) -> None:
    system.set("forget")
    job_id = system.provider.submit(f"exit {code}", 1)
    status = wait_for(system, job_id, lambda status: status.terminal)
    assert (status.state, status.exit_code) == (state, code)


def test_a_job_that_vanishes_is_not_taken_for_completed(system: FakeSystem) -> None:
    job_id = system.provider.submit("sleep 1000", 1)
    wait_for(system, job_id, lambda status: status.state is JobState.RUNNING)
    moved = (system.state / "1").rename(system.state / "elsewhere")
    assert system.provider.status([job_id])[0].state is JobState.UNKNOWN
    moved.rename(system.state / "1")
    assert system.provider.status([job_id])[0].state is JobState.RUNNING


def test_a_refusal_says_what_the_system_said(system: FakeSystem, name: str) -> None:
    system.set("refuse", "no, for a reason of the site")
    with pytest.raises(SubmitException, match="no, for a reason of the site") as caught:
        system.provider.submit("true", 1)
    assert caught.value.retcode == 1
    assert COMMANDS[name][0] in str(caught.value)


# A reason that never passes, and one that may, as each system words it.
REASONS = {
    "condor": ("Error from slot1@node: Failed to execute", "via condor_hold (by user me)"),
    "grid_engine": (None, 'queue instance "all.q@node" dropped because it is disabled'),
    "lsf": ("Dependency condition invalid or never satisfied", "The queue is inactivated by its administrator"),
    "pbspro": ("Can Never Run: Insufficient amount of resource: ncpus", "Not Running: Queue not started."),
    "slurm": ("PartitionTimeLimit", "PartitionDown"),
    "torque": ("Can Never Run: Insufficient amount of resource: ncpus", "Not Running: Queue not started."),
}


@pytest.mark.parametrize("passes", [False, True])
def test_a_job_that_waits_says_why(system: FakeSystem, name: str, passes: bool) -> None:
    reason = REASONS[name][passes]
    if reason is None:
        pytest.skip("this system has no words for it")
    system.set("hold")
    job_id = system.provider.submit("true", 1)
    assert why_it_waits(system.provider.status([job_id])[0].message or "") is None
    system.set("reason", reason)
    status = system.provider.status([job_id])[0]
    assert not status.terminal
    assert reason in (status.message or "")
    cause = why_it_waits(status.message or "")
    assert cause is not None
    assert cause.passes == passes


def test_a_job_that_was_made_although_the_command_failed_is_used(system: FakeSystem) -> None:
    system.set("tell")
    job_id = system.provider.submit("sleep 1000", 1)
    wait_for(system, job_id, lambda status: status.state is JobState.RUNNING)
    assert system.provider.cancel([job_id]) == [True]
    assert system.cancelled() == ["1"]


@pytest.mark.parametrize(
    "odd", ["a b", "back\\slash", "it's $HOME", 'so "called"', "100%j", "host:runs", "line\nbreak"]
)
def test_odd_names_of_directories_work_or_are_refused(system: FakeSystem, name: str, odd: str) -> None:
    directory = system.scripts / odd
    directory.mkdir()
    system.provider.script_dir = str(directory)
    if name == "condor" and "\n" in odd:
        with pytest.raises(SubmitException, match="without line breaks"):
            system.provider.submit("true", 1)
        return
    job_id = system.provider.submit("echo out; echo err >&2", 1)
    status = wait_for(system, job_id, lambda status: status.terminal)
    assert (status.state, status.exit_code) == (JobState.COMPLETED, 0)
    assert (status.stdout, status.stderr_summary) == ("out\n", "err\n")


def test_one_question_for_all_jobs(system: FakeSystem) -> None:
    jobs = [system.provider.submit("sleep 1000", 1) for _ in range(3)]
    asked = len(system.commands())
    assert len(system.provider.status(jobs)) == 3
    assert len(system.commands()) == asked + 1


def square(x: int) -> int:
    return x * x


def test_a_program_works_through_it(system: FakeSystem, name: str, tmp_path: Path) -> None:
    from trellis import Config, HighThroughputExecutor, python_app

    provider = PROVIDERS[name](launcher=system.provider.launcher)  # type: ignore[call-arg]
    executor = HighThroughputExecutor(provider=provider, max_workers_per_node=1, address="127.0.0.1")
    config = Config(executors=[executor], run_dir=str(tmp_path / "runs"), strategy="none")
    with DataFlowKernelLoader.load(config):
        assert python_app(square)(7).result(timeout=60) == 49
    deadline = time.monotonic() + 30
    while not (system.state / "1" / "code").exists():  # its managers were told to end, or it was cancelled
        assert time.monotonic() < deadline
        time.sleep(0.02)
