"""A manager without its sockets and processes: frames in, frames and effects out. No sockets, clocks or threads here.

Whoever owns them tells what has happened, and when, and then performs ``effects``, in their order. In here are the
codec, the machine, what tasks carry, and what was reported and may have to be said again. A message that makes no sense
costs the tasks that it would have brought, if these can be told: they are refused by name, and come again.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, assert_never

from trellis.errors import BadMessage
from trellis.executors.common.bad_messages import BadMessages
from trellis.executors.common.message_policy import header_of
from trellis.executors.common.proc_usage import ProcessUse
from trellis.executors.htex.manager import events
from trellis.executors.htex.manager.events import Running
from trellis.executors.htex.manager.link import ManagerLink
from trellis.executors.htex.manager.state import ManagerState
from trellis.executors.htex.manager.task_samples import TaskSampling
from trellis.wire import stream
from trellis.wire.codec import Buffer, Decoder, Payload, encode_header, payload_buffers, unpack
from trellis.wire.messages import (
    CancelTasks,
    CheckTasks,
    DefineFunctions,
    DismissManager,
    ForgetFunctions,
    Heartbeat,
    Packages,
    PackagesRequest,
    ReceivedUpTo,
    Refused,
    Register,
    RegisterAgain,
    ReturnTasks,
    Tasks,
    TasksMissing,
    TasksRefused,
    TasksStarted,
    ToManager,
    Welcome,
)
from trellis.wire.questions import StandingRequest

logger = logging.getLogger("trellis.manager")

# -- effects, beside actions of the machine --------------------------------------------------------------------


class SendToInterchange(NamedTuple):
    """To the interchange."""

    frames: Sequence[Buffer]


class Define(NamedTuple):
    """A worker waits for a function."""

    worker: int
    function: int
    data: Buffer


class SendArguments(NamedTuple):
    """A worker waits for the arguments of the task that it has taken."""

    worker: int
    task: int
    buffers: tuple[Buffer, ...]


class Forget(NamedTuple):
    """Workers need not know these functions any more."""

    functions: list[int]


class FindPackages(NamedTuple):
    """Say with ``on_packages`` which Python distributions this node has."""

    request: int


class LookAtTasks(NamedTuple):
    """Say with ``on_looked`` what the workers use that run these tasks."""

    workers: dict[int, int]  # by task


class TurnAway(NamedTuple):
    """The interchange does not take this manager at all."""

    reason: str


# What workers are to do, or get.
WorkerEffect = (
    Define
    | SendArguments
    | Forget
    | events.Park
    | events.RunGang
    | events.Release
    | events.StartWorker
    | events.NudgeWorker
    | events.KillWorker
)
Effect = (
    WorkerEffect
    | SendToInterchange
    | FindPackages
    | LookAtTasks
    | TurnAway
    | events.Offer
    | events.TakeBack
    | events.Interrupt
    | events.MeasureMemory
    | events.Exit
)


@dataclass(slots=True)
class _Handle:
    """Have the machine handle this event."""

    event: events.Event


class _RegisterNow(NamedTuple):
    """Say who this is, and what it has."""


_Item = Effect | events.Action | _Handle | _RegisterNow


class ManagerProtocol:
    """A manager without its socket and its workers.

    Args:
        registration: how it introduces itself.
        state: the machine.
        running: looks who runs what, on the workers' board.
        now: the time of its start.
    """

    def __init__(self, registration: Register, state: ManagerState, running: Callable[[], Running], now: float) -> None:
        self._name = registration.manager
        self._running = running
        self._now = now
        # What is to be done, in order: what an effect brings about comes before the effects after it.
        self._to_do: deque[_Item] = deque()
        self._new: list[_Item] = []  # to go before all of that
        self._link = ManagerLink(registration, lambda frames: self._new.append(SendToInterchange(frames)), now)
        self._decoder: Decoder[ToManager] = Decoder(ToManager)
        self._bad_messages = BadMessages(logger, "a message of %s is dropped: %s")
        self._functions: dict[int, Buffer] = {}
        self._calls: dict[int, tuple[int, Payload]] = {}  # function and arguments of tasks that have not ended
        self._sampling = TaskSampling()
        self._has_ended = False
        self.state = state
        self.welcome = Welcome([])  # the first that came

    # -- for readers -------------------------------------------------------------------------------------------

    @property
    def welcomed(self) -> bool:
        """Whether the interchange has ever taken this manager."""
        return self._link.welcomed

    @property
    def calls(self) -> Mapping[int, tuple[int, Payload]]:
        """Function and arguments of each task that is here; not to be changed."""
        return self._calls

    def next_deadline(self) -> float:
        """When ``on_deadline`` wants to be called; it counts once the manager is welcome."""
        return min(self.state.next_deadline(), self._sampling.next_deadline())

    @property
    def has_effects(self) -> bool:
        """Whether ``effects`` has anything to give."""
        return bool(self._new)

    def effects(self) -> Iterator[Effect]:
        """What is to be done, in order, until there is nothing more; perform each before asking for the next.

        Who stops in between gives up the rest.
        """
        try:
            while (item := self._next()) is not None:
                match item:  # in the order of how often they come
                    case _Handle():
                        self._new += self._actions_for(item.event)
                    case SendToInterchange() | events.Offer():
                        yield item
                    case _RegisterNow():
                        self._link.register(self.state.holding, self.state.started, self.state.draining, self._now)
                    case (
                        events.ReportWorkerLost()
                        | events.ReportTimedOut()
                        | events.ReportOverMemory()
                        | events.ReportCancelled()
                        | events.GiveBack()
                        | events.Withdraw()
                        | events.SayRunning()
                        | events.SendHeartbeat()
                        | events.SendDraining()
                    ):
                        for id_ in self._link.tell(item):
                            del self._calls[id_]
                    case events.RunGang(task):
                        yield from self.announcement([task])
                        yield item
                    case events.Exit():
                        self._has_ended = True
                        yield item
                    case _:
                        yield item
        finally:
            self._to_do.clear()

    def _next(self) -> _Item | None:
        new = self._new
        if new:
            if len(new) == 1 and not self._to_do:
                return new.pop()
            self._to_do.extendleft(reversed(new))
            new.clear()
        return self._to_do.popleft() if self._to_do else None

    # -- what has happened -------------------------------------------------------------------------------------

    def on_connection_changes(self, changes: Sequence[bool], now: float) -> None:
        """What became of the connection, in order: True: it is there; False: it broke."""
        self._now = now
        if self._link.note(changes):
            if self._link.welcomed:
                logger.info("the connection to the interchange is there again")
            self._register()
        elif not self._link.connected:
            logger.warning("the connection to the interchange broke")
            self._handle(events.Disconnected())

    def on_frames(self, frames: list[Buffer], now: float) -> None:
        """Something came from the interchange."""
        self._now = now
        try:
            self._on_message(self._decoder.decode(header_of(frames)), frames[1:])
        except BadMessage as error:
            self._bad_messages.note("the interchange", error)
            ids = self._decoder.tasks_in(frames[0], Tasks) if frames else []
            refused = [id_ for id_ in ids if id_ not in self._calls]
            if refused:
                self._link.send(TasksRefused(refused, str(error), self._name))

    def on_worker_frames(self, worker: int, frames: Sequence[stream.StreamFrame], now: float) -> None:
        """What a worker has written."""
        self._now = now
        finished: list[int] = []
        durations_s: list[float] = []
        for frame in frames:
            match frame.kind:
                case stream.RESULT | stream.ERROR:
                    # A task that is being ended is reported as that, whatever it still says.
                    if self.state.counts(frame.id):
                        del self._calls[frame.id]
                        self._link.add_result(worker, frame)
                        finished.append(frame.id)
                        durations_s.append(frame.duration_s)
                case stream.NEED if frame.id in self._functions:
                    self._new.append(Define(worker, frame.id, self._functions[frame.id]))
                case stream.FETCH if frame.id in self._calls:
                    self._new.append(SendArguments(worker, frame.id, payload_buffers(self._calls[frame.id][1])))
                case stream.NEED | stream.FETCH:  # for a task that was given up meanwhile: no answer will come
                    self._new.append(events.KillWorker(worker))
                case stream.PARKED:
                    # It has ended what it ran before.
                    self._on_finished(finished, durations_s)
                    finished, durations_s = [], []
                    self._handle(events.WorkerParked(worker))
                case stream.READY:
                    self._handle(events.WorkerReady(worker))
        self._on_finished(finished, durations_s)

    def on_worker_exit(self, worker: int, task: int | None, reason: str, now: float) -> None:
        """All that it wrote has been told. ``task``: what it ran, as its slot of the board says."""
        self._happened(events.WorkerExited(worker, task, reason), now)

    def on_taken_back(self, ids: Sequence[int], now: float) -> None:
        """The answer to ``TakeBack``."""
        self._happened(events.TakenBack(ids, self._running()), now)

    def on_interrupted(self, worker: int, task: int, caught: bool, now: float) -> None:
        """The answer to ``Interrupt``."""
        self._happened(events.Interrupted(worker, task, caught), now)

    def on_memory_measured(self, tasks: Mapping[int, tuple[int, float]], now: float) -> None:
        """The answer to ``MeasureMemory``: worker, and MB."""
        self._happened(events.MemoryMeasured(tasks), now)

    def on_packages(self, request: int, packages: Mapping[str, str], now: float) -> None:
        """The answer to ``FindPackages``: names and versions."""
        self._now = now
        self._link.send(Packages(self._name, request, [*packages], [*packages.values()]))

    def on_looked(self, uses: Mapping[int, ProcessUse], at: float, now: float) -> None:
        """The answer to ``LookAtTasks``: what each uses, and when that was, in seconds since the epoch."""
        self._now = now
        self._link.send(self._sampling.message(self._name, uses, at))

    def on_deadline(self, now: float) -> None:
        running = self._running()
        self._happened(events.DeadlinePassed(running), now)
        if self._sampling.is_due(now) and running:
            if self._link.connected and self._sampling.keeps_up(*self._link.reports, now):
                self._new.append(LookAtTasks({task: worker for task, (worker, _) in running.items()}))
            else:
                self._sampling.leave_out(len(running))

    def on_turn_end(self) -> None:
        """All that was readable has been told: the results that have gathered go out together."""
        self._link.flush()

    def terminate(self, reason: str, now: float) -> None:
        """Let go of what has not started, and leave soon."""
        self._happened(events.TerminateRequested(reason), now)

    def stop(self, reason: str, now: float) -> None:
        """Leave at once; what has not started is given back."""
        self._happened(events.StopRequested(reason), now)

    def say_goodbye(self, reason: str) -> None:
        """The last word, when all workers have ended."""
        self._link.say_goodbye(reason)

    def announcement(self, ids: list[int]) -> list[SendToInterchange]:
        """To be sent just before these are where a worker may take them.

        Should this process die at once, nobody takes them for tasks that have not started.
        """
        return [SendToInterchange([encode_header(TasksStarted(self._name, ids))])] if self._link.connected else []

    # -- parts -------------------------------------------------------------------------------------------------

    def _happened(self, event: events.Event, now: float) -> None:
        self._now = now
        self._handle(event)

    def _handle(self, event: events.Event) -> None:
        """Have the machine handle this when all that comes before is done: most often that is now."""
        if self._new or self._to_do:
            self._new.append(_Handle(event))
        else:
            self._new += self._actions_for(event)

    def _actions_for(self, event: events.Event) -> list[events.Action]:
        actions = self.state.handle(event, self._now)
        for action in actions:
            logger.debug("%s", action)
        return actions

    def _register(self) -> None:
        self._new += [_Handle(events.Disconnected()), _RegisterNow()]

    def _on_finished(self, tasks: list[int], durations_s: list[float]) -> None:
        if tasks:
            self._handle(events.TasksFinished(tasks, durations_s))

    def _on_message(self, message: ToManager, frames: list[Buffer]) -> None:
        match message:
            case Tasks():
                self._on_tasks(message, frames)
                return
            case DefineFunctions():
                self._functions.update(zip(message.ids, map(_one_buffer, unpack(message.sizes, frames)), strict=True))
            case ForgetFunctions(ids=ids):
                for id_ in ids:
                    self._functions.pop(id_, None)
                self._new += [Forget(ids), _Handle(events.FunctionsForgotten(ids))]
            case ReceivedUpTo(sequence):
                self._link.received_up_to(sequence)
            case CancelTasks(ids=ids):
                self._handle(events.CancelRequested(ids, self._running()))
            case ReturnTasks(count=count):
                self._handle(events.ReturnRequested(count))
            case CheckTasks(ids):
                self._link.flush()  # what has just ended is not missing
                self._link.send(TasksMissing(self._name, [id_ for id_ in ids if id_ not in self._calls]))
            case PackagesRequest(request):
                self._new.append(FindPackages(request))
            case StandingRequest(request, id_):
                self._link.flush()  # what has just ended is not here
                place = self.state.place_of(id_, self._running(), self._now)
                self._link.tell_place(request, place)
            case Welcome():
                self._on_welcome(message)
            case RegisterAgain():
                if self._link.should_register_again:
                    self._register()
            case Refused(reason) | DismissManager(reason):
                if self._link.welcomed:
                    self._handle(events.StopRequested(f"dismissed: {reason}"))
                else:
                    self._new.append(TurnAway(reason))
            case Heartbeat():
                pass  # it is enough that it came
            case _:
                assert_never(message)
        self._handle(events.InterchangeHeard())

    def _on_welcome(self, message: Welcome) -> None:
        is_first = not self._link.welcomed
        self._link.on_welcome()
        self._handle(events.Welcomed())
        if is_first:
            self.welcome = message
            self._sampling.begin(message.sample_every_s, self._now)
            if not self._has_ended:  # it may have been told to before it was welcome
                self._new += self.state.start()

    def _on_tasks(self, message: Tasks, frames: list[Buffer]) -> None:
        arguments = unpack(message.sizes, frames)
        if not self._functions.keys() >= set(message.functions):
            # The definitions went with a connection that broke: the interchange sends them again.
            raise BadMessage("tasks of functions that were not defined")
        ids, walltimes_s, demands, functions = message.ids, message.walltimes_s, message.demands, message.functions
        if not self._calls.keys().isdisjoint(ids):  # sent twice, around a break of the connection
            new = [number for number, id_ in enumerate(ids) if id_ not in self._calls]
            walltimes_s = None if walltimes_s is None else [walltimes_s[number] for number in new]
            demands = None if demands is None else [demands[number] for number in new]
            functions = [functions[number] for number in new]
            arguments = [arguments[number] for number in new]
            ids = [ids[number] for number in new]
        self._calls.update(zip(ids, zip(functions, arguments, strict=True), strict=True))
        self._handle(events.TasksReceived(ids, walltimes_s, demands, functions))


def _one_buffer(payload: Payload) -> Buffer:
    if isinstance(payload, tuple):
        raise BadMessage("a function in several frames")
    return payload
