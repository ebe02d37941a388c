"""The submit side: the link to the interchange, and the thread that owns it.

Users' threads put attempts into an inbox; outcomes go to the sinks of the attempts. The thread cannot end without
giving every attempt its outcome. What an attempt carries is kept until then: when the interchange dies, another takes
its place, and is told all that the first one knew.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple, TypeVar, get_args

import msgspec

from trellis.core.interfaces import Attempt
from trellis.errors import (
    BadMessage,
    CommandClientBadError,
    CommandClientTimeoutError,
    ExecutorError,
    InterchangeLost,
    InternalConsistencyError,
    TrellisError,
)
from trellis.executors.common.known_functions import define_functions
from trellis.executors.common.pulse import Pulse, asking_period
from trellis.executors.common.service_process import ServiceProcess
from trellis.executors.common.submit_thread import SubmitThread
from trellis.executors.htex.settings import Ports, Settings
from trellis.executors.htex.submit import submission as machine
from trellis.executors.htex.submit.acknowledgements import Receipts
from trellis.executors.htex.submit.inbox_items import AskPackages, AskStatus, Cancel, End, Order, Send
from trellis.executors.htex.submit.interchange_process import InterchangeLink
from trellis.executors.htex.submit.known_managers import Headcount
from trellis.executors.htex.submit.outstanding import Outstanding
from trellis.executors.htex.submit.pending_requests import PackagesAnswer, Questions
from trellis.executors.htex.submit.task_messages import BATCH, Orders, brief, send_all_that_can
from trellis.transport.service import TURN, Loop
from trellis.transport.shared_directory import remove_directory
from trellis.wire.codec import Buffer, Decoder, encode_checked, encode_header, unpack
from trellis.wire.messages import (
    CancelTasks,
    Demand,
    DrainBlocks,
    ForgetFunctions,
    HoldManagers,
    ManagerJoined,
    ManagerLost,
    ManagerPutAside,
    ManagerRefused,
    Message,
    Notice,
    Packages,
    Results,
    Shutdown,
    StatusReply,
    StatusRequest,
    TasksCancelled,
    TasksOverMemory,
    TasksRefused,
    TasksTimedOut,
    TasksUnfit,
    ToSubmitSide,
    WorkerLost,
)

logger = logging.getLogger(__name__)

# Asks for a sign of life; nobody waits for the answer.
_PING = StatusRequest(0)

# When the interchange hangs, managers give up after the heartbeat threshold, counted from its last answer to one of
# their heartbeats. It has to be replaced well before that.
_HANGS_PER_THRESHOLD = 4
# A busy host can make anybody wait for so long; that is no reason to replace an interchange.
_BUSY_S = 3.0

T = TypeVar("T")


def _log_put_aside(message: ManagerPutAside) -> None:
    logger.warning("manager %s on %s gets no more tasks: %s", message.manager, message.hostname, message.reason)


class Notices(NamedTuple):
    """What the owner of the client wants to hear of; called on the client's thread, so they return at once."""

    manager_joined: Callable[[ManagerJoined], None]
    manager_lost: Callable[[ManagerLost], None]
    manager_refused: Callable[[ManagerRefused], None]
    interchange_lost: Callable[[TrellisError], None]
    interchange_restarted: Callable[[str], None] = logger.warning
    manager_put_aside: Callable[[ManagerPutAside], None] = _log_put_aside
    user_warned: Callable[[str], None] = logger.warning


