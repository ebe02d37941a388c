"""An interchange whose submit side sends, among real tasks, what it should not; one manager does its work."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from tests.fuzz.attackers import PATIENCE_S
from tests.fuzz.frames import Frames
from tests.fuzz.health import Patient, Vitals
from tests.simulation.simulated_manager import registration
from trellis.executors.common.service_process import ServiceProcess
from trellis.executors.htex.parsl_commands import INTERCHANGE_COMMAND
from trellis.executors.htex.settings import Ports, Settings
from trellis.executors.htex.submit.interchange_process import interchange_process
from trellis.transport.context import new_context
from trellis.transport.endpoint import ClientEndpoint
from trellis.transport.keys import create_keys, load_client_keys
from trellis.wire.codec import Decoder, encode_header, pack
from trellis.wire.messages import (
    CancelTasks,
    DefineFunctions,
    FromSubmitSide,
    Message,
    Results,
    Shutdown,
    Tasks,
    ToManager,
    ToSubmitSide,
    Welcome,
)
from trellis.wire.questions import StatusReply, StatusRequest

_MANAGER, _BLOCK = "worker-0", "home"
_FUZZ_IDS = range(200)
# Beyond those that the malformed messages name.
_REAL_FUNCTION, _FIRST_REAL_ID = 10_000, 10_000
_TASKS_AT_A_TIME = 5


class SubmitSideTarget:
    """Made by ``running``. It is the submit side, and the manager."""

    name = "as the submit side"
    burst_size = 100

    def __init__(self, directory: Path, process: ServiceProcess[Ports], settings: Settings, seed: int) -> None:
        ports = process.start()
        self._context = new_context()
        self._frames = Frames(seed, FromSubmitSide, _FUZZ_IDS, lambda message: isinstance(message, Shutdown))
        keys = None if settings.cert_dir is None else load_client_keys(Path(settings.cert_dir))
        self._client = ClientEndpoint(self._context, keys, settings.client_name.encode())
        self._client.connect(f"tcp://127.0.0.1:{ports.client}")
        self._manager = ClientEndpoint(self._context, keys, _MANAGER.encode())
        self._manager.connect(f"tcp://127.0.0.1:{ports.worker}")
        self._to_client: Decoder[Message] = Decoder(ToSubmitSide)
        self._to_manager: Decoder[Message] = Decoder(ToManager)
        self._patient = Patient("interchange", process.pid, directory / "interchange.log")
        self._waiting: set[int] = set()
        self._sequence = 0
        self._requests = 0
        self.done = 0
        self._send(StatusRequest(0))
        self._manager.send([encode_header(registration(_MANAGER, _BLOCK, 4, 4))])
        self._wait_for(Welcome)
        self._send(DefineFunctions([_REAL_FUNCTION], [4]), b"real")

    def attack(self, count: int) -> None:
        """Send ``count`` multiparts, and real tasks in between."""
        while count > 0:
            ids = list(range(_FIRST_REAL_ID + self.done, _FIRST_REAL_ID + self.done + _TASKS_AT_A_TIME))
            self._waiting.update(ids)
            sizes, frames = pack([str(id_).encode() for id_ in ids])
            self._send(Tasks(ids, [_REAL_FUNCTION] * len(ids), sizes), *frames)
            for _ in range(min(count, self.burst_size)):
                self._client.send(self._frames.next())
            # What it was made to believe in would stay for ever: nobody has these tasks.
            self._send(CancelTasks(list(_FUZZ_IDS)))
            self._requests += 1
            self._send(StatusRequest(10_000 + self._requests))
            self._wait_for(StatusReply)
            self.done += len(ids)
            count -= self.burst_size

    def rest(self) -> None:
        self._patient.rest()

    def growth(self) -> dict[str, Vitals]:
        return {"interchange": self._patient.growth()}

    def close(self) -> None:
        self._client.close()
        self._manager.close()
        self._context.term()

    # -- both sides of the interchange -------------------------------------------------------------------------

    def _send(self, message: Message, *frames: bytes) -> None:
        self._client.send([encode_header(message), *frames])

    def _wait_for(self, kind: type[Message]) -> None:
        """The manager's welcome; or the status that was asked for last, and the results of all real tasks."""
        deadline = time.monotonic() + PATIENCE_S
        found = False
        while not (found and not self._waiting):
            assert time.monotonic() < deadline, f"no {kind.__name__}, or results of {len(self._waiting)} tasks missing"
            for message in (self._serve_manager(), self._read_client()):
                found |= isinstance(message, kind) and getattr(message, "request", 10_000) == 10_000 + self._requests
            self._manager.wait(0.001)

    def _serve_manager(self) -> Message | None:
        frames = self._manager.receive()
        if frames is None:
            return None
        message = self._to_manager.decode(frames[0])
        if isinstance(message, Tasks):
            count = len(message.ids)
            self._sequence += 1
            sizes, payload = pack([str(id_).encode() for id_ in message.ids])
            zeros, times = [0] * count, [0.0] * count
            header = Results(_MANAGER, message.ids, [], zeros, times, times, sizes, sequence=self._sequence)
            self._manager.send([encode_header(header), *payload])
        return message

    def _read_client(self) -> Message | None:
        frames = self._client.receive()
        if frames is None:
            return None
        message = self._to_client.decode(frames[0])
        if isinstance(message, Results):
            self._waiting.difference_update(message.ids)
        return message


@contextlib.contextmanager
def running(directory: Path, *, encrypted: bool, seed: int) -> Iterator[SubmitSideTarget]:
    """An interchange of which this process is the submit side."""
    logdir = directory / "routed"
    logdir.mkdir()
    if encrypted:
        create_keys(logdir / "certificates")
    settings = Settings(
        client_address="127.0.0.1",
        client_ports=(20_000, 30_000),
        worker_address="127.0.0.1",
        worker_ports=(20_000, 30_000),
        cert_dir=str(logdir / "certificates") if encrypted else None,
        logdir=str(logdir),
        debug=False,
        heartbeat_threshold_s=600.0,
        selection="random",
        import_paths=[],
        client_name="the submit side",
    )
    process = interchange_process("routed", INTERCHANGE_COMMAND, settings)
    target: SubmitSideTarget | None = None
    try:
        target = SubmitSideTarget(logdir, process, settings, seed)
        yield target
    finally:
        if target is not None:
            target.close()
        process.end(PATIENCE_S)
