"""Reports of a worker to its manager: results go together. No sockets or clocks here."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from trellis.executors.common.result_batch import ResultBatch
from trellis.wire.codec import Buffer, encode_header
from trellis.wire.measures import TaskUse
from trellis.wire.messages import Message
from trellis.wire.vine import UNKNOWN, CacheUpdated, CallsEnded, Resources

# Results wait for others so long, while their library has more calls to start than results wait: it does not run dry
# before the manager knows of them. With each result alone, three processes would be woken for each call.
HOLD_S = 0.005


class Reports:
    """To the manager, in order: what a task has made before its result, and that before anything said later.

    ``due``: when the results that are there shall be sent, on the monotonic clock; 0: at the end of this turn.
    """

    def __init__(self, send: Callable[[list[Buffer]], None]) -> None:
        self._send_frames = send
        # Each with what it used at most, and over all, where these were measured.
        self.results: ResultBatch[tuple[Resources, TaskUse | None]] = ResultBatch()
        self.due = math.inf

    def send(self, message: Message) -> None:
        self.send_results()
        self._send(message)

    def _send(self, message: Message) -> None:
        self._send_frames([encode_header(message)])

    def gathered(self, now: float, waiting: int = 0) -> None:
        """A result is there. ``waiting``: calls that its library has still to start."""
        self.due = min(self.due, now + HOLD_S if len(self.results) < waiting else 0.0)

    def send_due(self, now: float) -> None:
        """What has gathered, when its time has come."""
        if now >= self.due:
            self.send_results()

    def send_results(self) -> None:
        """What has gathered, now."""
        self.due = math.inf
        if len(self.results):
            ended = self.results.take()
            measured, used = map(list, zip(*ended.notes, strict=True))
            header = CallsEnded(
                ended.ids,
                ended.failed,
                ended.started,
                ended.durations_s,
                ended.sizes,
                [] if all(each is UNKNOWN for each in measured) else measured,
                None if all(each is None for each in used) else used,
            )
            self._send_frames([encode_header(header), *ended.frames])

    def made(self, made: Sequence[tuple[str, int]], seconds: float) -> None:
        """Files that a task has made: names and sizes in bytes."""
        if made:
            names, sizes = zip(*made, strict=True)
            self._send(CacheUpdated(list(names), list(sizes), [seconds] * len(names)))
