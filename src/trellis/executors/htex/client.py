"""The submit side: the interchange's process, the socket to it, and the thread that owns both.

Users' threads put tasks into an inbox; outcomes go to the sinks of their attempts. The thread cannot end without
giving every attempt its outcome.
"""

from __future__ import annotations

import itertools
import logging
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple

from trellis.core.interfaces import Attempt, Outcome, RunInfo
from trellis.errors import (
    BadMessage,
    CommandClientBadError,
    CommandClientTimeoutError,
    ExecutorError,
    InterchangeLost,
    InternalConsistencyError,
    TrellisError,
)
from trellis.executors.htex import submission as machine
from trellis.executors.htex.functions import FunctionTable
from trellis.executors.htex.interchange_process import InterchangeProcess
from trellis.executors.htex.outcomes import deliver, failure, outcome_of
from trellis.executors.htex.settings import Ports, Settings
from trellis.transport.context import new_context
from trellis.transport.endpoint import ClientEndpoint
from trellis.transport.inbox import Inbox
from trellis.transport.keys import load_client_keys
from trellis.transport.service import TURN, Loop
from trellis.transport.shared_directory import remove_directory
from trellis.transport.shared_files import Arguments, is_large, is_reference, read
from trellis.wire.codec import Buffer, Decoder, Payload, encode_header, pack, unpack
from trellis.wire.messages import (
    CancelTasks,
    DefineFunctions,
    ForgetFunctions,
    ManagerJoined,
    ManagerLost,
    ManagerRefused,
    Message,
    Results,
    Shutdown,
    StatusReply,
    StatusRequest,
    Tasks,
    TasksCancelled,
    TasksTimedOut,
    ToSubmitSide,
    WorkerLost,
)
from trellis.wire.payload import dump_call

logger = logging.getLogger(__name__)

# Tasks in one message: large enough to make the cost of a message nothing, small enough for the first of a flood
# to run while the rest is being packed.
_BATCH = 1_000


class _Task(NamedTuple):
    id: int
    function: int
    arguments: Payload
    priority: float
    walltime_s: float
    attempt: Attempt


class _Send(NamedTuple):
    """A message to pass on, in its turn among the tasks."""

    frames: list[Buffer]


class _Cancel(NamedTuple):
    id: int


class _Ask(NamedTuple):
    reply: Future[StatusReply]


class _End(NamedTuple):
    """All that is outstanding, and all that comes, fails for this."""

    cause: TrellisError


class Notices(NamedTuple):
    """What the owner of the client wants to hear of; called on the client's thread, so they return at once."""

    manager_joined: Callable[[ManagerJoined], None]
    manager_lost: Callable[[ManagerLost], None]
    manager_refused: Callable[[ManagerRefused], None]
    interchange_lost: Callable[[TrellisError], None]


