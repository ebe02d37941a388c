"""The submit side of HTEX: what becomes of attempts, and what the interchange is told and says.

What an attempt carries is kept until its outcome: when the interchange dies, another takes its place, and is told all
that the first one knew.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple, TypeVar, assert_never

import msgspec

from trellis.core.interfaces import Attempt
from trellis.core.measurements import TaskSample
from trellis.core.reports import Begun
from trellis.errors import (
    CommandClientBadError,
    CommandClientTimeoutError,
    ExecutorError,
    InterchangeLost,
    TrellisError,
)
from trellis.executors.common.known_functions import define_functions
from trellis.executors.common.pulse import asking_period
from trellis.executors.common.service_client import Cancel, Patience, ServiceAddress, ServiceClient
from trellis.executors.htex.settings import Ports, Settings
from trellis.executors.htex.submit import submission as machine
from trellis.executors.htex.submit.acknowledgements import Acknowledgements
from trellis.executors.htex.submit.interchange_process import interchange_process, successor_settings
from trellis.executors.htex.submit.known_managers import KnownManagers
from trellis.executors.htex.submit.outstanding import Outstanding
from trellis.executors.htex.submit.package_requests import AskPackages, PackageRequests, PackagesAnswer
from trellis.executors.htex.submit.standing_question import StandingQuestion
from trellis.executors.htex.submit.task_messages import StandingOrders, resume_messages, send_all_that_can
from trellis.transport.shared_directory import remove_directory
from trellis.wire.codec import Buffer, encode_checked, encode_header, unpack
from trellis.wire.measures import TaskSamples
from trellis.wire.messages import (
    CancelTasks,
    Demand,
    DrainBlocks,
    HoldManagers,
    ManagerJoined,
    ManagerLoss,
    ManagerPutAside,
    ManagerRefused,
    Notice,
    Packages,
    Results,
    TasksCancelled,
    TasksOverMemory,
    TasksRefused,
    TasksRunning,
    TasksTimedOut,
    TasksUnfit,
    ToSubmitSide,
    WorkerLoss,
)
from trellis.wire.questions import StandingAtManager, StandingReply, StandingRequest, StatusReply, StatusRequest

logger = logging.getLogger(__name__)

# When the interchange hangs, managers give up after the heartbeat threshold, counted from its last answer to one of
# their heartbeats. It has to be replaced well before that.
_HANGS_PER_THRESHOLD = 4
# A busy host can make anybody wait for so long; that is no reason to replace an interchange.
_BUSY_S = 3.0

T = TypeVar("T")


def _log_put_aside(message: ManagerPutAside) -> None:
    logger.warning("manager %s on %s gets no more tasks: %s", message.manager, message.hostname, message.reason)


class InterchangeCallbacks(NamedTuple):
    """What the owner of the client wants to hear of; called on the client's thread, so they return at once."""

    manager_joined: Callable[[ManagerJoined], None]
    manager_lost: Callable[[ManagerLoss], None]
    manager_refused: Callable[[ManagerRefused], None]
    interchange_lost: Callable[[TrellisError], None]
    interchange_restarted: Callable[[str], None] = logger.warning
    manager_put_aside: Callable[[ManagerPutAside], None] = _log_put_aside
    user_warned: Callable[[str], None] = logger.warning
    tasks_sampled: Callable[[Sequence[TaskSample]], None] | None = None


