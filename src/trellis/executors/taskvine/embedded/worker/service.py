"""The TaskVine worker of one host: the shell around ``VineWorkerState``. It never opens what tasks carry.

Started with ``python -m trellis.executors.taskvine.embedded.worker.service`` (or ``trellis vine-worker``).
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence

from trellis.errors import BadMessage
from trellis.executors.common.lifeline import Lifeline
from trellis.executors.taskvine.embedded.pieces import read_piece
from trellis.executors.taskvine.embedded.worker import events
from trellis.executors.taskvine.embedded.worker import state as machine
from trellis.executors.taskvine.embedded.worker.cache import Cache
from trellis.executors.taskvine.embedded.worker.libraries import LibraryProcess
from trellis.executors.taskvine.embedded.worker.lost_files import Losses
from trellis.executors.taskvine.embedded.worker.orders import (
    LibraryStart,
    TaskEnd,
    TaskStart,
    library_start,
    task_starts,
)
from trellis.executors.taskvine.embedded.worker.peer_server import PeerServer
from trellis.executors.taskvine.embedded.worker.processes import Processes
from trellis.executors.taskvine.embedded.worker.reports import Reports
from trellis.executors.taskvine.embedded.worker.task_environment import Environments
from trellis.executors.taskvine.embedded.worker.transfers import Transfers
from trellis.executors.taskvine.embedded.worker.workspace import Workspace
from trellis.executors.taskvine.remote.channel import DIED
from trellis.executors.taskvine.remote.channel import Message as LibraryMessage
from trellis.transport.context import Context
from trellis.transport.endpoint import ClientEndpoint
from trellis.transport.inbox import Inbox
from trellis.transport.keys import ClientKeys, ServerKeys
from trellis.transport.service import TURN, Loop
from trellis.wire import stream
from trellis.wire.codec import Buffer, Decoder, encode_header, unpack
from trellis.wire.messages import DefineFunctions, DismissManager, ForgetFunctions, Heartbeat, Message, Refused
from trellis.wire.vine import (
    DefineShapes,
    Evict,
    FileChunk,
    GetFile,
    KillTasks,
    LibraryDown,
    LibraryUp,
    RegisterWorker,
    Resources,
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
    """Owns the sockets, and the processes of tasks and libraries. Single-threaded.

    Args:
        endpoint: connected to the manager, and watched.
        registration: its ``transfer_address`` has the host only; the port is added here.
        keys: of both sides, for transfers between workers; None: no encryption.
        workspace: for everything that is kept on this host.
        cache: the files that are here; it outlives this.
    """

    def __init__(
        self,
        context: Context,
        endpoint: ClientEndpoint,
        registration: RegisterWorker,
        keys: tuple[ServerKeys, ClientKeys] | None,
        settings: machine.VineWorkerSettings,
        workspace: Workspace,
        cache: Cache,
    ) -> None:
        self._endpoint = endpoint
        self._reports = Reports(endpoint)
        self._losses = Losses(cache, self._reports)
        self._registration = registration
        self._settings = settings
        self._decoder: Decoder[Message] = Decoder(ToVineWorker)
        self._loop = Loop()
        self._inbox: Inbox[str] = Inbox()  # reasons to stop, put by signal handlers
        self._workspace = workspace
        self._cache = cache
        self._lifeline = Lifeline()
        self._peers = PeerServer(self._loop, context, keys and keys[0], cache, registration.transfer_address)
        self._transfers = Transfers(
            self._loop,
            context,
            None if keys is None else keys[1],
            cache,
            workspace.logs,
            self._lifeline,
            self._reports.send,
            self._reports.arrived,
            self._reports.not_arrived,
        )
        self._processes = Processes(self._loop, cache, workspace, self._lifeline, self._on_process_end)
        self._environments = Environments(os.environ, registration.resources.gpus or 0, cache)
        self._libraries: dict[int, LibraryProcess] = {}
        self._library_starts: dict[int, LibraryStart] = {}
        self._starts: dict[int, TaskStart] = {}  # of tasks that are about to start
        self._allocations: dict[int, Resources] = {}  # of those among them with processes of their own
        self._ends: dict[int, TaskEnd] = {}  # of tasks that are just being reported
        self._shapes: dict[int, TaskShape] = {}
        self._exit: events.Exit | None = None

    def stop(self, reason: str) -> None:
        """Leave soon. May be called from a signal handler."""
        self._inbox.put(reason)

    # -- beginning and end -------------------------------------------------------------------------------------

    def serve(self, timeout_s: float) -> events.Exit:
        """Register, and serve until the machine says to exit; tasks and libraries are gone then.

        Raises:
            ConnectionError: no answer within ``timeout_s``, or a refusal.
        """
        try:
            self._loop.add_source(self._endpoint, self._on_messages)
            self._loop.add_fd(self._inbox.fileno(), self._on_inbox)
            self._register(timeout_s)
            monitor = self._endpoint.monitor()
            if monitor is not None:
                self._loop.add_source(monitor, self._on_connection)
            while self._exit is None:
                until = min(self._state.next_deadline(), self._reports.due)
                self._loop.run_once(max(0.0, until - time.monotonic()))
                if time.monotonic() >= self._state.next_deadline():
                    self._handle(events.DeadlinePassed())
                    self._transfers.give_up_silent_peers()
                    self._processes.look(time.monotonic())
                    for library in self._libraries.values():
                        library.look(time.monotonic())
                if self._workspace.lost:
                    self._handle(events.StopRequested(self._workspace.lost))
                self._reports.send_due()
            return self._exit
        finally:
            self._close()

    def _register(self, timeout_s: float) -> None:
        registration = self._registration
        registration.transfer_address = f"{registration.transfer_address}:{self._peers.port}"
        for entry in self._cache.entries():
            registration.cached.append(entry.name)
            registration.cached_sizes.append(entry.size)
        self._state = machine.VineWorkerState(self._settings, time.monotonic())
        self._welcomed = False
        self._reports.send(registration)
        until = time.monotonic() + timeout_s
        while not self._welcomed and self._exit is None:
            if time.monotonic() >= until:
                raise ConnectionError(
                    f"the manager does not answer within {timeout_s:g} s (a blocked port, or another password?)"
                )
            self._loop.run_once(until - time.monotonic())

    def _on_welcome(self, message: WelcomeWorker) -> None:
        self._welcomed = True
        self._environments.import_paths = message.import_paths
        settings = self._settings
        settings.heartbeat_period_s = min(settings.heartbeat_period_s, message.heartbeat_period_s)
        if settings.idle_timeout_s is None:
            settings.idle_timeout_s = message.idle_timeout_s
        self._state = machine.VineWorkerState(settings, time.monotonic())

    def _on_connection(self) -> None:
        if False in self._endpoint.connection_changes():
            self._on_messages()  # what came before counts: perhaps the reason
            self._handle(events.ConnectionLost())

    def _close(self) -> None:
        for library in self._libraries.values():
            library.end()
        self._processes.close()
        self._transfers.close()
        if self._exit is None or not self._exit.again:
            reason = self._exit.reason if self._exit is not None else "the worker failed: see its log"
            self._reports.send(WorkerLeaving(self._registration.worker, reason))
        self._lifeline.close()
        self._peers.close()
        self._loop.close()
        self._inbox.close()

    # -- messages ----------------------------------------------------------------------------------------------

    def _on_inbox(self) -> None:
        for reason in self._inbox.drain():
            self._handle(events.StopRequested(reason))

    def _on_messages(self) -> None:
        for _ in range(TURN):
            frames = self._endpoint.receive()
            if frames is None:
                return
            try:
                self._on_message(self._decoder.decode(frames[0]), frames[1:])
            except (BadMessage, ValueError) as error:
                self._handle(events.StopRequested(f"the manager sent a bad message: {error}"))

    def _on_message(self, message: Message, frames: list[Buffer]) -> None:
        match message:
            case RunTasks():
                self._on_run_tasks(message, frames)
                return
            case WelcomeWorker():
                self._on_welcome(message)
            case FileChunk():
                self._transfers.on_manager_chunk(message, frames[0] if frames else b"")
            case GetFile():
                self._transfers.get(message)
            case SendFile():
                chunk, data = read_piece(self._cache.content(message.name), message)
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
                    self._processes.define(id_, data)
            case ForgetFunctions(ids=ids):
                for id_ in ids:
                    self._processes.forget(id_)
                    for library in self._libraries.values():
                        library.forget(id_)
            case DefineShapes(ids=ids):
                self._shapes.update(zip(ids, message.shapes, strict=True))
            case Refused(reason) | DismissManager(reason):
                self._handle(events.StopRequested(f"dismissed: {reason}"))

    # -- tasks -------------------------------------------------------------------------------------------------

    def _on_run_tasks(self, message: RunTasks, frames: list[Buffer]) -> None:
        calls: dict[tuple[int, float], list[int]] = {}
        for position, start in enumerate(task_starts(message, frames, self._shapes)):
            self._starts[start.id] = start
            resources, time_max_s = message.allocations[position], start.shape.time_max_s
            if resources is None:
                calls.setdefault((message.instances[position], time_max_s), []).append(start.id)
            else:
                self._allocations[start.id] = resources
                self._handle(events.TaskReceived(start.id, resources, time_max_s))
        for (instance, time_max_s), ids in calls.items():
            self._handle(events.CallsReceived(instance, ids, time_max_s))

    def _start_process(self, id_: int) -> None:
        start, resources, owner = self._starts.pop(id_), self._allocations.pop(id_), ("task", id_)
        try:
            given = self._environments.begin(owner, resources, start.shape.variables, start.imports)
            self._processes.start(start, given)
        except (OSError, ValueError) as error:
            self._environments.end(owner)
            self._losses.gone(start.inputs)
            self._handle(events.ProcessFailed(id_, self._explain(error)))

    def _explain(self, error: Exception) -> str:
        """Why something could not be started. Where nothing can be, this worker ends before it says so of more."""
        words = self._workspace.explain(error)
        if self._workspace.lost:
            self._handle(events.StopRequested(self._workspace.lost))
        return words

    def _on_process_end(self, id_: int, end: TaskEnd) -> None:
        self._environments.end(("task", id_))
        self._losses.spoilt(end.spoilt)
        self._reports.made(end.made, end.duration_s)
        self._ends[id_] = end
        self._handle(events.ProcessEnded(id_, end.exit_code, end.reason, end.there, end.missing, end.beside))
        del self._ends[id_]

    # -- libraries ---------------------------------------------------------------------------------------------

    def _on_start_library(self, message: StartLibrary, frames: list[Buffer]) -> None:
        start, spec = library_start(message, frames, self._processes.function), message.library
        owner, direct = ("library", start.instance), spec.exec_mode == "direct"
        variables = self._environments.begin(owner, message.resources, spec.variables, start.imports, start.slots)
        self._library_starts[start.instance] = start._replace(variables=variables)
        self._handle(events.LibraryRequested(start.instance, start.slots, direct, spec.context_timeout_s))

    def _start_library(self, instance: int) -> None:
        start, tell = self._library_starts.pop(instance), self._on_library_message
        try:
            self._libraries[instance] = LibraryProcess(
                self._loop, start, self._cache, self._lifeline, self._workspace, tell, self._on_library_end
            )
        except (OSError, ValueError) as error:
            self._environments.end(("library", instance))
            self._handle(events.LibraryEnded(instance, self._explain(error)))
            return
        logger.info("library %s starts as instance %d", start.name, instance)

    def _send_calls(self, instance: int, ids: Sequence[int]) -> None:
        library = self._libraries[instance]
        for id_ in ids:
            start = self._starts.pop(id_)
            try:
                library.call(start, self._processes.function(start.function))
            except (OSError, ValueError) as error:
                self._losses.gone(start.inputs)
                self._handle(events.CallDied(instance, id_, 0, self._explain(error), "forsaken"))

    def _on_library_message(self, instance: int, message: LibraryMessage) -> None:
        match message.kind:
            case stream.RESULT | stream.ERROR:
                self._on_call_end(instance, message)
            case stream.READY:
                self._handle(events.LibraryReady(instance))
            case _ if message.kind == DIED:
                library = self._libraries[instance]
                self._losses.spoilt(library.spoilt(message.id))
                self._reports.made(library.discard(message.id), 0.0)
                reason = f"the call ended without a result: {bytes(message.payloads[0]).decode()}"
                written = library.last_words()
                reason += f"; its library's output ends with:\n{written}" if written else ""
                self._handle(events.CallDied(instance, message.id, message.function, reason))

    def _on_call_end(self, instance: int, message: LibraryMessage) -> None:
        id_, failed = message.id, message.kind == stream.ERROR
        library = self._libraries[instance]
        self._losses.spoilt(library.spoilt(id_))
        try:
            payload = library.open(message.payloads[0])
        except OSError as error:
            self._reports.made(library.discard(id_), message.duration_s)
            self._handle(events.CallDied(instance, id_, 0, f"its result cannot be had: {error}", "output_missing"))
            return
        (made, complaint), kept = library.collect(id_, None if failed else payload)
        self._reports.made(made, message.duration_s)
        if complaint:
            self._handle(events.CallDied(instance, id_, 0, complaint, "output_missing"))
            return
        if self._state.counts(id_):
            self._reports.results.add(id_, failed, message.started, message.duration_s, b"" if kept else payload)
        self._handle(events.CallsEnded(instance, [id_]))
        self._reports.gathered(self._state.waiting_calls(instance))

    def _on_library_end(self, instance: int, reason: str) -> None:
        name = self._libraries.pop(instance).name
        self._environments.end(("library", instance))
        logger.info("instance %d of library %s ended: %s", instance, name, reason)
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
                self._reports.results.add(id_, end.failed, end.started, end.duration_s, end.payload, used)
                self._reports.gathered()
            case events.ReportFailed(id_, status, reason, exit_code, used, beside):
                self._starts.pop(id_, None)
                self._allocations.pop(id_, None)
                self._reports.send(TaskFailed(id_, status, reason, exit_code, used, beside))
            case events.ReportLibraryUp(instance, slots):
                self._reports.send(LibraryUp(self._libraries[instance].name, instance, slots))
            case events.ReportLibraryDown(instance, reason, started, timed_out):
                self._reports.send(LibraryDown("", instance, reason, started, timed_out))
            case events.MeasureTasks(tasks):
                for id_, suspicious_mb in tasks.items():
                    self._handle(events.Measured(id_, self._processes.measure(id_, suspicious_mb)))
            case events.SendHeartbeat():
                self._reports.send(Heartbeat())
            case events.Exit():
                self._exit = action
