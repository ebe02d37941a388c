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

__all__ = [
    "BadMessage",
    "BadStateException",
    "ExecutorError",
    "InvalidResourceSpecification",
    "ParslError",
    "ScalingFailed",
    "UnsupportedFeatureError",
]
