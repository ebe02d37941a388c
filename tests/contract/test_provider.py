"""What every provider does. A harness says how jobs are made to run, succeed and fail."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.providers.systems import PROVIDERS, FakeSystem
from trellis.core.interfaces import Provider
from trellis.core.jobs import JobState, JobStatus
from trellis.launchers import SimpleLauncher
from trellis.providers import LocalProvider
from trellis.providers.base import ExecutionProvider
from trellis.testing import FakeProvider


class LocalHarness:
    def __init__(self, directory: Path) -> None:
        self.provider = LocalProvider(launcher=SimpleLauncher())
        self.provider.script_dir = str(directory)
        self.unknown_id = "999999999"

    def running(self) -> Any:
        return self.provider.submit("sleep 1000", 1)

    def ended(self, exit_code: int) -> Any:
        return self.provider.submit(f"exit {exit_code}", 1)


class FakeHarness:
    def __init__(self, directory: Path) -> None:
        self.provider = FakeProvider()
        self.unknown_id = "job-99"

    def running(self) -> Any:
        job_id = self.provider.submit("sleep 1000", 1)
        self.provider.run(job_id)
        return job_id

    def ended(self, exit_code: int) -> Any:
        job_id = self.provider.submit("exit", 1)
        self.provider.finish(job_id, exit_code)
        return job_id


class BatchHarness:
    def __init__(self, system: FakeSystem) -> None:
        self.provider = system.provider
        self.unknown_id = "999999"

    def running(self) -> Any:
        return self.provider.submit("sleep 1000", 1)

    def ended(self, exit_code: int) -> Any:
        return self.provider.submit(f"exit {exit_code}", 1)


Harness = LocalHarness | FakeHarness | BatchHarness


@pytest.fixture(params=["local", "fake", *PROVIDERS])
def harness(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Harness]:
    harness: Harness
    if request.param == "local":
        harness = LocalHarness(tmp_path)
    elif request.param == "fake":
        harness = FakeHarness(tmp_path)
    else:
        system = FakeSystem(tmp_path, request.param)
        monkeypatch.setenv("PATH", system.path)
        harness = BatchHarness(system)
    jobs: list[Any] = []
    submit = harness.provider.submit

    def recording_submit(*args: Any, **kwargs: Any) -> Any:
        jobs.append(submit(*args, **kwargs))
        return jobs[-1]

    harness.provider.submit = recording_submit  # type: ignore[method-assign]
    yield harness
    for job_id in jobs:
        harness.provider.cancel([job_id])


def wait_for(provider: Provider, job_id: Any, condition: Callable[[JobStatus], bool]) -> JobStatus:
    deadline = time.monotonic() + 30
    while not condition(status := provider.status([job_id])[0]):
        assert time.monotonic() < deadline, status
        time.sleep(0.005)
    return status


def wait_for_end(provider: Provider, job_id: Any) -> JobStatus:
    return wait_for(provider, job_id, lambda status: status.terminal)


def test_it_is_a_provider(harness: Harness) -> None:
    provider = harness.provider
    assert isinstance(provider, ExecutionProvider)
    assert isinstance(provider.label, str)
    assert provider.status_polling_interval > 0
    for name in ("nodes_per_block", "init_blocks", "min_blocks", "max_blocks", "parallelism"):
        assert getattr(provider, name) >= 0
    assert provider.label.replace("_", "").lower() in repr(provider).lower()


def test_each_job_has_an_id_of_its_own(harness: Harness) -> None:
    ids = [harness.running(), harness.running()]
    assert len(set(ids)) == 2


def test_a_job_runs_until_it_is_cancelled(harness: Harness) -> None:
    job_id = harness.running()
    wait_for(harness.provider, job_id, lambda status: status.state is JobState.RUNNING)
    assert harness.provider.cancel([job_id]) == [True]
    assert wait_for_end(harness.provider, job_id).state is JobState.CANCELLED


def test_a_job_that_ends_with_zero_is_completed(harness: Harness) -> None:
    status = wait_for_end(harness.provider, harness.ended(0))
    assert (status.state, status.exit_code) == (JobState.COMPLETED, 0)


def test_a_job_that_ends_with_another_code_has_failed(harness: Harness) -> None:
    status = wait_for_end(harness.provider, harness.ended(3))
    assert (status.state, status.exit_code) == (JobState.FAILED, 3)


def test_statuses_come_in_the_order_of_the_question(harness: Harness) -> None:
    good, bad, running = harness.ended(0), harness.ended(1), harness.running()
    for job_id in (good, bad):
        wait_for_end(harness.provider, job_id)
    states = [status.state for status in harness.provider.status([bad, running, good, bad])]
    assert states == [JobState.FAILED, JobState.RUNNING, JobState.COMPLETED, JobState.FAILED]


def test_nothing_is_asked_nothing_is_said(harness: Harness) -> None:
    assert harness.provider.status([]) == []
    assert harness.provider.cancel([]) == []


def test_the_end_of_a_job_stays_what_it_was(harness: Harness) -> None:
    job_id = harness.ended(0)
    wait_for_end(harness.provider, job_id)
    assert harness.provider.cancel([job_id]) == [True]
    assert harness.provider.status([job_id])[0].state is JobState.COMPLETED


def test_cancelling_twice_is_no_error(harness: Harness) -> None:
    job_id = harness.running()
    assert harness.provider.cancel([job_id, job_id]) == [True, True]
    assert harness.provider.cancel([job_id]) == [True]


def test_one_cancel_leaves_other_jobs_alone(harness: Harness) -> None:
    first, second = harness.running(), harness.running()
    harness.provider.cancel([first])
    wait_for(harness.provider, second, lambda status: status.state is JobState.RUNNING)


def test_a_job_that_was_never_submitted_is_missing_and_cannot_be_cancelled(harness: Harness) -> None:
    running = harness.running()
    assert harness.provider.status([harness.unknown_id])[0].state is JobState.MISSING
    assert harness.provider.cancel([harness.unknown_id, running]) == [False, True]
