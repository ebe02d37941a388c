"""A manager and its workers, whose interchange sends, among real tasks, what it should not."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from tests.fuzz.attackers import PATIENCE_S
from tests.fuzz.frames import Frames
from tests.fuzz.health import Patient, Vitals
from tests.fuzz.interchange_target import square
from trellis.transport.context import new_context
from trellis.transport.endpoint import ServerEndpoint
from trellis.transport.keys import create_keys, load_server_keys
from trellis.wire.codec import Buffer, Decoder, encode_header, pack, unpack
from trellis.wire.messages import (
    CancelTasks,
    DefineFunctions,
    DismissManager,
    FromManager,
    Message,
    ReceivedUpTo,
    Refused,
    Register,
    Results,
    Tasks,
    TasksReturned,
    ToManager,
    Welcome,
)
from trellis.wire.payload import dump_call, dump_function, load_result

_FUZZ_IDS = range(200)
_REAL_FUNCTION, _FIRST_REAL_ID = 10_000, 10_000
_TASKS_AT_A_TIME = 4
WORKERS = 2


class ManagerTarget:
    """Made by ``running``. It is the interchange."""

    name = "as the interchange, to a manager"
    burst_size = 100

    def __init__(self, directory: Path, endpoint: ServerEndpoint, process: subprocess.Popen[bytes], seed: int) -> None:
        self._endpoint, self._process = endpoint, process
        self._frames = Frames(seed, ToManager, _FUZZ_IDS, lambda message: isinstance(message, DismissManager | Refused))
        self._decoder: Decoder[Message] = Decoder(FromManager)
        self._peer = b""
        self._waiting: dict[int, int] = {}  # real tasks, and their arguments
        self.done = 0
        self._read_until(lambda: self._peer != b"")
        self._send(DefineFunctions([_REAL_FUNCTION], [len(dump_function(square))]), dump_function(square))
        self._patient = Patient("manager", process.pid, next(directory.glob("block-*/*/manager.log")))

    def attack(self, count: int) -> None:
        """Send ``count`` multiparts, and real tasks in between."""
        while count > 0:
            numbers = range(self.done, self.done + _TASKS_AT_A_TIME)
            self._waiting = {_FIRST_REAL_ID + number: number for number in numbers}
            self._send_tasks(self._waiting)
            for _ in range(min(count, self.burst_size)):
                self._endpoint.send(self._peer, self._frames.next())
            self._send(CancelTasks(list(_FUZZ_IDS)))
            self._read_until(lambda: not self._waiting)
            self.done += _TASKS_AT_A_TIME
            count -= self.burst_size

    def rest(self) -> None:
        self._patient.rest()

    def growth(self) -> dict[str, Vitals]:
        return {"manager": self._patient.growth()}

    def end(self) -> int:
        """Dismiss the manager; gives its exit code."""
        self._send(DismissManager("enough"))
        return self._process.wait(PATIENCE_S)

    def _send(self, message: Message, *frames: Buffer) -> None:
        self._endpoint.send(self._peer, [encode_header(message), *frames])

    def _send_tasks(self, ids: Iterable[int]) -> None:
        ids = list(ids)
        sizes, frames = pack([dump_call((self._waiting[id_],), {}, "square") for id_ in ids])
        self._send(Tasks(ids, [_REAL_FUNCTION] * len(ids), sizes), *frames)

    def _read_until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert self._process.poll() is None, f"the manager has ended with exit code {self._process.returncode}"
            assert time.monotonic() < deadline, f"the manager is silent; results of {list(self._waiting)} are missing"
            incoming = self._endpoint.receive()
            if incoming is None:
                time.sleep(0.001)
                continue
            message = self._decoder.decode(incoming.frames[0])
            match message:
                case Register():
                    self._peer = incoming.peer
                    self._send(Welcome([str(path) for path in sys.path if path]))
                case Results():
                    self._check(message, incoming.frames[1:])
                case TasksReturned(ids=ids):
                    self._send_tasks(self._waiting.keys() & set(ids))
            sequence = getattr(message, "sequence", 0)
            if sequence:
                self._send(ReceivedUpTo(sequence))

    def _check(self, results: Results, frames: list[Buffer]) -> None:
        for position, (id_, payload) in enumerate(zip(results.ids, unpack(results.sizes, frames), strict=True)):
            if id_ in self._waiting:
                assert position not in results.failed, f"task {id_} fails"
                assert load_result(payload) == self._waiting[id_] ** 2
                del self._waiting[id_]


@contextlib.contextmanager
def running(directory: Path, *, encrypted: bool, seed: int) -> Iterator[ManagerTarget]:
    """A manager of which this process is the interchange."""
    keys = directory / "keys"
    create_keys(keys)
    context = new_context()
    endpoint = ServerEndpoint(context, load_server_keys(keys) if encrypted else None)
    port = endpoint.bind("127.0.0.1", (20_000, 30_000))
    command = f"-a 127.0.0.1 -p {port} --cert_dir {keys if encrypted else None} -l {directory} -b 0".split()
    command += ["--max_workers_per_node", str(WORKERS), "-c", "0.5", "--hb_threshold", "600"]
    process = subprocess.Popen([sys.executable, "-P", "-m", "trellis.executors.htex.manager.service", *command])
    try:
        yield ManagerTarget(directory, endpoint, process, seed)
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        endpoint.close()
        context.term()
