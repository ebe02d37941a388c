"""Public path of the jobs' exception."""

from trellis.errors import ParslError, TooManyJobFailuresError

__all__ = ["ParslError", "TooManyJobFailuresError"]
