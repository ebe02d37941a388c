"""Public path of the base of executors that scale by blocks."""

from trellis.core.jobs import TERMINAL_STATES, JobState, JobStatus
from trellis.errors import BadStateException, ScalingFailed
from trellis.executors.base import ParslExecutor
from trellis.executors.scalable import BlockProviderExecutor

__all__ = [
    "TERMINAL_STATES",
    "BadStateException",
    "BlockProviderExecutor",
    "JobState",
    "JobStatus",
    "ParslExecutor",
    "ScalingFailed",
]
