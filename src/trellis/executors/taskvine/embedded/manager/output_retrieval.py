"""Files on their way from workers to the manager's host: to their places, or for their content. Decides nothing."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

from trellis.core.plain_files import open_plain
from trellis.executors.taskvine.embedded.child_process import Child
from trellis.executors.taskvine.embedded.manager.manager_files import ManagerFiles
from trellis.executors.taskvine.embedded.pieces import Pull
from trellis.transport.service import Loop
from trellis.wire.codec import Buffer
from trellis.wire.vine import FileChunk, SendFile

_FETCH = [sys.executable, "-P", "-m", "trellis.executors.taskvine.remote.fetch"]


class OutputRetrieval:
    """Owned by the manager's one thread.

    Args:
        ask: sends a request for a piece to a worker.
        came: told of each file that is in its place, or is not: name, the reason why not, and whether workers can get
            it from there.
        answer: told of each content that was asked for: request, error, content.
        moved: told of each transfer: worker, name, bytes, seconds.
    """

    def __init__(
        self,
        loop: Loop,
        files: ManagerFiles,
        ask: Callable[[str, SendFile], None],
        came: Callable[[str, str, bool], None],
        answer: Callable[[int, str, bytes], None],
        moved: Callable[[str, str, int, float], None],
    ) -> None:
        self._loop = loop
        self._files = files
        self._ask = ask
        self._came = came
        self._answer = answer
        self._moved = moved
        self._pulls: dict[str, tuple[str, Pull, float]] = {}  # by name: the worker that sends it, since when
        self._requests: dict[str, list[int]] = {}  # that want the content, by name
        self._children: dict[Child, str] = {}  # that put them in their places

    def bring(self, worker: str, name: str) -> None:
        """Fetch a file from a worker. One that is coming already is not fetched twice."""
        if name in self._pulls:
            return
        try:
            if self._files.has_home(name):
                self._files.place_of(name)
            pull = Pull(name, self._files.arriving(name), lambda request: self._ask(worker, request))
        except OSError as error:
            self._end(name, f"it cannot be written: {error}")
            return
        self._pulls[name] = (worker, pull, time.monotonic())

    def fetch(self, request: int, worker: str, name: str) -> None:
        """Fetch a file for its content."""
        self._requests.setdefault(name, []).append(request)
        self.bring(worker, name)

    def on_chunk(self, worker: str, chunk: FileChunk, data: Buffer) -> None:
        """A piece has come."""
        source, pull, since = self._pulls.get(chunk.name, ("", None, 0.0))
        if pull is None or source != worker or not pull.on_chunk(chunk, data):
            return
        del self._pulls[chunk.name]
        self._moved(worker, chunk.name, pull.received, time.monotonic() - since)
        if pull.error or not self._files.has_home(chunk.name):
            self._end(chunk.name, pull.error)
            return
        try:
            if pull.archive or not self._files.came_home(chunk.name):
                self._place(chunk.name, "place-directory" if pull.archive else "place")
                return
            self._end(chunk.name, "")
        except OSError as error:
            self._end(chunk.name, str(error))

    def worker_left(self, worker: str) -> list[int]:
        """Nothing more comes from there; gives the requests that wait for something that did."""
        waiting: list[int] = []
        for name in [name for name, (source, *_) in self._pulls.items() if source == worker]:
            self._pulls.pop(name)[1].close()
            self._files.give_up(name)
            waiting += self._requests.pop(name, ())
        return waiting

    def close(self) -> None:
        """Give up what is on its way."""
        for name, (_, pull, _) in self._pulls.items():
            pull.close()
            self._files.give_up(name)
        for child, name in self._children.items():
            child.end()
            self._files.give_up(name)

    def _place(self, name: str, action: str) -> None:
        """What takes its time: directories come as archives, places may be on other file systems."""
        log = self._files.spool / f"{name}.log"
        words = [*_FETCH, action, str(self._files.arriving(name)), str(self._files.place_of(name))]
        child = Child(self._loop, words, log, self._on_placed, cwd=self._files.spool, environment=os.environ)
        self._children[child] = name

    def _on_placed(self, child: Child, code: int) -> None:
        self._end(self._children.pop(child), child.words() if code else "")

    def _end(self, name: str, error: str) -> None:
        for request in self._requests.pop(name, ()):
            self._answer(request, *self._content(name, error))
        if not self._files.has_home(name):
            self._files.give_up(name)
            return
        if error:
            self._files.give_up(name)
        self._came(name, error, not error and self._files.is_home(name))

    def _content(self, name: str, error: str) -> tuple[str, bytes]:
        if not error:
            try:
                with open(open_plain(self._files.arriving(name)), "rb") as file:
                    return "", file.read()
            except OSError as problem:
                error = str(problem)
        return error, b""
