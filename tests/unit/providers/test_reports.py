"""What exit codes and times come down to."""

from __future__ import annotations

import pytest

from trellis.core.jobs import JobState
from trellis.providers.reports import Hint, JobReport, ended, find_advice, read_exit_file


def test_zero_is_success() -> None:
    assert ended(0, 1000, 10) == JobReport(JobState.COMPLETED, 0)


def test_a_code_is_a_failure_whatever_the_time() -> None:
    assert ended(3, 1000, 10) == JobReport(JobState.FAILED, 3, "the job's script ended with exit code 3")


@pytest.mark.parametrize("code", [-15, -9, 143, 137])
def test_a_kill_at_the_walltime_is_a_timeout(code: int) -> None:
    assert ended(code, 598, 600) == JobReport(JobState.TIMEOUT, code, "its walltime of 600 s was over")


@pytest.mark.parametrize("elapsed_s", [None, 10.0])
def test_a_kill_at_another_time_is_a_failure(elapsed_s: float | None) -> None:
    assert ended(-9, elapsed_s, 600) == JobReport(JobState.FAILED, -9, "the job was ended by signal 9")


@pytest.mark.parametrize("code", [-15, 143])
def test_sigterm_at_another_time_is_no_failure_of_the_job(code: int) -> None:
    report = ended(code, 10.0, 600)
    assert (report.state, report.exit_code) == (JobState.CANCELLED, code)


def test_the_file_that_a_script_leaves() -> None:
    assert read_exit_file("0 12\n", 600) == JobReport(JobState.COMPLETED, 0)
    assert read_exit_file("143 600\n", 600) == JobReport(JobState.TIMEOUT, 143, "its walltime of 600 s was over")


@pytest.mark.parametrize("text", ["", "0", "0 1", "14", "x y\n"])
def test_half_a_file_says_nothing(text: str) -> None:
    assert read_exit_file(text, 600) is None


def test_the_first_advice_that_fits_counts() -> None:
    hints = [Hint("bad partition", "one"), Hint("partition", "two")]
    assert [find_advice(text, hints) for text in ("BAD PARTITION", "partition", "else")] == ["one", "two", None]
