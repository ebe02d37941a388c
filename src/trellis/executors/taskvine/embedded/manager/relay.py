"""Temporary files that workers do not pass on to each other: piece by piece through the manager. Decides nothing.

Nothing is kept here: a request of a worker goes on to one that has the file, and the answer goes back.
"""

from __future__ import annotations

from collections.abc import Callable

from trellis.wire.codec import Buffer
from trellis.wire.vine import FileChunk, SendFile

_Request = tuple[str, str, int]  # who has it, cache name, offset


class Relay:
    """Owned by the manager's one thread.

    Args:
        holders: workers that have a file by its cache name.
        ask: sends a request for a piece to a worker.
        answer: sends a piece to a worker.
    """

    def __init__(
        self,
        holders: Callable[[str], set[str]],
        ask: Callable[[str, SendFile], None],
        answer: Callable[[str, FileChunk, Buffer], None],
    ) -> None:
        self._holders = holders
        self._ask = ask
        self._answer = answer
        self._routes: dict[tuple[str, str], str] = {}  # from whom a worker has the first piece of a file
        self._waiting: dict[_Request, list[str]] = {}  # workers

    def request(self, worker: str, message: SendFile) -> bool:
        """A worker wants a piece. False: nobody has such a file."""
        route = (worker, message.name)
        if message.offset == 0:
            self._routes.pop(route, None)
        holder = self._routes.get(route) or min(self._holders(message.name) - {worker}, default="")
        if not holder:
            return False
        self._routes[route] = holder
        entry = (holder, message.name, message.offset)
        if entry in self._waiting:
            self._waiting[entry].append(worker)
            return True
        self._waiting[entry] = [worker]
        self._ask(holder, message)
        return True

    def on_chunk(self, holder: str, chunk: FileChunk, data: Buffer) -> bool:
        """A piece has come; whether it was one of these that cannot be had."""
        workers = self._waiting.pop((holder, chunk.name, chunk.offset), ())
        for worker in workers:
            self._answer(worker, chunk, data)
        return bool(workers and chunk.error)

    def worker_left(self, worker: str) -> None:
        """A worker asks for nothing more; who waits for something from there need not wait."""
        self._routes = {
            route: holder for route, holder in self._routes.items() if route[0] != worker and holder != worker
        }
        for entry, workers in list(self._waiting.items()):
            holder, name, offset = entry
            if holder == worker:
                del self._waiting[entry]
                for other in workers:
                    self._answer(other, FileChunk(name, offset, 0, error="the worker that had it is gone"), b"")
            elif worker in workers:
                workers.remove(worker)

    def forgotten(self, names: list[str]) -> None:
        """Nobody needs these any more."""
        gone = set(names)
        self._routes = {route: holder for route, holder in self._routes.items() if route[1] not in gone}
