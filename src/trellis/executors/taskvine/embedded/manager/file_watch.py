"""What becomes of files and libraries at workers, gathered for the record of the run. Decides nothing, no clocks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from trellis.executors.taskvine.embedded.manager.replicas import CachedFile
from trellis.wire.vine_watching import SeenFile, VineFilesSeen

# What is gathered goes to the submit side after so long, or when it is so much: each message costs the program time.
_GATHER_S = 0.5
_MOST = 500


class FileWatch:
    """Remembers nothing of a run that is not recorded.

    Args:
        recorded: whether the run is.
        epoch: what time it was, in seconds since the epoch, when the clock of ``now`` was 0.
        describe: name for people, and kind, of a file by its cache name.
        send: takes what is to be said.
    """

    def __init__(
        self,
        recorded: bool,
        epoch: float,
        describe: Callable[[str], tuple[str, str]],
        send: Callable[[VineFilesSeen], None],
    ) -> None:
        self._recorded = recorded
        self._epoch = epoch
        self._describe = describe
        self._send = send
        self._coming: dict[tuple[str, str], str] = {}  # by worker and cache name: from whom
        self._libraries: dict[int, str] = {}  # by instance
        self._seen: list[SeenFile] = []
        self.due = math.inf  # when ``flush`` is

    def ordered(self, worker: str, name: str, source: str) -> None:
        """A worker shall get a file from there; empty: from the manager."""
        if self._recorded:
            self._coming[worker, name] = source

    def cached(
        self, worker: str, names: Sequence[str], sizes: Sequence[int], seconds: Sequence[float], now: float
    ) -> None:
        """Files are in a worker's cache: some have come, others were made there."""
        for name, size, took in zip(names, sizes, seconds, strict=True) if self._recorded else ():
            source = self._coming.pop((worker, name), None)
            event = "cached" if source is None else "transferred"
            self._add(worker, name, event, worker if source is None else source, now, size, took)

    def failed(self, worker: str, name: str, now: float) -> None:
        """A file has not come, or is there no more."""
        if self._recorded:
            source = self._coming.pop((worker, name), None)
            self._add(worker, name, "lost" if source is None else "failed", source or "", now)

    def removed(self, worker: str, names: Iterable[str], now: float) -> None:
        """A worker was told to remove these."""
        for name in names if self._recorded else ():
            self._add(worker, name, "removed", "", now)

    def came_home(self, name: str, file: CachedFile | None, now: float) -> None:
        """A file is on the manager's host now."""
        if self._recorded and file is not None:
            self._add("", name, "transferred", min(file.ready, default=""), now, file.size)

    def library_sent(self, library: str, instance: int) -> None:
        if self._recorded:
            self._libraries[instance] = library

    def library(self, worker: str, instance: int, event: str, now: float) -> None:
        """An instance has "started", or "failed"."""
        name = self._libraries.get(instance)
        if name is not None:
            self._note(SeenFile(name, "library", worker, event, 0, "", self._epoch + now), now)
        if event != "started":
            self._libraries.pop(instance, None)

    def left(self, worker: str) -> None:
        """A worker is gone, with all that was on its way there."""
        self._coming = {entry: source for entry, source in self._coming.items() if entry[0] != worker}

    def _add(
        self, worker: str, name: str, event: str, source: str, now: float, size: int = 0, seconds: float = 0.0
    ) -> None:
        label, kind = self._describe(name)
        self._note(SeenFile(label, kind, worker, event, max(size, 0), source, self._epoch + now, seconds), now)

    def _note(self, seen: SeenFile, now: float) -> None:
        self._seen.append(seen)
        self.due = min(self.due, now + _GATHER_S)
        if len(self._seen) >= _MOST:
            self.flush(math.inf)

    def flush(self, now: float) -> None:
        """Say what has gathered, when its time has come."""
        if now >= self.due:
            seen, self._seen, self.due = self._seen, [], math.inf
            self._send(VineFilesSeen(seen))
