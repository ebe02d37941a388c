"""The submit side of TaskVine: the manager's process, the socket to it, and the thread that owns both.

Users' threads put tasks into an inbox; outcomes go to the sinks of their attempts. The thread cannot end without
giving every attempt its outcome. Which engine the process is of makes no difference here.
"""

from __future__ import annotations

import itertools
import logging
import os
import time
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from trellis.core.interfaces import Attempt, Outcome, RunInfo
from trellis.errors import (
    BadMessage,
    ExecutorError,
    InternalConsistencyError,
    SerializationError,
    TaskVineManagerFailure,
    TaskVineTaskFailure,
    TrellisError,
)
from trellis.executors.common.outcomes import deliver, outcome_of
from trellis.executors.common.pulse import Pulse, asking_period
from trellis.executors.common.service_process import ServiceProcess
from trellis.executors.common.submit_thread import SubmitThread
from trellis.executors.taskvine.front.outcomes import failure
from trellis.executors.taskvine.front.requests import Ask, Cancel, End, Held, Notices, Send, VineTask
from trellis.executors.taskvine.settings import VinePorts, VineSettings
from trellis.transport.context import new_context
from trellis.transport.endpoint import ClientEndpoint
from trellis.transport.keys import load_client_keys
from trellis.transport.service import TURN, Loop
from trellis.wire.codec import Buffer, Decoder, Payload, encode_checked, encode_header, pack, payload_buffers, unpack
from trellis.wire.messages import DefineFunctions, DrainBlocks, ForgetFunctions, Message, Shutdown
from trellis.wire.vine import (
    CancelVineTasks,
    DeclareFiles,
    DefineShapes,
    DropFiles,
    FetchFile,
    FileFetched,
    FileSpec,
    InstallLibraries,
    LibrarySpec,
    Notice,
    TaskShape,
    ToVineClient,
    VineResults,
    VineStatus,
    VineStatusRequest,
    VineTaskFailed,
    VineTasks,
    WorkerJoined,
    WorkerLeft,
)

logger = logging.getLogger(__name__)

# Tasks in one message: large enough to make the cost of a message nothing, small enough for the first of a flood
# to run while the rest is being packed.
_BATCH = 1_000
# Asks for a sign of life; nobody waits for the answer.
_PING = VineStatusRequest(0)


