"""A real manager process before an interchange of the test's own: the test says and hears each message."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from trellis.transport.context import new_context
from trellis.transport.endpoint import ServerEndpoint
from trellis.wire.codec import Buffer, Decoder, Payload, encode_header, pack, unpack
from trellis.wire.messages import (
    DefineFunctions,
    Demand,
    FromManager,
    Heartbeat,
    Message,
    Register,
    Results,
    Tasks,
    Welcome,
)
from trellis.wire.payload import dump_call, dump_function, load_exception, load_result

WAIT_S = 20  # nothing may take longer
M = TypeVar("M", bound=Message)


class Stage:
    """An interchange without a mind, and the manager that was started."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._context = new_context()
        self._endpoint = ServerEndpoint(self._context, None)
        self.port = self._endpoint.bind("127.0.0.1", (20_000, 50_000))
        self._decoder: Decoder[Message] = Decoder(FromManager)
        self._peer = b""
        self.heard: list[Message] = []  # all that came, but heartbeats
        self._taken = 0  # of them, by wait_for
        self._functions: dict[Any, int] = {}
        self.results: dict[int, Any] = {}  # by task: what it gave, or the exception that it raised
        self.process: subprocess.Popen[bytes] | None = None

    # -- the process -------------------------------------------------------------------------------------------

    def start(self, *options: str, port: int | None = None, environ: Mapping[str, str] | None = None) -> None:
        """Start a manager; without ``-c``, ``--max_workers_per_node 2`` and such it is as big as this computer."""
        command = [sys.executable, "-P", "-m", "trellis.executors.htex.manager.service", "-a", "127.0.0.1"]
        command += ["-p", str(port or self.port), "-l", str(self._directory), "-b", "0", *options]
        with open(self._directory / "stderr", "wb") as stderr:
            self.process = subprocess.Popen(command, env={**os.environ, **(environ or {})}, stderr=stderr)

    def welcome(self, *options: str, **more: Any) -> Register:
        """Start a manager, and have it registered."""
        self.start(*options, **more)
        hello = self.wait_for(Register)
        self.send(Welcome([str(Path(__file__).parents[3])]))
        return hello

    @property
    def stderr(self) -> str:
        return (self._directory / "stderr").read_text()

    def wait_for_end(self) -> int:
        assert self.process is not None
        deadline = time.monotonic() + WAIT_S
        while self.process.poll() is None:
            assert time.monotonic() < deadline, "it does not end"
            self._hear(0.02)
        self._hear(0.1)
        return self.process.returncode

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(WAIT_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise
        self._endpoint.close()
        self._context.term()

    # -- messages ----------------------------------------------------------------------------------------------

    def send(self, message: Message, *frames: Buffer) -> None:
        assert self._endpoint.send(self._peer, [encode_header(message), *frames]), "the manager is not there"

    def _hear(self, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while True:
            incoming = self._endpoint.receive()
            if incoming is not None:
                self._peer = incoming.peer
                self._note(self._decoder.decode(incoming.frames[0]), incoming.frames[1:])
            elif time.monotonic() >= deadline:
                return
            else:
                time.sleep(0.002)

    def _note(self, message: Message, frames: list[Buffer]) -> None:
        if isinstance(message, Heartbeat):
            self.send(Heartbeat())
            return
        self.heard.append(message)
        if isinstance(message, Results):
            for number, (task, payload) in enumerate(zip(message.ids, unpack(message.sizes, frames), strict=True)):
                load: Callable[[Payload], Any] = load_exception if number in message.failed else load_result
                self.results[task] = load(payload)

    def wait_for(self, kind: type[M]) -> M:
        """The next message of this kind; those before it are passed over."""
        deadline = time.monotonic() + WAIT_S
        while True:
            while self._taken < len(self.heard):
                message = self.heard[self._taken]
                self._taken += 1
                if isinstance(message, kind):
                    return message
            assert time.monotonic() < deadline, f"no {kind.__name__} comes; {self.heard[-5:]}; {self.stderr}"
            self._hear(0.01)

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + WAIT_S
        while not condition():
            assert time.monotonic() < deadline, f"it does not come; {self.heard[-5:]}; {self.stderr}"
            self._hear(0.01)

    def said(self, kind: type[M]) -> list[M]:
        """All messages of this kind that have come."""
        return [message for message in self.heard if isinstance(message, kind)]

    # -- tasks -------------------------------------------------------------------------------------------------

    def define(self, function: Callable[..., Any]) -> None:
        sizes, frames = pack([dump_function(function)])
        self.send(DefineFunctions([self.number(function)], sizes), *frames)

    def number(self, function: Callable[..., Any]) -> int:
        """That of the function; it counts as defined from now on."""
        return self._functions.setdefault(function, len(self._functions) + 1)

    def submit(
        self, task: int, function: Callable[..., Any], *args: Any, demand: Demand | None = None, walltime_s: float = 0
    ) -> None:
        if function not in self._functions:
            self.define(function)
        sizes, frames = pack([dump_call(args, {}, "app")])
        walltimes_s = [walltime_s] if walltime_s else None
        header = Tasks([task], [self._functions[function]], sizes, None, walltimes_s, [demand] if demand else None)
        self.send(header, *frames)

    def result(self, task: int) -> Any:
        self.until(lambda: task in self.results)
        return self.results[task]

    def run(self, task: int, function: Callable[..., Any], *args: Any, demand: Demand | None = None) -> Any:
        self.submit(task, function, *args, demand=demand)
        return self.result(task)


class Proxy:
    """A TCP connection that can be cut: what is on its way then is gone."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        self._refuses = False
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                if self._refuses:
                    client.close()
                    continue
                server = socket.create_connection(("127.0.0.1", self._target))
                self._open += [client, server]
                for source, sink in ((client, server), (server, client)):
                    thread = threading.Thread(target=self._pump, args=(source, sink))
                    thread.start()
                    self._threads.append(thread)

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65_536):
                sink.sendall(data)
        except OSError:
            pass

    def cut(self) -> None:
        """Close all connections, and let nobody in."""
        with self._lock:
            self._refuses = True
            for end in self._open:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()
            self._open.clear()

    def heal(self) -> None:
        with self._lock:
            self._refuses = False

    def close(self) -> None:
        self.cut()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(WAIT_S)
