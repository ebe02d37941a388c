"""The submit side of TaskVine: what its manager is told of tasks and files, and what becomes of them.

Which engine the manager's process is of makes no difference here.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any, assert_never

from trellis.core.interfaces import Attempt, Outcome, RunInfo
from trellis.core.reports import Begun
from trellis.errors import (
    ExecutorError,
    SerializationError,
    TaskVineManagerFailure,
    TaskVineTaskFailure,
    TrellisError,
)
from trellis.executors.common.outcomes import outcome_of
from trellis.executors.common.pulse import asking_period
from trellis.executors.common.service_client import Cancel, Patience, Send, ServiceAddress, ServiceClient
from trellis.executors.common.service_process import ServiceProcess
from trellis.executors.common.sinks import deliver, tell_begun
from trellis.executors.taskvine.front.outcomes import failure
from trellis.executors.taskvine.front.outstanding_tasks import OutstandingTask, PreparedTask, VineCallbacks
from trellis.executors.taskvine.settings import VinePorts, VineSettings
from trellis.executors.taskvine.task_use import usage
from trellis.wire.codec import Buffer, Payload, encode_checked, encode_header, pack, payload_buffers, unpack
from trellis.wire.measures import TaskSamples
from trellis.wire.messages import DrainBlocks
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
    TaskShape,
    ToVineClient,
    VineNotice,
    VineResults,
    VineStatus,
    VineStatusRequest,
    VineTaskFailed,
    VineTasks,
    WorkerJoined,
    WorkerLeft,
)
from trellis.wire.vine_watching import VineFilesSeen, VineStanding, VineStandingRequest, VineTasksRunning


class VineClient(ServiceClient[VinePorts, PreparedTask]):
    """The manager of an executor, from its start to its end.

    Args:
        process: of the manager; not started yet.
    """

    lost_error = TaskVineManagerFailure

    def __init__(
        self, label: str, process: ServiceProcess[VinePorts], settings: VineSettings, callbacks: VineCallbacks
    ) -> None:
        threshold_s = settings.heartbeat_threshold_s
        super().__init__(
            label,
            "vine",
            process,
            ServiceAddress(settings.client_address, settings.cert_dir, settings.client_name),
            Patience(asking_period(settings.heartbeat_period_s, threshold_s), threshold_s),
            ping=VineStatusRequest(0),
            messages=ToVineClient,
            task_type=PreparedTask,
        )
        self._callbacks = callbacks
        self._ids = itertools.count()
        self._outstanding: dict[int, OutstandingTask] = {}
        self._begun: dict[int, Begun] = {}  # where those run that were said to
        self._places: dict[str, tuple[str, str]] = {}  # host and block of each worker there has been

    # -- any thread --------------------------------------------------------------------------------------------

    @property
    def outstanding(self) -> int:
        """Tasks without an outcome."""
        return len(self._outstanding)

    def futures(self) -> dict[int, Future[Any]]:
        """The futures of all tasks without an outcome, by number."""
        held = self._outstanding.copy()
        return {id_: task.attempt.future for id_, task in held.items() if task.attempt.future is not None}

    def next_id(self) -> int:
        return next(self._ids)

    def submit(self, task: PreparedTask) -> None:
        self._outstanding[task.id] = OutstandingTask(task.attempt, task.function, task.outputs, task.result_file)
        self._put(task)

    def cancel(self, id_: int) -> None:
        self._put(Cancel(id_))

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
        return self._ask(lambda request: FetchFile(request, number))

    def status(self, timeout_s: float) -> VineStatus:
        """Raises:
        TimeoutError: no answer within ``timeout_s``.
        TrellisError: the manager is gone.
        """
        status: VineStatus = _wait_for(self._ask(VineStatusRequest), timeout_s)
        return status

    def standing(self, id_: int, timeout_s: float) -> VineStanding:
        """Where a task is. Raises as ``status`` does."""
        standing: VineStanding = _wait_for(self._ask(lambda request: VineStandingRequest(request, id_)), timeout_s)
        return standing

    def has(self, id_: int) -> bool:
        """Whether a task has no outcome yet."""
        return id_ in self._outstanding

    def where_it_runs(self, id_: int) -> Begun | None:
        """Where a task runs, if its worker has said that it does: nobody is asked."""
        return self._begun.get(id_)

    def place_of(self, worker: str) -> tuple[str, str]:
        """Host and block of a worker; empty when they are not known."""
        return self._places.get(worker, ("", ""))

    # -- the thread --------------------------------------------------------------------------------------------

    def _on_item(self, item: Cancel) -> None:
        if item.id in self._outstanding:
            self._send([encode_header(CancelVineTasks([item.id]))])

    def _submit(self, batch: list[PreparedTask]) -> None:
        if self._cause is not None:
            self._fail([task.id for task in batch if task.id in self._outstanding], self._cause)
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

    def _tell_lost(self, cause: TrellisError) -> None:
        self._callbacks.manager_lost(cause)

    def _fail_outstanding(self, cause: TrellisError) -> None:
        self._fail(list(self._outstanding), cause)

    def _fail_reported(self, ids: list[int], reason: str) -> None:
        for id_ in dict.fromkeys(ids):
            if id_ in self._outstanding:
                name = self._outstanding[id_].attempt.name
                self._fail([id_], ExecutorError(self._label, f"{name} was refused: {reason}"))

    def _take(self, id_: int) -> OutstandingTask | None:
        """A task has its outcome; None: it had it before."""
        if self._begun:
            self._begun.pop(id_, None)
        return self._outstanding.pop(id_, None)

    def _fail(self, ids: Sequence[int], cause: TrellisError) -> None:
        held = [task for id_ in ids if (task := self._take(id_)) is not None]
        self._callbacks.ended(held)
        deliver([(task.attempt, Outcome(None, cause)) for task in held])

    # -- messages ----------------------------------------------------------------------------------------------

    def _on_message(self, message: ToVineClient, frames: list[Buffer]) -> None:
        match message:
            case VineResults():
                self._on_results(message, frames)
            case VineTaskFailed(id=id_):
                held = self._take(id_)
                if held is not None:
                    self._callbacks.ended([held])
                    deliver([(held.attempt, Outcome(None, failure(message, held.attempt)))])
            case WorkerJoined():
                self._places[message.worker] = (message.hostname, message.block)
                self._callbacks.worker_joined(message)
            case WorkerLeft(worker=worker):
                self._begun = {id_: begun for id_, begun in self._begun.items() if begun.manager_id != worker}
                self._callbacks.worker_left(message)
            case VineNotice(text=text):
                self._callbacks.notice(text)
            case FileFetched():
                reply = self._take_reply(message.request)
                if reply is not None:
                    self._answer(reply, message, unpack(message.sizes, frames))
            case VineStatus() | VineStanding():
                reply = self._take_reply(message.request)
                if reply is not None and reply.set_running_or_notify_cancel():
                    reply.set_result(message)
            case VineTasksRunning():
                self._on_running(message)
            case TaskSamples():
                self._callbacks.sampled(message, self._attempts(message.ids))
            case VineFilesSeen():
                self._callbacks.files_seen(message)
            case _:
                assert_never(message)

    def _on_running(self, message: VineTasksRunning) -> None:
        place, news = self.place_of(message.worker), list[tuple[Attempt, Begun]]()
        for id_, started in zip(message.ids, message.started, strict=True):
            held = self._outstanding.get(id_)
            if held is not None:  # perhaps again: where it ran before is lost
                self._begun[id_] = begun = Begun(*place, message.worker, 0, started)
                news.append((held.attempt, begun))
        tell_begun(news)

    def _attempts(self, ids: Sequence[int]) -> dict[int, Attempt]:
        return {id_: held.attempt for id_ in ids if (held := self._outstanding.get(id_)) is not None}

    @staticmethod
    def _answer(reply: Future[Any], message: FileFetched, payloads: list[Payload]) -> None:
        if message.error:
            reply.set_exception(TaskVineTaskFailure(f"a file cannot be fetched: {message.error}", "input_missing"))
            return
        (content,) = payloads
        reply.set_result(b"".join(payload_buffers(content)))

    def _on_results(self, message: VineResults, frames: list[Buffer]) -> None:
        failed = set(message.failed)
        place = self.place_of(message.worker)
        outcomes: list[tuple[Attempt, Outcome]] = []
        ended: list[OutstandingTask] = []
        for position, payload in enumerate(unpack(message.sizes, frames)):
            held = self._take(message.ids[position])
            if held is None:
                continue
            ended.append(held)
            use = None if message.used is None else usage(message.used[position])
            times = message.started[position], message.durations_s[position]
            info = RunInfo(*place, message.worker, 0, *times, use)
            if held.result_file >= 0 and position not in failed:
                outcome = Outcome(None, None, info)
            else:
                outcome = outcome_of(payload, position in failed, info)
            made = held.outputs or held.attempt.kwargs.get("outputs")
            if outcome.exception is None and (made or held.result_file >= 0):
                try:
                    outcome.value = self._callbacks.kept(held, outcome.value)
                except OSError as error:
                    lost = VineTaskFailed(message.ids[position], "output_transfer_error", str(error))
                    outcome = Outcome(None, failure(lost, held.attempt), info)
            outcomes.append((held.attempt, outcome))
        self._callbacks.ended(ended)
        deliver(outcomes)


def _wait_for(reply: Future[Any], timeout_s: float) -> Any:
    """The answer; raises as ``VineClient.status`` does. What comes later is dropped."""
    try:
        return reply.result(timeout_s)
    except TimeoutError:
        reply.cancel()
        raise