class VineClient(SubmitThread):
    """One manager, from its start to its end.

    Args:
        process: of the manager; not started yet.
    """

    def __init__(
        self, label: str, process: ServiceProcess[VinePorts], settings: VineSettings, notices: Notices
    ) -> None:
        super().__init__(label, "vine")
        self._settings = settings
        self._process = process
        self._notices = notices
        self._ids = itertools.count()
        self._requests = itertools.count(1)
        self._held: dict[int, Held] = {}
        self._hosts: dict[str, str] = {}  # of workers
        self._asked: dict[int, Future[Any]] = {}
        self._cause: TrellisError | None = None  # once nothing can be sent any more

    # -- start and end -----------------------------------------------------------------------------------------

    def start(self) -> VinePorts:
        """Start the manager and the thread.

        Raises:
            ExecutorError: the manager does not start; the message has its last words.
        """
        try:
            ports = self._process.start()
        except BaseException:
            self._inbox.close()
            raise
        self._context = new_context()
        self._endpoint = ClientEndpoint(self._context, load_client_keys(Path(self._settings.cert_dir)))
        host = self._settings.client_address
        self._endpoint.connect(f"tcp://[{host}]:{ports.client}" if ":" in host else f"tcp://{host}:{ports.client}")
        self._start_thread()
        return ports

    def close(self, timeout_s: float) -> None:
        """End the manager and the thread; what is outstanding fails. A second call does nothing."""
        if self._closing:
            return
        self._end_thread(End(ExecutorError(self._label, "it was shut down before the task had ended")))
        self._process.end(timeout_s)
        self._endpoint.close()
        self._context.term()

    # -- any thread --------------------------------------------------------------------------------------------

    @property
    def outstanding(self) -> int:
        """Tasks without an outcome."""
        return len(self._held)

    def futures(self) -> dict[int, Future[Any]]:
        """Of all tasks without an outcome, by number."""
        held = self._held.copy()
        return {id_: task.attempt.future for id_, task in held.items() if task.attempt.future is not None}

    def next_id(self) -> int:
        return next(self._ids)

    def submit(self, task: VineTask) -> None:
        self._held[task.id] = Held(task.attempt, task.function, task.outputs, task.result_file)
        self._put(task)

    def cancel(self, id_: int) -> None:
        self._put(Cancel(id_))

    def define(self, number: int, data: bytes) -> None:
        sizes, frames = pack([data])
        self._put(Send([encode_header(DefineFunctions([number], sizes)), *frames]))

    def forget(self, numbers: list[int]) -> None:
        self._put(Send([encode_header(ForgetFunctions(numbers))]))

    def define_shape(self, number: int, shape: TaskShape) -> None:
        self._put(Send([encode_header(DefineShapes([number], [shape]))]))

    def declare(self, spec: FileSpec, content: Payload = b"") -> None:
        sizes, frames = pack([content])
        self._put(Send([encode_header(DeclareFiles([spec], sizes)), *frames]))

    def drop_file(self, number: int) -> None:
        self._put(Send([encode_header(DropFiles([number]))]))

    def drain(self, block_ids: Sequence[str]) -> None:
        """Workers of these blocks get nothing more, and end when they are idle."""
        self._put(Send([encode_header(DrainBlocks(list(block_ids)))]))

    def install(self, library: LibrarySpec, arguments: Payload) -> None:
        sizes, frames = pack([arguments])
        self._put(Send([encode_header(InstallLibraries([library], sizes)), *frames]))

    def fetch(self, number: int) -> Future[bytes]:
        """The content of a file at the workers."""
        request = next(self._requests)
        return self._ask(request, FetchFile(request, number))

    def status(self, timeout_s: float) -> VineStatus:
        """Raises:
        TimeoutError: no answer within ``timeout_s``.
        TrellisError: the manager is gone.
        """
        request = next(self._requests)
        status: VineStatus = self._ask(request, VineStatusRequest(request)).result(timeout_s)
        return status

    def fail_all(self, cause: TrellisError) -> None:
        """Fail what is outstanding, and from now on everything."""
        self._put(End(cause))

    def _ask(self, request: int, message: Message) -> Future[Any]:
        reply: Future[Any] = Future()
        self._put(Ask(request, message, reply))
        return reply

    # -- the thread --------------------------------------------------------------------------------------------

    def _on_defect(self, failure: InternalConsistencyError) -> None:
        self._end(failure)
        self._notices.manager_lost(failure)

    def _work(self) -> None:
        # The manager answers to who has spoken: without a word now, it could not tell of the first workers.
        self._endpoint.send([encode_header(_PING)])
        threshold_s = self._settings.heartbeat_threshold_s
        self._pulse = Pulse(
            asking_period(self._settings.heartbeat_period_s, threshold_s), threshold_s, time.monotonic()
        )
        loop = Loop()
        decoder: Decoder[Message] = Decoder(ToVineClient)
        loop.add_source(self._endpoint, lambda: self._on_messages(decoder))
        loop.add_fd(self._inbox.fileno(), self._on_inbox)
        sentinel = self._process.open_sentinel()
        if sentinel is not None:
            loop.add_fd(sentinel, lambda: self._on_process_ended(loop, sentinel, decoder))
        try:
            while not self._closing:
                # Where processes have no sentinel, look once a second.
                loop.run_once(self._patience(None if sentinel is not None else 1.0))
                self._look_at_pulse(time.monotonic())
                if sentinel is None and self._cause is None and self._process.has_ended():
                    self._on_process_ended(loop, None, decoder)
            self._on_inbox()
        finally:
            if sentinel is not None:
                loop.remove_fd(sentinel)
                os.close(sentinel)
            loop.close()

    def _patience(self, at_most_s: float | None) -> float | None:
        if self._cause is not None:
            return at_most_s
        wait_s = max(0.0, self._pulse.next_deadline() - time.monotonic())
        return wait_s if at_most_s is None else min(wait_s, at_most_s)

    def _look_at_pulse(self, now: float) -> None:
        if self._cause is not None:  # it may have ended
            return
        match self._pulse.look(now):
            case "ask":
                self._endpoint.send([encode_header(_PING)])
            case "hangs":
                self._process.kill(self._pulse.verdict)

    def _on_process_ended(self, loop: Loop, sentinel: int | None, decoder: Decoder[Message]) -> None:
        if sentinel is not None:
            loop.remove_fd(sentinel)
        if self._closing or self._cause is not None:  # it was told to end
            return
        while self._endpoint.readable():  # results that it had sent
            self._on_messages(decoder)
        words = self._process.last_words()
        failed = TaskVineManagerFailure(f"the TaskVine manager of executor {self._label} died. {words}")
        logger.error("%s", failed)
        # The executor first: who sees the first failed future finds it in its bad state.
        self._notices.manager_lost(failed)
        self._end(failed)

    def _on_inbox(self) -> None:
        batch: list[VineTask] = []
        for item in self._inbox.drain():
            if type(item) is VineTask:
                batch.append(item)
                if len(batch) == _BATCH:
                    self._submit(batch)
                    batch = []
                continue
            if batch:
                self._submit(batch)
                batch = []
            match item:
                case Send(frames):
                    self._send(frames)
                case Cancel(id_):
                    if id_ in self._held:
                        self._send([encode_header(CancelVineTasks([id_]))])
                case Ask():
                    self._send_question(item)
                case End(cause):
                    self._end(cause)
        if batch:
            self._submit(batch)

    def _submit(self, batch: list[VineTask]) -> None:
        if self._cause is not None:
            self._fail([task.id for task in batch if task.id in self._held], self._cause)
            return
        ids, functions, shapes, arguments, inputs, outputs, result_files, _ = zip(*batch, strict=True)
        sizes, frames = pack(arguments)
        header = VineTasks(
            list(ids),
            list(functions),
            list(shapes),
            sizes,
            {position: mounts for position, mounts in enumerate(inputs) if mounts},
            {position: mounts for position, mounts in enumerate(outputs) if mounts},
            {position: number for position, number in enumerate(result_files) if number >= 0},
        )
        try:
            encoded = encode_checked(header)
        except SerializationError as error:
            for task in batch if len(batch) > 1 else ():
                self._submit([task])
            if len(batch) == 1:
                self._fail([batch[0].id], error)
        else:
            self._send([encoded, *frames])

    def _send_question(self, item: Ask) -> None:
        if self._cause is not None:
            item.reply.set_exception(self._cause)
            return
        self._asked[item.request] = item.reply
        self._send([encode_header(item.message)])

    def _send(self, frames: list[Buffer]) -> None:
        if self._cause is None:
            self._endpoint.send(frames)

    def _end(self, cause: TrellisError) -> None:
        ended, self._cause = self._cause is not None, self._cause or cause
        # The tasks first: they get their outcomes even when the socket is broken.
        self._fail(list(self._held), self._cause)
        for reply in self._asked.values():
            reply.set_exception(self._cause)
        self._asked.clear()
        if not ended:
            self._endpoint.send([encode_header(Shutdown())])

    def _fail(self, ids: Sequence[int], cause: TrellisError) -> None:
        held = [self._held.pop(id_) for id_ in ids]
        self._notices.ended(held)
        deliver([(task.attempt, Outcome(None, cause)) for task in held])

    # -- messages ----------------------------------------------------------------------------------------------

    def _on_messages(self, decoder: Decoder[Message]) -> None:
        self._pulse.heard()
        for _ in range(TURN):
            frames = self._endpoint.receive()
            if frames is None:
                return
            try:
                self._on_message(decoder.decode(frames[0]), frames[1:])
            except BadMessage as error:  # our own manager: a defect, but no reason to stop
                logger.error("a message of the manager is dropped: %s", error)

    def _on_message(self, message: Message, frames: list[Buffer]) -> None:
        match message:
            case VineResults():
                self._on_results(message, frames)
            case VineTaskFailed(id=id_):
                held = self._held.pop(id_, None)
                if held is not None:
                    self._notices.ended([held])
                    deliver([(held.attempt, Outcome(None, failure(message, held.attempt)))])
            case WorkerJoined():
                self._hosts[message.worker] = message.hostname
                self._notices.worker_joined(message)
            case WorkerLeft():
                self._notices.worker_left(message)
            case Notice(text=text):
                self._notices.notice(text)
            case FileFetched():
                reply = self._asked.pop(message.request, None)
                if reply is not None:
                    self._answer(reply, message, unpack(message.sizes, frames))
            case VineStatus():
                reply = self._asked.pop(message.request, None)
                if reply is not None:
                    reply.set_result(message)

    @staticmethod
    def _answer(reply: Future[Any], message: FileFetched, payloads: list[Payload]) -> None:
        if message.error:
            reply.set_exception(TaskVineTaskFailure(f"a file cannot be fetched: {message.error}", "input_missing"))
            return
        (content,) = payloads
        reply.set_result(b"".join(payload_buffers(content)))

    def _on_results(self, message: VineResults, frames: list[Buffer]) -> None:
        failed = set(message.failed)
        hostname = self._hosts.get(message.worker, "")
        outcomes: list[tuple[Attempt, Outcome]] = []
        ended: list[Held] = []
        for position, payload in enumerate(unpack(message.sizes, frames)):
            held = self._held.pop(message.ids[position], None)
            if held is None:
                continue
            ended.append(held)
            info = RunInfo(hostname, "", message.worker, 0, message.started[position], message.durations_s[position])
            if held.result_file >= 0 and position not in failed:
                outcome = Outcome(None, None, info)
            else:
                outcome = outcome_of(payload, position in failed, info)
            made = held.outputs or held.attempt.kwargs.get("outputs")
            if outcome.exception is None and (made or held.result_file >= 0):
                try:
                    outcome.value = self._notices.kept(held, outcome.value)
                except OSError as error:
                    lost = VineTaskFailed(message.ids[position], "output_transfer_error", str(error))
                    outcome = Outcome(None, failure(lost, held.attempt), info)
            outcomes.append((held.attempt, outcome))
        self._notices.ended(ended)
        deliver(outcomes)
