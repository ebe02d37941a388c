"""What the answers of batch systems come down to. Pure values and functions; who asks is in ``batch``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from trellis.core.jobs import JobState


class JobReport(NamedTuple):
    """What a batch system says of one job."""

    state: JobState
    exit_code: int | None = None  # negative: the number of the signal that ended it
    message: str | None = None


class Hint(NamedTuple):
    """Advice for a refusal whose text matches ``pattern`` (a regular expression; case does not matter)."""

    pattern: str
    advice: str


def find_advice(text: str, hints: Sequence[Hint]) -> str | None:
    """Give the advice of the first hint that fits, None when none does."""
    return next((hint.advice for hint in hints if re.search(hint.pattern, text, re.IGNORECASE)), None)


def ended_with(exit_code: int) -> JobReport:
    """The report on a job of which only the exit code is known."""
    if exit_code == 0:
        return JobReport(JobState.COMPLETED, 0)
    return JobReport(JobState.FAILED, exit_code, describe_exit(exit_code))


def describe_exit(exit_code: int) -> str:
    """Give the words for an exit code other than 0; a negative one is the number of a signal."""
    if exit_code < 0:
        return f"the job was ended by signal {-exit_code}"
    return f"the job's script ended with exit code {exit_code}"
