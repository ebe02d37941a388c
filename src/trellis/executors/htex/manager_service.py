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
from collections.abc import Sequence
from pathlib import Path

import psutil
import setproctitle

from trellis.errors import BadMessage, ConfigurationError
from trellis.executors.htex import manager as machine
from trellis.executors.htex import manager_events as events
from trellis.executors.htex.node import Node, task_message
from trellis.executors.htex.placement import worker_count
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
    ReturnTasks,
    Tasks,
    TasksCancelled,
    TasksReturned,
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
    """Owns the socket to the interchange, and the node's workers. Single-threaded."""

    def __init__(self, endpoint: ClientEndpoint, registration: Register, settings: machine.ManagerSettings) -> None:
        self._endpoint = endpoint
        self._registration = registration
        self._state = machine.ManagerState(settings, time.monotonic())
        self._decoder: Decoder[Message] = Decoder(ToManager)
        self._loop = Loop()
        self._inbox: Inbox[str] = Inbox()  # reasons to stop, put by signal handlers
        self._node = Node(
            self._loop, registration.workers, self._worker_environment, self._on_frames, self._on_worker_exit
        )
        self._functions: dict[int, Buffer] = {}
        self._tasks: dict[int, tuple[int, Payload]] = {}  # function and arguments of tasks that have not ended
        self._results = ResultBatch(registration.manager)
        self._import_paths: list[str] = []
        self._shared_dir = ""
        self._exit: events.Exit | None = None

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
        self._import_paths, self._shared_dir = message.import_paths, message.shared_dir

    def run(self) -> events.Exit:
        """Serve until the machine says to exit; the workers are gone then."""
        self._loop.add_source(self._endpoint, self._on_messages)
        self._loop.add_fd(self._inbox.fileno(), self._on_inbox)
        try:
            self._perform(self._state.start())
            while self._exit is None:
                self._loop.run_once(max(0.0, self._state.next_deadline() - time.monotonic()))
                if time.monotonic() >= self._state.next_deadline():
                    self._handle(events.DeadlinePassed(self._node.running()))
                if len(self._results):
                    self._endpoint.send(self._results.take())
            return self._exit
        finally:
            self._close()

    def _close(self) -> None:
        self._node.close()
        reason = self._exit.reason if self._exit is not None else "the manager failed: see its log"
        self._send(Goodbye(self._registration.manager, reason))
        self._loop.close()
        self._inbox.close()

    # -- messages ----------------------------------------------------------------------------------------------

    def _send(self, message: Message) -> None:
        self._endpoint.send([encode_header(message)])

    def _on_inbox(self) -> None:
        for reason in self._inbox.drain():
            self._handle(events.StopRequested(reason))

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
                self._handle(events.TasksReceived(message.ids, message.walltimes_s))
                return
            case DefineFunctions():
                self._functions.update(zip(message.ids, map(_one_buffer, unpack(message.sizes, frames)), strict=True))
            case ForgetFunctions(ids=ids):
                for id_ in ids:
                    self._functions.pop(id_, None)
                self._node.forget(ids)
            case CancelTasks(ids=ids):
                self._handle(events.CancelRequested(ids, self._node.running()))
            case ReturnTasks(count=count):
                self._handle(events.ReturnRequested(count))
            case Refused(reason) | DismissManager(reason):
                self._handle(events.StopRequested(f"dismissed: {reason}"))
            case _:
                pass  # a heartbeat, or a second welcome: it is enough that it came
        self._handle(events.InterchangeHeard())

    # -- workers -----------------------------------------------------------------------------------------------

    def _worker_environment(self, worker: int) -> dict[str, str]:
        registration = self._registration
        return {
            **os.environ,
            "PARSL_WORKER_RANK": str(worker),
            "PARSL_WORKER_COUNT": str(registration.workers),
            "PARSL_WORKER_POOL_ID": registration.manager,
            "PARSL_WORKER_BLOCK_ID": registration.block,
            "TRELLIS_IMPORT_PATHS": os.pathsep.join(self._import_paths),
            "TRELLIS_SHARED_DIR": self._shared_dir,
        }

    def _on_frames(self, worker: int, frames: Sequence[stream.StreamFrame]) -> None:
        finished: list[int] = []
        for frame in frames:
            match frame.kind:
                case stream.RESULT | stream.ERROR:
                    # A task that is being ended is reported as that, whatever it still says.
                    if self._state.counts(frame.id):
                        del self._tasks[frame.id]
                        self._results.add(worker, frame)
                        finished.append(frame.id)
                case stream.NEED if frame.id in self._functions:
                    self._node.define(worker, frame.id, self._functions[frame.id])
                case stream.FETCH if frame.id in self._tasks:
                    self._node.answer(worker, stream.TASK, frame.id, payload_buffers(self._tasks[frame.id][1]))
                case stream.NEED | stream.FETCH:  # for a task that was given up meanwhile
                    self._node.kill(worker)
                case stream.READY:
                    self._handle(events.WorkerReady(worker))
        if finished:
            self._handle(events.TasksFinished(finished))

    def _on_worker_exit(self, worker: int, task: int | None, reason: str) -> None:
        self._handle(events.WorkerExited(worker, task, reason))

    # -- actions -----------------------------------------------------------------------------------------------

    def _handle(self, event: events.Event) -> None:
        self._perform(self._state.handle(event, time.monotonic()))

    def _perform(self, actions: list[events.Action]) -> None:
        manager = self._registration.manager
        for action in actions:
            match action:
                case events.Offer(ids):
                    self._node.offer([task_message(id_, *self._tasks[id_]) for id_ in ids])
                case events.TakeBack():
                    self._handle(events.TakenBack(self._node.take_back(), self._node.running()))
                case events.StartWorker(worker):
                    self._node.start_worker(worker)
                case events.Interrupt(worker, task):
                    self._handle(events.Interrupted(worker, task, self._node.interrupt(worker, task)))
                case events.KillWorker(worker):
                    self._node.kill(worker)
                case events.ReportWorkerLost(worker, task, reason):
                    del self._tasks[task]
                    self._send(WorkerLost(manager, task, worker, self._registration.hostname, reason))
                case events.ReportTimedOut(task, walltime_s):
                    del self._tasks[task]
                    self._send(TasksTimedOut(manager, [task], [walltime_s]))
                case events.ReportCancelled(ids):
                    self._drop(ids)
                    self._send(TasksCancelled(ids))
                case events.GiveBack(ids):
                    self._drop(ids)
                    self._send(TasksReturned(manager, ids))
                case events.SendHeartbeat():
                    self._send(Heartbeat())
                case events.SendDraining():
                    self._send(Draining(manager))
                case events.Exit():
                    self._exit = action

    def _drop(self, ids: Sequence[int]) -> None:
        for id_ in ids:
            del self._tasks[id_]


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
