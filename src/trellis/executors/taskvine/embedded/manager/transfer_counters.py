"""What was moved, and what did not have to be: counts the transfers that a manager orders. Decides nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

MANAGER, WORKER, URL = range(3)  # where a file comes from


class TransferCounters:
    """Sizes in bytes. What the manager itself sends is counted by whoever sends it."""

    def __init__(self) -> None:
        self.sent_by_manager = 0
        self.sent_by_workers = 0
        self.fetched_by_workers = 0  # from URLs
        self.hits = 0  # inputs that were at the task's worker before
        self.misses = 0
        self._ordered: dict[tuple[str, str], int] = {}  # (worker, name): where it comes from
        self._fresh: dict[str, set[str]] = {}  # workers where a file has come, and no task has used it yet

    def ordered(self, worker: str, name: str, source: int) -> None:
        """A worker shall get a file."""
        self._ordered[worker, name] = source

    def arrived(self, worker: str, names: Sequence[str], sizes: Sequence[int], seconds: Sequence[float]) -> set[str]:
        """Files are in a worker's cache: some came, some were made there, some had been there unknown to anybody.

        Gives those that the manager has sent.
        """
        sent = set()
        for name, size, took in zip(names, sizes, seconds, strict=True):
            source = self._ordered.pop((worker, name), None)
            if source is None or took <= 0:
                continue
            self._fresh.setdefault(name, set()).add(worker)
            if source == WORKER:
                self.sent_by_workers += size
            elif source == URL:
                self.fetched_by_workers += size
            else:
                sent.add(name)
        return sent

    def failed(self, worker: str, name: str) -> None:
        """A file has not come."""
        self._ordered.pop((worker, name), None)

    def used(self, worker: str, names: Iterable[str]) -> None:
        """A task begins that has these inputs."""
        for name in names:
            fresh = self._fresh.get(name)
            if fresh and worker in fresh:
                fresh.discard(worker)
                self.misses += 1
            else:
                self.hits += 1

    def forgotten(self, names: Iterable[str]) -> None:
        """Nobody will name these any more."""
        for name in names:
            self._fresh.pop(name, None)

    def left(self, worker: str) -> None:
        """A worker is gone."""
        self._ordered = {entry: source for entry, source in self._ordered.items() if entry[0] != worker}
        for workers in self._fresh.values():
            workers.discard(worker)
