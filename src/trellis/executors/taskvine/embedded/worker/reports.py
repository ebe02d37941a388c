"""Reports of a worker to its manager: results go together. No sockets or clocks here."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from trellis.wire.codec import Buffer, Payload, encode_header, pack
from trellis.wire.messages import Message
from trellis.wire.vine import UNKNOWN, CacheUpdated, CallsEnded, Resources

# Results wait for others so long, while their library has more calls to start than results wait: it does not run dry
# before the manager knows of them. With each result alone, three processes would be woken for each call.
HOLD_S = 0.005


class ResultBatch:
    """Tasks that ran to their end."""

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self._ids: list[int] = []
        self._failed: list[int] = []
        self._started: list[float] = []
        self._durations: list[float] = []
        self._payloads: list[Payload] = []
        self._measured: list[Resources] = []
        self._is_measured = False

    def __len__(self) -> int:
        return len(self._ids)

    def add(
        self, id_: int, failed: bool, started: float, duration_s: float, payload: Payload, measured: Resources = UNKNOWN
    ) -> None:
        if failed:
            self._failed.append(len(self._ids))
        self._ids.append(id_)
        self._started.append(started)
        self._durations.append(duration_s)
        self._payloads.append(payload)
        self._measured.append(measured)
        self._is_measured = self._is_measured or measured is not UNKNOWN

    def take(self) -> list[Buffer]:
        """The frames of the message; the batch is empty then."""
        sizes, frames = pack(self._payloads)
        measured = self._measured if self._is_measured else []
        header = CallsEnded(self._ids, self._failed, self._started, self._durations, sizes, measured)
        self._clear()
        return [encode_header(header), *frames]


class Reports:
    """To the manager, in order: what a task has made before its result, and that before anything said later.

    ``due``: when the results that are there shall be sent, on the monotonic clock; 0: at the end of this turn.
    """

    def __init__(self, send: Callable[[list[Buffer]], None]) -> None:
        self._send_frames = send
        self.results = ResultBatch()
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
            self._send_frames(self.results.take())

    def made(self, made: Sequence[tuple[str, int]], seconds: float) -> None:
        """Files that a task has made: names and sizes in bytes."""
        if made:
            names, sizes = zip(*made, strict=True)
            self._send(CacheUpdated(list(names), list(sizes), [seconds] * len(names)))
