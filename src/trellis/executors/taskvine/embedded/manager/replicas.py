"""Which file is at which worker, and where each may get it from. No I/O here.

A replica is *creating* (ordered, or being made), *ready*, or *deleting*. Transfers are limited by source: so many at a
time from one worker, from one URL, and from the manager, which sends a file that workers may pass on only to a few.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from trellis.wire.vine import LEVELS

# TaskVine's tuning parameters of these names.
WORKER_SOURCE_MAX_TRANSFERS = 10
FILE_SOURCE_MAX_TRANSFERS = 1
# Copies of one file that the manager sends at a time when workers can pass it on: the first worker that has it is a
# source for all others, and each further copy takes the manager's line from everybody.
MANAGER_COPIES = 1
# A source that failed is not asked again for so long: a worker has other things to do, a server may be back at once.
TRANSIENT_ERROR_S = 15.0
URL_PAUSE_S = 1.0

MANAGER = ""  # as a source


def is_peer(source: str) -> bool:
    """Whether it is a worker: not the manager, and no URL."""
    return source != MANAGER and "://" not in source


class FileTransfer(NamedTuple):
    """A worker shall get a file from a source: a worker's name, a URL, or the manager."""

    worker: str
    name: str
    source: str


@dataclass(slots=True)
class CachedFile:
    """What is known of a file by its cache name."""

    name: str
    kind: str  # file, buffer, url, temp
    source: str  # URL of a "url"
    level: str
    size: int  # bytes; -1: not known
    peer_transfer: bool
    consumers: int = 0  # tasks that ever named it as an input
    made: bool = False  # by a task: nobody else may have it
    ready: set[str] = field(default_factory=set)  # workers
    creating: dict[str, str] = field(default_factory=dict)  # worker: source; its own name: a task makes it there
    wanted: dict[str, None] = field(default_factory=dict)  # workers that wait for a source, in order
    failures: dict[str, int] = field(default_factory=dict)  # in a row, by the worker that was the source

    @property
    def shared(self) -> bool:
        """Whether workers may pass it on."""
        return self.peer_transfer and (self.level != "task" or self.kind == "temp")

    @property
    def lost(self) -> bool:
        """Whether it has to be made (again) before anybody can have it."""
        return self.kind == "temp" and not self.ready


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
        self._files: dict[str, CachedFile] = {}
        # Names that are ready or creating there, with the bytes that count for each; least recently used first.
        self._by_worker: dict[str, dict[str, int]] = {}
        self._bytes: dict[str, int] = {}  # sums of those
        self._undeclared: dict[str, set[str]] = {}  # workers that came with files that nobody had declared, by name
        self._waiting: dict[str, None] = {}  # names that somebody waits for
        self._outgoing: dict[str, int] = {}  # transfers from each source but the manager
        self._avoid_until: dict[str, float] = {}  # sources that have failed lately

    # -- for readers -------------------------------------------------------------------------------------------

    def get(self, name: str) -> CachedFile | None:
        return self._files.get(name)

    def file(self, name: str) -> CachedFile:
        return self._files[name]

    @property
    def waiting(self) -> bool:
        """Whether somebody waits for a file."""
        return bool(self._waiting)

    def is_shared(self, file: CachedFile) -> bool:
        """Whether workers pass this file on to each other."""
        return self._worker_limit > 0 and file.shared

    def is_ready(self, name: str, worker: str) -> bool:
        return worker in self._files[name].ready

    def names_at(self, worker: str) -> Collection[str]:
        """Ready or on their way, least recently used first; not to be changed."""
        return self._by_worker.get(worker, {}).keys()

    def temps_at(self, worker: str) -> list[str]:
        files = self._files
        return [name for name in self._by_worker.get(worker, ()) if name in files and files[name].kind == "temp"]

    def sizes_at(self, worker: str) -> Mapping[str, int]:
        """Bytes that count for each of these."""
        return self._by_worker.get(worker, {})

    def cached_bytes(self, worker: str) -> int:
        """Bytes of the files there, and of those on their way whose size is known."""
        return self._bytes.get(worker, 0)

    def missing(self, names: Iterable[str], worker: str) -> list[str]:
        return [name for name in names if worker not in self._files[name].ready]

    def bytes_at(self, names: Iterable[str], worker: str) -> int:
        """Bytes of these files that are at the worker."""
        files = self._files
        return sum(max(files[name].size, 1) for name in names if worker in files[name].ready)

    # -- changes -----------------------------------------------------------------------------------------------

    def declare(self, file: CachedFile) -> None:
        """The same file may be declared again: it is kept for the longest time that anybody asks for."""
        known = self._files.get(file.name)
        if known is not None:
            known.level = max(known.level, file.level, key=LEVELS.index)
            known.peer_transfer = known.peer_transfer and file.peer_transfer
            return
        self._files[file.name] = file
        for worker in self._undeclared.pop(file.name, ()):
            self._mark_ready(file, worker)

    def remove(self, name: str) -> list[str]:
        """Nobody needs this file any more; give the workers that have it."""
        file = self._files.pop(name, None)
        if file is None:
            return []
        self._waiting.pop(name, None)
        workers = [*sorted(file.ready), *file.creating]
        for worker in workers:
            self._end_transfer(file, worker)
            self._unlist(name, worker)
        return workers

    def add_worker(self, worker: str, names: Iterable[str], sizes: Iterable[int]) -> None:
        """A worker came with these in its cache. Those that nobody has declared may be declared yet."""
        self._by_worker[worker] = {}
        self._bytes[worker] = 0
        for name, size in zip(names, sizes, strict=True):
            file = self._files.get(name)
            if file is None:
                self._undeclared.setdefault(name, set()).add(worker)
                self._list(name, worker, size)
            else:
                file.size = size
                self._mark_ready(file, worker)

    def remove_worker(self, worker: str) -> list[str]:
        """A worker is gone; give the temps that have lost their last replica."""
        lost = []
        for name in self._by_worker.pop(worker, {}):
            file = self._files.get(name)
            if file is None:
                self._remove_undeclared(name, worker)
                continue
            was_ready = worker in file.ready
            file.ready.discard(worker)
            self._end_transfer(file, worker)
            if was_ready and file.lost:
                lost.append(name)
        for name in list(self._waiting):
            self.unwant(name, worker)
        self._bytes.pop(worker, None)
        self._avoid_until.pop(worker, None)
        return sorted(lost)

    def want(self, name: str, worker: str) -> None:
        """Note that the worker needs the file; ``start_transfers`` will say where it shall get it."""
        file = self._files[name]
        if worker not in file.ready and worker not in file.creating:
            file.wanted[worker] = None
            self._waiting[name] = None

    def unwant(self, name: str, worker: str) -> None:
        """The worker does not need it any more."""
        file = self._files.get(name)
        if file is not None and file.wanted.pop(worker, worker) is None and not file.wanted:
            del self._waiting[name]

    def touch(self, names: Iterable[str], worker: str) -> None:
        """Note that these are used now."""
        listed = self._by_worker[worker]
        for name in names:
            if name in listed:
                listed[name] = listed.pop(name)

    def evict(self, name: str, worker: str) -> None:
        """The file is taken from this worker's cache, or was lost there."""
        file = self._files.get(name)
        if file is None:
            self._remove_undeclared(name, worker)
        else:
            file.ready.discard(worker)
        self._unlist(name, worker)

    def _remove_undeclared(self, name: str, worker: str) -> None:
        workers = self._undeclared[name]
        workers.discard(worker)
        if not workers:
            del self._undeclared[name]

    def made_here(self, name: str, worker: str) -> None:
        """A task that runs at this worker will make the file."""
        file = self._files[name]
        file.made = True
        if worker not in file.ready and worker not in file.creating:
            self._begin_transfer(file, worker, worker)

    def not_made(self, name: str, worker: str) -> bool:
        """The task is not there any more; give whether the file would still have come from it."""
        file = self._files.get(name)
        if file is None or file.creating.get(worker) != worker:
            return False
        self._end_transfer(file, worker)
        self._unlist(name, worker)
        return True

    def updated(self, name: str, worker: str, size: int) -> bool:
        """The file is in the worker's cache; False when nobody wants it there (any more)."""
        file = self._files.get(name)
        if file is None or not (worker in file.creating or worker in file.ready):
            return False
        file.size = size
        self._mark_ready(file, worker)
        return True

    def failed(self, name: str, worker: str, now: float) -> str | None:
        """The worker could not get the file; give the source that it had been sent to. It may be ordered again."""
        file = self._files.get(name)
        if file is None or file.creating.get(worker, worker) == worker:  # not on its way, or made there
            return None
        source = self._end_transfer(file, worker)
        self._unlist(name, worker)
        if source:
            self._avoid_until[source] = now + (self._transient_error_s if is_peer(source) else URL_PAUSE_S)
            file.failures[source] = file.failures.get(source, 0) + 1
        return source

    def _mark_ready(self, file: CachedFile, worker: str) -> None:
        file.failures.pop(self._end_transfer(file, worker), None)
        self.unwant(file.name, worker)
        file.ready.add(worker)
        self._list(file.name, worker, max(file.size, 0))

    def _begin_transfer(self, file: CachedFile, worker: str, source: str) -> None:
        """``source``: the worker itself, if a task makes the file there."""
        self.unwant(file.name, worker)
        file.creating[worker] = source
        self._list(file.name, worker, 0 if source == worker else max(file.size, 0))
        self._count(source, worker, +1)

    def _end_transfer(self, file: CachedFile, worker: str) -> str:
        """The file is not on its way to the worker any more, if it was; give the source."""
        source = file.creating.pop(worker, MANAGER)
        self._count(source, worker, -1)
        return source

    def _list(self, name: str, worker: str, size: int) -> None:
        listed = self._by_worker[worker]
        self._bytes[worker] += size - listed.get(name, 0)
        listed[name] = size

    def _unlist(self, name: str, worker: str) -> None:
        listed = self._by_worker.get(worker)
        if listed is not None and name in listed:
            self._bytes[worker] -= listed.pop(name)

    def _count(self, source: str, worker: str, change: int) -> None:
        if source in (MANAGER, worker):  # its own: a task makes it
            return
        number = self._outgoing.get(source, 0) + change
        if number:
            self._outgoing[source] = number
        else:
            self._outgoing.pop(source, None)

    # -- decisions ---------------------------------------------------------------------------------------------

    def start_transfers(self, now: float) -> list[FileTransfer]:
        """Transfers that can start now, for those who wait."""
        started = []
        for name in list(self._waiting):
            file = self._files[name]
            for worker in list(file.wanted):
                source = self._choose_source(file, worker, now)
                if source is None:
                    break  # no source for one of them: none for the others either
                self._begin_transfer(file, worker, source)
                started.append(FileTransfer(worker, file.name, source))
        return started

    def _choose_source(self, file: CachedFile, worker: str, now: float) -> str | None:
        shared = self.is_shared(file)
        if shared:
            peers = [peer for peer in file.ready if self._may_send(peer, self._worker_limit, now)]
            if peers:
                return min(peers, key=lambda peer: (self._outgoing.get(peer, 0), peer))
        if file.kind == "url":
            return file.source if self._may_send(file.source, self._url_limit, now) else None
        if file.kind == "temp" and (shared or file.lost):
            return None  # only workers have it; what they do not pass on themselves goes through the manager
        under_way = sum(source == MANAGER for source in file.creating.values())
        if shared and (under_way >= MANAGER_COPIES or self._peer_can_send(file, now)):
            return None
        return MANAGER

    def _may_send(self, source: str, limit: int, now: float) -> bool:
        return self._outgoing.get(source, 0) < limit and self._avoid_until.get(source, 0.0) <= now

    def pauses(self, file: CachedFile, now: float) -> dict[str, float]:
        """Sources of the file that have failed lately, and in how many seconds each is asked again."""
        sources = [*file.ready, *([file.source] if file.kind == "url" else [])]
        return {name: until - now for name in sources if (until := self._avoid_until.get(name, 0.0)) > now}

    def _peer_can_send(self, file: CachedFile, now: float) -> bool:
        """Whether a worker has it and will be free to send it: better than the manager's sending it again."""
        return any(self._avoid_until.get(peer, 0.0) <= now for peer in file.ready)

    def check_invariants(self) -> None:
        self._check_files()
        self._check_lists()
        self._check_limits()

    def _check_files(self) -> None:
        for file in self._files.values():
            assert not file.ready & file.creating.keys(), f"{file.name} is ready and on its way at one worker"
            assert not file.wanted.keys() & (file.ready | file.creating.keys()), f"{file.name} is wanted where it is"
            for worker in (*file.ready, *file.creating):
                assert file.name in self._by_worker[worker], f"{file.name} is not listed at {worker}"
            assert file.wanted.keys() <= self._by_worker.keys(), f"{file.name} is wanted by nobody"
        waited_for = {name for name, file in self._files.items() if file.wanted}
        assert self._waiting.keys() == waited_for, "who waits is wrong"

    def _check_lists(self) -> None:
        for worker, names in self._by_worker.items():
            assert self._bytes[worker] == sum(names.values()), f"bytes at {worker} are counted wrong"
            for name in names:
                file = self._files.get(name)
                if file is None:
                    assert worker in self._undeclared[name], f"{name} at {worker} is not known"
                else:
                    assert worker in file.ready or worker in file.creating, f"{name} is listed at {worker} for nothing"

    def _check_limits(self) -> None:
        outgoing: dict[str, int] = {}
        for file in self._files.values():
            for worker, source in file.creating.items():
                if source not in (MANAGER, worker):
                    outgoing[source] = outgoing.get(source, 0) + 1
        assert outgoing == self._outgoing, "transfers are counted wrong"
        for source, number in outgoing.items():
            limit = self._worker_limit if is_peer(source) else self._url_limit
            assert number <= limit, f"{number} transfers from {source}, {limit} allowed"
