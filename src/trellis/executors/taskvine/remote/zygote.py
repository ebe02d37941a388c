"""An interpreter that has started and run nothing, of which each task gets a copy. Decides nothing.

To start an interpreter takes many times as long as to copy one that has just started: for a short task, longer than
all else. The copy finds its own environment, directory and output, as if it had been started with them. So nothing
but the standard library is imported here: packages that a task brings must not meet others of the same name.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from typing import Any, NamedTuple

from trellis.core.process_end import peak_bytes
from trellis.executors.common.lifeline import die_with_starter
from trellis.executors.taskvine.remote import runner
from trellis.executors.taskvine.remote.forks import Ended, Forks
from trellis.wire import stream

# More than any host runs at a time.
_MOST = 65_536
MAX_MESSAGE_BYTES = 65_536

# Beyond the kinds of ``wire.stream``:
KILL_TASK = 30  # worker -> zygote: end task `id`
STARTED = 31  # zygote -> worker: task `id` has the process id `function`
ENDED = 32  # zygote -> worker: task `id` has ended; buffer 0: status of the wait, peak memory in bytes, error


class _Message(NamedTuple):
    kind: int
    id: int
    payload: bytes


class _Worker:
    """The other end of the socket."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection

    def fileno(self) -> int:
        return self._socket.fileno()

    def receive(self) -> _Message | None:
        try:
            data = self._socket.recv(MAX_MESSAGE_BYTES)
        except ConnectionError:
            return None
        if not data:
            return None
        kind, _, count, id_, _, _, _ = stream.HEAD.unpack_from(data)
        return _Message(kind, id_, b"".join(stream.split(data, count)))

    def send(self, kind: int, id_: int = 0, number: int = 0, payload: tuple[int, int, str] | None = None) -> None:
        data = json.dumps(payload).encode()
        self._socket.send(stream.head(kind, id_, number, 0.0, 0.0, (data,)) + data)

    def close(self) -> None:
        self._socket.close()


def pack_start(directory: str, output: str, environment: dict[str, str], arguments: list[str]) -> bytes:
    """Payload of a TASK: where it works, its output's file, its environment, and what the runner is given."""
    return json.dumps((directory, output, environment, arguments)).encode()


def unpack_end(payload: Any) -> tuple[int, int, str]:
    """Payload of ENDED."""
    status, peak, error = json.loads(payload)
    return status, peak, error


class Zygote:
    """Owned by the process's one thread."""

    def __init__(self, worker: _Worker) -> None:
        self._worker = worker
        self._environment = dict(os.environ)
        self._forks = Forks(worker, self._run_task, _MOST)

    def run(self) -> None:
        """Serve until the worker closes its end."""
        self._worker.send(stream.READY)
        while True:
            for event in self._forks.wait():
                if event is None:
                    self._forks.kill_all()
                    return
                if isinstance(event, Ended):
                    self._worker.send(ENDED, event.message.id, 0, (event.status, peak_bytes(event.usage), ""))
                elif event.kind == KILL_TASK:
                    self._forks.kill(event.id)
                else:
                    self._start(event)

    def _start(self, message: _Message) -> None:
        try:
            pid = self._forks.start(message)
        except OSError as error:  # the user may have no more processes
            self._worker.send(ENDED, message.id, 0, (0, 0, f"it could not be started: {error}"))
            return
        self._worker.send(STARTED, message.id, pid)

    def _run_task(self, message: _Message) -> None:
        """Run a task in the child. Does not come back: the runner ends the process."""
        self._worker.close()  # the task shall not talk to the worker
        directory, output, environment, arguments = json.loads(message.payload)
        file = os.open(output, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        for number in (1, 2):
            os.dup2(file, number)
        os.close(file)
        os.chdir(directory)
        self._take(environment)
        sys.argv = [runner.__file__, *arguments]
        sys.path_importer_cache.clear()  # what it remembers of directories may be old by now
        runner.main()

    def _take(self, environment: dict[str, str]) -> None:
        """Only what differs: each change is a call of the system's library, and copies a page or two."""
        for name in self._environment.keys() - environment.keys():
            del os.environ[name]
        for name, value in environment.items():
            if self._environment.get(name) != value:
                os.environ[name] = value


def main() -> None:
    """Entry point: ``python -m trellis.executors.taskvine.remote.zygote SOCKET LIFELINE``: file descriptors."""
    connection_fd, lifeline_fd = map(int, sys.argv[1:3])
    die_with_starter(lifeline_fd)
    for fd in (connection_fd, lifeline_fd):
        os.set_inheritable(fd, False)
    try:
        Zygote(_Worker(socket.socket(fileno=connection_fd))).run()
    except ConnectionError:  # the worker has ended, or ends us
        return


if __name__ == "__main__":
    main()
