"""A TaskVine worker's side of its connection: frames in, frames and effects out. No sockets, processes or clocks here.

Whoever owns those tells what has come or come to pass, and when, and then performs ``effects``. In here are the codec,
the machine, and what travels with tasks: orders wait by the ids of their tasks until the machine wants them done.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import assert_never

from trellis.errors import BadMessage
from trellis.executors.common.message_policy import header_of
from trellis.executors.common.proc_usage import ProcessUse
from trellis.executors.taskvine.embedded.worker import effects, events
from trellis.executors.taskvine.embedded.worker.effects import Effect
from trellis.executors.taskvine.embedded.worker.orders import (
    CallEnd,
    LibraryStart,
    TaskEnd,
    TaskStart,
    check_names,
    library_start,
    task_starts,
)
from trellis.executors.taskvine.embedded.worker.reports import Reports
from trellis.executors.taskvine.embedded.worker.state import VineWorkerSettings, VineWorkerState
from trellis.wire.codec import Buffer, Decoder, encode_header, unpack
from trellis.wire.measures import Sample, TaskSamples
from trellis.wire.messages import DefineFunctions, DismissManager, ForgetFunctions, Heartbeat, Refused
from trellis.wire.vine import (
    UNKNOWN,
    CacheFailed,
    CacheUpdated,
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
from trellis.wire.vine_watching import VineTasksRunning

logger = logging.getLogger("trellis.vine.worker")

_GONE = "it has gone from the worker's cache"
_SPOILT = "a task has written to it in the worker's cache"


class VineWorkerProtocol:
    """The protocol of a worker, from its registration on.

    Args:
        registration: its first words.
        now: the time.
        machine: what decides.
        epoch: what time it was, in seconds since the epoch, when ``now`` was 0.
    """

    def __init__(
        self,
        registration: RegisterWorker,
        settings: VineWorkerSettings,
        now: float,
        machine: type[VineWorkerState] = VineWorkerState,
        epoch: float = 0.0,
    ) -> None:
        self._name = registration.worker
        self._epoch = epoch
        self._settings = settings
        self._machine = machine
        self.state = machine(settings, now)
        self.is_welcome = False
        self._decoder: Decoder[ToVineWorker] = Decoder(ToVineWorker)
        self._functions: dict[int, Buffer] = {}
        self._shapes: dict[int, TaskShape] = {}
        self._orders: dict[int, TaskStart] = {}  # of tasks and calls that have not started
        self._libraries: dict[int, LibraryStart] = {}  # that have not ended
        self._effects: list[Effect] = []
        self._now = now
        self._reports = Reports(self._send)
        self._reports.send(registration)

    # -- for whoever drives it ---------------------------------------------------------------------------------

    def effects(self) -> list[Effect]:
        """What is to be done now, in this order; each is given once."""
        taken, self._effects = self._effects, []
        return taken

    @property
    def waiting(self) -> list[int]:
        """Tasks and calls that have come, and not been started."""
        return list(self._orders)

    def next_deadline(self) -> float:
        """When ``on_deadline`` wants to be called; in the past: when all that has come has been told."""
        return min(self.state.next_deadline(), self._reports.due)

    def on_deadline(self, now: float) -> None:
        """Too early a call does nothing."""
        self._now = now
        if now >= self.state.next_deadline():
            self._handle(events.DeadlinePassed())
            self._effects.append(effects.LookAround())
        self._reports.send_due(now)

    def on_connection_lost(self, now: float) -> None:
        self._now = now
        self._handle(events.ConnectionLost())

    def stop(self, reason: str, now: float) -> None:
        """Leave soon."""
        self._now = now
        self._handle(events.StopRequested(reason))

    def leave(self, reason: str) -> None:
        """The last words: nothing that this worker had counts any more."""
        self._reports.send(WorkerLeaving(self._name, reason))

    # -- from the manager --------------------------------------------------------------------------------------

    def on_frames(self, frames: list[Buffer], now: float) -> None:
        self._now = now
        try:
            self._on_message(self._decoder.decode(header_of(frames)), frames[1:])
        except (BadMessage, ValueError) as error:
            self._handle(events.StopRequested(f"the manager sent a bad message: {error}"))

    def _on_message(self, message: ToVineWorker, frames: list[Buffer]) -> None:
        match message:
            case RunTasks():
                self._on_run_tasks(message, frames)
                return
            case FileChunk():
                self._effects.append(effects.TakePiece(message, frames[0] if frames else b""))
            case DefineFunctions(ids=ids):
                self._define(ids, unpack(message.sizes, frames))
            case DefineShapes(ids=ids, shapes=shapes):
                self._shapes.update(zip(ids, shapes, strict=True))
            case GetFile():
                check_names([message.name])
                self._effects.append(effects.BringFile(message))
            case SendFile():
                check_names([message.name])
                self._effects.append(effects.ReadPiece(message))
            case Evict(names=names):
                check_names(names)
                self._effects.append(effects.RemoveFiles(names))
            case KillTasks(ids=ids):
                self._handle(events.KillRequested(ids))
            case StartLibrary():
                self._on_start_library(message, frames)
            case StopLibrary(instance=instance):
                self._handle(events.LibraryStopRequested(instance))
            case ForgetFunctions(ids=ids):
                for id_ in ids:
                    self._functions.pop(id_, None)
                self._effects.append(effects.ForgetFunctions(ids))
            case WelcomeWorker():
                self._on_welcome(message)
            case Heartbeat():
                pass
            case Refused(reason) | DismissManager(reason):
                self._handle(events.StopRequested(f"dismissed: {reason}"))
            case _:
                assert_never(message)
        self._handle(events.ManagerHeard())

    def _on_welcome(self, message: WelcomeWorker) -> None:
        if self.is_welcome:
            # A break of the connection has brought our registration there twice, so the manager takes this for another
            # worker that has nothing: what there is would be nobody's.
            self._handle(events.ConnectionLost())
            return
        self.is_welcome = True
        self._effects.append(effects.UseImportPaths(message.import_paths))
        settings = self._settings
        settings.heartbeat_period_s = min(settings.heartbeat_period_s, message.heartbeat_period_s)
        settings.sample_every_s = message.sample_every_s
        if settings.idle_timeout_s is None:
            settings.idle_timeout_s = message.idle_timeout_s
        self.state = self._machine(settings, self._now)

    def _define(self, ids: list[int], functions: Sequence[Buffer | tuple[Buffer, ...]]) -> None:
        for id_, data in zip(ids, functions, strict=True):
            if isinstance(data, tuple):
                raise BadMessage("a function in several frames")
            self._functions[id_] = data

    def _on_run_tasks(self, message: RunTasks, frames: list[Buffer]) -> None:
        calls: dict[tuple[int, float], list[int]] = {}
        for start in task_starts(message, frames, self._shapes):
            self._orders[start.id] = start
            time_max_s = start.shape.time_max_s
            if start.allocation is None:
                calls.setdefault((start.instance, time_max_s), []).append(start.id)
            else:
                self._handle(events.TaskReceived(start.id, start.allocation, time_max_s))
        for (instance, time_max_s), ids in calls.items():
            self._handle(events.CallsReceived(instance, ids, time_max_s))

    def _on_start_library(self, message: StartLibrary, frames: list[Buffer]) -> None:
        start, spec = library_start(message, frames, self._functions), message.library
        self._libraries[start.instance] = start
        direct = spec.exec_mode == "direct"
        self._handle(events.LibraryRequested(start.instance, start.slots, direct, spec.context_timeout_s))

    # -- files -------------------------------------------------------------------------------------------------

    def ask_for_piece(self, request: SendFile) -> None:
        """The manager is to send a piece of a file."""
        self._reports.send(request)

    def on_piece_read(self, chunk: FileChunk, data: Buffer) -> None:
        """The manager gets a piece of a file, or the reason why there is none."""
        self._send([encode_header(chunk), data])

    def on_file_came(self, name: str, size: int, seconds: float) -> None:
        """A file is in the cache; ``size`` in bytes."""
        self._reports.send(CacheUpdated([name], [size], [seconds]))

    def on_file_missing(self, name: str, source: str, reason: str) -> None:
        """A file could not be had."""
        logger.warning("file %s could not be had from %s: %s", name, source or "the manager", reason)
        self._reports.send(CacheFailed(name, source, reason))

    def _tell_lost(self, names: Iterable[str], reason: str) -> None:
        for name in names:
            self._reports.send(CacheFailed(name, "", reason))

    # -- tasks with processes of their own -----------------------------------------------------------------------

    def on_process_failed(self, id_: int, reason: str, gone: Iterable[str], now: float) -> None:
        """A task could not be started; ``gone``: those of its inputs that somebody has removed."""
        self._now = now
        self._tell_lost(gone, _GONE)
        self._handle(events.ProcessFailed(id_, reason))

    def on_process_ended(self, id_: int, end: TaskEnd, now: float) -> None:
        """All that a task wrote has been read, and what it has spoilt is out of the cache."""
        self._now = now
        self._tell_lost(end.spoilt, _SPOILT)
        self._reports.made(end.made, end.duration_s)
        ended = events.ProcessEnded(id_, end.exit_code, end.reason, end.there, end.missing, end.beside)
        for action in self.state.handle(ended, now):
            if isinstance(action, events.ReportEnded):
                assert end.payload is not None
                self._reports.results.add(
                    id_, end.failed, end.started, end.duration_s, end.payload, (action.used, end.used)
                )
                self._reports.gathered(now)
            else:
                self._perform(action)

    def on_measured(self, id_: int, used: Resources, now: float) -> None:
        self._now = now
        self._handle(events.Measured(id_, used))

    def on_sampled(self, uses: Mapping[int, ProcessUse], now: float) -> None:
        """Tasks and calls were looked at; of those that have ended meanwhile nothing is said."""
        there = set(self.state.tasks)
        found = {id_: Sample(*use) for id_, use in uses.items() if id_ in there}
        if found:
            self._reports.send(TaskSamples(self._name, list(found), list(found.values()), self._epoch + now))

    # -- libraries and their calls -----------------------------------------------------------------------------

    def on_library_ready(self, instance: int, now: float) -> None:
        self._now = now
        self._handle(events.LibraryReady(instance))

    def on_library_ended(self, instance: int, reason: str, now: float) -> None:
        """All that a library wrote has been handled."""
        self._now = now
        name = self._libraries.pop(instance).name
        logger.info("instance %d of library %s ended: %s", instance, name, reason)
        self._handle(events.LibraryEnded(instance, reason))

    def on_call_failed(self, instance: int, id_: int, reason: str, gone: Iterable[str], now: float) -> None:
        """A call could not be given to its library; ``gone`` as in ``on_process_failed``."""
        self._now = now
        self._tell_lost(gone, _GONE)
        self._handle(events.CallDied(instance, id_, 0, reason, "forsaken"))

    def on_call_ended(self, instance: int, end: CallEnd, now: float) -> None:
        """What the call has spoilt is out of the cache."""
        self._now = now
        self._tell_lost(end.spoilt, _SPOILT)
        self._reports.made(end.made, end.duration_s)
        if end.missing:
            self._handle(events.CallDied(instance, end.id, 0, end.missing, "output_missing"))
            return
        if self.state.counts(end.id):
            self._reports.results.add(end.id, end.failed, end.started, end.duration_s, end.payload, (UNKNOWN, end.used))
        self._handle(events.CallsEnded(instance, [end.id]))
        self._reports.gathered(now, self.state.waiting_calls(instance))

    def on_call_died(
        self,
        instance: int,
        id_: int,
        exit_code: int,
        reason: str,
        made: list[tuple[str, int]],
        spoilt: Iterable[str],
        now: float,
    ) -> None:
        """A call ended without a result; its library lives. ``made``, ``spoilt``: as in ``CallEnd``."""
        self._now = now
        self._tell_lost(spoilt, _SPOILT)
        self._reports.made(made, 0.0)
        self._handle(events.CallDied(instance, id_, exit_code, reason))

    # -- actions -----------------------------------------------------------------------------------------------

    def _handle(self, event: events.Event) -> None:
        for action in self.state.handle(event, self._now):
            self._perform(action)

    def _perform(self, action: events.Action) -> None:
        match action:
            case events.SendCalls(instance, ids):
                for id_ in ids:
                    self._send_call(instance, self._orders.pop(id_))
            case events.StartProcess(id_):
                self._start_process(self._orders.pop(id_))
            case events.KillProcess(id_):
                self._effects.append(effects.KillProcess(id_))
            case events.KillCall(instance, id_):
                self._effects.append(effects.KillCall(instance, id_))
            case events.StartLibrary(instance):
                self._effects.append(effects.StartLibrary(self._libraries[instance]))
            case events.KillLibrary(instance):
                self._effects.append(effects.KillLibrary(instance))
            case events.ReportEnded():
                raise AssertionError("a result is reported when its process ends")
            case events.ReportFailed(id_, status, reason, exit_code, used, beside):
                self._orders.pop(id_, None)
                self._reports.send(TaskFailed(id_, status, reason, exit_code, used, beside))
            case events.ReportLibraryUp(instance, slots):
                self._reports.send(LibraryUp(self._libraries[instance].name, instance, slots))
            case events.ReportLibraryDown(instance, reason, started, timed_out):
                self._reports.send(LibraryDown("", instance, reason, started, timed_out))
            case events.MeasureTasks(tasks):
                self._effects.append(effects.MeasureTasks(tasks))
            case events.ReportRunning(since):
                times = [self._epoch + when for when in since.values()]
                self._reports.send(VineTasksRunning(self._name, list(since), times))
            case events.SampleTasks(processes, direct, forking):
                self._effects.append(effects.SampleTasks(processes, direct, forking))
            case events.SendHeartbeat():
                self._reports.send(Heartbeat())
            case events.Exit():
                self._effects.append(effects.Leave(action))
            case _:
                assert_never(action)

    def _start_process(self, start: TaskStart) -> None:
        function = self._functions.get(start.function)
        if function is None:
            self._handle(events.ProcessFailed(start.id, _unknown(start)))
        else:
            self._effects.append(effects.StartProcess(start, function))

    def _send_call(self, instance: int, start: TaskStart) -> None:
        function = self._functions.get(start.function)
        if function is None:
            self._handle(events.CallDied(instance, start.id, 0, _unknown(start), "forsaken"))
        else:
            self._effects.append(effects.SendCall(instance, start, function))

    def _send(self, frames: list[Buffer]) -> None:
        self._effects.append(effects.ToManager(frames))


def _unknown(start: TaskStart) -> str:
    return f"it could not be started: function {start.function} is not known here"
