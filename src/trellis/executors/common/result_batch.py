"""Results of tasks that go together in one message. Pure; payloads are not opened."""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeVar

from trellis.wire.codec import Buffer, Payload, pack

T = TypeVar("T")

# No task runs for so long: 30 million years.
_LONGEST_S = 1e15


class Batch(NamedTuple, Generic[T]):
    """Tasks that ran to their end, by column, and the frames with what they gave."""

    ids: list[int]
    failed: list[int]  # positions of those that raised
    started: list[float]  # seconds since the epoch
    durations_s: list[float]
    notes: list[T]  # whatever else is told of each
    sizes: list[int]
    frames: list[Buffer]


class ResultBatch(Generic[T]):
    """Gathers results, one by one."""

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self._ids: list[int] = []
        self._failed: list[int] = []
        self._started: list[float] = []
        self._durations_s: list[float] = []
        self._notes: list[T] = []
        self._payloads: list[Payload] = []

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, id_: int, failed: bool, started: float, duration_s: float, payload: Payload, note: T) -> None:
        if failed:
            self._failed.append(len(self._ids))
        self._ids.append(id_)
        self._started.append(started)
        # A task may have put a clock of its own in the place of the real one.
        self._durations_s.append(duration_s if 0.0 <= duration_s < _LONGEST_S else 0.0)
        self._notes.append(note)
        self._payloads.append(payload)

    def take(self) -> Batch[T]:
        """All that has gathered; nothing is left."""
        sizes, frames = pack(self._payloads)
        batch = Batch(self._ids, self._failed, self._started, self._durations_s, self._notes, sizes, frames)
        self._clear()
        return batch
