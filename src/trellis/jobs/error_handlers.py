"""Public path of the block error handlers."""

from trellis.blocks.error_handlers import noop_error_handler, simple_error_handler, windowed_error_handler
from trellis.core.jobs import JobState, JobStatus
from trellis.errors import TooManyJobFailuresError

__all__ = [
    "JobState",
    "JobStatus",
    "TooManyJobFailuresError",
    "noop_error_handler",
    "simple_error_handler",
    "windowed_error_handler",
]
