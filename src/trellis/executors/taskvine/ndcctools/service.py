"""The process that drives the real TaskVine: between the submit side's messages and ndcctools, in one thread.

Started as the embedded engine's manager is: settings on standard input, which then stays open as long as the user's
process lives; ports on standard output. Tasks, workers and files are TaskVine's business; here is only translation.
"""

from __future__ import annotations

import logging
import math
import os
import shutil
import stat
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import assert_never

from trellis.errors import BadMessage, ConfigurationError
from trellis.executors.common.message_policy import Client, header_of
from trellis.executors.common.proc_usage import uses_of
from trellis.executors.taskvine.manager_main import run_manager
from trellis.executors.taskvine.ndcctools import mapping
from trellis.executors.taskvine.ndcctools.adapter import TaskVine
from trellis.executors.taskvine.ndcctools.asked_tasks import AskedTasks
from trellis.executors.taskvine.ndcctools.fetches import Fetched, Fetches
from trellis.executors.taskvine.ndcctools.file_book import FileBook
from trellis.executors.taskvine.ndcctools.library_book import LibraryBook
from trellis.executors.taskvine.ndcctools.links import Links
from trellis.executors.taskvine.ndcctools.local_tasks import local_tasks
from trellis.executors.taskvine.ndcctools.placements import Placements
from trellis.executors.taskvine.ndcctools.rounds import Rounds
from trellis.executors.taskvine.ndcctools.task_book import Done, NewTask, TaskBook
from trellis.executors.taskvine.ndcctools.workers import WorkerBook
from trellis.executors.taskvine.remote import runner
from trellis.executors.taskvine.settings import VinePorts, VineSettings
from trellis.executors.taskvine.split_messages import refusals
from trellis.transport.authentication import Authenticator
from trellis.transport.context import new_context
from trellis.transport.endpoint import ServerEndpoint
from trellis.transport.keys import load_server_keys
from trellis.transport.service import TURN, Loop
from trellis.wire.codec import Buffer, Decoder, encode_header, pack, unpack
from trellis.wire.measures import Sample, TaskSamples
from trellis.wire.messages import DefineFunctions, DrainBlocks, ForgetFunctions, Message, Shutdown
from trellis.wire.vine import (
    CancelVineTasks,
    DeclareFiles,
    DefineShapes,
    DropFiles,
    FetchFile,
    FileFetched,
    FromVineClient,
    InstallLibraries,
    VineNotice,
    VineResults,
    VineStatus,
    VineStatusRequest,
    VineTaskFailed,
    VineTasks,
    WorkerLeft,
)
from trellis.wire.vine_watching import VineFilesSeen, VineStandingRequest, VineTasksRunning

logger = logging.getLogger("trellis.vine.manager")

# TaskVine is woken by its sockets. For what they do not tell (time that is over, workers that were not seen yet) it is
# asked after a tenth of the time that nothing has happened for: hardly any work while long tasks run.
_SHORTEST_PAUSE_S = 0.001
_LONGEST_PAUSE_S = 0.05
_IDLE_PAUSE_S = 0.1
# Between two looks at the list of workers.
_LOOK_S = 0.1
# Tasks that have been running for so long are told; most are not.
_TOLD_AFTER_S = 1.0
# Ends of tasks that are taken from TaskVine at a time.
_BATCH = 64
# They wait for others so long, or until as many wait as there are tasks that have not ended: each report alone costs
# as much as what TaskVine does for a short call.
_HOLD_S = 0.005


