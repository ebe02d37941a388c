"""What programs ask Parsl's HighThroughputExecutor under names of its inside, given from what ours knows."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Any

from trellis.errors import CommandClientBadError

__all__ = ["InterchangeCommands", "ParslAttributes"]


class _Told:
    """A property that a program may also set on an executor, as it can in Parsl."""

    def __init__(self, ask: Callable[[Any], Any]) -> None:
        self._ask = ask
        self.__doc__ = ask.__doc__

    def __get__(self, executor: Any, owner: type | None = None) -> Any:
        return self if executor is None else self._ask(executor)


class InterchangeCommands:
    """The commands that Parsl's executor sends to its interchange, as texts: ``run("WORKERS")``."""

    def __init__(self, executor: Any) -> None:
        self._executor = executor

    def run(self, message: Any, max_retries: int = 3, timeout_s: float | None = None) -> Any:
        """Give what Parsl's interchange would answer. The two limits are there for Parsl's callers.

        Raises:
            CommandClientBadError: there is no such command, or the executor is not running.
        """
        executor = self._executor
        port = executor.worker_task_port
        if not port:
            raise CommandClientBadError(f"executor {executor.label} is not running")
        name, _, argument = str(message).partition(";")
        match name:
            case "WORKERS":
                return executor.connected_workers
            case "MANAGERS":
                return executor.connected_managers()
            case "MANAGERS_PACKAGES":
                return executor.connected_managers_packages()
            case "CONNECTED_BLOCKS":
                return executor.connected_blocks()
            case "OUTSTANDING_C":
                return int(executor.outstanding)
            case "WORKER_PORTS":
                return (port, port)
            case "WORKER_BINDS":
                return port
            case "HOLD_WORKER":
                executor.hold_worker(argument)
                return None
        raise CommandClientBadError(f"the interchange of executor {executor.label} knows no command {name!r}")


class ParslAttributes:
    """Attributes of a running executor; None or 0 before its start and after its end."""

    radio_mode = "htex"
    enable_mpi_mode: bool

    @_Told
    def command_client(self) -> InterchangeCommands:
        """Commands to the interchange."""
        return InterchangeCommands(self)

    @_Told
    def interchange_proc(self: Any) -> subprocess.Popen[bytes] | None:
        """The process of the interchange as it is now."""
        return None if self._client is None else self._client.process

    @_Told
    def worker_task_port(self: Any) -> int:
        """The one port at which managers connect."""
        return 0 if self._client is None else int(self._ports.worker)

    worker_result_port = worker_task_port

    def get_usage_information(self) -> dict[str, Any]:
        """What Parsl's usage tracking would be told of this executor. Trellis tells nobody."""
        return {"mpi": self.enable_mpi_mode}
