"""The submit side of a service (an interchange, a TaskVine manager): its process, the socket to it, and the thread.

Users' threads put tasks and questions into an inbox, and the thread passes them on. A silent service is asked whether
it is there, and killed when it hangs. When it has ended, tasks and questions end with the reason.
"""

from __future__ import annotations

import itertools
import logging
import os
import subprocess
import time
from abc import abstractmethod
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Generic, NamedTuple, Protocol, TypeVar, get_args

from trellis.addresses import tcp_url
from trellis.errors import BadMessage, ExecutorError, InternalConsistencyError, TrellisError
from trellis.executors.common.known_functions import define_functions
from trellis.executors.common.pulse import Pulse
from trellis.executors.common.service_process import ServiceProcess
from trellis.executors.common.submit_thread import SubmitThread
from trellis.transport.context import new_context
from trellis.transport.endpoint import ClientEndpoint
from trellis.transport.keys import load_client_keys
from trellis.transport.service import TURN, Loop
from trellis.wire.codec import BATCH, Buffer, Decoder, encode_header
from trellis.wire.messages import ForgetFunctions, Message, Shutdown

logger = logging.getLogger(__name__)


class ServicePorts(Protocol):
    """Where a service listens."""

    client: int  # for the submit side


P = TypeVar("P", bound=ServicePorts)
T = TypeVar("T")


class Send(NamedTuple):
    """A message to pass on, in its turn among the tasks."""

    frames: list[Buffer]


class Cancel(NamedTuple):
    id: int


class Ask(NamedTuple):
    """A question, and who waits for the answer."""

    request: int
    message: Message
    reply: Future[Any]


class End(NamedTuple):
    """All that is outstanding, and all that comes, fails for this."""

    cause: TrellisError


class ServiceAddress(NamedTuple):
    """How the service is reached, once its port is known."""

    host: str
    cert_dir: str | None  # keys; None: neither authenticated nor encrypted
    name: str = ""  # by which the service shall know this side


class Patience(NamedTuple):
    """How long the service may be silent, in seconds."""

    ask_after_s: float
    hangs_after_s: float  # since it was asked