class NdcctoolsService:
    """Owns the socket and TaskVine. Single-threaded.

    Raises:
        ConfigurationError: a setting asks for what TaskVine cannot do here; the message names it.
    """

    def __init__(self, settings: VineSettings) -> None:
        self._settings = settings
        check(settings)
        self._words = EngineWords()
        self._vine = TaskVine(
            settings.worker_ports,
            settings.any_port,
            _catalog_name(settings),
            Path(settings.logdir),
            settings.password_file,
        )
        self._notices = self._configure()
        self._files = FileBook(self._vine, settings.peer_transfers)
        self._libraries = LibraryBook(self._vine, self._files, settings.import_paths, runner.__file__)
        source = Path(runner.__file__).read_bytes()
        mode = mapping.CATEGORY_MODES.get(settings.autolabel, "")
        self._tasks = TaskBook(self._vine, self._files, self._libraries, settings.import_paths, source, mode)
        self._fetches = Fetches(self._vine, self._files)
        self._workers = WorkerBook()
        keys = load_server_keys(Path(settings.cert_dir))
        self._context = new_context()
        self._authenticator = Authenticator(self._context, keys.client_public)
        self._endpoint = ServerEndpoint(self._context, keys)
        self._decoder: Decoder[FromVineClient] = Decoder(FromVineClient)
        self._client = Client(settings.client_name, logger)
        self._done = self._failed = 0
        self._ends: list[Done | VineTaskFailed] = []  # to be reported
        self._report_at = 0.0
        self._look_at = 0.0
        self._sample_at = 0.0 if settings.sample_every_s > 0 else math.inf
        self._placements = Placements()
        self._rounds = Rounds(self._vine, self._tasks, self._workers, self._placements, settings.recorded)
        wanted = int(settings.tune.get("wait-for-workers", settings.wait_for_workers))
        self._asked = AskedTasks(self._tasks, self._workers, self._placements, wanted, bool(mode))
        self._running = True

    def _configure(self) -> list[str]:
        """Options; gives what the user should know about them."""
        settings, vine = self._settings, self._vine
        vine.keep_alive(settings.heartbeat_period_s, settings.heartbeat_threshold_s)
        if not settings.peer_transfers:
            vine.disable_peer_transfers()
        vine.set_scheduler(settings.scheduler)
        # So that a library's log is here when it does not start.
        tune = {"watch-library-logfiles": 1.0, **settings.tune}
        if settings.wait_for_workers:
            tune.setdefault("wait-for-workers", settings.wait_for_workers)
        if settings.autolabel != "fixed":
            if not vine.enable_monitoring():
                raise ConfigurationError("autolabel: TaskVine cannot measure tasks here: see its log")
            if settings.autolabel_window:
                tune.setdefault("category-steady-n-tasks", settings.autolabel_window)
        unknown = [name for name, value in tune.items() if not vine.tune(name, value)]
        notices = [mapping.tune_complaint(unknown)]
        if settings.project_name and _catalog_name(settings) is None:
            notices.append(
                f"project_name: {settings.project_name!r} is announced nowhere, because CATALOG_HOST is not set; "
                "set it to a catalog server's host to be found by name"
            )
        return [notice for notice in notices if notice]

    def bind(self) -> VinePorts:
        """Raises:
        ConfigurationError: no port of the range for the submit side is free.
        """
        settings = self._settings
        return VinePorts(self._endpoint.bind(settings.client_address, settings.client_ports), self._vine.port)

    def run(self, lifeline: int) -> None:
        """Serve until told to end, or until ``lifeline`` closes."""
        loop = Loop()
        loop.add_source(self._endpoint, self._on_messages)
        loop.add_source(self._authenticator, self._authenticator.answer_all)
        loop.add_watch(self._endpoint.watch(), self._endpoint.look)
        loop.add_fd(lifeline, lambda: self._on_lifeline(lifeline))
        links = Links(loop, self._vine.port)
        last = time.monotonic()
        try:
            while self._running:
                if self._work():
                    last = time.monotonic()
                if time.monotonic() >= self._look_at:
                    self._look_at = time.monotonic() + _LOOK_S
                    self._look_at_workers()
                    links.look()
                loop.run_once(self._pause(time.monotonic() - last))
        finally:
            loop.close()
            self._vine.close()
            self._endpoint.close()
            self._authenticator.close()
            self._context.term()

    def _pause(self, quiet_s: float) -> float:
        if self._vine.waits_itself or quiet_s == 0:
            return 0.0
        longest = _LONGEST_PAUSE_S if len(self._tasks) else _IDLE_PAUSE_S
        if self._ends:
            longest = _HOLD_S
        return min(max(quiet_s / 10, _SHORTEST_PAUSE_S), longest)

    def _on_lifeline(self, lifeline: int) -> None:
        if not os.read(lifeline, 4096):
            logger.warning("the user's process is gone")
            self._running = False

    # -- TaskVine ----------------------------------------------------------------------------------------------

    def _work(self) -> bool:
        """Let TaskVine work for a round; whether tasks have ended."""
        count = 0
        while count < _BATCH and (task := self._vine.step()) is not None:
            count += 1
            if not self._ends:
                self._report_at = time.monotonic() + _HOLD_S
            if fetched := self._fetches.ended(task):
                self._send_fetched(fetched)
            else:
                self._ends += self._tasks.ended(task)
        if self._ends and (len(self._ends) >= len(self._tasks) or time.monotonic() >= self._report_at):
            ends, self._ends = self._ends, []
            self._report(ends)
        self._on_words(self._words.news())
        return count > 0

    def _look_at_workers(self) -> None:
        try:
            rows = self._vine.workers()
        except ValueError as error:
            logger.warning("what TaskVine says of its workers cannot be read: %s", error)
            return
        now = time.monotonic()
        for news in self._workers.look(rows):
            if isinstance(news, WorkerLeft):
                self._rounds.worker_left(now)
            self._send(news)
        for notice in self._rounds.look(now):
            self._send(VineNotice(notice))
        if files := self._rounds.take_files():
            self._send(VineFilesSeen(files))
        self._asked.look(len(rows))
        self._placements.look(rows, time.time())
        self._tell_running()
        if now >= self._sample_at:
            self._sample_at = now + self._settings.sample_every_s
            self._sample()

    def _sample(self) -> None:
        """Look at the tasks that run on this host, all at once."""
        pids = {n: pid for n, pid in local_tasks(self._vine.port).items() if self._tasks.is_call(n) is not None}
        uses = uses_of(pids.values())
        found = {self._tasks.id_of(n): Sample(*uses[pid]) for n, pid in pids.items() if pid in uses}
        if found:
            self._send(TaskSamples("", list(found), list(found.values()), time.time()))

    def _tell_running(self) -> None:
        by_worker: dict[str, dict[int, float]] = {}
        for number, since in self._placements.news(self._tasks.is_call, time.time() - _TOLD_AFTER_S).items():
            place = self._placements.of(number)
            assert place is not None
            by_worker.setdefault(self._workers.name(place.address), {})[self._tasks.id_of(number)] = since
        for worker, began in by_worker.items():
            self._send(VineTasksRunning(worker, list(began), list(began.values())))

    def _report(self, ends: Iterable[Done | VineTaskFailed]) -> None:
        done: dict[str, list[Done]] = {}
        for end in ends:
            if isinstance(end, VineTaskFailed):
                self._failed += 1
                self._send(end)
            else:
                done.setdefault(end.address, []).append(end)
        for address, batch in done.items():
            self._done += len(batch)
            sizes, frames = pack([end.payload for end in batch])
            header = VineResults(
                self._workers.name(address),
                [end.id for end in batch],
                [position for position, end in enumerate(batch) if end.failed],
                [end.started for end in batch],
                [end.duration_s for end in batch],
                sizes,
                None if all(end.used is None for end in batch) else [end.used for end in batch],
            )
            self._send(header, frames)

    def _on_words(self, words: str) -> None:
        """What TaskVine writes to standard error is the only place where it tells of libraries that end."""
        if not words:
            return
        logger.info("TaskVine says: %s", words.strip())
        lost, ends = self._tasks.lost_temps(words)
        self._report(ends)
        for fetched in self._fetches.lost(lost):
            self._send_fetched(fetched)
        for name, (reason, hopeless) in self._libraries.failed(words).items():
            self._send(VineNotice(reason))
            for id_ in self._tasks.calls_of(name) if hopeless else ():
                if self._tasks.has(id_):  # not given up with another one
                    self._report(self._tasks.give_up(id_, "missing_library", reason))

    # -- submit side -------------------------------------------------------------------------------------------

    def _on_messages(self) -> None:
        for _ in range(TURN):
            incoming = self._endpoint.receive()
            if incoming is None:
                return
            if self._client.hears(incoming.peer):
                notices, self._notices = self._notices, []
                for notice in notices:
                    self._send(VineNotice(notice))
                self._take(incoming.frames)

    def _take(self, frames: list[Buffer]) -> None:
        try:
            self._on_message(self._decoder.decode(header_of(frames)), frames[1:])
        except BadMessage as error:
            self._client.refuse(error)
            again, refused = refusals(self._decoder, frames, error)
            for id_, reason in refused.items():
                self._send(VineTaskFailed(id_, "unknown", f"it was refused: {reason}"))
            for own in again:
                self._take(own)

    def _on_message(self, message: FromVineClient, frames: list[Buffer]) -> None:
        match message:
            case VineTasks():
                self._on_tasks(message, frames)
            case DefineFunctions(ids=ids):
                for number, data in zip(ids, unpack(message.sizes, frames), strict=True):
                    self._tasks.define(number, data)
            case ForgetFunctions(ids=ids):
                self._tasks.forget(ids)
            case DefineShapes(ids=ids, shapes=shapes):
                for number, shape in zip(ids, shapes, strict=True):
                    self._tasks.define_shape(number, shape)
            case DeclareFiles(files=files):
                for spec, content in zip(files, unpack(message.sizes, frames), strict=True):
                    self._files.declare(spec, content)
            case DropFiles(ids=ids):
                self._tasks.drop_files(ids)
            case InstallLibraries(libraries=libraries):
                for library, arguments in zip(libraries, unpack(message.sizes, frames), strict=True):
                    self._libraries.declare(library, arguments)
            case DrainBlocks(blocks=blocks):
                # TaskVine knows no way to drain one of several workers of a host.
                for host in self._workers.hosts_of(blocks):
                    self._vine.drain_host(host)
            case CancelVineTasks(ids=ids):
                self._tasks.cancel(ids)
            case FetchFile(request=request, file=file):
                if fetched := self._fetches.start(request, file):
                    self._send_fetched(fetched)
            case VineStatusRequest(request=request):
                self._send(self._status(request))
            case VineStandingRequest(request=request, id=id_):
                self._look_at_workers()
                self._send(self._asked.standing(request, id_, time.time()))
            case Shutdown():
                logger.info("shut down by the submit side")
                self._running = False
            case _:
                assert_never(message)

    def _on_tasks(self, message: VineTasks, frames: list[Buffer]) -> None:
        tasks = [
            NewTask(
                message.ids[position],
                message.functions[position],
                message.shapes[position],
                arguments,
                message.inputs.get(position, ()),
                message.outputs.get(position, ()),
                message.result_files.get(position, -1),
            )
            for position, arguments in enumerate(unpack(message.sizes, frames))
        ]
        for warning in self._tasks.announce(tasks):
            self._send(VineNotice(warning))
        for new in tasks:
            failed = self._tasks.add(new)
            if failed is not None:
                self._report([failed])

    def _send_fetched(self, fetched: Fetched) -> None:
        sizes, frames = pack([fetched.content])
        self._send(FileFetched(fetched.request, fetched.error, sizes), frames)

    def _status(self, request: int) -> VineStatus:
        """What TaskVine does not count (bytes between workers, cache hits) is 0."""
        self._look_at_workers()
        statistics, workers = self._vine.statistics(), self._asked.statuses()
        running = sum(worker.tasks for worker in workers)
        return VineStatus(
            request,
            max(0, len(self._tasks) - running),
            running,
            self._done,
            self._failed,
            workers,
            statistics.bytes_sent,
            0,
            0,
            0,
            0,
        )

    def _send(self, message: Message, frames: Iterable[Buffer] = ()) -> None:
        if self._client.peer is not None:
            self._endpoint.send(self._client.peer, [encode_header(message), *frames])


