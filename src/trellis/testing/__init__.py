"""Stand-ins for clocks and batch systems, for tests of Trellis and of programs that use it."""

from __future__ import annotations

from typing import Any

from trellis.core.jobs import JobState, JobStatus
from trellis.core.validation import arguments, check
from trellis.core.values import Duration
from trellis.errors import SubmitException
from trellis.providers.base import ExecutionProvider

__all__ = ["FakeClock", "FakeProvider"]


class FakeClock:
    """A clock that stands still until told otherwise."""

    def __init__(self, now: float = 0.0) -> None:
        self._now = now

    def now(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        """Let so much time pass."""
        self._now += seconds


class FakeProvider(ExecutionProvider):
    """A batch system in memory. Jobs wait until the test says what becomes of them.

    ``submitted`` has the command of each job by its id ("job-0", "job-1", …), ``cancelled`` the ids of those that were
    cancelled; ``submit_calls`` and ``status_calls`` count the calls, also those that failed. Set ``submit_error``,
    ``status_error`` or ``cancel_error`` to an exception to have it raised by each such call; set ``refuses_cancel`` to
    have ``cancel`` do nothing and give False.
    """

    def __init__(
        self,
        nodes_per_block: int = 1,
        init_blocks: int = 1,
        min_blocks: int = 0,
        max_blocks: int = 1,
        parallelism: float = 1,
        status_polling_interval: float = 1,
    ) -> None:
        given = arguments(locals())
        self._status_polling_interval: float = check(
            "FakeProvider", "status_polling_interval", given.pop("status_polling_interval"), Duration(least=0)
        )
        self._keep_parameters(given)
        self.submitted: dict[str, str] = {}
        self.cancelled: list[str] = []
        self.submit_calls = 0
        self.status_calls = 0
        self.submit_error: Exception | None = None
        self.status_error: Exception | None = None
        self.cancel_error: Exception | None = None
        self.refuses_cancel = False
        self._statuses: dict[str, JobStatus] = {}

    @property
    def label(self) -> str:
        return "fake"

    @property
    def status_polling_interval(self) -> float:
        return self._status_polling_interval

    def submit(self, command: str, tasks_per_node: int, job_name: str = "parsl.fake") -> str:
        self.submit_calls += 1
        if self.submit_error is not None:
            raise self.submit_error
        if tasks_per_node < 1:
            raise SubmitException(job_name, f"tasks_per_node must be at least 1, not {tasks_per_node}")
        job_id = f"job-{len(self.submitted)}"
        self.submitted[job_id] = command
        self._statuses[job_id] = JobStatus(JobState.PENDING)
        return job_id

    def status(self, job_ids: list[Any]) -> list[JobStatus]:
        self.status_calls += 1
        if self.status_error is not None:
            raise self.status_error
        return [self._statuses.get(job_id) or JobStatus(JobState.MISSING, "no such job") for job_id in job_ids]

    def cancel(self, job_ids: list[Any]) -> list[bool]:
        if self.cancel_error is not None:
            raise self.cancel_error
        return [self._cancel(job_id) for job_id in job_ids]

    def _cancel(self, job_id: Any) -> bool:
        status = self._statuses.get(job_id)
        if status is None or (self.refuses_cancel and not status.terminal):
            return False
        if not status.terminal:
            self._statuses[job_id] = JobStatus(JobState.CANCELLED)
            self.cancelled.append(job_id)
        return True

    # -- what becomes of jobs --

    def set_status(self, job_id: str, status: JobStatus | JobState) -> None:
        """Say what the job's status is from now on."""
        if job_id not in self._statuses:
            raise KeyError(job_id)
        self._statuses[job_id] = status if isinstance(status, JobStatus) else JobStatus(status)

    def run(self, *job_ids: str) -> None:
        """Jobs that run now; without ids, all that wait."""
        for job_id in job_ids or [job for job, s in self._statuses.items() if s.state is JobState.PENDING]:
            self.set_status(job_id, JobState.RUNNING)

    def finish(self, job_id: str, exit_code: int = 0) -> None:
        """The job ends by itself."""
        state = JobState.COMPLETED if exit_code == 0 else JobState.FAILED
        self.set_status(job_id, JobStatus(state, exit_code=exit_code))
