"""A real worker process, and a manager's side that a test plays itself. Everything ends with the test."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from trellis.errors import ConfigurationError
from trellis.transport.context import new_context
from trellis.transport.endpoint import ServerEndpoint
from trellis.wire.codec import Decoder, encode_header, pack, unpack
from trellis.wire.messages import DefineFunctions, DismissManager, Heartbeat, Message
from trellis.wire.payload import dump_call, dump_function, load_exception, load_result
from trellis.wire.vine import (
    CacheFailed,
    CacheUpdated,
    CallsEnded,
    DefineShapes,
    FileChunk,
    FromVineWorker,
    GetFile,
    LibraryDown,
    LibrarySpec,
    LibraryUp,
    RegisterWorker,
    Resources,
    RunTasks,
    SendFile,
    StartLibrary,
    TaskFailed,
    TaskShape,
    WelcomeWorker,
)

WAIT_S = 30.0
ONE_CORE = Resources(cores=1, gpus=0)


class Bed:
    """Plays the manager of one or more workers."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._context = new_context()
        self._endpoint = ServerEndpoint(self._context, None)
        self.port = self._endpoint.bind("127.0.0.1", (1024, 65536))
        self._decoder: Decoder[Message] = Decoder(FromVineWorker)
        self._processes: list[subprocess.Popen[bytes]] = []
        self._functions: dict[object, int] = {}
        self._shapes: dict[TaskShape, int] = {}
        self.files: dict[str, bytes] = {}  # that workers may get from here
        self.workers: dict[str, RegisterWorker] = {}
        self.results: dict[int, Any] = {}  # values, exceptions that were raised, and TaskFailed
        self.libraries: list[LibraryUp | LibraryDown] = []
        self.cached: dict[str, int] = {}
        self.not_cached: list[CacheFailed] = []
        self.fetched: dict[str, bytes] = {}
        self.other: list[Message] = []
        self._next = 0

    # -- workers -----------------------------------------------------------------------------------------------

    def start(self, *words: str, env: dict[str, str] | None = None, python: str = sys.executable) -> tuple[str, int]:
        """Start a worker, and welcome it: its name and process id."""
        command = [python, "-P", "-m", "trellis.executors.taskvine.embedded.worker.main", "127.0.0.1", str(self.port)]
        command += ["--cores", "2", "--log", str(self.directory / f"worker-{len(self._processes)}.log"), *words]
        environment = {**os.environ, "TMPDIR": str(self.directory), **(env or {})}
        self._processes.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE))
        known = set(self.workers)
        self.until(lambda: set(self.workers) - known)
        (name,) = set(self.workers) - known
        return name, self._processes[-1].pid

    def wait_for_end(self, pid: int) -> int:
        (process,) = (process for process in self._processes if process.pid == pid)
        return process.wait(WAIT_S)

    def break_connections(self) -> None:
        """As a network does that is away for a moment."""
        self._endpoint.close(0)
        self._endpoint = ServerEndpoint(self._context, None)
        wait_until(self._bind_again)  # the port is given back a moment after the socket is closed

    def _bind_again(self) -> bool:
        try:
            self._endpoint.bind("127.0.0.1", (self.port, self.port + 1))
        except ConfigurationError:
            return False
        return True

    def close(self) -> None:
        for name in self.workers:
            self._endpoint.send(name.encode(), [encode_header(DismissManager("the test is over"))])
        for process in self._processes:
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            assert process.stderr is not None
            process.stderr.close()
        self._endpoint.close(0)
        self._context.term()

    # -- to them -----------------------------------------------------------------------------------------------

    @property
    def worker(self) -> str:
        """The one that registered last."""
        return list(self.workers)[-1]

    def send(self, message: Message, frames: Any = (), worker: str = "") -> None:
        assert self._endpoint.send((worker or self.worker).encode(), [encode_header(message), *frames])

    def define(self, function: Callable[..., Any], worker: str = "") -> int:
        number = len(self._functions)
        self._functions[number] = function
        sizes, frames = pack([dump_function(function)])
        self.send(DefineFunctions([number], sizes), frames, worker)
        return number

    def shape(self, shape: TaskShape, worker: str = "") -> int:
        number = self._shapes.setdefault(shape, len(self._shapes))
        self.send(DefineShapes([number], [shape]), worker=worker)
        return number

    def run(
        self,
        function: Callable[..., Any],
        *args: Any,
        shape: TaskShape | None = None,
        resources: Resources | None = ONE_CORE,
        instance: int = -1,
        worker: str = "",
        **mounts: Any,
    ) -> int:
        """Start a task (or with ``resources=None`` a call): its id."""
        shape = shape or TaskShape("serverless" if resources is None else "regular", "c", Resources())
        number, shape_id = self.define(function, worker), self.shape(shape, worker)
        self._next += 1
        sizes, frames = pack([dump_call(args, {}, "f")])
        header = RunTasks([self._next], [number], [shape_id], [resources], [instance], sizes)
        for name, value in mounts.items():
            getattr(header, name)[0] = value
        self.send(header, frames, worker)
        return self._next

    def result(self, id_: int) -> Any:
        self.until(lambda: id_ in self.results)
        return self.results[id_]

    def library(self, instance: int = 0, resources: Resources = ONE_CORE, **spec: Any) -> LibraryUp | LibraryDown:
        """Start a library and wait for what becomes of it."""
        context = spec.pop("context", None)
        environment, inputs = spec.pop("environment", ""), spec.pop("inputs", [])
        function = -1 if context is None else self.define(context)
        sizes, frames = pack([dump_call((), {}, "context")])
        library = LibrarySpec("L", context_function=function, **spec)
        self.send(StartLibrary(library, instance, resources, inputs, environment, sizes), frames)
        told = len(self.libraries)
        self.until(lambda: len(self.libraries) > told)
        return self.libraries[-1]

    def call(self, function: Callable[..., Any], *args: Any, instance: int = 0, **options: Any) -> int:
        return self.run(function, *args, resources=None, instance=instance, **options)

    def give(self, name: str, content: bytes, unpack: bool = False, level: str = "workflow", fit: bool = False) -> None:
        """Have the worker get a file from here."""
        self.files[name] = content
        self.get(GetFile(name, "", level, len(content), unpack, fit))

    def get(self, order: GetFile, worker: str = "") -> None:
        """Have a worker get a file, and wait until it has it."""
        self.cached.pop(order.name, None)
        self.send(order, worker=worker)
        self.until(lambda: order.name in self.cached)

    def fetch(self, name: str) -> bytes:
        """A file's content (less than a piece) from the worker."""
        self.send(SendFile(name, 0, 2**20))
        self.until(lambda: name in self.fetched)
        return self.fetched.pop(name)

    # -- from them ---------------------------------------------------------------------------------------------

    def until(self, condition: Callable[[], Any]) -> None:
        """Handle messages until ``condition`` holds."""
        deadline = time.monotonic() + WAIT_S
        while not condition():
            incoming = self._endpoint.receive()
            if incoming is None:
                assert time.monotonic() < deadline, f"{self.other} {self.results} {self.not_cached}\n{self.logs()}"
                time.sleep(0.002)
                continue
            self._on_message(incoming.peer.decode(), self._decoder.decode(incoming.frames[0]), incoming.frames[1:])

    def _on_message(self, worker: str, message: Message, frames: list[Any]) -> None:
        match message:
            case RegisterWorker():
                self.workers[worker] = message
                self.send(WelcomeWorker([str(Path(__file__).parents[3])], 30.0, 600.0), worker=worker)
            case CallsEnded():
                for position, payload in enumerate(unpack(message.sizes, frames)):
                    failed = position in message.failed
                    value = load_exception(payload) if failed else load_result(payload) if len(payload) else None
                    self.results[message.ids[position]] = value
            case TaskFailed():
                self.results[message.id] = message
            case LibraryUp() | LibraryDown():
                self.libraries.append(message)
            case CacheUpdated():
                self.cached |= dict(zip(message.names, message.sizes, strict=True))
            case CacheFailed():
                self.not_cached.append(message)
            case SendFile():
                content = self.files[message.name]
                piece = content[message.offset : message.offset + message.length]
                self.send(FileChunk(message.name, message.offset, len(content)), [piece], worker)
            case FileChunk():
                self.fetched[message.name] = bytes(frames[0])
            case Heartbeat():
                self.send(Heartbeat(), worker=worker)
            case _:
                self.other.append(message)

    def payload_directories(self) -> set[Path]:
        """In memory, of workers that were started here and are alive: they hold the locks."""
        alive = [psutil.Process(process.pid) for process in self._processes if process.poll() is None]
        held = {Path(file.path).parent for process in alive for file in process.open_files()}
        return {path for path in held if path.name.startswith("trellis-vine-") and path.parent == Path("/dev/shm")}

    def logs(self) -> str:
        return "\n".join(path.read_text() for path in self.directory.glob("*.log"))


@contextmanager
def bed() -> Iterator[Bed]:
    with tempfile.TemporaryDirectory(prefix="trellis-test-") as directory:
        it = Bed(Path(directory))
        try:
            yield it
        finally:
            it.close()


def gone(*pids: int) -> bool:
    """Whether none of these processes runs any more."""
    return not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" for pid in pids)


def wait_until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, "it does not come"
        time.sleep(0.01)
