"""Messages of Parsl's monitoring, from executors and radios that programs bring along: taken for the record of a run.

They are pairs of a ``MessageType`` and a dictionary, or for blocks a list of such. What the kernel itself knows of its
tasks is recorded already, so messages about tasks and runs are nothing new. None of them can do harm: what makes no
sense is left out, and the first of them is told in the log.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from trellis.core.block_rows import block_seen
from trellis.core.interfaces import ExecutorContext
from trellis.core.measurements import Measurement, Measurements, NodeSeen, TaskSample
from trellis.core.radios import MonitoringRadioReceiver, MonitoringRadioSender, RadioConfig
from trellis.core.users_errors import describe

logger = logging.getLogger(__name__)

# Fields of a sample, by their names in messages.
_SAMPLE = {
    "psutil_process_pid": int,
    "psutil_process_memory_percent": float,
    "psutil_process_children_count": int,
    "psutil_process_time_user": float,
    "psutil_process_time_system": float,
    "psutil_process_memory_virtual": int,
    "psutil_process_memory_resident": int,
    "psutil_process_disk_read": int,
    "psutil_process_disk_write": int,
    "psutil_process_status": str,
    "psutil_cpu_num": str,
    "psutil_process_num_ctx_switches_voluntary": int,
    "psutil_process_num_ctx_switches_involuntary": int,
}


class _AttemptElsewhere:
    """Stands for the attempt of which a message has only the numbers; it is its own maker's record as well."""

    outcome = None

    def __init__(self, task_id: int, try_id: int) -> None:
        self.id = task_id
        self.try_id = try_id
        self.key = self
        self.attempt = self


class MonitoringMessages:
    """A queue that nobody has to read: what is put into it is recorded. For threads of this process.

    Args:
        label: of the executor.
        measurements: who records the run.
    """

    def __init__(self, label: str, measurements: Measurements) -> None:
        self._label = label
        self._measurements = measurements
        self._has_told = False

    def put(self, message: object, block: bool = True, timeout: float | None = None) -> None:
        """Record a message. Returns at once, and never raises for what is in it."""
        try:
            self._measurements.take(measurements_of(message, self._label))
        except Exception as error:  # a program's own
            if not self._has_told:
                self._has_told = True
                logger.warning(
                    "executor %s: a monitoring message cannot be recorded, and others like it are left out: %s (%s)",
                    self._label,
                    repr(message)[:200],
                    describe(error),
                )

    def put_nowait(self, message: object) -> None:
        """Record a message."""
        self.put(message)

    def qsize(self) -> int:
        """Nothing waits here."""
        return 0

    def empty(self) -> bool:
        """Nothing waits here."""
        return True

    def __reduce__(self) -> Any:
        raise TypeError(
            f"monitoring_messages of executor {self._label} are for threads of this process only: receive what other "
            "processes say in a thread, and put it there"
        )


class SubmitRadio(MonitoringRadioSender):
    """Records what an executor sends from the program."""

    def __init__(self, messages: MonitoringMessages) -> None:
        self._messages = messages

    def send(self, message: object) -> None:
        """Record a message."""
        self._messages.put(message)


def give_monitoring(executor: Any, context: ExecutorContext) -> None:
    """Give an executor what Parsl's have for monitoring, if the run is recorded; its own radio begins to receive."""
    if context.measurements is None:
        return
    messages = MonitoringMessages(executor.label, context.measurements)
    executor.monitoring_messages = messages
    executor.submit_monitoring_radio = SubmitRadio(messages)
    radio = getattr(executor, "remote_monitoring_radio", None)
    if isinstance(radio, RadioConfig):
        executor.monitoring_receiver = radio.create_receiver(run_dir=context.run_dir, resource_msgs=messages)


def end_monitoring(executor: Any) -> None:
    """Shut its receiver down, if there is one."""
    receiver = getattr(executor, "monitoring_receiver", None)
    if isinstance(receiver, MonitoringRadioReceiver):
        executor.monitoring_receiver = None
        receiver.shutdown()


# -- what messages say -------------------------------------------------------------------------------------------


def measurements_of(message: object, label: str) -> list[Measurement]:
    """What is to be recorded of a message of this executor; nothing of kinds that say nothing new.

    Raises:
        Exception: of any kind: it makes no sense.
    """
    kind, said = message  # type: ignore[misc]
    match kind.name:  # type: ignore[has-type]
        case "BLOCK_INFO":
            rows: Iterable[Mapping[str, Any]] = [said] if isinstance(said, Mapping) else said  # type: ignore[has-type]
            return [block_seen(row, label) for row in rows]
        case "NODE_INFO":
            return [_node(said, label)]  # type: ignore[has-type]
        case "RESOURCE_INFO":
            return [_sample(said)]  # type: ignore[has-type]
    return []


def _node(said: Mapping[str, Any], label: str) -> NodeSeen:
    seen = _seconds(said.get("timestamp"))
    return NodeSeen(
        executor=str(said.get("executor_label", label)),
        manager=str(said["uid"]),
        hostname=str(said.get("hostname", "")),
        block_id=str(said.get("block_id", "")),
        cpus=int(said.get("cpu_count") or 0),
        memory_bytes=int(said.get("total_memory") or 0),
        active=bool(said.get("active", True)),
        workers=int(said.get("worker_count") or 0),
        python_version=str(said.get("python_v", "")),
        started_at=_seconds(said.get("start_time", seen)),
        last_heard=_seconds(said.get("last_heartbeat", seen)),
    )


def _sample(said: Mapping[str, Any]) -> TaskSample:
    values: list[Any] = [kind(said.get(name) or kind()) for name, kind in _SAMPLE.items()]
    attempt = _AttemptElsewhere(int(said["task_id"]), int(said["try_id"]))
    return TaskSample(attempt, _seconds(said.get("timestamp")), *values)


def _seconds(time_said: object) -> float:
    """Seconds since the epoch, from a time as messages have it; now, if there is none."""
    if isinstance(time_said, datetime):
        return time_said.timestamp()
    return float(time_said) if isinstance(time_said, int | float) else time.time()