class ServiceClient(SubmitThread, Generic[P, T]):
    """A service from its start to its end, whatever becomes of its processes.

    A subclass knows what tasks are, and what the messages mean.

    Args:
        label: of the executor.
        kind: of the executor, for the name of the thread.
        process: of the service; not started yet.
        address: of the service.
        patience: with it.
        ping: asks for a sign of life; nobody waits for the answer.
        messages: union of those that the service sends.
        task_type: of the tasks in the inbox.
    """

    # What tasks fail with when the service has died.
    lost_error: type[TrellisError]

    def __init__(
        self,
        label: str,
        kind: str,
        process: ServiceProcess[P],
        address: ServiceAddress,
        patience: Patience,
        ping: Message,
        messages: Any,
        task_type: type[T],
    ) -> None:
        super().__init__(label, kind)
        self._process = process
        self._address = address
        self._patience = patience
        self._ping: list[Buffer] = [encode_header(ping)]
        self._decoder: Decoder[Message] = Decoder(messages)
        self._kinds: tuple[type[Message], ...] = get_args(messages)
        self._task_type = task_type
        self._requests = itertools.count(1)
        self._asked: dict[int, Ask] = {}
        self._dead = False  # the service, and there is no other one
        self._cause: TrellisError | None = None  # of the end, once nothing is to be sent any more

    # -- what a subclass does, on the thread -------------------------------------------------------------------

    @abstractmethod
    def _submit(self, batch: list[T]) -> None:
        """Send these tasks, or fail them."""

    @abstractmethod
    def _on_item(self, item: Any) -> None:
        """Do what a user's thread has put, which is neither a task nor common to all services."""

    @abstractmethod
    def _on_message(self, message: Any, frames: list[Buffer]) -> None:
        """Raises:
        BadMessage: the frames make no sense.
        """

    @abstractmethod
    def _fail_reported(self, ids: list[int], reason: str) -> None:
        """How these tasks ended was reported, but cannot be told."""

    @abstractmethod
    def _fail_outstanding(self, cause: TrellisError) -> None:
        """Fail all tasks, and those that come."""

    @abstractmethod
    def _tell_lost(self, cause: TrellisError) -> None:
        """Tell the owner that there is no service any more."""

    def _on_death(self, failure: TrellisError) -> None:
        """The service has died, and all that it had sent is handled."""
        if self._cause is None:  # else it was told to end
            self._give_up(failure)

    def _next_deadline(self) -> float | None:
        """When ``_on_time`` has something to do."""
        return None

    def _on_time(self, now: float) -> None:
        """Do what is due."""

    def _unanswered(self, cause: TrellisError) -> Exception:
        """What a question fails with."""
        return cause

    def _clean_up(self) -> None:
        """Remove what was there for the service on this host."""

    # -- start and end -----------------------------------------------------------------------------------------

    def start(self) -> P:
        """Start the service and the thread.

        Raises:
            ExecutorError: the service does not start; the message has its last words.
        """
        try:
            self._ports = self._process.start()
        except BaseException:
            self._inbox.close()
            self._clean_up()
            raise
        self._context = new_context()
        self._connect()
        self._start_thread()
        return self._ports

    def _connect(self) -> None:
        host, cert_dir, name = self._address
        keys = None if cert_dir is None else load_client_keys(Path(cert_dir))
        self._endpoint = ClientEndpoint(self._context, keys, name.encode() or None)
        self._endpoint.connect(tcp_url(host, self._ports.client))

    def close(self, timeout_s: float) -> None:
        """End the service and the thread; what is outstanding fails. A second call does nothing."""
        if self._closing:
            return
        self._end_thread(End(ExecutorError(self._label, "it was shut down before the task had ended")))
        self._process.end(timeout_s)
        self._endpoint.close()
        self._context.term()
        self._clean_up()

    # -- any thread --------------------------------------------------------------------------------------------

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The service as it runs now: another one may take its place."""
        return self._process.process

    def fail_all(self, cause: TrellisError) -> None:
        """Fail what is outstanding, and from now on everything."""
        self._put(End(cause))

    def define(self, number: int, function: bytes) -> None:
        self._put(Send(define_functions({number: function})))

    def forget(self, numbers: list[int]) -> None:
        """No task names these functions any more."""
        self._put(Send([encode_header(ForgetFunctions(numbers))]))

    def _ask(self, message: Callable[[int], Message], reply: Future[Any] | None = None) -> Future[Any]:
        """Ask the service; ``message`` makes the question with a number, by which the answer is known.

        Who waits no more may cancel the reply: then the question is forgotten when the next one comes.
        """
        request = next(self._requests)
        reply = Future() if reply is None else reply
        self._put(Ask(request, message(request), reply))
        return reply

    # -- the thread --------------------------------------------------------------------------------------------

    def _work(self) -> None:
        # The service answers to who has spoken: without a word now, it could not tell of the first peers.
        self._send(self._ping)
        while not self._closing:
            if self._dead:
                self._serve_alone()
            elif self._serve():
                self._process.kill()  # what it has left behind, if it was started by a script
                self._dead = True
                words = self._process.last_words()
                self._on_death(self.lost_error(f"the {self._process.what} of executor {self._label} died. {words}"))
        self._on_inbox()

    def _serve(self) -> bool:
        """Serve until the service has died, and all it had sent is handled; False: until the client is closed."""
        self._pulse = Pulse(*self._patience, time.monotonic())
        loop = Loop()
        loop.add_source(self._endpoint, self._on_messages)
        loop.add_fd(self._inbox.fileno(), self._on_inbox)
        sentinel = self._process.open_sentinel()
        deaths: list[bool] = []
        loop.add_fd(sentinel, lambda: deaths.append(True))
        try:
            while not self._closing:
                loop.run_once(self._wait_s())
                self._look_at_time(time.monotonic())
                if deaths:
                    while self._endpoint.readable():
                        self._on_messages()
                    return True
            return False
        finally:
            loop.close()
            os.close(sentinel)

    def _serve_alone(self) -> None:
        """There is no service any more: all that comes fails."""
        loop = Loop()
        loop.add_fd(self._inbox.fileno(), self._on_inbox)
        while not self._closing:
            loop.run_once(None)
        loop.close()

    def _wait_s(self) -> float | None:
        due = [self._next_deadline(), self._pulse.next_deadline() if self._cause is None else None]
        return min((max(0.0, when - time.monotonic()) for when in due if when is not None), default=None)

    def _look_at_time(self, now: float) -> None:
        self._on_time(now)
        if self._cause is not None:  # it may end, and is not asked any more
            return
        match self._pulse.look(now):
            case "ask":
                self._send(self._ping)
            case "hangs":
                self._process.kill(self._pulse.verdict)

    def _on_inbox(self) -> None:
        batch: list[T] = []
        task_type = self._task_type
        for item in self._inbox.drain():
            if isinstance(item, task_type):
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
                case Ask():
                    self._on_question(item)
                case End(cause):
                    self._end(cause)
                case _:
                    self._on_item(item)
        if batch:
            self._submit(batch)

    def _on_messages(self) -> None:
        self._pulse.heard()
        for _ in range(TURN):
            frames = self._endpoint.receive()
            if frames is None:
                return
            try:
                self._on_message(self._decoder.decode(frames[0]), frames[1:])
            except BadMessage as error:  # our own service: a defect, but no reason to stop
                logger.error("a message of the %s is dropped: %s", self._process.what, error)
                ids = self._decoder.tasks_in(frames[0], *self._kinds)
                self._fail_reported(ids, f"how they ended cannot be told: {error}")

    def _send(self, frames: list[Buffer]) -> None:
        if self._cause is None and not self._dead:
            self._endpoint.send(frames)

    # -- questions ---------------------------------------------------------------------------------------------

    def _on_question(self, item: Ask) -> None:
        if self._cause is not None:
            item.reply.set_exception(self._unanswered(self._cause))
            return
        for request in [request for request, asked in self._asked.items() if asked.reply.cancelled()]:
            del self._asked[request]
        self._asked[item.request] = item
        self._send([encode_header(item.message)])

    def _ask_again(self) -> None:
        """All that is not answered, for a service that does not know of it."""
        for item in self._asked.values():
            self._send([encode_header(item.message)])

    def _take_reply(self, request: int) -> Future[Any] | None:
        """Who waits for this answer; None: nobody any more."""
        item = self._asked.pop(request, None)
        return None if item is None else item.reply

    # -- ends --------------------------------------------------------------------------------------------------

    def _give_up(self, cause: TrellisError) -> None:
        logger.error("%s", cause)
        # The executor first: who sees the first failed future finds it in its bad state.
        self._tell_lost(cause)
        self._end(cause)

    def _end(self, cause: TrellisError) -> None:
        # The first cause is the one that explains.
        is_first, self._cause = self._cause is None, self._cause or cause
        # The tasks first: they get their outcomes even when the socket is broken.
        self._fail_outstanding(self._cause)
        for item in self._asked.values():
            if not item.reply.cancelled():
                item.reply.set_exception(self._unanswered(self._cause))
        self._asked.clear()
        if is_first and not self._dead:
            self._endpoint.send([encode_header(Shutdown())])

    def _on_defect(self, failure: InternalConsistencyError) -> None:
        self._end(failure)
        self._tell_lost(failure)
