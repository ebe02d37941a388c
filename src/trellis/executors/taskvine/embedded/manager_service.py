"""The manager process of the embedded engine: the shell around ``VineManagerState``. It never opens what tasks carry.

Started by the submit side with its settings on standard input, which then stays open: when it closes, the user's
process is gone, and the manager dismisses the workers and ends. The ports it listens on go to standard output.
"""

from __future__ import annotations

import logging
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec
import setproctitle

from trellis.errors import BadMessage, ConfigurationError
from trellis.executors.taskvine.embedded import manager as machine
from trellis.executors.taskvine.embedded import vine_events as events
from trellis.executors.taskvine.embedded.categories import STEADY_TASKS
from trellis.executors.taskvine.embedded.origin import Origin
from trellis.executors.taskvine.embedded.packing import subtract
from trellis.executors.taskvine.embedded.pieces import Pull
from trellis.executors.taskvine.settings import VinePorts, VineSettings
from trellis.transport.authentication import Authenticator
from trellis.transport.context import new_context
from trellis.transport.endpoint import Incoming, ServerEndpoint
from trellis.transport.keys import keys_from_password, load_server_keys
from trellis.transport.service import TURN, Loop
from trellis.version import VERSION
from trellis.wire.codec import Buffer, Decoder, Payload, encode_header, pack, unpack
from trellis.wire.messages import (
    DefineFunctions,
    DismissManager,
    ForgetFunctions,
    Heartbeat,
    Message,
    Refused,
    Shutdown,
)
from trellis.wire.vine import (
    CacheFailed,
    CacheUpdated,
    CallsEnded,
    CancelVineTasks,
    DeclareFiles,
    DefineShapes,
    DropFiles,
    Evict,
    FetchFile,
    FileChunk,
    FileFetched,
    FileSpec,
    FromVineClient,
    FromVineWorker,
    GetFile,
    InstallLibraries,
    KillTasks,
    LibraryDown,
    LibrarySpec,
    LibraryUp,
    Mount,
    Notice,
    RegisterWorker,
    RunTasks,
    SendFile,
    StartLibrary,
    StopLibrary,
    TaskFailed,
    TaskShape,
    VineResults,
    VineStatus,
    VineStatusRequest,
    VineTaskFailed,
    VineTasks,
    WelcomeWorker,
    WorkerJoined,
    WorkerLeaving,
    WorkerLeft,
    WorkerStatus,
)

logger = logging.getLogger("trellis.vine.manager")


class _Task(msgspec.Struct):
    """What workers need to know of a task that has not ended."""

    function: int
    shape: int
    arguments: Payload
    inputs: Sequence[Mount] = ()
    outputs: Sequence[Mount] = ()
    result_file: int = -1


class _Result(msgspec.Struct):
    """What came of a task, until it is reported."""

    worker: str
    failed: bool
    started: float
    duration_s: float
    payload: Payload


