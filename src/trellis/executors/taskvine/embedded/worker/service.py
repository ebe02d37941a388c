"""The TaskVine worker of one host: sockets, processes, files and time around ``VineWorkerProtocol``.

It never opens what tasks carry. Started by ``worker.main`` (or ``trellis vine-worker``).
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from typing import assert_never

from trellis.executors.common.lifeline import Lifeline
from trellis.executors.common.proc_usage import uses_of
from trellis.executors.taskvine.embedded.effect_loop import EffectLoop
from trellis.executors.taskvine.embedded.pieces import read_piece
from trellis.executors.taskvine.embedded.worker import effects
from trellis.executors.taskvine.embedded.worker.cache import Cache
from trellis.executors.taskvine.embedded.worker.effects import Effect
from trellis.executors.taskvine.embedded.worker.events import Exit
from trellis.executors.taskvine.embedded.worker.libraries import LibraryProcess
from trellis.executors.taskvine.embedded.worker.orders import CallEnd, LibraryStart, TaskEnd, TaskStart
from trellis.executors.taskvine.embedded.worker.peer_server import PeerServer
from trellis.executors.taskvine.embedded.worker.processes import Processes
from trellis.executors.taskvine.embedded.worker.protocol import VineWorkerProtocol
from trellis.executors.taskvine.embedded.worker.state import VineWorkerSettings
from trellis.executors.taskvine.embedded.worker.task_environment import TaskEnvironments
from trellis.executors.taskvine.embedded.worker.transfers import Transfers
from trellis.executors.taskvine.embedded.worker.workspace import Workspace
from trellis.executors.taskvine.remote.channel import DIED, PIDS, ChannelMessage, load_use
from trellis.executors.taskvine.task_use import use_of
from trellis.transport.context import Context
from trellis.transport.endpoint import ClientEndpoint
from trellis.transport.inbox import Inbox
from trellis.transport.keys import ClientKeys, ServerKeys
from trellis.transport.service import TURN, Loop
from trellis.wire import stream
from trellis.wire.codec import Buffer
from trellis.wire.vine import RegisterWorker, SendFile


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
        settings: VineWorkerSettings,
        workspace: Workspace,
        cache: Cache,
    ) -> None:
        self._endpoint = endpoint
        self._loop = Loop()
        self._inbox: Inbox[str] = Inbox()  # reasons to stop, put by signal handlers
        self._workspace = workspace
        self._cache = cache
        self._lifeline = Lifeline()
        self._peers = PeerServer(self._loop, context, keys and keys[0], cache, registration.transfer_address)
        registration.transfer_address += f":{self._peers.port}"
        registration.cached = [entry.name for entry in cache.entries()]
        registration.cached_sizes = [entry.size for entry in cache.entries()]
        self._protocol = VineWorkerProtocol(
            registration, settings, time.monotonic(), epoch=time.time() - time.monotonic()
        )
        self._perform_all = EffectLoop(self._protocol.effects, self._perform)
        self._transfers = Transfers(
            self._loop,
            context,
            None if keys is None else keys[1],
            cache,
            workspace.logs,
            self._lifeline,
            self._ask_manager,
            self._on_file_came,
            self._on_file_missing,
        )
        self._processes = Processes(self._loop, cache, workspace, self._lifeline, self._on_process_end)
        self._environments = TaskEnvironments(os.environ, registration.resources.gpus or 0, cache)
        self._libraries: dict[int, LibraryProcess] = {}
        self._exit: Exit | None = None

    def stop(self, reason: str) -> None:
        """Leave soon. May be called from a signal handler."""
        self._inbox.put(reason)

    # -- beginning and end -------------------------------------------------------------------------------------

    def serve(self, timeout_s: float) -> Exit:
        """Register, and serve until the machine says to exit; tasks and libraries are gone then.

        Raises:
            ConnectionError: no answer within ``timeout_s``, or a refusal.
        """
        try:
            self._loop.add_source(self._endpoint, self._on_messages)
            self._loop.add_fd(self._inbox.fileno(), self._on_inbox)
            self._inbox.hear_signals()
            self._perform_all()
            self._wait_for_welcome(timeout_s)
            monitor = self._endpoint.monitor()
            if monitor is not None:
                self._loop.add_source(monitor, self._on_connection)
            while self._exit is None:
                self._loop.run_once(max(0.0, self._protocol.next_deadline() - time.monotonic()))
                if self._workspace.lost:
                    self._protocol.stop(self._workspace.lost, time.monotonic())
                self._protocol.on_deadline(time.monotonic())
                self._perform_all()
            return self._exit
        finally:
            self._close()

    def _wait_for_welcome(self, timeout_s: float) -> None:
        until = time.monotonic() + timeout_s
        while not self._protocol.is_welcome and self._exit is None:
            if time.monotonic() >= until:
                raise ConnectionError(
                    f"the manager does not answer within {timeout_s:g} s (a blocked port, or another password?)"
                )
            self._loop.run_once(until - time.monotonic())

    def _close(self) -> None:
        for library in self._libraries.values():
            library.end()
        self._processes.close()
        self._transfers.close()
        if self._exit is None or not self._exit.again:
            self._protocol.leave(self._exit.reason if self._exit is not None else "the worker failed: see its log")
            self._perform_all()
        self._lifeline.close()
        self._peers.close()
        self._loop.close()
        self._inbox.close()

    # -- the manager -------------------------------------------------------------------------------------------

    def _on_inbox(self) -> None:
        for reason in self._inbox.drain():
            self._protocol.stop(reason, time.monotonic())
        self._perform_all()

    def _on_connection(self) -> None:
        if False in self._endpoint.connection_changes():
            self._on_messages()  # what came before counts: perhaps the reason
            self._protocol.on_connection_lost(time.monotonic())
            self._perform_all()

    def _on_messages(self) -> None:
        for _ in range(TURN):
            frames = self._endpoint.receive()
            if frames is None:
                return
            self._protocol.on_frames(frames, time.monotonic())
            self._perform_all()

    # -- files -------------------------------------------------------------------------------------------------

    def _ask_manager(self, request: SendFile) -> None:
        self._protocol.ask_for_piece(request)
        self._perform_all()

    def _on_file_came(self, name: str, size: int, seconds: float) -> None:
        self._protocol.on_file_came(name, size, seconds)
        self._perform_all()

    def _on_file_missing(self, name: str, source: str, reason: str) -> None:
        self._protocol.on_file_missing(name, source, reason)
        self._perform_all()

    def _remove(self, names: Iterable[str]) -> list[str]:
        removed = list(names)
        for name in removed:
            self._cache.remove(name)
        return removed

    def _remove_gone(self, inputs: Iterable[tuple[str, str]]) -> list[str]:
        """Find which of a task's inputs (cache name, path) somebody has removed."""
        return self._remove(name for name, _ in inputs if not self._cache.mounted(name).exists())

    # -- tasks -------------------------------------------------------------------------------------------------

    def _start_process(self, start: TaskStart, function: Buffer) -> None:
        owner = ("task", start.id)
        assert start.allocation is not None
        try:
            given = self._environments.begin(owner, start.allocation, start.shape.variables, start.imports)
            self._processes.start(start, function, given)
        except (OSError, ValueError) as error:
            self._environments.end(owner)
            gone = self._remove_gone(start.inputs)
            self._protocol.on_process_failed(start.id, self._workspace.explain(error), gone, time.monotonic())
            self._stop_if_lost()

    def _stop_if_lost(self) -> None:
        """Where nothing can be started, this worker ends before it says so of more."""
        if self._workspace.lost:
            self._protocol.stop(self._workspace.lost, time.monotonic())

    def _on_process_end(self, id_: int, end: TaskEnd) -> None:
        self._environments.end(("task", id_))
        self._remove(end.spoilt)
        self._protocol.on_process_ended(id_, end, time.monotonic())
        self._perform_all()

    def _sample(self, processes: list[int], direct: dict[int, int], forking: list[int]) -> None:
        pids = {id_: self._processes.pid_of(id_) for id_ in processes}
        pids |= {id_: self._libraries[n].pid for n, id_ in direct.items() if n in self._libraries}
        self._look_at({id_: pid for id_, pid in pids.items() if pid is not None})
        for instance in forking:
            if instance in self._libraries:
                self._libraries[instance].ask_pids()

    def _look_at(self, pids: dict[int, int]) -> None:
        uses = uses_of(pids.values())
        found = {id_: uses[pid] for id_, pid in pids.items() if pid in uses}
        self._protocol.on_sampled(found, time.monotonic())

    # -- libraries ---------------------------------------------------------------------------------------------

    def _start_library(self, start: LibraryStart) -> None:
        owner = ("library", start.instance)
        try:
            variables = self._environments.begin(
                owner, start.allocation, tuple(start.variables.items()), start.imports, start.slots
            )
            self._libraries[start.instance] = LibraryProcess(
                self._loop,
                start._replace(variables=variables),
                self._cache,
                self._lifeline,
                self._workspace,
                self._on_library_message,
                self._on_library_end,
            )
        except (OSError, ValueError) as error:
            self._environments.end(owner)
            self._protocol.on_library_ended(start.instance, self._workspace.explain(error), time.monotonic())
            self._stop_if_lost()

    def _send_call(self, instance: int, start: TaskStart, function: Buffer) -> None:
        library = self._libraries.get(instance)
        if library is None:  # it could not be started, which is known
            return
        try:
            library.call(start, function)
        except (OSError, ValueError) as error:
            gone = self._remove_gone(start.inputs)
            reason = self._workspace.explain(error)
            self._protocol.on_call_failed(instance, start.id, reason, gone, time.monotonic())
            self._stop_if_lost()

    def _on_library_message(self, instance: int, message: ChannelMessage) -> None:
        match message.kind:
            case stream.RESULT | stream.ERROR:
                self._protocol.on_call_ended(instance, self._collect(instance, message), time.monotonic())
            case stream.READY:
                self._protocol.on_library_ready(instance, time.monotonic())
            case _ if message.kind == DIED:
                self._on_call_death(instance, message)
            case _ if message.kind == PIDS:
                pids = json.loads(bytes(message.payloads[0]))
                self._look_at({int(id_): pid for id_, pid in pids.items()})
        self._perform_all()

    def _collect(self, instance: int, message: ChannelMessage) -> CallEnd:
        id_, failed, library = message.id, message.kind == stream.ERROR, self._libraries[instance]
        spoilt = self._remove(library.spoilt(id_))
        times = message.started, message.duration_s
        use = use_of(load_use(message.payloads[1])) if len(message.payloads) > 1 else None
        try:
            payload = library.open(message.payloads[0])
        except OSError as error:
            made = library.discard(id_)
            return CallEnd(id_, failed, *times, b"", made, spoilt, f"its result cannot be had: {error}")
        (made, missing), is_kept = library.collect(id_, None if failed else payload)
        return CallEnd(id_, failed, *times, b"" if is_kept else payload, made, spoilt, missing, use)

    def _on_call_death(self, instance: int, message: ChannelMessage) -> None:
        library = self._libraries[instance]
        spoilt, made = self._remove(library.spoilt(message.id)), library.discard(message.id)
        reason = f"the call ended without a result: {bytes(message.payloads[0]).decode()}"
        written = library.last_words()
        reason += f"; its library's output ends with:\n{written}" if written else ""
        self._protocol.on_call_died(instance, message.id, message.function, reason, made, spoilt, time.monotonic())

    def _on_library_end(self, instance: int, reason: str) -> None:
        del self._libraries[instance]
        self._environments.end(("library", instance))
        self._protocol.on_library_ended(instance, reason, time.monotonic())
        self._perform_all()

    # -- effects -----------------------------------------------------------------------------------------------

    def _perform(self, effect: Effect) -> None:
        match effect:
            case effects.ToManager(frames):
                self._endpoint.send(frames)
            case effects.SendCall(instance, start, function):
                self._send_call(instance, start, function)
            case effects.StartProcess(start, function):
                self._start_process(start, function)
            case effects.KillProcess(id_):
                self._processes.kill(id_)
            case effects.MeasureTasks(tasks):
                for id_, suspicious_mb in tasks.items():
                    self._protocol.on_measured(id_, self._processes.measure(id_, suspicious_mb), time.monotonic())
            case effects.SampleTasks(processes, direct, forking):
                self._sample(processes, direct, forking)
            case effects.StartLibrary(start):
                self._start_library(start)
            case effects.KillLibrary(instance):
                if instance in self._libraries:
                    self._libraries[instance].kill()
            case effects.KillCall(instance, id_):
                if instance in self._libraries:
                    self._libraries[instance].kill_call(id_)
            case effects.ForgetFunctions(ids):
                for id_ in ids:
                    self._processes.forget(id_)
                    for library in self._libraries.values():
                        library.forget(id_)
            case effects.BringFile(order):
                self._transfers.get(order)
            case effects.TakePiece(chunk, data):
                self._transfers.on_manager_chunk(chunk, data)
            case effects.ReadPiece(request):
                self._protocol.on_piece_read(*read_piece(self._cache.content(request.name), request))
            case effects.RemoveFiles(names):
                self._remove(names)
            case effects.UseImportPaths(paths):
                self._environments.import_paths = paths
            case effects.LookAround():
                self._look_around()
            case effects.Leave(exit_):
                self._exit = exit_
            case _:
                assert_never(effect)

    def _look_around(self) -> None:
        self._transfers.give_up_silent_peers()
        self._processes.look(time.monotonic())
        for library in list(self._libraries.values()):
            library.look(time.monotonic())
