"""Stand-ins for the sockets of Parsl's submit side: here they are ``trellis.executors.htex.submit.client``."""

from typing import Any

from trellis.core.missing import missing

_INSTEAD = "HighThroughputExecutor has connections of its own; connected_managers() and hold_worker() ask and tell it"
CommandClient: Any = missing("CommandClient", __name__, _INSTEAD)
ResultsIncoming: Any = missing("ResultsIncoming", __name__, _INSTEAD)
TasksOutgoing: Any = missing("TasksOutgoing", __name__, _INSTEAD)

__all__ = ["CommandClient", "ResultsIncoming", "TasksOutgoing"]
