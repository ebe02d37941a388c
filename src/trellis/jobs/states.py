"""Public path of job states."""

from trellis.core.jobs import TERMINAL_STATES, JobState, JobStatus

__all__ = ["TERMINAL_STATES", "JobState", "JobStatus"]
