"""Exceptions of Parsl's WorkQueueExecutor, which programs name in ``except``; Trellis never raises them."""

from trellis.errors import AppException, TrellisError


class WorkQueueTaskFailure(AppException):
    """A task failed at a worker of Work Queue."""

    def __init__(self, reason: str, status: Exception | None) -> None:
        super().__init__(reason, status)
        self.reason = reason
        self.status = status


class WorkQueueFailure(TrellisError):
    """Work Queue itself failed, so that tasks could not run."""
