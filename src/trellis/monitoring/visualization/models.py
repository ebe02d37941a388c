"""Public path of stand-ins; they are made in ``trellis.monitoring.missing``."""

from trellis.monitoring.missing import Node, Resource, Status, Task, Workflow

__all__ = ["Node", "Resource", "Status", "Task", "Workflow"]