class VineManagerService:
    """Owns all sockets. Single-threaded."""

    def __init__(self, settings: VineSettings) -> None:
        self._settings = settings
        client_keys = load_server_keys(Path(settings.cert_dir))
        self._client_context = new_context()
        self._client_authenticator = Authenticator(self._client_context, client_keys.client_public)
        self._clients = ServerEndpoint(self._client_context, client_keys)
        # Of its own context: each has one authenticator, which lets in one key.
        self._context = new_context()
        self._authenticator: Authenticator | None = None
        worker_keys = None
        if settings.password_file is not None:
            worker_keys, _ = keys_from_password(Path(settings.password_file).read_bytes().strip())
            self._authenticator = Authenticator(self._context, worker_keys.client_public)
        self._workers = ServerEndpoint(self._context, worker_keys)
        self._state = machine.VineManagerState(_machine_settings(settings), random.Random())
        self._origin = Origin(Path(settings.logdir) / "spool")
        self._client: bytes | None = None
        self._from_client: Decoder[Message] = Decoder(FromVineClient)
        self._from_worker: Decoder[Message] = Decoder(FromVineWorker)
        self._functions: dict[int, Payload] = {}
        self._shapes: dict[int, TaskShape] = {}
        self._files: dict[str, FileSpec] = {}  # by cache name
        self._unpacked: set[str] = set()  # cache names of archives that workers unpack
        self._libraries: dict[str, tuple[LibrarySpec, Payload]] = {}
        self._tasks: dict[int, _Task] = {}
        self._results: dict[int, _Result] = {}
        self._known_functions: dict[str, set[int]] = {}  # by worker
        self._known_shapes: dict[str, set[int]] = {}
        self._pulls: dict[str, tuple[str, Pull]] = {}  # files on their way home: worker, and the file
        self._fetches: dict[str, list[int]] = {}  # requests of the submit side that wait for such a file
        self._connections: dict[int, str] = {}  # worker of each connection (a file descriptor)
        self._sent_bytes = self._passed_on_bytes = self._fetched_bytes = 0
        self._done = self._failed = self._hits = self._misses = 0
        self._running = True

    def bind(self) -> VinePorts:
        """Raises:
        ConfigurationError: no port of a range is free, or an address is not one of this host.
        """
        settings = self._settings
        return VinePorts(
            client=self._clients.bind(settings.client_address, settings.client_ports),
            worker=self._bind_for_workers(),
        )

    def _bind_for_workers(self) -> int:
        settings = self._settings
        try:
            return self._workers.bind(settings.worker_address, settings.worker_ports)
        except ConfigurationError:
            if not settings.any_port:
                raise
            return self._workers.bind(settings.worker_address, _ANY_PORT)

    def run(self, lifeline: int) -> None:
        """Serve until told to end, or until ``lifeline`` closes."""
        loop = Loop()
        loop.add_source(self._clients, self._on_client_messages)
        loop.add_source(self._workers, self._on_worker_messages)
        for authenticator in filter(None, (self._client_authenticator, self._authenticator)):
            loop.add_source(authenticator, authenticator.answer_all)
        monitor = self._workers.monitor()
        if monitor is not None:
            loop.add_source(monitor, self._on_closed_connections)
        loop.add_fd(lifeline, lambda: self._on_lifeline(lifeline))
        try:
            while self._running:
                deadline = self._state.next_deadline()
                loop.run_once(None if deadline is None else max(0.0, deadline - time.monotonic()))
                if deadline is not None and time.monotonic() >= deadline:
                    self._handle(events.DeadlinePassed())
        finally:
            self._close(loop)

    def _close(self, loop: Loop) -> None:
        for worker in self._state.store.workers:
            self._to_worker(worker, DismissManager("the executor is shut down"))
        loop.close()
        for endpoint in (self._clients, self._workers, self._client_authenticator, self._authenticator):
            if endpoint is not None:
                endpoint.close()
        self._client_context.term()
        self._context.term()
        self._origin.close()

    def _on_lifeline(self, lifeline: int) -> None:
        if not os.read(lifeline, 4096):
            logger.warning("the user's process is gone")
            self._running = False

    # -- from the submit side ----------------------------------------------------------------------------------

    def _on_client_messages(self) -> None:
        for _ in range(TURN):
            incoming = self._clients.receive()
            if incoming is None:
                return
            try:
                self._client = incoming.peer
                self._on_client_message(self._from_client.decode(_header(incoming)), incoming.frames[1:])
            except BadMessage as error:
                logger.error("a message of the submit side is dropped: %s", error)

    def _on_client_message(self, message: Message, frames: list[Buffer]) -> None:
        match message:
            case VineTasks():
                self._on_tasks(message, frames)
            case DefineFunctions(ids=ids):
                self._functions.update(zip(ids, unpack(message.sizes, frames), strict=True))
            case ForgetFunctions(ids=ids):
                self._forget_functions(ids)
            case DefineShapes(ids=ids, shapes=shapes):
                self._shapes.update(zip(ids, shapes, strict=True))
                self._handle(events.ShapesDefined(ids, shapes))
            case DeclareFiles():
                self._declare(message.files, unpack(message.sizes, frames))
            case DropFiles(ids=ids):
                self._handle(events.FilesDropped(ids))
            case InstallLibraries(libraries=libraries):
                for spec, arguments in zip(libraries, unpack(message.sizes, frames), strict=True):
                    self._libraries[spec.name] = (spec, arguments)
                self._handle(events.LibrariesInstalled(libraries))
            case CancelVineTasks(ids=ids):
                self._handle(events.CancelRequested(ids))
            case FetchFile():
                self._handle(events.FetchRequested(message.request, message.file))
            case VineStatusRequest():
                self._to_client(self._status(message.request))
            case Shutdown():
                logger.info("shut down by the submit side")
                self._running = False

    def _on_tasks(self, message: VineTasks, frames: list[Buffer]) -> None:
        for position, arguments in enumerate(unpack(message.sizes, frames)):
            self._tasks[message.ids[position]] = _Task(
                message.functions[position],
                message.shapes[position],
                arguments,
                message.inputs.get(position, ()),
                message.outputs.get(position, ()),
                message.result_files.get(position, -1),
            )
        self._handle(
            events.TasksSubmitted(message.ids, message.shapes, message.inputs, message.outputs, message.result_files)
        )

    def _declare(self, specs: Sequence[FileSpec], contents: Sequence[Payload]) -> None:
        names, sizes = [], []
        for spec, content in zip(specs, contents, strict=True):
            try:
                declared = self._origin.declare(spec, content)
            except OSError as error:  # its tasks will fail for it
                logger.error("file %s cannot be read: %s", spec.source, error)
                declared = self._origin.missing(spec)
            names.append(declared.name)
            sizes.append(declared.size)
            self._files[declared.name] = spec
            if declared.unpack:
                self._unpacked.add(declared.name)
        self._handle(events.FilesDeclared(specs, names, sizes))

    def _forget_functions(self, ids: Sequence[int]) -> None:
        for id_ in ids:
            self._functions.pop(id_, None)
        for worker, known in self._known_functions.items():
            gone = known.intersection(ids)
            if gone:
                known -= gone
                self._to_worker(worker, ForgetFunctions(sorted(gone)))

    def _status(self, request: int) -> VineStatus:
        store, now = self._state.store, time.monotonic()
        workers = [
            WorkerStatus(
                name,
                worker.registration.hostname,
                worker.total,
                subtract(worker.total, worker.free),
                len(worker.tasks),
                dict(Counter(instance.library for instance in worker.instances.values())),
                len(store.replicas.names_at(name)),
                0.0,
                0.0 if worker.idle_since is None else now - worker.idle_since,
                worker.registration.block,
                worker.registration.from_factory,
            )
            for name, worker in store.workers.items()
        ]
        running = sum(worker.tasks for worker in workers)
        return VineStatus(
            request,
            len(store.tasks) - running,
            running,
            self._done,
            self._failed,
            workers,
            self._sent_bytes,
            self._passed_on_bytes,
            self._fetched_bytes,
            self._hits,
            self._misses,
        )

    # -- from workers ------------------------------------------------------------------------------------------

    def _on_worker_messages(self) -> None:
        for _ in range(TURN):
            incoming = self._workers.receive()
            if incoming is None:
                return
            name = incoming.peer.decode(errors="replace")
            try:
                message = self._from_worker.decode(_header(incoming))
                if isinstance(message, VineStatusRequest):  # of a factory, or a command: no worker
                    self._workers.send(incoming.peer, [encode_header(self._status(message.request))])
                    continue
                self._connections[incoming.connection] = name
                self._on_worker_message(name, message, incoming.frames[1:])
            except BadMessage as error:
                logger.error("worker %s is dropped for a bad message: %s", name, error)
                self._handle(events.WorkerLeft(name, f"it sent a bad message: {error}"))
                self._to_worker(name, DismissManager(f"it sent a bad message: {error}"))

    def _on_worker_message(self, name: str, message: Message, frames: list[Buffer]) -> None:
        match message:
            case CallsEnded():
                self._on_calls_ended(name, message, frames)
            case CacheUpdated(names=names, sizes=sizes):
                self._handle(events.CacheUpdated(name, names, sizes))
            case SendFile():
                chunk, data = self._origin.serve(message)
                self._sent_bytes += len(data)
                self._workers.send(name.encode(), [encode_header(chunk), data])
            case FileChunk():
                self._on_chunk(name, message, frames[0] if frames else b"")
            case Heartbeat():
                self._handle(events.WorkerHeard(name))
                self._to_worker(name, Heartbeat())
            case TaskFailed(id=id_, status=status):
                failed = events.TaskFailed(name, id_, status, message.reason, message.exit_code, message.measured)
                self._handle(failed)
            case CacheFailed():
                self._handle(events.CacheFailed(name, message.name, message.reason))
            case LibraryUp(instance=instance, slots=slots):
                self._handle(events.LibraryUp(name, instance, slots))
            case LibraryDown(instance=instance):
                self._handle(events.LibraryDown(name, instance, message.reason, message.started))
            case RegisterWorker():
                if message.worker != name:
                    raise BadMessage(f"it registers as {message.worker}")
                logger.info("worker %s on %s registers", name, message.hostname)
                self._handle(events.WorkerRegistered(message))
            case WorkerLeaving(reason=reason):
                logger.info("worker %s leaves: %s", name, reason)
                self._handle(events.WorkerLeft(name, reason))

    def _on_calls_ended(self, name: str, message: CallsEnded, frames: list[Buffer]) -> None:
        failed = set(message.failed)
        payloads = unpack(message.sizes, frames)
        for position, id_ in enumerate(message.ids):
            self._results[id_] = _Result(
                name, position in failed, message.started[position], message.durations_s[position], payloads[position]
            )
        self._handle(events.CallsEnded(name, message.ids, message.durations_s, message.measured))

    def _on_closed_connections(self) -> None:
        for connection in self._workers.closed_connections():
            name = self._connections.pop(connection, None)
            if name is not None and name not in self._connections.values():
                self._handle(events.WorkerLeft(name, "its connection closed: it ended or was killed"))

    # -- files that come home ----------------------------------------------------------------------------------

    def _bring(self, worker: str, name: str) -> None:
        if name in self._pulls:
            return
        path = self._origin.arriving(name)
        try:
            pull = Pull(name, path, lambda request: self._to_worker(worker, request))
        except OSError as error:
            self._came(name, f"it cannot be written: {error.strerror}", False)
            return
        self._pulls[name] = (worker, pull)

    def _on_chunk(self, worker: str, chunk: FileChunk, data: Buffer) -> None:
        self._handle(events.WorkerHeard(worker))
        source, pull = self._pulls.get(chunk.name, ("", None))
        if pull is None or source != worker or not pull.on_chunk(chunk, data):
            return
        del self._pulls[chunk.name]
        self._came(chunk.name, pull.error, pull.archive)

    def _came(self, name: str, error: str, archive: bool) -> None:
        requests = self._fetches.pop(name, [])
        path = self._origin.arriving(name)
        for request in requests:
            self._answer_fetch(request, error, b"" if error else path.read_bytes())
        if self._files[name].kind != "file":
            path.unlink(missing_ok=True)
            return
        if not error:
            try:
                self._origin.came_home(name, archive)
            except OSError as problem:
                error = str(problem)
        self._handle(events.CameHome(name, error))

    def _answer_fetch(self, request: int, error: str, content: bytes) -> None:
        sizes, frames = pack([content])
        self._to_client_raw([encode_header(FileFetched(request, error, sizes)), *frames])

    # -- actions -----------------------------------------------------------------------------------------------

    def _handle(self, event: events.Event) -> None:
        for action in self._state.handle(event, time.monotonic()):
            self._perform(action)

    def _perform(self, action: events.Action) -> None:
        match action:
            case events.RunTasks():
                self._run_tasks(action)
            case events.ReportDone(worker, ids):
                self._report_done(worker, ids)
            case events.DropResults(_, ids):
                for id_ in ids:
                    self._results.pop(id_, None)
            case events.OrderFile(worker, name, source):
                self._order_file(worker, name, source)
            case events.EvictFiles(worker, names):
                self._to_worker(worker, Evict(names))
            case events.KillTasks(worker, ids):
                self._to_worker(worker, KillTasks(ids))
            case events.StartLibrary():
                self._start_library(action)
            case events.StopLibrary(worker, instance):
                self._to_worker(worker, StopLibrary(instance))
            case events.BringHome(worker, name):
                self._bring(worker, name)
            case events.ReportFailed(id_, status, reason, exit_code):
                self._failed += 1
                self._tasks.pop(id_, None)
                self._results.pop(id_, None)
                self._to_client(VineTaskFailed(id_, status, reason, exit_code))
            case events.AnswerFetch(request, worker, name, error):
                if error:
                    self._answer_fetch(request, error, b"")
                else:
                    self._fetches.setdefault(name, []).append(request)
                    self._bring(worker, name)
            case _:
                self._perform_rare(action)

    def _perform_rare(self, action: events.Action) -> None:
        match action:
            case events.Welcome(worker):
                self._welcome(worker)
            case events.Refuse(worker, reason):
                logger.warning("worker %s is refused: %s", worker, reason)
                self._to_worker(worker, Refused(reason))
                self._to_client(Notice(f"worker {worker} is refused: {reason}"))
            case events.Dismiss(worker, reason):
                self._to_worker(worker, DismissManager(reason))
            case events.ReportWorkerLeft(worker, hostname, reason, tasks):
                logger.info("worker %s on %s is gone, %d tasks go elsewhere: %s", worker, hostname, tasks, reason)
                self._known_functions.pop(worker, None)
                self._known_shapes.pop(worker, None)
                for name in [name for name, (source, _) in self._pulls.items() if source == worker]:
                    self._pulls.pop(name)[1].close()
                self._to_client(WorkerLeft(worker, hostname, reason, tasks))
            case events.ForgetFiles(names):
                for name in names:
                    self._origin.forget(name)
            case events.TellUser(text):
                logger.warning("%s", text)
                self._to_client(Notice(text))

    def _welcome(self, worker: str) -> None:
        self._known_functions[worker] = set()
        self._known_shapes[worker] = set()
        settings, registration = self._settings, self._state.store.workers[worker].registration
        welcome = WelcomeWorker(settings.import_paths, settings.heartbeat_period_s, settings.worker_timeout_s)
        self._to_worker(worker, welcome)
        self._to_client(WorkerJoined(worker, registration.hostname, registration.amount))

    def _run_tasks(self, action: events.RunTasks) -> None:
        worker, name_of = action.worker, self._state.file_name
        tasks = [self._tasks[id_] for id_ in action.ids]
        self._define(worker, {task.function for task in tasks}, {task.shape for task in tasks})
        sizes, frames = pack([task.arguments for task in tasks])
        header = RunTasks(
            action.ids,
            [task.function for task in tasks],
            [task.shape for task in tasks],
            action.amounts,
            action.instances,
            sizes,
        )
        for position, task in enumerate(tasks):
            if task.inputs:
                header.inputs[position] = [(name_of(mount.file), mount.path) for mount in task.inputs]
                self._hits += len(task.inputs)
            if task.outputs:
                mounts = [(name_of(mount.file), mount.path) for mount in task.outputs]
                header.outputs[position] = [(name, path, self._files[name].level) for name, path in mounts]
            if task.result_file >= 0:
                header.result_names[position] = name_of(task.result_file)
        self._workers.send(worker.encode(), [encode_header(header), *frames])

    def _define(self, worker: str, functions: set[int], shapes: set[int]) -> None:
        """What this worker has to know of the tasks that it will get."""
        missing = sorted(functions - self._known_functions[worker])
        if missing:
            self._known_functions[worker].update(missing)
            sizes, frames = pack([self._functions[id_] for id_ in missing])
            self._workers.send(worker.encode(), [encode_header(DefineFunctions(missing, sizes)), *frames])
        unknown = sorted(shapes - self._known_shapes[worker])
        if unknown:
            self._known_shapes[worker].update(unknown)
            self._to_worker(worker, DefineShapes(unknown, [self._shapes[id_] for id_ in unknown]))

    def _order_file(self, worker: str, name: str, source: str) -> None:
        file = self._state.store.replicas.file(name)
        peer = self._state.store.workers.get(source)
        self._misses += 1
        if peer is not None:
            source = peer.registration.transfer_address
            self._passed_on_bytes += max(file.size, 0)
        elif source:
            self._fetched_bytes += max(file.size, 0)
        self._to_worker(worker, GetFile(name, source, file.level, file.size, name in self._unpacked))

    def _start_library(self, action: events.StartLibrary) -> None:
        spec, arguments = self._libraries[action.library]
        if spec.context_function >= 0:
            self._define(action.worker, {spec.context_function}, set())
        name_of = self._state.file_name
        sizes, frames = pack([arguments])
        header = StartLibrary(
            spec,
            action.instance,
            action.amount,
            [(name_of(mount.file), mount.path) for mount in spec.inputs],
            "" if spec.environment < 0 else name_of(spec.environment),
            sizes,
        )
        self._workers.send(action.worker.encode(), [encode_header(header), *frames])

    def _report_done(self, worker: str, ids: Sequence[int]) -> None:
        results = [self._results.pop(id_) for id_ in ids]
        for id_ in ids:
            del self._tasks[id_]
        self._done += len(ids)
        sizes, frames = pack([result.payload for result in results])
        header = VineResults(
            worker,
            list(ids),
            [position for position, result in enumerate(results) if result.failed],
            [result.started for result in results],
            [result.duration_s for result in results],
            sizes,
        )
        self._to_client_raw([encode_header(header), *frames])

    # Sending to a worker that is just gone does nothing: the end of its connection is reported on its own.

    def _to_worker(self, worker: str, message: Message) -> None:
        self._workers.send(worker.encode(), [encode_header(message)])

    def _to_client(self, message: Message) -> None:
        self._to_client_raw([encode_header(message)])

    def _to_client_raw(self, frames: list[Buffer]) -> None:
        if self._client is not None:
            self._clients.send(self._client, frames)


