"""Errors of executors."""

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