class InterchangeClient:
    """One interchange, from its start to its end."""

    def __init__(self, label: str, command: Sequence[str], settings: Settings, notices: Notices) -> None:
        self._label = label
        self._settings = settings
        self._process = InterchangeProcess(label, command, settings)
        self._notices = notices
        self._inbox: Inbox[Any] = Inbox()
        self._ids = itertools.count()
        self._requests = itertools.count()
        self._machine = machine.Submission()
        self._attempts: dict[int, Attempt] = {}  # with the numbers of their functions as notes
        self._files = None if settings.shared_dir is None else Arguments(settings.shared_dir)
        self._references: dict[int, bytes] = {}  # to the arguments of tasks that went into files
        self._sending: dict[int, _Task] = {}  # tasks of the batch that is being submitted
        self._functions = FunctionTable(self._define, self._forget)
        self._where: dict[str, tuple[str, str]] = {}  # hostname and block of each manager
        self._asked: dict[int, Future[StatusReply]] = {}
        self._ended = False  # by a cause of which the machine knows
        self._closing = False
        # Held by who takes the inbox's last items; a future's callback may put another one meanwhile.
        self._closed = threading.RLock()
        self._finished = False

    # -- start and end -----------------------------------------------------------------------------------------

    def start(self) -> Ports:
        """Start the interchange and the thread.

        Raises:
            ExecutorError: the interchange does not start; the message has its last words.
        """
        try:
            ports = self._process.start()
        except BaseException:
            self._inbox.close()
            remove_directory(self._settings.shared_dir)
            raise
        self._context = new_context()
        cert_dir = self._settings.cert_dir
        keys = None if cert_dir is None else load_client_keys(Path(cert_dir))
        self._endpoint = ClientEndpoint(self._context, keys)
        host = self._settings.client_address
        self._endpoint.connect(f"tcp://[{host}]:{ports.client}" if ":" in host else f"tcp://{host}:{ports.client}")
        self._thread = threading.Thread(target=self._run, name=f"trellis-htex-{self._label}", daemon=True)
        self._thread.start()
        return ports

    def close(self, timeout_s: float) -> None:
        """End the interchange and the thread; what is outstanding fails. A second call does nothing."""
        if self._closing:
            return
        self._closing = True
        self._inbox.put(_End(ExecutorError(self._label, "it was shut down before the task had ended")))
        self._thread.join()
        self._process.end(timeout_s)
        self._endpoint.close()
        self._context.term()
        remove_directory(self._settings.shared_dir)

    # -- any thread --------------------------------------------------------------------------------------------

    @property
    def outstanding(self) -> int:
        """Tasks without an outcome."""
        return self._machine.outstanding + len(self._inbox)

    def submit(self, attempt: Attempt, priority: float) -> None:
        """Take an attempt.

        Raises:
            SerializationError: its function or its arguments cannot be serialized.
        """
        number = self._functions.intern(attempt.func)
        id_ = next(self._ids)
        try:
            arguments = dump_call(attempt.args, attempt.kwargs, attempt.name, snapshot=self._files is None)
            if self._files is not None and is_large(arguments):
                arguments = self._as_file(id_, self._files, arguments)
        except BaseException:
            self._functions.release((number,))
            raise
        attempt.executor_id = id_
        attempt.executor_note = number
        self._put(_Task(id_, number, arguments, priority, attempt.walltime_s or 0.0, attempt))

    def _as_file(self, id_: int, files: Arguments, arguments: Payload) -> Payload:
        reference = files.write(arguments)
        if reference is None:  # no room: through the sockets, as a copy of what belongs to the caller
            return tuple(map(bytes, arguments)) if type(arguments) is tuple else arguments
        self._references[id_] = reference
        return reference

    def cancel(self, attempt: Attempt) -> None:
        self._put(_Cancel(attempt.executor_id))

    def send(self, message: Message) -> None:
        self._put(_Send([encode_header(message)]))

    def fail_all(self, cause: TrellisError) -> None:
        """Fail what is outstanding, and from now on everything."""
        self._put(_End(cause))

    def status(self, timeout_s: float) -> StatusReply:
        """Ask the interchange how things are.

        Raises:
            CommandClientTimeoutError: no answer within ``timeout_s``.
            CommandClientBadError: the interchange is gone.
        """
        reply: Future[StatusReply] = Future()
        self._put(_Ask(reply))
        try:
            return reply.result(timeout_s)
        except TimeoutError:
            raise CommandClientTimeoutError(f"the interchange did not answer within {timeout_s:g} s") from None

    def _put(self, item: object) -> None:
        self._inbox.put(item)
        if self._finished:  # nobody drains any more: do it here, so that nothing waits for ever
            with self._closed:
                self._on_inbox()

    def _define(self, number: int, data: bytes) -> None:
        sizes, frames = pack([data])
        self._put(_Send([encode_header(DefineFunctions([number], sizes)), *frames]))

    def _forget(self, numbers: list[int]) -> None:
        self._put(_Send([encode_header(ForgetFunctions(numbers))]))

    # -- the thread --------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._serve()
        except Exception as error:
            logger.exception("the thread of executor %s failed", self._label)
            failure = InternalConsistencyError(f"the thread of executor {self._label} failed: {error!r}")
            self._end(failure)
            self._notices.interchange_lost(failure)
        finally:
            with self._closed:
                self._finished = True
                self._on_inbox()
                self._inbox.close()

    def _serve(self) -> None:
        # The interchange answers to who has spoken: without a word now, it could not tell of the first managers.
        self._send([encode_header(StatusRequest(next(self._requests)))])
        loop = Loop()
        decoder: Decoder[Message] = Decoder(ToSubmitSide)
        loop.add_source(self._endpoint, lambda: self._on_messages(decoder))
        loop.add_fd(self._inbox.fileno(), self._on_inbox)
        sentinel = self._process.open_sentinel()
        if sentinel is not None:
            loop.add_fd(sentinel, lambda: self._on_process_ended(loop, sentinel, decoder))
        try:
            while not self._closing:
                # Where processes have no sentinel, look once a second.
                loop.run_once(None if sentinel is not None else 1.0)
                if sentinel is None and self._process.has_ended() and not self._ended:
                    self._on_process_ended(loop, None, decoder)
            self._on_inbox()
        finally:
            if sentinel is not None:
                loop.remove_fd(sentinel)
                os.close(sentinel)
            loop.close()

    def _on_process_ended(self, loop: Loop, sentinel: int | None, decoder: Decoder[Message]) -> None:
        if sentinel is not None:
            loop.remove_fd(sentinel)
        if self._closing:
            return
        while self._endpoint.readable():  # results that it had sent
            self._on_messages(decoder)
        failure = InterchangeLost(f"the interchange of executor {self._label} died. {self._process.last_words()}")
        logger.error("%s", failure)
        # The executor first: who sees the first failed future finds it in its bad state.
        self._notices.interchange_lost(failure)
        self._end(failure)

    def _on_inbox(self) -> None:
        batch: list[_Task] = []
        for item in self._inbox.drain():
            if type(item) is _Task:
                batch.append(item)
                if len(batch) == _BATCH:
                    self._submit(batch)
                    batch = []
                continue
            if batch:
                self._submit(batch)
                batch = []
            match item:
                case _Send(frames):
                    self._send(frames)
                case _Cancel(id_):
                    self._perform(self._machine.handle(machine.CancelRequested([id_])))
                case _Ask(reply):
                    self._ask(reply)
                case _End(cause):
                    self._end(cause)
        if batch:
            self._submit(batch)

    def _submit(self, batch: list[_Task]) -> None:
        self._sending = {task.id: task for task in batch}
        self._attempts.update((task.id, task.attempt) for task in batch)
        self._perform(self._machine.handle(machine.TasksSubmitted(list(self._sending))))
        self._sending = {}

    def _ask(self, reply: Future[StatusReply]) -> None:
        if self._ended:
            reply.set_exception(CommandClientBadError("the interchange is gone"))
            return
        request = next(self._requests)
        self._asked[request] = reply
        self._send([encode_header(StatusRequest(request))])

    def _end(self, cause: TrellisError) -> None:
        ended, self._ended = self._ended, True
        # The tasks first: they get their outcomes even when the socket is broken.
        self._perform(self._machine.handle(machine.ConnectionLost(cause)))
        if not ended:
            self._endpoint.send([encode_header(Shutdown())])
        for reply in self._asked.values():
            reply.set_exception(CommandClientBadError(str(cause)))
        self._asked.clear()

    def _send(self, frames: list[Buffer]) -> None:
        if not self._ended:
            self._endpoint.send(frames)

    # -- messages ----------------------------------------------------------------------------------------------

    def _on_messages(self, decoder: Decoder[Message]) -> None:
        for _ in range(TURN):
            frames = self._endpoint.receive()
            if frames is None:
                return
            try:
                self._on_message(decoder.decode(frames[0]), frames[1:])
            except BadMessage as error:  # our own interchange: a defect, but no reason to stop
                logger.error("a message of the interchange is dropped: %s", error)

    def _on_message(self, message: Message, frames: list[Buffer]) -> None:
        match message:
            case Results():
                self._on_results(message, frames)
            case ManagerLost():
                self._perform(self._machine.handle(machine.TasksFailed(message.ids, message)))
                self._notices.manager_lost(message)
            case WorkerLost():
                self._perform(self._machine.handle(machine.TasksFailed([message.id], message)))
            case TasksTimedOut() | TasksCancelled():
                self._perform(self._machine.handle(machine.TasksFailed(message.ids, message)))
            case ManagerJoined():
                self._where[message.manager] = (message.hostname, message.block)
                self._notices.manager_joined(message)
            case ManagerRefused():
                self._notices.manager_refused(message)
            case StatusReply():
                reply = self._asked.pop(message.request, None)
                if reply is not None:
                    reply.set_result(message)

    def _on_results(self, message: Results, frames: list[Buffer]) -> None:
        payloads = unpack(message.sizes, frames)
        if self._files is not None:
            payloads = [self._open(payload) if is_reference(payload) else payload for payload in payloads]
        hostname, block = self._where.get(message.manager, ("", ""))
        failed = set(message.failed)
        for action in self._machine.handle(machine.ResultsArrived(message.ids)):
            assert isinstance(action, machine.Resolve)
            outcomes = []
            numbers = []
            for id_, position in zip(action.ids, action.positions, strict=True):
                attempt = self._take(id_)
                numbers.append(attempt.executor_note)
                run_info = RunInfo(
                    hostname,
                    block,
                    message.manager,
                    message.workers[position],
                    message.started[position],
                    message.durations_s[position],
                )
                outcomes.append((attempt, outcome_of(payloads[position], position in failed, run_info)))
            self._functions.release(numbers)
            deliver(outcomes)

    def _open(self, reference: Payload) -> Payload:
        """A result that came as a file; also of tasks that do not count any more, so that the file goes."""
        assert self._files is not None
        try:
            return read(reference, self._files.directory, delete=True)
        except (OSError, BadMessage) as error:
            logger.error("a result is lost: %s", error)
            return b""  # cannot be unpickled: that task fails

    def _take(self, id_: int) -> Attempt:
        """A task has ended."""
        if self._references:
            reference = self._references.pop(id_, None)
            if reference is not None and self._files is not None:
                self._files.delete(reference)
        return self._attempts.pop(id_)

    # -- actions -----------------------------------------------------------------------------------------------

    def _perform(self, actions: Sequence[machine.Action]) -> None:
        for action in actions:
            match action:
                case machine.SendTasks():
                    self._send_tasks(list(self._sending.values()))
                case machine.SendCancel(ids):
                    self._send([encode_header(CancelTasks(ids))])
                case machine.Fail(ids, cause):
                    ended = [self._take(id_) for id_ in ids]
                    self._functions.release([attempt.executor_note for attempt in ended])
                    deliver(
                        [
                            (attempt, Outcome(None, failure(cause, position, attempt, self._label)))
                            for position, attempt in enumerate(ended)
                        ]
                    )

    def _send_tasks(self, batch: list[_Task]) -> None:
        ids, functions, arguments, priorities, walltimes_s, _ = zip(*batch, strict=True)
        sizes, frames = pack(arguments)
        header = Tasks(
            list(ids),
            list(functions),
            sizes,
            list(priorities) if any(priorities) else None,
            list(walltimes_s) if any(walltimes_s) else None,
        )
        self._send([encode_header(header), *frames])