# When the usual port is another manager's.
_ANY_PORT = (1024, 65536)


def _header(incoming: Incoming) -> Buffer:
    if not incoming.frames:
        raise BadMessage("an empty message")
    return incoming.frames[0]


def _machine_settings(settings: VineSettings) -> machine.VineManagerSettings:
    """TaskVine's tuning parameters, by the names that they have there."""
    tune = settings.tune
    return machine.VineManagerSettings(
        heartbeat_threshold_s=settings.heartbeat_threshold_s,
        autolabel=settings.autolabel,
        autolabel_window=settings.autolabel_window or STEADY_TASKS,
        wait_for_workers=int(tune.get("wait-for-workers", settings.wait_for_workers)),
        temp_replicas=int(tune.get("temp-replica-count", 1)),
        slow_factor=tune.get("disconnect-slow-worker-factor", 0.0),
        worker_transfers=int(tune.get("worker-source-max-transfers", 10)) if settings.peer_transfers else 0,
        url_transfers=int(tune.get("file-source-max-transfers", 1)),
    )


def main() -> int:
    """Entry point: ``python -m trellis.executors.taskvine.embedded.manager_service``."""
    setproctitle.setproctitle("trellis: vine manager")
    settings = msgspec.json.decode(_read_line(sys.stdin.fileno()), type=VineSettings)
    _start_log(settings)
    try:
        service = VineManagerService(settings)
        ports = service.bind()
        logger.info("Trellis %s; submit side at port %d, workers at port %d", VERSION, ports.client, ports.worker)
        sys.stdout.write(msgspec.json.encode(ports).decode() + "\n")
        sys.stdout.flush()
        service.run(sys.stdin.fileno())
    except Exception as error:
        logger.exception("the manager failed")
        print(f"the manager failed: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    logger.info("the manager ends")
    return 0


def _start_log(settings: VineSettings) -> None:
    handler = logging.FileHandler(Path(settings.logdir) / "manager.log")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    root = logging.getLogger("trellis")
    root.addHandler(handler)
    root.setLevel(logging.DEBUG if settings.debug else logging.INFO)


def _read_line(fd: int) -> bytes:
    """One line, and not a byte more: what follows is the lifeline."""
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(fd, 1)
        if not byte:
            raise EOFError("no settings came")
        line += byte
    return line


if __name__ == "__main__":
    sys.exit(main())
