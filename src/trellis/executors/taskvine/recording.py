"""What is recorded of TaskVine's workers, files and tasks: turned from its managers' messages into measurements."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from msgspec.structs import astuple

from trellis.core.interfaces import Attempt
from trellis.core.measurements import FileSeen, Measurements, NodeSeen, TaskSample
from trellis.wire.measures import TaskSamples
from trellis.wire.vine import WorkerJoined
from trellis.wire.vine_watching import VineFilesSeen

_MB = 2**20


class VineRecording:
    """Told what the executor hears from its manager, on the client's thread.

    Args:
        label: the executor's.
        measurements: who records the run.
        now: seconds since the epoch.
    """

    def __init__(self, label: str, measurements: Measurements, now: Callable[[], float] = time.time) -> None:
        self._label = label
        self._measurements = measurements
        self._now = now
        self._workers: dict[str, WorkerJoined] = {}

    def joined(self, message: WorkerJoined) -> None:
        self._workers[message.worker] = message
        self._measurements.take([self._node(message, True)])

    def left(self, worker: str) -> None:
        message = self._workers.pop(worker, None)
        if message is not None:
            self._measurements.take([self._node(message, False)])

    def close(self) -> None:
        """The executor has ended, and its workers with it."""
        for worker in list(self._workers):
            self.left(worker)

    def _node(self, message: WorkerJoined, active: bool) -> NodeSeen:
        cores = max(1, int(message.resources.cores or 1))
        return NodeSeen(
            self._label,
            message.worker,
            message.hostname,
            message.block,
            cores,
            int((message.resources.memory or 0) * _MB),
            active,
            cores,
            message.python_version,
            message.started_at or self._now(),
            self._now(),
        )

    def sampled(self, message: TaskSamples, attempts: Mapping[int, Attempt]) -> None:
        """A look at tasks that run; ``attempts``: those that have not ended."""
        pairs = zip(message.ids, message.samples, strict=True)
        seen = [(attempts.get(id_), sample) for id_, sample in pairs]
        found = [TaskSample(each, message.at, *astuple(sample)) for each, sample in seen if each is not None]
        if found:
            self._measurements.take(found)

    def files(self, message: VineFilesSeen) -> None:
        seen = [self._file(message, row) for row in message.files]
        if seen:
            self._measurements.take(seen)

    def _file(self, message: VineFilesSeen, row: Any) -> FileSeen:
        return FileSeen(
            self._label, row.name, row.kind, row.worker, row.event, row.size, row.source, row.at, row.seconds
        )
