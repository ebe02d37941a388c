"""Public path of TaskVineExecutor's exceptions."""

from trellis.errors import TaskVineFactoryFailure, TaskVineManagerFailure, TaskVineTaskFailure

__all__ = ["TaskVineFactoryFailure", "TaskVineManagerFailure", "TaskVineTaskFailure"]
