"""What the reaper hears, and how long it tries; its life as a process is in tests/providers."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from trellis.core.interfaces import CommandResult
from trellis.errors import ExecutionProviderException
from trellis.providers import reaper


class Runner:
    """Fails so many times, then succeeds."""

    def __init__(self, failures: int, answer: CommandResult | Exception) -> None:
        self.failures = failures
        self.answer = answer
        self.ran: list[Sequence[str]] = []

    def run(self, argv: Sequence[str], timeout_s: float) -> CommandResult:
        self.ran.append(argv)
        if len(self.ran) > self.failures:
            return CommandResult(0, "", "")
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture(autouse=True)
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    pauses: list[float] = []
    monkeypatch.setattr(reaper.time, "sleep", pauses.append)
    return pauses


def test_it_hears_of_jobs_until_the_program_is_silent() -> None:
    watch = reaper.listen(
        [
            '{"watch": "7", "argv": ["scancel", "7"], "sure": true}\n',
            '{"watch": "8", "argv": ["scancel", "8"], "sure": true}\n',
            '{"watch": "name", "argv": ["scancel", "--name=name"], "sure": false}\n',
            '{"forget": "7"}\n',
            '{"watch": "9", "ar',
        ]
    )
    assert (watch.sure, watch.unsure) == ({"8": ["scancel", "8"]}, {"name": ["scancel", "--name=name"]})
    assert not watch.farewell


def test_a_farewell_ends_it() -> None:
    watch = reaper.listen(['{"farewell": true}\n', '{"watch": "7", "argv": [], "sure": true}\n'])
    assert watch.farewell
    assert watch.sure == {}


@pytest.mark.parametrize(
    "failure", [CommandResult(1, "", "Unable to contact slurm controller"), ExecutionProviderException("no scancel")]
)
def test_it_tries_again_when_the_system_does_not_answer(failure: CommandResult | Exception, slept: list[float]) -> None:
    runner = Runner(3, failure)
    reaper.cancel_all(reaper.WatchedJobs(sure={"7": ["scancel", "7"]}), runner)
    assert runner.ran == 4 * [["scancel", "7"]]
    assert slept == [0.0, 1.0, 2.0, 5.0]


def test_it_gives_up_after_a_quarter_of_an_hour(slept: list[float]) -> None:
    reaper.cancel_all(reaper.WatchedJobs(sure={"7": ["scancel", "7"]}), Runner(1000, CommandResult(1, "", "")))
    assert 900 <= sum(slept) < 1000


def test_it_looks_for_a_job_that_may_appear_for_half_a_minute(slept: list[float]) -> None:
    reaper.cancel_all(reaper.WatchedJobs(unsure={"name": ["scancel", "--name=name"]}), runner := Runner(0, Exception()))
    assert len(runner.ran) == reaper.UNSURE_ATTEMPTS
    assert 15 < sum(slept) < 60


@pytest.mark.parametrize(
    "words",
    [
        "scancel: error: Kill job error on job id 7: Invalid job id specified",
        "scancel: error: Kill job error on job id 7: Job/step already completing or completed",
        "qdel: Unknown Job Id 7.server",
        "qdel: Job has finished 7.server",
        "qdel: Request invalid for state of job MSG=invalid state for job - COMPLETE 7.server",
        'denied: job "7" does not exist',
        "Job <7>: Job has already finished",
        "Job <7>: No matching job found",
        "Couldn't find/remove all jobs in cluster 7",
    ],
)
def test_a_job_that_has_ended_needs_no_second_try(words: str) -> None:
    runner = Runner(1000, CommandResult(1, "", words))
    reaper.cancel_all(reaper.WatchedJobs(sure={"7": ["cancel", "7"]}), runner)
    assert len(runner.ran) == 1
