"""Stand-ins for Parsl's executors that Trellis does not have."""

from typing import Any

from trellis.core.missing import missing

WorkQueueExecutor: Any = missing(
    "WorkQueueExecutor", __name__, "TaskVineExecutor is its successor, with files cached at the workers"
)
FluxExecutor: Any = missing(
    "FluxExecutor", __name__, "HighThroughputExecutor with a provider of your batch system, or one with a launch_cmd"
)
RadicalPilotExecutor: Any = missing(
    "RadicalPilotExecutor", __name__, "HighThroughputExecutor and MPIExecutor run tasks in blocks of a batch system"
)
GlobusComputeExecutor: Any = missing(
    "GlobusComputeExecutor", __name__, "HighThroughputExecutor runs tasks in blocks of a batch system"
)

__all__ = ["FluxExecutor", "GlobusComputeExecutor", "RadicalPilotExecutor", "WorkQueueExecutor"]
