"""Public path of TaskVineExecutor's exceptions."""

from trellis.errors import AppException, ParslError, TaskVineFactoryFailure, TaskVineManagerFailure, TaskVineTaskFailure

__all__ = ["AppException", "ParslError", "TaskVineFactoryFailure", "TaskVineManagerFailure", "TaskVineTaskFailure"]
