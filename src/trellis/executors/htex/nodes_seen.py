"""What is recorded of an HTEX's managers: when one has come, has gone, takes tasks no more, or does again."""

from __future__ import annotations

from collections.abc import Sequence

from trellis.core.measurements import Measurements, NodeSeen
from trellis.wire.messages import ManagerJoined
from trellis.wire.questions import ManagerStatus


class NodesSeen:
    """Told what the executor hears of managers; from several threads.

    Args:
        label: the executor's.
        measurements: who records the run.
    """

    def __init__(self, label: str, measurements: Measurements) -> None:
        self._label = label
        self._measurements = measurements
        self._nodes: dict[str, tuple[ManagerJoined, bool]] = {}  # that are there, and whether they take tasks

    def joined(self, message: ManagerJoined, now: float) -> None:
        self._nodes[message.manager] = message, True
        self._measurements.take([self._seen(message, True, now)])

    def lost(self, manager: str, now: float) -> None:
        node = self._nodes.pop(manager, None)
        if node is not None:
            self._measurements.take([self._seen(node[0], False, now)])

    def end(self, now: float) -> None:
        """The executor ends, and with it all managers."""
        for manager in [*self._nodes]:
            self.lost(manager, now)

    def heard(self, managers: Sequence[ManagerStatus], now: float) -> None:
        """Take what the interchange says of all that are there: changes are recorded."""
        seen = []
        for status in managers:
            joined, active = self._nodes.get(status.manager, (None, False))
            if joined is not None and active is not status.active:
                self._nodes[status.manager] = joined, status.active
                seen.append(self._seen(joined, status.active, now - status.last_heard_s))
        if seen:
            self._measurements.take(seen)

    def _seen(self, message: ManagerJoined, active: bool, heard: float) -> NodeSeen:
        return NodeSeen(
            self._label,
            message.manager,
            message.hostname,
            message.block,
            message.cpus,
            message.memory_bytes,
            active,
            message.workers,
            message.python_version,
            message.start_time,
            heard,
        )
