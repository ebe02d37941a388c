"""The manager of one node: the shell around ``ManagerState``.

Blocks start it with ``python -m trellis.executors.htex.manager_service``; it never opens what tasks carry.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import platform
import secrets
import signal
import socket
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import psutil
import setproctitle

from trellis.errors import BadMessage, ConfigurationError
from trellis.executors.htex import manager as machine
from trellis.executors.htex.placement import worker_count
from trellis.executors.htex.worker_process import Lifeline, WorkerProcess
from trellis.transport.context import new_context
from trellis.transport.endpoint import ClientEndpoint
from trellis.transport.inbox import Inbox
from trellis.transport.keys import load_client_keys
from trellis.transport.probe import first_reachable
from trellis.transport.service import TURN, Loop
from trellis.version import VERSION
from trellis.wire import stream
from trellis.wire.codec import Buffer, Decoder, Payload, encode_header, pack, payload_buffers, unpack
from trellis.wire.messages import (
    PROTOCOL_VERSION,
    CancelTasks,
    DefineFunctions,
    DismissManager,
    Draining,
    ForgetFunctions,
    Goodbye,
    Heartbeat,
    Message,
    Refused,
    Register,
    Results,
    Tasks,
    TasksCancelled,
    TasksTimedOut,
    ToManager,
    Welcome,
    WorkerLost,
)

logger = logging.getLogger("trellis.manager")


class ResultBatch:
    """Results that go out together at the end of a turn."""

    def __init__(self, manager: str) -> None:
        self._manager = manager
        self._clear()

    def _clear(self) -> None:
        self._ids: list[int] = []
        self._failed: list[int] = []
        self._workers: list[int] = []
        self._started: list[float] = []
        self._durations: list[float] = []
        self._payloads: list[Payload] = []

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, worker: int, frame: stream.StreamFrame) -> None:
        if frame.kind == stream.ERROR:
            self._failed.append(len(self._ids))
        self._ids.append(frame.id)
        self._workers.append(worker)
        self._started.append(frame.started)
        self._durations.append(frame.duration_s)
        buffers = frame.buffers
        self._payloads.append(buffers[0] if len(buffers) == 1 else tuple(buffers))

    def take(self) -> list[Buffer]:
        """The frames of the message; the batch is empty then."""
        sizes, frames = pack(self._payloads)
        header = Results(self._manager, self._ids, self._failed, self._workers, self._started, self._durations, sizes)
        self._clear()
        return [encode_header(header), *frames]


class ManagerService:
    """Owns the socket to the interchange, and the workers. Single-threaded."""

    def __init__(self, endpoint: ClientEndpoint, registration: Register, settings: machine.ManagerSettings) -> None:
        self._endpoint = endpoint
        self._registration = registration
        self._state = machine.ManagerState(settings, time.monotonic())
        self._decoder: Decoder[Message] = Decoder(ToManager)
        self._loop = Loop()
        self._inbox: Inbox[str] = Inbox()  # reasons to stop, put by signal handlers
        self._lifeline = Lifeline()
        self._workers: dict[int, WorkerProcess] = {}
        self._functions: dict[int, Buffer] = {}
        self._tasks: dict[int, tuple[int, Payload]] = {}  # function and arguments of queued tasks
        self._results = ResultBatch(registration.manager)
        self._import_paths: list[str] = []
        self._exit: machine.Exit | None = None

    def stop(self, reason: str) -> None:
        """Leave soon. May be called from a signal handler."""
        self._inbox.put(reason)

    def register(self, timeout_s: float) -> None:
        """Introduce this manager, and wait for the answer.

        Raises:
            ConnectionError: no answer in time, or a refusal.
        """
        self._send(self._registration)
        if not self._endpoint.wait(timeout_s):
            raise ConnectionError(
                f"the interchange does not answer within {timeout_s:g} s (is its port blocked, or the key another one?)"
            )
        frames = self._endpoint.receive() or []
        message = self._decoder.decode(frames[0]) if frames else None
        if isinstance(message, Refused | DismissManager):
            raise ConnectionError(f"the interchange refuses this manager: {message.reason}")
        if not isinstance(message, Welcome):
            raise ConnectionError(f"the interchange answers with {type(message).__name__} instead of a welcome")
        self._import_paths = message.import_paths

    def run(self) -> machine.Exit:
        """Serve until the machine says to exit; the workers are gone then."""
        self._loop.add_source(self._endpoint, self._on_messages)
        self._loop.add_fd(self._inbox.fileno(), self._on_inbox)
        try:
            self._perform(self._state.start())
            while self._exit is None:
                self._loop.run_once(max(0.0, self._state.next_deadline() - time.monotonic()))
                if time.monotonic() >= self._state.next_deadline():
                    self._handle(machine.DeadlinePassed())
                if len(self._results):
                    self._endpoint.send(self._results.take())
            return self._exit
        finally:
            self._close()

    def _close(self) -> None:
        reason = self._exit.reason if self._exit is not None else "the manager failed: see its log"
        for process in self._workers.values():
            process.signal_group(signal.SIGKILL)
        for process in self._workers.values():
            process.reap()
        self._send(Goodbye(self._registration.manager, reason))
        self._lifeline.close()
        self._loop.close()
        self._inbox.close()

    # -- messages ----------------------------------------------------------------------------------------------

    def _send(self, message: Message) -> None:
        self._endpoint.send([encode_header(message)])

    def _on_inbox(self) -> None:
        for reason in self._inbox.drain():
            self._handle(machine.StopRequested(reason))

    def _on_messages(self) -> None:
        for _ in range(TURN):
            frames = self._endpoint.receive()
            if frames is None:
                return
            self._on_message(self._decoder.decode(frames[0]), frames[1:])

    def _on_message(self, message: Message, frames: list[Buffer]) -> None:
        match message:
            case Tasks():
                arguments = unpack(message.sizes, frames)
                self._tasks.update(zip(message.ids, zip(message.functions, arguments, strict=True), strict=True))
                self._handle(machine.TasksReceived(message.ids, message.walltimes_s))
                return
            case DefineFunctions():
                self._functions.update(zip(message.ids, map(_one_buffer, unpack(message.sizes, frames)), strict=True))
            case ForgetFunctions():
                self._forget(message.ids)
            case CancelTasks():
                self._handle(machine.CancelRequested(message.ids))
            case Refused(reason) | DismissManager(reason):
                self._handle(machine.StopRequested(f"dismissed: {reason}"))
            case _:
                pass  # a heartbeat, or a second welcome: it is enough that it came
        self._handle(machine.InterchangeHeard())

    def _forget(self, ids: list[int]) -> None:
        for id_ in ids:
            self._functions.pop(id_, None)
            for worker, process in self._workers.items():
                if id_ in process.functions:
                    process.functions.discard(id_)
                    self._write(worker, stream.FORGET, id_, 0, ())

    # -- workers -----------------------------------------------------------------------------------------------

    def _start_worker(self, worker: int) -> None:
        registration = self._registration
        environment = {
            **os.environ,
            "PARSL_WORKER_RANK": str(worker),
            "PARSL_WORKER_COUNT": str(registration.workers),
            "PARSL_WORKER_POOL_ID": registration.manager,
            "PARSL_WORKER_BLOCK_ID": registration.block,
            "TRELLIS_IMPORT_PATHS": os.pathsep.join(self._import_paths),
        }
        process = WorkerProcess(self._lifeline, environment)
        self._workers[worker] = process
        self._loop.add_fd(process.socket_fd, lambda: self._on_worker_readable(worker))
        if process.sentinel_fd is not None:
            self._loop.add_fd(process.sentinel_fd, lambda: self._on_worker_exit(worker))
        logger.info("worker %d started, pid %d", worker, process.pid)

    def _on_worker_readable(self, worker: int) -> None:
        process = self._workers[worker]
        frames = process.receive()
        if frames is None:
            self._loop.remove_fd(process.socket_fd)
            if process.sentinel_fd is None:
                self._on_worker_exit(worker)
            else:  # it cannot work without its socket; the sentinel tells when it is gone
                process.signal_group(signal.SIGKILL)
            return
        self._take_frames(worker, frames)

    def _take_frames(self, worker: int, frames: Iterable[stream.StreamFrame]) -> None:
        for frame in frames:
            if frame.kind == stream.READY:
                self._handle(machine.WorkerReady(worker))
            else:
                # A task that is being ended is reported as that, whatever it still says.
                if self._state.runs(worker, frame.id):
                    self._results.add(worker, frame)
                self._handle(machine.WorkerFinished(worker, frame.id))

    def _on_worker_exit(self, worker: int) -> None:
        process = self._workers[worker]
        # A result that it wrote before it died counts.
        self._take_frames(worker, process.receive_rest())
        self._loop.remove_fd(process.socket_fd)
        if process.sentinel_fd is not None:
            self._loop.remove_fd(process.sentinel_fd)
        del self._workers[worker]
        reason = process.reap()
        logger.info("worker %d ended, pid %d: %s", worker, process.pid, reason)
        self._handle(machine.WorkerExited(worker, reason))

    def _write(self, worker: int, kind: int, id_: int, other: int, buffers: tuple[Buffer, ...]) -> None:
        process = self._workers[worker]
        if not process.send(kind, id_, other, buffers):
            self._loop.watch_writes(
                process.socket_fd, lambda: self._on_worker_readable(worker), lambda: self._on_worker_writable(worker)
            )

    def _on_worker_writable(self, worker: int) -> None:
        process = self._workers[worker]
        if process.flush():
            self._loop.watch_writes(process.socket_fd, lambda: self._on_worker_readable(worker), None)

    # -- actions -----------------------------------------------------------------------------------------------

    def _handle(self, event: machine.Event) -> None:
        self._perform(self._state.handle(event, time.monotonic()))

    def _perform(self, actions: list[machine.Action]) -> None:
        manager = self._registration.manager
        for action in actions:
            match action:
                case machine.StartTask(worker, task):
                    self._start_task(worker, task)
                case machine.StartWorker(worker):
                    self._start_worker(worker)
                case machine.TerminateWorker(worker):
                    self._workers[worker].signal_group(signal.SIGTERM)
                case machine.KillWorker(worker):
                    self._workers[worker].signal_group(signal.SIGKILL)
                case machine.ReportWorkerLost(worker, task, reason):
                    self._send(WorkerLost(manager, task, worker, self._registration.hostname, reason))
                case machine.ReportTimedOut(task, walltime_s):
                    self._send(TasksTimedOut(manager, [task], [walltime_s]))
                case machine.ReportCancelled(ids):
                    for id_ in ids:
                        self._tasks.pop(id_, None)
                    self._send(TasksCancelled(ids))
                case machine.SendHeartbeat():
                    self._send(Heartbeat())
                case machine.SendDraining():
                    self._send(Draining(manager))
                case machine.Exit():
                    self._exit = action

    def _start_task(self, worker: int, task: int) -> None:
        function, arguments = self._tasks.pop(task)
        process = self._workers[worker]
        if function not in process.functions:
            process.functions.add(function)
            self._write(worker, stream.FUNCTION, function, 0, (self._functions[function],))
        self._write(worker, stream.TASK, task, function, payload_buffers(arguments))


def _one_buffer(payload: Payload) -> Buffer:
    if isinstance(payload, tuple):
        raise BadMessage("a function in several frames")
    return payload


# -- start -----------------------------------------------------------------------------------------------------


def _parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="trellis-manager", description="Run the workers of one node.")
    parser.add_argument("-d", "--debug", action="store_true", help="log details")
    parser.add_argument("-a", "--addresses", required=True, help="comma-separated addresses of the interchange")
    parser.add_argument("-p", "--port", type=int, required=True, help="port of the interchange")
    parser.add_argument("--cert_dir", default="None", help="directory of the encryption keys; None: no encryption")
    parser.add_argument("-l", "--logdir", required=True, help="logs go to a directory below this one")
    parser.add_argument("-b", "--block_id", default="", help="block that this manager belongs to")
    parser.add_argument("-c", "--cores_per_worker", type=float, default=1.0)
    parser.add_argument("-m", "--mem_per_worker", default="None", help="GB")
    parser.add_argument("--max_workers_per_node", type=float, default=math.inf)
    parser.add_argument("--prefetch_capacity", type=int, default=0)
    parser.add_argument("--hb_period", type=float, default=30)
    parser.add_argument("--hb_threshold", type=float, default=120)
    parser.add_argument("--drain_period", default="None", help="seconds; None: never")
    parser.add_argument("--address_probe_timeout", type=float, default=30)
    return parser.parse_args(argv)


def _number_or_none(text: str) -> float | None:
    return None if text == "None" else float(text)


def _register_message(options: argparse.Namespace, name: str) -> Register:
    cores = int(os.environ.get("PARSL_CORES") or len(os.sched_getaffinity(0)))
    memory_bytes = psutil.virtual_memory().total
    if "PARSL_MEMORY_GB" in os.environ:
        memory_bytes = int(float(os.environ["PARSL_MEMORY_GB"]) * 2**30)
    workers = worker_count(
        cores,
        memory_bytes / 2**30,
        options.cores_per_worker,
        _number_or_none(options.mem_per_worker),
        options.max_workers_per_node,
    )
    return Register(
        protocol=PROTOCOL_VERSION,
        manager=name,
        block=options.block_id,
        hostname=socket.gethostname(),
        pid=os.getpid(),
        workers=workers,
        capacity=workers + options.prefetch_capacity,
        trellis_version=VERSION,
        python_version=platform.python_version(),
        start_time=time.time(),
        cpus=cores,
        memory_bytes=memory_bytes,
        directory=os.getcwd(),
    )


def _start_log(options: argparse.Namespace, name: str) -> None:
    directory = Path(options.logdir) / f"block-{options.block_id}" / name
    directory.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(directory / "manager.log")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    root = logging.getLogger("trellis")
    root.addHandler(handler)
    root.setLevel(logging.DEBUG if options.debug else logging.INFO)


def main() -> int:
    """Entry point; the exit code is non-zero when the node or the connection was to blame for the end."""
    options = _parse_arguments()
    setproctitle.setproctitle("trellis: manager")
    name = secrets.token_hex(6)
    _start_log(options, name)
    context = new_context()
    endpoint: ClientEndpoint | None = None
    try:
        registration = _register_message(options, name)
        keys = None if options.cert_dir == "None" else load_client_keys(Path(options.cert_dir))
        address = first_reachable(options.addresses.split(","), options.port, options.address_probe_timeout)
        endpoint = ClientEndpoint(context, keys, name.encode())
        endpoint.connect(f"tcp://[{address}]:{options.port}" if ":" in address else f"tcp://{address}:{options.port}")
        drain_s = _number_or_none(options.drain_period)
        settings = machine.ManagerSettings(registration.workers, options.hb_period, options.hb_threshold, drain_s)
        service = ManagerService(endpoint, registration, settings)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda number, _: service.stop(f"it got {signal.Signals(number).name}"))
        service.register(options.address_probe_timeout)
        logger.info(
            "manager %s registered at %s port %d, %d workers", name, address, options.port, registration.workers
        )
        end = service.run()
    except (ConnectionError, ConfigurationError) as error:
        logger.error("%s", error)
        print(f"trellis manager on {socket.gethostname()}: {error}", file=sys.stderr)
        return 1
    except Exception:
        logger.exception("the manager failed")
        raise
    finally:
        if endpoint is not None:
            endpoint.close()
        context.term()
    logger.info("manager %s ends: %s", name, end.reason)
    if end.failed:
        print(f"trellis manager {name} on {socket.gethostname()}: {end.reason}", file=sys.stderr)
    return 1 if end.failed else 0


if __name__ == "__main__":
    sys.exit(main())
