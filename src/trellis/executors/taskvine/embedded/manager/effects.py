"""Does what the machine of a TaskVine manager decides: sends orders, reports and files. Decides nothing itself."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from trellis.executors.taskvine.embedded.manager import events
from trellis.executors.taskvine.embedded.manager.file_registry import Declarations
from trellis.executors.taskvine.embedded.manager.manager_files import Origin
from trellis.executors.taskvine.embedded.manager.output_retrieval import Homecoming
from trellis.executors.taskvine.embedded.manager.payload_store import Frames, TaskBook
from trellis.executors.taskvine.embedded.manager.relay import Relay
from trellis.executors.taskvine.embedded.manager.state import VineManagerState
from trellis.executors.taskvine.embedded.manager.status import status_of
from trellis.executors.taskvine.embedded.manager.transactions import Transactions
from trellis.executors.taskvine.embedded.manager.transfer_counters import MANAGER, URL, WORKER, Traffic
from trellis.executors.taskvine.settings import VineSettings
from trellis.transport.endpoint import ServerEndpoint
from trellis.transport.service import Loop
from trellis.wire.codec import Buffer, encode_header, pack
from trellis.wire.messages import DismissManager, Message, Refused
from trellis.wire.vine import (
    Evict,
    FileChunk,
    FileFetched,
    GetFile,
    KillTasks,
    Notice,
    SendFile,
    StopLibrary,
    VineStatus,
    VineTaskFailed,
    WelcomeWorker,
    WorkerJoined,
    WorkerLeft,
)

logger = logging.getLogger("trellis.vine.manager")


class Performer:
    """Owned by the manager's one thread.

    Args:
        handle: takes what comes of it: files that have come home, or have names.
        resume: called when the submit side may be heard again, after a declaration that took its time.
    """

    def __init__(
        self,
        settings: VineSettings,
        loop: Loop,
        state: VineManagerState,
        clients: ServerEndpoint,
        workers: ServerEndpoint,
        handle: Callable[[events.Event], None],
        resume: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._state = state
        self._clients = clients
        self._workers = workers
        self._handle = handle
        self._resume = resume
        self.client: bytes | None = None  # who has spoken last on the submit side
        self.origin = Origin(Path(settings.logdir) / "spool")
        self.transactions = Transactions(Path(settings.logdir))
        self.declarations = Declarations(loop, self.origin, self._on_declared)
        self.homecoming = Homecoming(
            loop, self.origin, self.to_worker, self._on_came_home, self._on_fetched, self.transactions.came_home
        )
        self.book = TaskBook(state.file_name, self.declarations.level)
        self.traffic = Traffic()
        self.relay = Relay(self._holders, self.to_worker, self._send_piece)
        self._fetches: dict[int, int] = {}  # by request of the submit side that has no answer yet: the file
        self._done = self._failed = 0

    def close(self) -> None:
        """Give up what is on its way, and remove what was put down for it."""
        self.declarations.close()
        self.homecoming.close()
        self.origin.close()
        self.transactions.close()

    def status(self, request: int) -> VineStatus:
        return status_of(self._state, self.traffic, self._done, self._failed, request, time.monotonic())

    def _on_declared(self, declared: events.FilesDeclared, waited: bool) -> None:
        if waited:
            self._resume()
        self._handle(declared)

    # -- files that workers ask for ----------------------------------------------------------------------------

    def serve(self, worker: str, request: SendFile) -> None:
        """A worker wants a piece of a file: of this host, or of one that only other workers have."""
        if not self.origin.has(request.name) and self.relay.request(worker, request):
            return
        chunk, data = self.origin.serve(request)
        self._send_piece(worker, chunk, data)

    def on_chunk(self, worker: str, chunk: FileChunk, data: Buffer) -> None:
        """A worker has sent a piece of a file."""
        self.homecoming.on_chunk(worker, chunk, data)
        if self.relay.on_chunk(worker, chunk, data):
            self._handle(events.CacheFailed(worker, chunk.name, chunk.error))

    def _holders(self, name: str) -> set[str]:
        file = self._state.store.replicas.get(name)
        return set() if file is None else file.ready

    def _send_piece(self, worker: str, chunk: FileChunk, data: Buffer) -> None:
        self.traffic.sent_by_manager += len(data)
        self._workers.send(worker.encode(), [encode_header(chunk), data])

    # -- files that the submit side asks for -------------------------------------------------------------------

    def fetch(self, request: int, file: int) -> None:
        """The submit side wants the content of a file."""
        self._fetches[request] = file
        self._handle(events.FetchRequested(request, file))

    def _on_came_home(self, name: str, error: str) -> None:
        self._handle(events.CameHome(name, error))

    def _on_fetched(self, request: int, error: str, content: bytes) -> None:
        self._fetches.pop(request, None)
        sizes, frames = pack([content])
        self._to_client_raw([encode_header(FileFetched(request, error, sizes)), *frames])

    # -- actions -----------------------------------------------------------------------------------------------

    def perform(self, action: events.Action) -> None:
        match action:
            case events.RunTasks(worker, ids, allocations):
                self.transactions.running(worker, ids, allocations)
                used: Callable[[list[str]], None] = lambda names: self.traffic.used(worker, names)  # noqa: E731
                self.send_all((worker, frames) for frames in self.book.run(action, used))
            case events.ReportDone(worker, ids, kept):
                self._done += len(ids)
                self.transactions.done(ids)
                self._to_client_raw(self.book.report(worker, ids, kept))
            case events.DropResults(worker, ids):
                self.book.drop_results(worker, ids)
            case events.ForgetTasks(ids):
                self.transactions.forget(ids)
                self.send_all(self.book.forget_tasks(ids))
            case events.OrderFile(worker, name, source):
                self._order_file(worker, name, source)
            case events.EvictFiles(worker, names):
                self.to_worker(worker, Evict(names))
            case events.ForgetFiles(names):
                self.declarations.forget(names)
                self.traffic.forgotten(names)
                self.relay.forgotten(names)
            case events.KillTasks(worker, ids):
                self.to_worker(worker, KillTasks(ids))
            case events.BringHome(worker, name):
                self.homecoming.bring(worker, name)
            case events.ReportFailed(id_, status, reason, exit_code):
                self._failed += 1
                self.transactions.failed(id_, status, exit_code)
                self.send_all(self.book.forget_tasks([id_]))
                self.to_client(VineTaskFailed(id_, status, reason, exit_code))
            case events.AnswerFetch(request, worker, name, error):
                if error:
                    self._on_fetched(request, error, b"")
                else:
                    self.homecoming.fetch(request, worker, name)
            case _:
                self._perform_rare(action)

    def _perform_rare(self, action: events.Action) -> None:
        match action:
            case events.StartLibrary(worker, library, instance, resources):
                self.transactions.library_sent(worker, library, instance, resources)
                self.send_all((worker, frames) for frames in self.book.start_library(action))
            case events.StopLibrary(worker, instance):
                self.to_worker(worker, StopLibrary(instance))
            case events.Welcome(worker):
                self._welcome(worker)
            case events.Refuse(worker, reason):
                logger.warning("worker %s is refused: %s", worker, reason)
                self.to_worker(worker, Refused(reason))
                self.to_client(Notice(f"worker {worker} is refused: {reason}"))
            case events.Dismiss(worker, reason):
                self.to_worker(worker, DismissManager(reason))
            case events.ReportWorkerLeft(worker, hostname, reason, tasks):
                self._on_worker_left(WorkerLeft(worker, hostname, reason, tasks))
            case events.TellUser(text):
                logger.warning("%s", text)
                self.to_client(Notice(text))

    def _welcome(self, worker: str) -> None:
        self.book.worker_came(worker)
        settings, registration = self._settings, self._state.store.workers[worker].registration
        self.transactions.connected(worker, registration.transfer_address, registration.resources)
        welcome = WelcomeWorker(settings.import_paths, settings.heartbeat_period_s, settings.worker_timeout_s)
        self.to_worker(worker, welcome)
        self.to_client(WorkerJoined(worker, registration.hostname, registration.resources, registration.block))

    def _on_worker_left(self, left: WorkerLeft) -> None:
        worker = left.worker
        logger.info(
            "worker %s on %s is gone, %d tasks go elsewhere: %s", worker, left.hostname, left.tasks, left.reason
        )
        self.transactions.disconnected(worker, left.reason)
        self.book.worker_left(worker)
        self.traffic.left(worker)
        self.relay.worker_left(worker)
        self.to_client(left)
        for request in self.homecoming.worker_left(worker):  # another worker may have it
            self._handle(events.FetchRequested(request, self._fetches[request]))

    def _order_file(self, worker: str, name: str, source: str) -> None:
        file = self._state.store.replicas.file(name)
        peer = self._state.store.workers.get(source)
        if peer is not None:
            source = peer.registration.transfer_address
        self.traffic.ordered(worker, name, WORKER if peer is not None else URL if source else MANAGER)
        named = self.declarations.named(name)
        version = named.version if file.kind == "url" else ""
        self.to_worker(worker, GetFile(name, source, file.level, file.size, named.unpack, named.fit, version))

    # Sending to a worker that is just gone does nothing: the end of its connection is reported on its own.

    def send_all(self, messages: Iterable[tuple[str, Frames]]) -> None:
        for worker, frames in messages:
            self._workers.send(worker.encode(), frames)

    def to_worker(self, worker: str, message: Message) -> None:
        self._workers.send(worker.encode(), [encode_header(message)])

    def to_client(self, message: Message) -> None:
        self._to_client_raw([encode_header(message)])

    def _to_client_raw(self, frames: list[Buffer]) -> None:
        if self.client is not None:
            self._clients.send(self.client, frames)
