"""Public path of ``trellis.monitoring.queries.frames``."""

from trellis.monitoring.queries.frames import (
    app_counts_for_workflow,
    completion_times_for_workflow,
    nodes_for_workflow,
    resources_for_task,
    resources_for_workflow,
    status_for_workflow,
    tasks_for_workflow,
    tries_for_workflow,
)

__all__ = [
    "app_counts_for_workflow",
    "completion_times_for_workflow",
    "nodes_for_workflow",
    "resources_for_task",
    "resources_for_workflow",
    "status_for_workflow",
    "tasks_for_workflow",
    "tries_for_workflow",
]
