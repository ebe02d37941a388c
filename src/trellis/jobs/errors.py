"""Public path of the jobs' exception."""

from trellis.errors import TooManyJobFailuresError

__all__ = ["TooManyJobFailuresError"]