class EngineWords:
    """What TaskVine writes to standard error, as far as that is a file."""

    def __init__(self) -> None:
        self._fd: int | None = None
        if stat.S_ISREG(os.fstat(2).st_mode):
            self._fd = os.open("/proc/self/fd/2", os.O_RDONLY)
            os.lseek(self._fd, 0, os.SEEK_END)

    def news(self) -> str:
        """What was written since the last time."""
        return "" if self._fd is None else os.read(self._fd, 65_536).decode(errors="replace")


def check(settings: VineSettings) -> None:
    """Raises:
    ConfigurationError: TaskVine lacks what a setting needs; the message names the setting.
    """
    if settings.autolabel != "fixed" and shutil.which("resource_monitor") is None:
        raise ConfigurationError(
            "autolabel needs the command resource_monitor, which is not on PATH (Debian's package of TaskVine lacks "
            "it): leave autolabel off, install TaskVine from conda, or use engine='embedded'"
        )


def _catalog_name(settings: VineSettings) -> str | None:
    """The name for the catalog; a public one is not told anything unless CATALOG_HOST says so."""
    return settings.project_name if "CATALOG_HOST" in os.environ else None


def main() -> int:
    """Entry point: ``python -m trellis.executors.taskvine.ndcctools.service``."""
    return run_manager("vine manager (ndcctools)", NdcctoolsService)


if __name__ == "__main__":
    sys.exit(main())
