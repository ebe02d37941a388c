"""States of batch jobs, with Parsl's names and numbers."""

from __future__ import annotations

import os
from enum import IntEnum


class JobState(IntEnum):
    """State of a job at its batch system."""

    UNKNOWN = 0
    PENDING = 1
    RUNNING = 2
    CANCELLED = 3
    COMPLETED = 4
    FAILED = 5
    TIMEOUT = 6
    HELD = 7
    MISSING = 8  # it ended, but no manager of it ever connected
    SCALED_IN = 9  # ended by Trellis

    def __str__(self) -> str:
        return f"{type(self).__name__}.{self.name}"


TERMINAL_STATES = [
    JobState.CANCELLED,
    JobState.COMPLETED,
    JobState.FAILED,
    JobState.TIMEOUT,
    JobState.MISSING,
    JobState.SCALED_IN,
]


class JobStatus:
    """What is known of a job: its state, and where its output lies."""

    # Characters shown of a job's output in summaries: two screens, enough for a traceback.
    SUMMARY_TRUNCATION_THRESHOLD = 2048

    def __init__(
        self,
        state: JobState,
        message: str | None = None,
        exit_code: int | None = None,
        stdout_path: str | None = None,
        stderr_path: str | None = None,
    ) -> None:
        self.state = state
        self.message = message
        self.exit_code = exit_code
        self.stdout_path = stdout_path
        self.stderr_path = stderr_path

    @property
    def terminal(self) -> bool:
        return self.state in TERMINAL_STATES

    @property
    def status_name(self) -> str:
        return self.state.name

    def __repr__(self) -> str:
        return f"JobStatus({self.state!s}, message={self.message!r}, exit_code={self.exit_code})"

    def __str__(self) -> str:
        text = self.state.name
        if self.message is not None:
            text += f" ({self.message})"
        if self.exit_code is not None:
            text += f", exit code {self.exit_code}"
        return text

    @property
    def stdout(self) -> str | None:
        """All of the job's standard output, None when there is none."""
        return self._read(self.stdout_path)

    @property
    def stderr(self) -> str | None:
        """All of the job's standard error, None when there is none."""
        return self._read(self.stderr_path)

    @property
    def stdout_summary(self) -> str | None:
        """Beginning and end of the job's standard output, at most about 2,048 characters."""
        return self._summary(self.stdout_path)

    @property
    def stderr_summary(self) -> str | None:
        """Beginning and end of the job's standard error, at most about 2,048 characters."""
        return self._summary(self.stderr_path)

    @staticmethod
    def _read(path: str | None) -> str | None:
        if path is None:
            return None
        try:
            with open(path, errors="replace") as file:
                return file.read()
        except OSError:
            return None

    @classmethod
    def _summary(cls, path: str | None) -> str | None:
        if path is None:
            return None
        half = cls.SUMMARY_TRUNCATION_THRESHOLD // 2
        try:
            with open(path, "rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(0)
                if size <= 2 * half:
                    return file.read().decode(errors="replace")
                head = file.read(half)
                file.seek(size - half)
                return f"{head.decode(errors='replace')}\n...\n{file.read().decode(errors='replace')}"
        except OSError:
            return None