class InterchangeClient(ServiceClient[Ports, Attempt]):
    """The interchange of an executor, from its start to its end, whatever becomes of its processes."""

    lost_error = InterchangeLost

    def __init__(self, label: str, command: Sequence[str], settings: Settings, callbacks: InterchangeCallbacks) -> None:
        threshold_s = settings.heartbeat_threshold_s
        super().__init__(
            label,
            "htex",
            interchange_process(label, command, settings),
            ServiceAddress(settings.client_address, settings.cert_dir, settings.client_name),
            Patience(
                asking_period(settings.heartbeat_period_s, threshold_s),
                max(threshold_s / _HANGS_PER_THRESHOLD, min(_BUSY_S, threshold_s)),
            ),
            ping=StatusRequest(0),
            messages=ToSubmitSide,
            task_type=Attempt,
        )
        self._command = command
        self._settings = settings
        self._callbacks = callbacks
        self._machine = machine.Submission()
        self._outstanding = Outstanding(label, settings.shared_dir, self.define, self.forget)
        self._managers = KnownManagers()
        self._orders = StandingOrders()
        self._packages = PackageRequests()
        self._acknowledgements = Acknowledgements()

    def _clean_up(self) -> None:
        remove_directory(self._settings.shared_dir)

    # -- any thread --------------------------------------------------------------------------------------------

    @property
    def outstanding(self) -> int:
        """Tasks without an outcome."""
        return len(self._outstanding)

    def futures(self) -> dict[int, Future[Any]]:
        """The futures of all tasks without an outcome, by number."""
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
        self._put(message)

    def drain(self, blocks: list[str]) -> None:
        """Managers of these blocks start nothing more, and end when they are idle."""
        self._put(DrainBlocks(blocks))

    def status(self, timeout_s: float) -> StatusReply:
        """Ask the interchange how things are.

        Raises:
            CommandClientTimeoutError: no answer within ``timeout_s``.
            CommandClientBadError: the interchange is gone.
        """
        reply: Future[StatusReply] = self._ask(StatusRequest)
        return _wait_for(reply, timeout_s)

    def standing(self, id_: int, timeout_s: float) -> tuple[StandingReply | None, StandingAtManager | None]:
        """Ask where a task is: what the interchange and the manager say; None: nothing within ``timeout_s``.

        Raises:
            CommandClientBadError: the interchange is gone.
        """
        question = StandingQuestion()
        self._ask(lambda request: StandingRequest(request, id_), question)
        answer = question.wait(timeout_s)
        return question.known, answer

    def where_it_runs(self, id_: int) -> Begun | None:
        """Where a task runs, if a manager has said that it does: nobody is asked."""
        return self._outstanding.where_it_runs(id_)

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

    # -- the thread --------------------------------------------------------------------------------------------

    def _next_deadline(self) -> float | None:
        due = [keeper.next_deadline() for keeper in (self._acknowledgements, self._packages, self._managers)]
        return min([when for when in due if when is not None], default=None)

    def _on_time(self, now: float) -> None:
        due = self._acknowledgements.next_deadline()
        if due is not None and due <= now:
            self._send([encode_header(self._acknowledgements.take())])
        due = self._packages.next_deadline()
        if due is not None and due <= now:
            self._packages.on_deadline(now)
        for lost in self._managers.overdue(now):
            self._on_manager_lost(lost)

    def _on_item(self, item: Cancel | HoldManagers | DrainBlocks | AskPackages) -> None:
        match item:
            case Cancel(id_):
                self._perform(self._machine.handle(machine.CancelRequested([id_])))
            case HoldManagers() | DrainBlocks():
                self._orders.note(item)
                self._send([encode_header(item)])
            case AskPackages(reply):
                if self._cause is not None:
                    reply.set_exception(self._unanswered(self._cause))
                else:
                    self._send([encode_header(self._packages.ask(item, self._managers.connected))])
            case _:
                assert_never(item)

    def _submit(self, batch: list[Attempt]) -> None:
        self._perform(self._machine.handle(machine.TasksSubmitted([attempt.executor_id for attempt in batch])))

    def _send_tasks(self, batch: Sequence[Attempt]) -> None:
        messages, failures = send_all_that_can(batch)
        for frames in messages:
            self._send(frames)
        for id_, error in failures.items():
            self._perform(self._machine.handle(machine.TasksFailed([id_], error)))

    def _send_alone(self, attempts: Sequence[Attempt]) -> None:
        """Send each in a message of its own, functions too: it may have been those that made no sense."""
        functions = self._outstanding.functions
        for number in dict.fromkeys(attempt.executor_note.function for attempt in attempts):
            self._send(define_functions({number: functions[number]}))
        for attempt in attempts:
            self._send_tasks([attempt])

    # -- ends of the interchange -------------------------------------------------------------------------------

    def _fail_outstanding(self, cause: TrellisError) -> None:
        self._perform(self._machine.handle(machine.SubmissionEnded(cause)))
        self._packages.fail(self._unanswered(cause))

    def _unanswered(self, cause: TrellisError) -> Exception:
        return CommandClientBadError(str(cause))

    def _tell_lost(self, cause: TrellisError) -> None:
        self._callbacks.interchange_lost(cause)

    def _on_death(self, failure: TrellisError) -> None:
        self._perform(self._machine.handle(machine.InterchangeDied(failure)))

    def _restart(self, ids: list[int], unwanted: list[int]) -> None:
        ending = self._process.ending()
        try:
            self._start_successor()
        except (ExecutorError, OSError) as error:
            if not self._closing:
                logger.error("the interchange of executor %s died (%s), and: %s", self._label, ending, error)
                self._on_death(
                    InterchangeLost(f"the interchange of executor {self._label} {ending}, and then: {error}")
                )
            return
        owed = self._outstanding
        for frames in resume_messages(owed.functions, owed.get(ids), unwanted, self._managers.connected, self._orders):
            self._send(frames)
        self._managers.on_restart(time.monotonic())
        self._ask_again()
        self._ask_for_packages_again()
        self._callbacks.interchange_restarted(
            f"the interchange of executor {self._label} died: it {ending}. It was restarted; "
            f"{self._machine.outstanding} tasks are outstanding"
        )

    def _start_successor(self) -> None:
        """Raises:
        ExecutorError: it does not start, or the client was closed before it did.
        """
        # What the old socket still has to say is not for the new interchange.
        self._endpoint.close(linger_ms=0)
        self._process.end(0.0)
        process = interchange_process(self._label, self._command, successor_settings(self._settings, self._ports))
        process.start(lambda: self._closing)
        self._process = process
        self._connect()
        self._dead = False

    def _ask_for_packages_again(self) -> None:
        for question in self._packages.again():
            self._send([encode_header(question)])

    # -- messages ----------------------------------------------------------------------------------------------

    def _fail_reported(self, ids: list[int], reason: str) -> None:
        self._perform(self._machine.handle(machine.TasksFailed(ids, TasksRefused(ids, reason))))

    def _on_message(self, message: ToSubmitSide, frames: list[Buffer]) -> None:
        sequence = getattr(message, "sequence", 0)
        if sequence and not self._acknowledgements.note(message.manager, sequence, time.monotonic()):  # type: ignore[union-attr]
            return  # sent again after a break, though it had come
        match message:
            case Results():
                self._on_results(message, frames)
            case TasksRunning():
                self._outstanding.begun(message, self._managers.place_of(message.manager))
            case TaskSamples():
                self._on_samples(message)
            case WorkerLoss():
                self._perform(self._machine.handle(machine.TasksFailed([message.id], message)))
            case TasksTimedOut() | TasksCancelled() | TasksOverMemory() | TasksUnfit():
                self._perform(self._machine.handle(machine.TasksFailed(message.ids, message)))
            case TasksRefused(ids=ids):
                event = machine.TasksFailed if message.manager else machine.TasksNotTaken
                self._perform(self._machine.handle(event(ids, message)))
            case ManagerJoined():
                self._on_manager_joined(message)
            case ManagerLoss():
                self._on_manager_lost(message)
            case ManagerRefused():
                self._callbacks.manager_refused(message)
            case ManagerPutAside():
                self._callbacks.manager_put_aside(message)
            case Notice(text):
                self._callbacks.user_warned(f"executor {self._label}: {text}")
            case Packages():
                self._packages.on_packages(message)
            case StatusReply():
                reply = None if self._question(message.request) else self._take_reply(message.request)
                if reply is not None:
                    blocks = self._managers.all_blocks(message.blocks)
                    reply.set_result(msgspec.structs.replace(message, blocks=blocks))
            case StandingReply(request):
                question = self._question(request)
                if question is not None and question.hear(message):
                    self._take_reply(request)
            case StandingAtManager(request=request):
                question = self._question(request)
                if question is not None and question.hear_manager(message):
                    self._take_reply(request)
            case _:
                assert_never(message)

    def _question(self, request: int) -> StandingQuestion | None:
        """The question of this number, if it is one where a task is: managers may answer what they like."""
        asked = self._asked.get(request)
        return asked.reply if asked is not None and isinstance(asked.reply, StandingQuestion) else None

    def _on_manager_joined(self, message: ManagerJoined) -> None:
        self._ask_for_packages_again()  # it may not have been asked
        if self._managers.on_joined(message):
            self._callbacks.manager_joined(message)

    def _on_manager_lost(self, message: ManagerLoss) -> None:
        self._managers.on_lost(message.manager)
        self._acknowledgements.forget(message.manager)
        self._perform(self._machine.handle(machine.TasksFailed(message.ids, message)))
        self._callbacks.manager_lost(message)

    def _on_samples(self, message: TaskSamples) -> None:
        if message.left_out:
            text = "executor %s: manager %s left out %d samples of running tasks: this program did not keep up"
            logger.warning(text, self._label, message.manager, message.left_out)
        if self._callbacks.tasks_sampled is not None:
            self._callbacks.tasks_sampled(self._outstanding.samples(message))

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
                case machine.SendTasks(ids):
                    self._send_tasks(self._outstanding.get(ids))
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
                case machine.Resolve():  # comes of reports only
                    raise AssertionError(action)
                case _:
                    assert_never(action)


def _wait_for(reply: Future[T], timeout_s: float) -> T:
    try:
        return reply.result(timeout_s)
    except TimeoutError:
        raise CommandClientTimeoutError(f"the interchange did not answer within {timeout_s:g} s") from None
