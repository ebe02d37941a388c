"""Errors of executors."""

from trellis.errors import (
    BadMessage,
    BadStateException,
    ExecutorError,
    InvalidResourceSpecification,
    ScalingFailed,
    UnsupportedFeatureError,
)

__all__ = [
    "BadMessage",
    "BadStateException",
    "ExecutorError",
    "InvalidResourceSpecification",
    "ScalingFailed",
    "UnsupportedFeatureError",
]
