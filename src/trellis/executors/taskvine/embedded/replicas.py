"""Which file is at which worker, and where each may get it from. No I/O here.

A replica is *creating* (ordered, or being made), *ready*, or *deleting*. Transfers are limited by source: so many at a
time from one worker, from one URL, and from the manager, which sends a file that workers may pass on only to a few.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

# TaskVine's tuning parameters of these names.
WORKER_SOURCE_MAX_TRANSFERS = 10
FILE_SOURCE_MAX_TRANSFERS = 1
# Copies of one file that the manager sends at a time when workers can pass it on: the first worker that has it is a
# source for all others, and each further copy takes the manager's line from everybody.
MANAGER_COPIES = 1
# A worker that failed as a source is not asked again for so long.
TRANSIENT_ERROR_S = 15.0

MANAGER = ""  # as a source


class Order(NamedTuple):
    """A worker shall get a file from a source: a worker's name, a URL, or the manager."""

    worker: str
    name: str
    source: str


@dataclass(slots=True)
class File:
    """What is known of a file by its cache name."""

    name: str
    kind: str  # file, buffer, url, temp
    source: str  # URL of a "url"
    level: str
    size: int  # bytes; -1: not known
    peer_transfer: bool
    unpack: bool = False
    ready: set[str] = field(default_factory=set)  # workers
    creating: dict[str, str] = field(default_factory=dict)  # worker: source; its own name: a task makes it there
    wanted: dict[str, None] = field(default_factory=dict)  # workers that wait for a source, in order

    @property
    def shared(self) -> bool:
        """Whether workers may pass it on."""
        return self.peer_transfer and self.level != "task"


