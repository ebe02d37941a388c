"""Public path of executors' exceptions; they are defined in ``trellis.errors``."""

from trellis.errors import (
    BadMessage,
    BadStateException,
    ExecutorError,
    InvalidResourceSpecification,
    ParslError,
    ScalingFailed,
    UnsupportedFeatureError,
)
from trellis.executors.base import ParslExecutor

__all__ = [
    "BadMessage",
    "BadStateException",
    "ExecutorError",
    "InvalidResourceSpecification",
    "ParslError",
    "ParslExecutor",
    "ScalingFailed",
    "UnsupportedFeatureError",
]
