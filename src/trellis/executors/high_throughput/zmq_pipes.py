"""Stand-ins for the sockets of Parsl's submit side: here they are ``trellis.executors.htex.submit.client``."""

from trellis.core.missing import Missing

_INSTEAD = "HighThroughputExecutor has connections of its own; connected_managers() and hold_worker() ask and tell it"

__all__ = ["CommandClient", "ResultsIncoming", "TasksOutgoing"]


class CommandClient(Missing, was="asks the interchange and tells it what to do", instead=_INSTEAD): ...


class ResultsIncoming(Missing, was="gets results from the interchange", instead=_INSTEAD): ...


class TasksOutgoing(Missing, was="brings tasks to the interchange", instead=_INSTEAD): ...
