"""Reports of a worker that go to the manager together, at the end of a turn. No I/O here."""

from __future__ import annotations

from trellis.wire.codec import Buffer, Payload, encode_header, pack
from trellis.wire.vine import UNKNOWN, Amount, CallsEnded


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
        self._measured: list[Amount] = []
        self._is_measured = False

    def __len__(self) -> int:
        return len(self._ids)

    def add(
        self, id_: int, failed: bool, started: float, duration_s: float, payload: Payload, measured: Amount = UNKNOWN
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