class InterchangeClient(SubmitThread):
    """One executor's interchange, from its start to its end, whatever becomes of its processes."""

    def __init__(self, label: str, command: Sequence[str], settings: Settings, notices: Notices) -> None:
        super().__init__(label, "htex")
        self._settings = settings
        self._link = InterchangeLink(label, command, settings)
        self._notices = notices
        self._machine = machine.Submission()
        self._outstanding = Outstanding(label, settings.shared_dir, self._define, self._forget)
        self._sending: list[Attempt] = []  # the batch that is being submitted
        self._managers = Headcount()
        self._orders = Orders()
        self._questions = Questions()
        self._receipts = Receipts()
        threshold_s = settings.heartbeat_threshold_s
        self._ask_after_s = asking_period(settings.heartbeat_period_s, threshold_s)
        self._hangs_after_s = max(threshold_s / _HANGS_PER_THRESHOLD, min(_BUSY_S, threshold_s))
        self._decoder: Decoder[Message] = Decoder(ToSubmitSide)
        self._dead = False  # the interchange; there will be no other one
        self._ended = False  # by a cause of which the machine knows

    # -- start and end -----------------------------------------------------------------------------------------

    def start(self) -> Ports:
        """Start the interchange and the thread.

        Raises:
            ExecutorError: the interchange does not start; the message has its last words.
        """
        try:
            ports = self._link.start()
        except BaseException:
            self._inbox.close()
            remove_directory(self._settings.shared_dir)
            raise
        self._start_thread()
        return ports

    def close(self, timeout_s: float) -> None:
        """End the interchange and the thread; what is outstanding fails. A second call does nothing."""
        if self._closing:
            return
        self._end_thread(End(ExecutorError(self._label, "it was shut down before the task had ended")))
        self._link.close(timeout_s)
        remove_directory(self._settings.shared_dir)

    # -- any thread --------------------------------------------------------------------------------------------

    @property
    def _process(self) -> ServiceProcess[Ports]:
        return self._link.process

    @property
    def outstanding(self) -> int:
        """Tasks without an outcome."""
        return len(self._outstanding)

    def futures(self) -> dict[int, Future[Any]]:
        """Of all tasks without an outcome, by number."""
        return self._outstanding.futures()

    def submit(self, attempt: Attempt, priority: float, demand: Demand | None = None) -> None:
        """Take an attempt.

        Raises:
            SerializationError: its function or its arguments cannot be serialized.
        """
        self._outstanding.prepare(attempt, priority, demand)
        self._put(attempt)

    def cancel(self, attempt: Attempt) -> None:
        self._put(Cancel(attempt.executor_id))

    def send(self, message: HoldManagers) -> None:
        encode_checked(message)  # what cannot be sent is the caller's fault, and no reason for the thread to end
        self._put(Order(message))

    def drain(self, blocks: list[str]) -> None:
        """Managers of these blocks start nothing more, and end when they are idle."""
        self._put(Order(DrainBlocks(blocks)))

    def fail_all(self, cause: TrellisError) -> None:
        """Fail what is outstanding, and from now on everything."""
        self._put(End(cause))

    def status(self, timeout_s: float) -> StatusReply:
        """Ask the interchange how things are.

        Raises:
            CommandClientTimeoutError: no answer within ``timeout_s``.
            CommandClientBadError: the interchange is gone.
        """
        reply: Future[StatusReply] = Future()
        self._put(AskStatus(reply))
        return _wait_for(reply, timeout_s)

    def packages(self, timeout_s: float) -> PackagesAnswer:
        """Ask all managers that are connected which Python distributions they have.

        Managers that do not answer within ``timeout_s`` are named in the answer.

        Raises:
            CommandClientTimeoutError: the interchange was being restarted all the time.
            CommandClientBadError: the interchange is gone.
        """
        reply: Future[PackagesAnswer] = Future()
        self._put(AskPackages(reply, time.monotonic() + timeout_s))
        return _wait_for(reply, timeout_s + 1.0)  # longer, because the thread keeps the time

    def _define(self, number: int, data: bytes) -> None:
        self._put(Send(define_functions({number: data})))

    def _forget(self, numbers: list[int]) -> None:
        self._put(Send([encode_header(ForgetFunctions(numbers))]))

    # -- the thread --------------------------------------------------------------------------------------------

    def _work(self) -> None:
        # The interchange answers to who has spoken: without a word now, it could not tell of the first managers.
        self._send([encode_header(_PING)])
        while not self._closing:
            if self._dead:
                self._serve_alone()
            elif self._serve():
                self._on_death()
        self._on_inbox()

    def _on_defect(self, failure: InternalConsistencyError) -> None:
        self._end(failure)
        self._notices.interchange_lost(failure)

    def _serve(self) -> bool:
        """Until the interchange has died, and all it had sent is handled, or until the client is closed: False."""
        self._pulse = Pulse(self._ask_after_s, self._hangs_after_s, time.monotonic())
        loop = Loop()
        loop.add_source(self._link.endpoint, self._on_messages)
        loop.add_fd(self._inbox.fileno(), self._on_inbox)
        sentinel = self._process.open_sentinel()
        deaths: list[bool] = []
        if sentinel is not None:
            loop.add_fd(sentinel, lambda: deaths.append(True))
        try:
            while not self._closing:
                # Where processes have no sentinel, look once a second.
                loop.run_once(self._patience(None if sentinel is not None else 1.0))
                self._on_time(time.monotonic())
                if deaths or (sentinel is None and self._process.has_ended()):
                    while self._link.endpoint.readable():
                        self._on_messages()
                    return True
            return False
        finally:
            loop.close()
            if sentinel is not None:
                os.close(sentinel)

    def _serve_alone(self) -> None:
        """There is no interchange any more: all that comes fails."""
        loop = Loop()
        loop.add_fd(self._inbox.fileno(), self._on_inbox)
        while not self._closing:
            loop.run_once(None)
        loop.close()

    def _patience(self, at_most_s: float | None) -> float | None:
        due = [keeper.next_deadline() for keeper in (self._pulse, self._receipts, self._questions, self._managers)]
        wait_s = max(0.0, min(when for when in due if when is not None) - time.monotonic())
        return wait_s if at_most_s is None else min(wait_s, at_most_s)

    def _on_time(self, now: float) -> None:
        due = self._receipts.next_deadline()
        if due is not None and due <= now:
            self._send([encode_header(self._receipts.take())])
        due = self._questions.next_deadline()
        if due is not None and due <= now:
            self._questions.on_deadline(now)
        for lost in self._managers.overdue(now):
            self._on_manager_lost(lost)
        match self._pulse.look(now):
            case "ask":
                self._send([encode_header(_PING)])
            case "hangs":
                self._process.kill(self._pulse.verdict)

    def _on_inbox(self) -> None:
        batch: list[Attempt] = []
        for item in self._inbox.drain():
            if isinstance(item, Attempt):
                batch.append(item)
                if len(batch) == BATCH:
                    self._submit(batch)
                    batch = []
                continue
            if batch:
                self._submit(batch)
                batch = []
            match item:
                case Send(frames):
                    self._send(frames)
                case Order(message):
                    self._orders.note(message)
                    self._send([encode_header(message)])
                case Cancel(id_):
                    self._perform(self._machine.handle(machine.CancelRequested([id_])))
                case End(cause):
                    self._end(cause)
                case AskStatus(reply) | AskPackages(reply, _) if self._ended:
                    reply.set_exception(CommandClientBadError("the interchange is gone"))
                case AskStatus(reply):
                    self._send([encode_header(self._questions.ask_status(reply))])
                case AskPackages(reply, deadline):
                    question = self._questions.ask_packages(reply, self._managers.connected, deadline)
                    self._send([encode_header(question)])
        if batch:
            self._submit(batch)

    def _submit(self, batch: list[Attempt]) -> None:
        ids = [attempt.executor_id for attempt in batch]
        self._sending = batch
        self._perform(self._machine.handle(machine.TasksSubmitted(ids)))
        self._sending = []

    def _send_tasks(self, batch: Sequence[Attempt]) -> None:
        messages, failures = send_all_that_can(batch)
        for frames in messages:
            self._send(frames)
        for id_, error in failures.items():
            self._perform(self._machine.handle(machine.TasksFailed([id_], error)))

    def _send_alone(self, attempts: Sequence[Attempt]) -> None:
        """Their functions too: it may have been those that made no sense."""
        functions = self._outstanding.functions
        for number in dict.fromkeys(attempt.executor_note.function for attempt in attempts):
            self._send(define_functions({number: functions[number]}))
        for attempt in attempts:
            self._send_tasks([attempt])

    def _send(self, frames: list[Buffer]) -> None:
        if not (self._ended or self._dead):
            self._link.send(frames)

    # -- ends of the interchange -------------------------------------------------------------------------------

    def _end(self, cause: TrellisError) -> None:
        # The tasks first: they get their outcomes even when the socket is broken.
        self._perform(self._machine.handle(machine.ConnectionLost(cause)))
        self._send([encode_header(Shutdown())])
        self._ended = True
        self._questions.fail(CommandClientBadError(str(cause)))

    def _on_death(self) -> None:
        self._process.kill()  # what it has left behind, if it was started by a script
        self._dead = True
        failure = InterchangeLost(f"the interchange of executor {self._label} died. {self._process.last_words()}")
        self._perform(self._machine.handle(machine.InterchangeDied(failure)))

    def _restart(self, ids: list[int], unwanted: list[int]) -> None:
        ending = self._process.ending()
        try:
            self._link.restart(lambda: self._closing)
        except (ExecutorError, OSError) as error:
            if not self._closing:
                logger.error("the interchange of executor %s died (%s), and: %s", self._label, ending, error)
                failure = InterchangeLost(f"the interchange of executor {self._label} {ending}, and then: {error}")
                self._perform(self._machine.handle(machine.InterchangeDied(failure)))
            return
        self._dead = False
        owed = self._outstanding
        for frames in brief(owed.functions, owed.get(ids), unwanted, self._managers.connected, self._orders):
            self._send(frames)
        self._managers.on_restart(time.monotonic())
        for question in self._questions.again():
            self._send([encode_header(question)])
        count = self._machine.outstanding
        self._notices.interchange_restarted(
            f"the interchange of executor {self._label} died: it {ending}. It was restarted; "
            f"{count} tasks are outstanding"
        )

    def _give_up(self, cause: TrellisError) -> None:
        logger.error("%s", cause)
        # The executor first: who sees the first failed future finds it in its bad state.
        self._notices.interchange_lost(cause)
        self._ended = True
        self._questions.fail(CommandClientBadError(str(cause)))

    # -- messages ----------------------------------------------------------------------------------------------

    def _on_messages(self) -> None:
        self._pulse.heard()
        for _ in range(TURN):
            frames = self._link.endpoint.receive()
            if frames is None:
                return
            try:
                self._on_message(self._decoder.decode(frames[0]), frames[1:])
            except BadMessage as error:  # our own interchange: a defect, but no reason to stop
                logger.error("a message of the interchange is dropped: %s", error)
                ids = self._decoder.tasks_in(frames[0], *get_args(ToSubmitSide))
                refused = TasksRefused(ids, f"how they ended cannot be told: {error}")
                self._perform(self._machine.handle(machine.TasksFailed(ids, refused)))

    def _on_message(self, message: Message, frames: list[Buffer]) -> None:
        sequence = getattr(message, "sequence", 0)
        if sequence and not self._receipts.note(message.manager, sequence, time.monotonic()):  # type: ignore[attr-defined]
            return  # sent again after a break, though it had come
        match message:
            case Results():
                self._on_results(message, frames)
            case WorkerLost():
                self._perform(self._machine.handle(machine.TasksFailed([message.id], message)))
            case TasksTimedOut() | TasksCancelled() | TasksOverMemory() | TasksUnfit():
                self._perform(self._machine.handle(machine.TasksFailed(message.ids, message)))
            case TasksRefused(ids=ids):
                event = machine.TasksFailed if message.manager else machine.TasksRefused
                self._perform(self._machine.handle(event(ids, message)))
            case ManagerJoined():
                self._on_manager_joined(message)
            case ManagerLost():
                self._on_manager_lost(message)
            case ManagerRefused():
                self._notices.manager_refused(message)
            case ManagerPutAside():
                self._notices.manager_put_aside(message)
            case Notice(text):
                self._notices.user_warned(f"executor {self._label}: {text}")
            case Packages():
                self._questions.on_packages(message)
            case StatusReply():
                blocks = self._managers.all_blocks(message.blocks)
                self._questions.on_status(msgspec.structs.replace(message, blocks=blocks))

    def _on_manager_joined(self, message: ManagerJoined) -> None:
        for question in self._questions.again():  # it may not have got them
            self._send([encode_header(question)])
        if self._managers.on_joined(message):
            self._notices.manager_joined(message)

    def _on_manager_lost(self, message: ManagerLost) -> None:
        self._managers.on_lost(message.manager)
        self._receipts.forget(message.manager)
        self._perform(self._machine.handle(machine.TasksFailed(message.ids, message)))
        self._notices.manager_lost(message)

    def _on_results(self, message: Results, frames: list[Buffer]) -> None:
        payloads = unpack(message.sizes, frames)
        counted: Sequence[int] = ()
        for action in self._machine.handle(machine.ResultsArrived(message.ids)):
            assert isinstance(action, machine.Resolve)
            counted = action.positions
            where = self._managers.place_of(message.manager)
            self._outstanding.resolve(message, payloads, action.ids, counted, where)
        if len(counted) < len(payloads):
            others = set(range(len(payloads))).difference(counted)
            self._outstanding.discard(payloads[position] for position in others)

    # -- actions -----------------------------------------------------------------------------------------------

    def _perform(self, actions: Sequence[machine.Action]) -> None:
        for action in actions:
            match action:
                case machine.SendTasks():
                    self._send_tasks(self._sending)
                case machine.SendAlone(ids):
                    self._send_alone(self._outstanding.get(ids))
                case machine.SendCancel(ids):
                    self._send([encode_header(CancelTasks(ids))])
                case machine.Fail(ids, cause):
                    self._outstanding.fail(ids, cause)
                case machine.Resume(ids, unwanted):
                    self._restart(ids, unwanted)
                case machine.GiveUp(cause):
                    assert isinstance(cause, TrellisError)
                    self._give_up(cause)


def _wait_for(reply: Future[T], timeout_s: float) -> T:
    try:
        return reply.result(timeout_s)
    except TimeoutError:
        raise CommandClientTimeoutError(f"the interchange did not answer within {timeout_s:g} s") from None
