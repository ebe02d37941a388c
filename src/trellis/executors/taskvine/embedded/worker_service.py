"""The TaskVine worker of one host: the shell around ``VineWorkerState``. It never opens what tasks carry.

Started with ``python -m trellis.executors.taskvine.embedded.worker_service`` (or ``trellis vine-worker``).
"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from trellis.errors import BadMessage
from trellis.executors.common.lifeline import Lifeline
from trellis.executors.taskvine.embedded import worker as machine
from trellis.executors.taskvine.embedded import worker_events as events
from trellis.executors.taskvine.embedded.cache import Cache
from trellis.executors.taskvine.embedded.libraries import LibraryProcess, LibraryStart, python_of
from trellis.executors.taskvine.embedded.pieces import read_piece
from trellis.executors.taskvine.embedded.processes import Processes, TaskEnd, TaskStart
from trellis.executors.taskvine.embedded.results import ResultBatch
from trellis.executors.taskvine.embedded.sandbox import MissingOutput
from trellis.executors.taskvine.embedded.transfers import Transfers
from trellis.executors.taskvine.remote.channel import DIED
from trellis.executors.taskvine.remote.channel import Message as LibraryMessage
from trellis.executors.taskvine.remote.library import LibrarySetup
from trellis.transport.authentication import Authenticator
from trellis.transport.context import Context
from trellis.transport.endpoint import ClientEndpoint, ServerEndpoint
from trellis.transport.inbox import Inbox
from trellis.transport.keys import ClientKeys, ServerKeys
from trellis.transport.service import TURN, Loop
from trellis.wire import stream
from trellis.wire.codec import Buffer, Decoder, encode_header, unpack
from trellis.wire.messages import DefineFunctions, DismissManager, ForgetFunctions, Heartbeat, Message, Refused
from trellis.wire.vine import (
    CacheFailed,
    CacheUpdated,
    DefineShapes,
    Evict,
    FileChunk,
    FromVineWorker,
    GetFile,
    KillTasks,
    LibraryDown,
    LibraryUp,
    RegisterWorker,
    RunTasks,
    SendFile,
    StartLibrary,
    StopLibrary,
    TaskFailed,
    TaskShape,
    ToVineWorker,
    WelcomeWorker,
    WorkerLeaving,
)

logger = logging.getLogger("trellis.vine.worker")


class WorkerService:
    """Owns the sockets, the cache, and the processes of tasks and libraries. Single-threaded.

    Args:
        endpoint: connected to the manager.
        registration: its ``transfer_address`` has the host only; the port is added here.
        keys: of both sides, for transfers between workers; None: no encryption.
        workspace: directory for everything that is kept here.
    """

    def __init__(
        self,
        context: Context,
        endpoint: ClientEndpoint,
        registration: RegisterWorker,
        keys: tuple[ServerKeys, ClientKeys] | None,
        settings: machine.VineWorkerSettings,
        workspace: Path,
    ) -> None:
        self._context = context
        self._endpoint = endpoint
        self._registration = registration
        self._state = machine.VineWorkerState(settings, time.monotonic())
        self._decoder: Decoder[Message] = Decoder(ToVineWorker)
        self._loop = Loop()
        self._inbox: Inbox[str] = Inbox()  # reasons to stop, put by signal handlers
        self._workspace = workspace
        self._cache = Cache(workspace)
        self._lifeline = Lifeline()
        self._peers = ServerEndpoint(context, None if keys is None else keys[0])
        self._authenticator = None if keys is None else Authenticator(context, keys[0].client_public)
        self._peer_decoder: Decoder[Message] = Decoder(FromVineWorker)
        self._logs = workspace / "logs"
        self._payloads = (
            Path("/dev/shm" if os.path.isdir("/dev/shm") else workspace) / f"trellis-{secrets.token_hex(8)}"
        )
        for directory in (self._logs, self._payloads):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._transfers = Transfers(
            self._loop,
            context,
            None if keys is None else keys[1],
            self._cache,
            self._logs,
            self._send,
            self._on_arrived,
            self._on_not_arrived,
        )
        self._processes = Processes(self._loop, self._cache, workspace, self._on_process_end)
        self._libraries: dict[int, LibraryProcess] = {}
        self._library_starts: dict[int, LibraryStart] = {}
        self._starts: dict[int, TaskStart] = {}  # of tasks that are about to start
        self._ends: dict[int, TaskEnd] = {}  # of tasks that are just being reported
        self._functions: dict[int, Buffer] = {}
        self._shapes: dict[int, TaskShape] = {}
        self._results = ResultBatch()
        self._import_paths: list[str] = []
        self._exit: events.Exit | None = None

    def stop(self, reason: str) -> None:
        """Leave soon. May be called from a signal handler."""
        self._inbox.put(reason)

    def register(self, timeout_s: float) -> None:
        """Introduce this worker, and wait for the answer.

        Raises:
            ConnectionError: no answer in time, or a refusal.
        """
        port = self._peers.bind("*", _ANY_PORT)
        registration = self._registration
        registration.transfer_address = f"{registration.transfer_address}:{port}"
        for entry in self._cache.entries():
            registration.cached.append(entry.name)
            registration.cached_sizes.append(entry.size)
        self._send(registration)
        if not self._endpoint.wait(timeout_s):
            raise ConnectionError(
                f"the manager does not answer within {timeout_s:g} s (a blocked port, or another password?)"
            )
        frames = self._endpoint.receive() or []
        message = self._decoder.decode(frames[0]) if frames else None
        if isinstance(message, Refused | DismissManager):
            raise ConnectionError(f"the manager refuses this worker: {message.reason}")
        if not isinstance(message, WelcomeWorker):
            raise ConnectionError(f"the manager answers with {type(message).__name__} instead of a welcome")
        self._import_paths = message.import_paths

    def run(self) -> events.Exit:
        """Serve until the machine says to exit; tasks and libraries are gone then."""
        self._loop.add_source(self._endpoint, self._on_messages)
        self._loop.add_source(self._peers, self._on_peer_requests)
        if self._authenticator is not None:
            self._loop.add_source(self._authenticator, self._authenticator.answer_all)
        self._loop.add_fd(self._inbox.fileno(), self._on_inbox)
        try:
            while self._exit is None:
                self._loop.run_once(max(0.0, self._state.next_deadline() - time.monotonic()))
                if time.monotonic() >= self._state.next_deadline():
                    self._handle(events.DeadlinePassed())
                    self._transfers.give_up_silent_peers()
                self._send_results()
            return self._exit
        finally:
            self._close()

    def _close(self) -> None:
        for library in self._libraries.values():
            library.end()
        self._processes.close()
        self._transfers.close()
        reason = self._exit.reason if self._exit is not None else "the worker failed: see its log"
        self._send(WorkerLeaving(self._registration.worker, reason))
        self._lifeline.close()
        self._loop.close()
        self._inbox.close()
        self._peers.close()
        if self._authenticator is not None:
            self._authenticator.close()
        self._cache.close()
        for directory in (self._payloads, self._logs):
            shutil.rmtree(directory, ignore_errors=True)

    # -- messages ----------------------------------------------------------------------------------------------

    def _send(self, message: Message) -> None:
        self._endpoint.send([encode_header(message)])

    def _send_results(self) -> None:
        if len(self._results):
            self._endpoint.send(self._results.take())

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
            case RunTasks():
                self._on_run_tasks(message, frames)
                return
            case FileChunk():
                self._transfers.on_manager_chunk(message, frames[0] if frames else b"")
            case GetFile():
                self._transfers.get(message)
            case SendFile():
                chunk, data = read_piece(
                    self._cache.path(message.name), message, self._cache.is_directory(message.name)
                )
                self._endpoint.send([encode_header(chunk), data])
            case Evict(names=names):
                for name in names:
                    self._cache.remove(name)
            case StartLibrary():
                self._on_start_library(message, frames)
            case StopLibrary(instance=instance):
                self._handle(events.LibraryStopRequested(instance))
            case KillTasks(ids=ids):
                self._handle(events.KillRequested(ids))
            case _:
                self._on_small_message(message, frames)
        self._handle(events.ManagerHeard())

    def _on_small_message(self, message: Message, frames: list[Buffer]) -> None:
        match message:
            case DefineFunctions(ids=ids):
                for id_, data in zip(ids, unpack(message.sizes, frames), strict=True):
                    if isinstance(data, tuple):
                        raise BadMessage("a function in several frames")
                    self._functions[id_] = data
                    self._processes.define(id_, data)
            case ForgetFunctions(ids=ids):
                for id_ in ids:
                    self._functions.pop(id_, None)
                    self._processes.forget(id_)
                    for library in self._libraries.values():
                        library.forget(id_)
            case DefineShapes(ids=ids):
                self._shapes.update(zip(ids, message.shapes, strict=True))
            case Refused(reason) | DismissManager(reason):
                self._handle(events.StopRequested(f"dismissed: {reason}"))

    def _on_peer_requests(self) -> None:
        for _ in range(TURN):
            incoming = self._peers.receive()
            if incoming is None:
                return
            try:
                request = self._peer_decoder.decode(incoming.frames[0] if incoming.frames else b"")
                if not isinstance(request, SendFile):
                    raise BadMessage(f"a {type(request).__name__} from another worker")
                path = self._cache.path(request.name)
            except (BadMessage, ValueError) as error:
                logger.warning("a request of another worker is dropped: %s", error)
                continue
            chunk, data = read_piece(path, request)
            self._peers.send(incoming.peer, [encode_header(chunk), data])

    # -- tasks -------------------------------------------------------------------------------------------------

    def _on_run_tasks(self, message: RunTasks, frames: list[Buffer]) -> None:
        calls: dict[tuple[int, float], list[int]] = {}
        for position, arguments in enumerate(unpack(message.sizes, frames)):
            shape = self._shapes[message.shapes[position]]
            start = TaskStart(
                message.ids[position],
                message.functions[position],
                arguments,
                message.inputs.get(position, []),
                message.outputs.get(position, []),
                message.result_names.get(position, ""),
                python_of(None),
                shape.init_command,
                shape.variables,
            )
            self._starts[start.id] = start
            amount = message.amounts[position]
            if amount is None:
                calls.setdefault((message.instances[position], shape.time_max_s), []).append(start.id)
            else:
                self._handle(events.TaskReceived(start.id, amount, shape.time_max_s))
        for (instance, time_max_s), ids in calls.items():
            self._handle(events.CallsReceived(instance, ids, time_max_s))

    def _environment(self, variables: Sequence[tuple[str, str]]) -> dict[str, str]:
        return {**os.environ, "TRELLIS_IMPORT_PATHS": os.pathsep.join(self._import_paths), **dict(variables)}

    def _start_process(self, id_: int) -> None:
        start = self._starts.pop(id_)
        try:
            self._processes.start(start, self._environment(start.variables))
        except (OSError, ValueError) as error:
            self._handle(events.ProcessFailed(id_, f"it could not be started: {error}"))

    def _on_process_end(self, id_: int, end: TaskEnd) -> None:
        self._tell_made(end.made, end.duration_s)
        self._ends[id_] = end
        self._handle(events.ProcessEnded(id_, end.exit_code, end.reason, end.payload is not None, end.missing))
        del self._ends[id_]

    def _tell_made(self, made: Sequence[tuple[str, int]], seconds: float) -> None:
        if made:
            names, sizes = zip(*made, strict=True)
            self._send(CacheUpdated(list(names), list(sizes), [seconds] * len(names)))

    def _on_arrived(self, name: str, size: int, seconds: float) -> None:
        self._send(CacheUpdated([name], [size], [seconds]))

    def _on_not_arrived(self, name: str, source: str, reason: str) -> None:
        logger.warning("file %s could not be had from %s: %s", name, source or "the manager", reason)
        self._send(CacheFailed(name, source, reason))

    # -- libraries ---------------------------------------------------------------------------------------------

    def _on_start_library(self, message: StartLibrary, frames: list[Buffer]) -> None:
        spec, instance = message.library, message.instance
        (arguments,) = unpack(message.sizes, frames)
        direct = spec.exec_mode == "direct"
        slots = 1 if direct else spec.slots or max(1, int(message.amount.cores or 0))
        home = self._workspace / f"library-{instance}"
        function = b"" if spec.context_function < 0 else self._functions[spec.context_function]
        environment = None if not message.environment else self._cache.mounted(message.environment)
        self._library_starts[instance] = LibraryStart(
            instance,
            LibrarySetup(spec.name, spec.exec_mode, slots, str(home)),
            function,
            arguments,
            python_of(environment),
            self._environment(spec.variables),
            message.inputs,
        )
        self._handle(events.LibraryRequested(instance, slots, direct))

    def _start_library(self, instance: int) -> None:
        start = self._library_starts.pop(instance)
        try:
            library = LibraryProcess(
                self._loop,
                start,
                self._cache,
                self._lifeline,
                self._payloads,
                self._on_library_message,
                self._on_library_end,
            )
        except (OSError, ValueError) as error:
            self._handle(events.LibraryEnded(instance, f"it could not be started: {error}"))
            return
        self._libraries[instance] = library
        logger.info("library %s starts as instance %d", start.setup.name, instance)

    def _send_calls(self, instance: int, ids: Sequence[int]) -> None:
        library = self._libraries[instance]
        for id_ in ids:
            start = self._starts.pop(id_)
            if start.function not in library.functions:
                library.define(start.function, self._functions[start.function])
            try:
                library.call(start)
            except (OSError, ValueError) as error:
                self._handle(events.CallDied(instance, id_, 0, f"it could not be started: {error}"))

    def _on_library_message(self, instance: int, message: LibraryMessage) -> None:
        match message.kind:
            case stream.RESULT | stream.ERROR:
                self._on_call_end(instance, message)
            case stream.READY:
                self._handle(events.LibraryReady(instance))
            case _ if message.kind == DIED:
                self._libraries[instance].discard(message.id)
                (words,) = message.payloads
                assert not isinstance(words, tuple)
                self._handle(events.CallDied(instance, message.id, message.function, bytes(words).decode()))

    def _on_call_end(self, instance: int, message: LibraryMessage) -> None:
        id_, payload = message.id, message.payloads[0]
        failed = message.kind == stream.ERROR
        library = self._libraries[instance]
        try:
            made, kept = library.collect(id_, None if failed else payload)
        except MissingOutput as error:
            self._handle(events.CallDied(instance, id_, 0, f"it has not made {error}"))
            return
        if made:
            self._tell_made(made, message.duration_s)
        if self._state.counts(id_):
            self._results.add(id_, failed, message.started, message.duration_s, b"" if kept else payload)
        self._handle(events.CallsEnded(instance, [id_]))

    def _on_library_end(self, instance: int, reason: str) -> None:
        del self._libraries[instance]
        logger.info("library instance %d ended: %s", instance, reason)
        self._handle(events.LibraryEnded(instance, reason))

    # -- actions -----------------------------------------------------------------------------------------------

    def _handle(self, event: events.Event) -> None:
        for action in self._state.handle(event, time.monotonic()):
            self._perform(action)

    def _perform(self, action: events.Action) -> None:
        match action:
            case events.SendCalls(instance, ids):
                self._send_calls(instance, ids)
            case events.StartProcess(id_):
                self._start_process(id_)
            case events.KillProcess(id_):
                self._processes.kill(id_)
            case events.KillCall(instance, id_):
                self._libraries[instance].kill_call(id_)
            case events.StartLibrary(instance):
                self._start_library(instance)
            case events.KillLibrary(instance):
                self._libraries[instance].kill()
            case events.ReportEnded(id_, used):
                end = self._ends[id_]
                assert end.payload is not None
                self._results.add(id_, end.failed, end.started, end.duration_s, end.payload, used)
            case events.ReportFailed(id_, status, reason, exit_code, used):
                self._starts.pop(id_, None)
                self._send_results()  # in order
                self._send(TaskFailed(id_, status, reason, exit_code, used))
            case events.ReportLibraryUp(instance, slots):
                self._send(LibraryUp(self._libraries[instance].name, instance, slots))
            case events.ReportLibraryDown(instance, reason, started):
                self._send(LibraryDown("", instance, reason, started))
            case events.MeasureTasks(ids):
                for id_ in ids:
                    self._handle(events.Measured(id_, self._processes.measure(id_)))
            case events.SendHeartbeat():
                self._send(Heartbeat())
            case events.Exit():
                self._exit = action


# Workers on the same host must not collide, and nobody has to know the port: the manager tells it.
_ANY_PORT = (1024, 65536)
