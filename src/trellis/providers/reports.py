"""What the answers of batch systems come down to. Pure values and functions; who asks is in ``batch``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from trellis.core.jobs import JobState

# What SIGTERM and SIGKILL make of a job: a negative number, or the shell's way to say it.
_TERMINATED = (-15, 128 + 15)
_KILLED = (*_TERMINATED, -9, 128 + 9)
# A job's own clock starts a little after the batch system's.
_EARLY_S = 5.0


class JobReport(NamedTuple):
    """What a batch system says of one job."""

    state: JobState
    exit_code: int | None = None  # negative: the number of the signal that ended it
    message: str | None = None


def with_reasons(
    reports: Mapping[str, JobReport], ask_for_reasons: Callable[[list[str]], Mapping[str, str]]
) -> dict[str, JobReport]:
    """Give the reports, with the reasons why jobs do not start as their messages; nobody is asked when all do."""
    waiting = [
        job_id
        for job_id, report in reports.items()
        if report.state in (JobState.PENDING, JobState.HELD) and not (report.message or "").startswith("suspended")
    ]
    reasons = ask_for_reasons(waiting) if waiting else {}
    return {
        job_id: report._replace(message=reasons[job_id]) if job_id in waiting and reasons.get(job_id) else report
        for job_id, report in reports.items()
    }


class Hint(NamedTuple):
    """Advice for a refusal whose text matches ``pattern`` (a regular expression; case does not matter)."""

    pattern: str
    advice: str


def find_advice(text: str, hints: Sequence[Hint]) -> str | None:
    """Give the advice of the first hint that fits, None when none does."""
    return next((hint.advice for hint in hints if re.search(hint.pattern, text, re.IGNORECASE)), None)


def ended(exit_code: int, elapsed_s: float | None, walltime_s: int) -> JobReport:
    """The report on a job of which only the exit code and the time are known; a negative code is a signal's number."""
    if exit_code == 0:
        return JobReport(JobState.COMPLETED, 0)
    if exit_code in _KILLED and elapsed_s is not None and elapsed_s >= walltime_s - _EARLY_S:
        return JobReport(JobState.TIMEOUT, exit_code, f"its walltime of {walltime_s} s was over")
    if exit_code in _TERMINATED:
        return JobReport(JobState.CANCELLED, exit_code, "SIGTERM: the batch system or somebody else ended the job")
    if exit_code < 0:
        return JobReport(JobState.FAILED, exit_code, f"the job was ended by signal {-exit_code}")
    return JobReport(JobState.FAILED, exit_code, f"the job's script ended with exit code {exit_code}")


def read_exit_file(text: str, walltime_s: int) -> JobReport | None:
    """Read what a job's script left at its end: exit code and seconds. None when it is not all there yet."""
    match = re.fullmatch(r"(\d+) (\d+)\n", text)
    return ended(int(match[1]), int(match[2]), walltime_s) if match else None
