"""Files that a worker had and has no more: its manager is told, and whoever needs them gets them anew."""

from __future__ import annotations

from collections.abc import Iterable

from trellis.executors.taskvine.embedded.worker.cache import Cache
from trellis.executors.taskvine.embedded.worker.reports import Reports
from trellis.wire.vine import CacheFailed


class Losses:
    """Of one worker."""

    def __init__(self, cache: Cache, reports: Reports) -> None:
        self._cache = cache
        self._reports = reports

    def gone(self, inputs: Iterable[tuple[str, str]]) -> None:
        """A task could not start: those among its inputs (cache name, path) that somebody has removed."""
        for name, _ in inputs:
            if not self._cache.mounted(name).exists():
                self._tell(name, "it has gone from the worker's cache")

    def spoilt(self, names: Iterable[str]) -> None:
        """A task has written to these inputs: nobody else shall have them."""
        for name in names:
            self._tell(name, "a task has written to it in the worker's cache")

    def _tell(self, name: str, reason: str) -> None:
        self._cache.remove(name)
        self._reports.send(CacheFailed(name, "", reason))
