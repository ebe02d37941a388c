"""A process that a worker talks with: a library, or what tasks are copies of. Carries messages; decides nothing."""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from trellis.executors.common import host
from trellis.executors.common.lifeline import Lifeline
from trellis.executors.taskvine.embedded.child_process import Child
from trellis.executors.taskvine.remote.channel import Channel, ChannelMessage
from trellis.transport.service import TURN, Loop
from trellis.transport.write_queue import WriteQueue
from trellis.wire.codec import Buffer, Payload

# Who is stopped for so long is not continued by whoever stopped it.
STOPPED_S = 10.0
# A worker that has not looked for so long was stopped itself, as when a batch system suspends a job: all go on now.
AWAY_S = 60.0
# The kernel's buffer of the pair: some full messages.
_BUFFER_BYTES = 425_984


class HelperProcess:
    """A library, or what tasks are copies of.

    Args:
        lifeline: of the worker: it ends with it, whatever it dies of.
        command: its command, for what it needs to know: numbers of its socket and lifeline, and ``payloads``.
        payloads: directory for large payloads, which both sides delete when read.
        output: file for standard output and error together.
        on_message: told of each message.
        on_end: told how it ended when it has, after all that it wrote was told.
        cwd, environment: as for ``subprocess.Popen``.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(
        self,
        loop: Loop,
        lifeline: Lifeline,
        command: Callable[[Sequence[str]], Sequence[str]],
        payloads: Path,
        output: Path,
        on_message: Callable[[ChannelMessage], None],
        on_end: Callable[[str], None],
        *,
        cwd: Path,
        environment: Mapping[str, str],
    ) -> None:
        self._loop = loop
        self._on_message = on_message
        self._on_end = on_end
        self._stopped_since: float | None = None
        self._looked_at = 0.0
        own, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            for end in (own, other):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
            fds = (other.fileno(), lifeline.worker_end)
            argv = command([*map(str, fds), os.fspath(payloads)])
            self.child = Child(loop, argv, output, self._ended, cwd=cwd, environment=environment, pass_fds=fds)
        except BaseException:
            own.close()
            raise
        finally:
            other.close()
        own.setblocking(False)
        self._channel = Channel(own, str(payloads), "arguments")
        loop.add_fd(own.fileno(), self._on_readable)
        self._unsent: WriteQueue[bytes] = WriteQueue(loop, own.fileno(), self._on_readable, self._write)

    # -- to it -------------------------------------------------------------------------------------------------

    def send(self, kind: int, id_: int = 0, function: int = 0, payloads: tuple[Payload, ...] = ()) -> None:
        """Send a message. All are received, in order, unless the process dies.

        Raises:
            OSError: there is no room for a large payload.
        """
        self._unsent.put(self._channel.encode(kind, id_, function, payloads))

    def _write(self, unsent: deque[bytes]) -> None:
        self._channel.put(unsent[0])
        unsent.popleft()

    # -- from it -----------------------------------------------------------------------------------------------

    def _on_readable(self) -> None:
        for _ in range(TURN):
            try:
                message = self._channel.receive()
            except (BlockingIOError, InterruptedError):
                return
            if message is None:  # it cannot work without its socket; its end is told when it is gone
                self._loop.remove_fd(self._channel.fileno())
                self.child.kill(because_it_dies=True)
                return
            self._on_message(message)

    def open(self, payload: Buffer) -> Payload:
        """What a message brings.

        Raises:
            OSError: it was in a file that is not there.
        """
        return self._channel.open(payload)

    def look(self, now: float) -> None:
        """Call it from time to time. One that somebody has stopped answers nobody, and ends no call: it is ended."""
        was_away = now - self._looked_at > AWAY_S
        self._looked_at = now
        if was_away or not host.is_stopped(self.child.pid):
            self._stopped_since = None
        elif self._stopped_since is None:
            self._stopped_since = now
        elif now - self._stopped_since >= STOPPED_S:
            self.child.kill(why=f"it was stopped (SIGSTOP) for {now - self._stopped_since:.0f} s")

    # -- its end -----------------------------------------------------------------------------------------------

    def _ended(self, child: Child, code: int) -> None:
        self._read_rest()
        self._close()
        self._on_end(child.words())

    def _read_rest(self) -> None:
        """Results that it wrote before it died count."""
        try:
            while (message := self._channel.receive()) is not None:
                self._on_message(message)
        except (BlockingIOError, InterruptedError):
            pass

    def _close(self) -> None:
        self._loop.remove_fd(self._channel.fileno())
        self._channel.close()

    def end(self) -> None:
        """Kill it and wait for its end, without telling anybody."""
        self.child.end()
        self._close()