class ReplicaTable:
    """Files by cache name."""

    def __init__(
        self,
        worker_limit: int = WORKER_SOURCE_MAX_TRANSFERS,
        url_limit: int = FILE_SOURCE_MAX_TRANSFERS,
        transient_error_s: float = TRANSIENT_ERROR_S,
    ) -> None:
        self._worker_limit = worker_limit
        self._url_limit = url_limit
        self._transient_error_s = transient_error_s
        self._files: dict[str, File] = {}
        self._by_worker: dict[str, set[str]] = {}  # names that are ready or creating there
        self._waiting: dict[str, None] = {}  # names that somebody waits for
        self._outgoing: dict[str, int] = {}  # transfers from each source but the manager
        self._avoid_until: dict[str, float] = {}  # sources that have failed lately

    # -- for readers -------------------------------------------------------------------------------------------

    def get(self, name: str) -> File | None:
        return self._files.get(name)

    def file(self, name: str) -> File:
        return self._files[name]

    @property
    def waiting(self) -> bool:
        """Whether somebody waits for a file."""
        return bool(self._waiting)

    def is_ready(self, name: str, worker: str) -> bool:
        return worker in self._files[name].ready

    def names_at(self, worker: str) -> set[str]:
        """Ready or on their way; not to be changed."""
        return self._by_worker.get(worker, set())

    def missing(self, names: Iterable[str], worker: str) -> list[str]:
        return [name for name in names if worker not in self._files[name].ready]

    def bytes_at(self, names: Iterable[str], worker: str) -> int:
        """Bytes of these files that are at the worker."""
        files = self._files
        return sum(max(files[name].size, 1) for name in names if worker in files[name].ready)

    def next_retry(self, now: float) -> float | None:
        """When a source that had failed may be asked again, if somebody waits."""
        if not self._waiting:
            return None
        return min((until for until in self._avoid_until.values() if until > now), default=None)

    # -- changes -----------------------------------------------------------------------------------------------

    def declare(self, file: File) -> None:
        self._files.setdefault(file.name, file)

    def forget(self, name: str) -> list[str]:
        """Nobody needs this file any more; give the workers that have it."""
        file = self._files.pop(name, None)
        if file is None:
            return []
        self._waiting.pop(name, None)
        for worker, source in file.creating.items():
            self._count(source, worker, -1)
        workers = [*file.ready, *file.creating]
        for worker in workers:
            self._by_worker[worker].discard(name)
        return workers

    def add_worker(self, worker: str, names: Iterable[str]) -> list[str]:
        """A worker came with these in its cache; give those that nobody here knows."""
        self._by_worker[worker] = set()
        unknown = []
        for name in names:
            if name in self._files:
                self._mark_ready(self._files[name], worker)
            else:
                unknown.append(name)
        return unknown

    def remove_worker(self, worker: str) -> list[str]:
        """A worker is gone; give the files that have lost their last replica."""
        lost = []
        for name in self._by_worker.pop(worker, set()):
            file = self._files[name]
            file.ready.discard(worker)
            source = file.creating.pop(worker, None)
            if source is not None:
                self._count(source, worker, -1)
            if not file.ready and not file.creating:
                lost.append(name)
        for name in list(self._waiting):
            self.unwant(name, worker)
        self._outgoing.pop(worker, None)
        self._avoid_until.pop(worker, None)
        return sorted(lost)

    def want(self, name: str, worker: str) -> None:
        """This worker needs the file; ``orders`` will say where it shall get it."""
        file = self._files[name]
        if worker not in file.ready and worker not in file.creating:
            file.wanted[worker] = None
            self._waiting[name] = None

    def unwant(self, name: str, worker: str) -> None:
        """The worker does not need it any more."""
        file = self._files.get(name)
        if file is not None and file.wanted.pop(worker, worker) is None and not file.wanted:
            del self._waiting[name]

    def drop(self, name: str, worker: str) -> None:
        """The file is taken from this worker's cache."""
        self._files[name].ready.discard(worker)
        self._by_worker[worker].discard(name)

    def made_here(self, name: str, worker: str) -> None:
        """A task that runs at this worker will make the file."""
        file = self._files[name]
        if worker not in file.ready:
            file.creating[worker] = worker
            self._by_worker[worker].add(name)

    def not_made(self, name: str, worker: str) -> None:
        file = self._files.get(name)
        if file is not None and file.creating.get(worker) == worker:
            del file.creating[worker]
            self._by_worker[worker].discard(name)

    def updated(self, name: str, worker: str, size: int) -> bool:
        """The file is in the worker's cache; False when nobody knows it (any more)."""
        file = self._files.get(name)
        if file is None or worker not in self._by_worker:
            return False
        file.size = size
        self._mark_ready(file, worker)
        return True

    def failed(self, name: str, worker: str, now: float) -> str | None:
        """The worker could not get the file; give the source that it had been sent to. It may be ordered again."""
        file = self._files.get(name)
        source = None if file is None else file.creating.pop(worker, None)
        if file is None or source is None:
            return None
        self._by_worker[worker].discard(name)
        self._count(source, worker, -1)
        if source != MANAGER:
            self._avoid_until[source] = now + self._transient_error_s
        return source

    def _mark_ready(self, file: File, worker: str) -> None:
        source = file.creating.pop(worker, None)
        if source is not None:
            self._count(source, worker, -1)
        self.unwant(file.name, worker)
        file.ready.add(worker)
        self._by_worker[worker].add(file.name)

    def _count(self, source: str, worker: str, change: int) -> None:
        if source not in (MANAGER, worker):  # its own: a task makes it
            self._outgoing[source] = self._outgoing.get(source, 0) + change

    # -- decisions ---------------------------------------------------------------------------------------------

    def orders(self, now: float) -> list[Order]:
        """Transfers that can start now, for those who wait."""
        orders = []
        for name in list(self._waiting):
            file = self._files[name]
            for worker in list(file.wanted):
                source = self._choose_source(file, worker, now)
                if source is None:
                    break  # no source for one of them: none for the others either
                self.unwant(name, worker)
                file.creating[worker] = source
                self._by_worker[worker].add(file.name)
                self._count(source, worker, +1)
                orders.append(Order(worker, file.name, source))
        return orders

    def _choose_source(self, file: File, worker: str, now: float) -> str | None:
        if file.shared:
            peers = [peer for peer in file.ready if self._may_send(peer, self._worker_limit, now)]
            if peers:
                return min(peers, key=lambda peer: (self._outgoing.get(peer, 0), peer))
        if file.kind == "url":
            return file.source if self._may_send(file.source, self._url_limit, now) else None
        if file.kind == "temp":
            return None  # only workers have it
        under_way = sum(source == MANAGER for source in file.creating.values())
        if file.shared and (under_way >= MANAGER_COPIES or self._peer_is_busy(file, now)):
            return None
        return MANAGER

    def _may_send(self, source: str, limit: int, now: float) -> bool:
        return self._outgoing.get(source, 0) < limit and self._avoid_until.get(source, 0.0) <= now

    def _peer_is_busy(self, file: File, now: float) -> bool:
        """Whether a worker has it and will soon be free to send it: better than the manager's sending it again."""
        return any(self._avoid_until.get(peer, 0.0) <= now for peer in file.ready)

    def check_invariants(self) -> None:
        outgoing: dict[str, int] = {}
        for file in self._files.values():
            assert not file.ready & file.creating.keys(), f"{file.name} is ready and on its way at one worker"
            assert not file.wanted.keys() & (file.ready | file.creating.keys()), f"{file.name} is wanted where it is"
            for worker, source in file.creating.items():
                if source not in (MANAGER, worker):
                    outgoing[source] = outgoing.get(source, 0) + 1
            for worker in (*file.ready, *file.creating):
                assert file.name in self._by_worker[worker], f"{file.name} is not listed at {worker}"
        for worker, names in self._by_worker.items():
            for name in names:
                file = self._files[name]
                assert worker in file.ready or worker in file.creating, f"{name} is listed at {worker} for nothing"
        assert self._waiting.keys() == {name for name, file in self._files.items() if file.wanted}, "who waits is wrong"
        assert outgoing == {source: n for source, n in self._outgoing.items() if n}, "transfers are counted wrong"
        for source, number in outgoing.items():
            limit = self._worker_limit if source in self._by_worker else self._url_limit
            assert number <= limit, f"{number} transfers from {source}, {limit} allowed"
