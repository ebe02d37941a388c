"""The worker processes of one node, their queue and their board. Decides nothing."""

from __future__ import annotations

import itertools
import logging
import signal
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence

from trellis.executors.common import host, memory_use
from trellis.executors.common.lifeline import Lifeline
from trellis.executors.common.proc_usage import ProcessUse, uses_of
from trellis.executors.htex.manager.shared import Shared
from trellis.executors.htex.manager.worker_process import WorkerProcess
from trellis.executors.htex.worker.board import MAX_MESSAGE_BYTES
from trellis.transport.service import Loop
from trellis.wire import stream
from trellis.wire.codec import Buffer, Payload, payload_buffers

logger = logging.getLogger("trellis.manager")

_TOKEN = stream.head(stream.PARK, 0, 0, 0.0, 0.0, ())


def task_message(task: int, function: int, arguments: Payload) -> bytes:
    """A task as it goes through the queue; without its arguments when they are too large for that."""
    if type(arguments) is not tuple and len(arguments) < MAX_MESSAGE_BYTES:
        data = stream.head(stream.TASK, task, function, 0.0, 0.0, (arguments,)) + arguments  # type: ignore[arg-type, operator]
        if len(data) <= MAX_MESSAGE_BYTES:
            return data
    return stream.head(stream.LARGE, task, function, 0.0, 0.0, ())


class Node:
    """Owned by the manager's one thread.

    Args:
        loop: where the processes' descriptors are watched.
        environment: of each worker, by its rank.
        on_frames: told what a worker has written.
        on_exit: told that a worker has ended: its rank, the task it ran, and how it ended.
        on_offer: told of tasks just before they are put into the queue.
        shared: what is shared with the workers, and with whoever outlives this process.
    """

    def __init__(
        self,
        loop: Loop,
        environment: Callable[[int], dict[str, str]],
        on_frames: Callable[[int, Sequence[stream.StreamFrame]], None],
        on_exit: Callable[[int, int | None, str], None],
        on_offer: Callable[[list[int]], None],
        shared: Shared,
    ) -> None:
        self._loop = loop
        self._environment = environment
        self._on_frames = on_frames
        self._on_exit = on_exit
        self._lifeline = Lifeline()
        self._on_offer = on_offer
        self._shared = shared
        self._queue, self._board, self._unstarted = shared
        self._workers: dict[int, WorkerProcess] = {}
        self._oom_kills = host.oom_kills()  # that were taken note of
        self._waiting: deque[tuple[int | None, bytes]] = deque()  # tasks and tokens for which the queue has no room now

    def end_workers(self) -> None:
        """Kill what runs; results that were written before count."""
        for process in self._workers.values():
            process.signal_group(signal.SIGKILL)
        for worker, process in self._workers.items():
            results = [frame for frame in process.receive_rest() if frame.kind in (stream.RESULT, stream.ERROR)]
            self._on_frames(worker, results)

    def close(self) -> None:
        """Kill what runs, and give back what is this node's own."""
        for process in self._workers.values():
            process.signal_group(signal.SIGKILL)
        for process in self._workers.values():
            process.reap()
        self._workers.clear()
        self._lifeline.close()

    # -- workers -----------------------------------------------------------------------------------------------

    def start_worker(self, worker: int) -> None:
        process = self._workers[worker] = WorkerProcess(
            worker,
            self._shared,
            self._lifeline,
            self._environment(worker),
            self._loop,
            lambda: self._on_readable(worker),
            lambda: self._on_ended(worker),
        )
        logger.info("worker %d started, pid %d", worker, process.pid)

    def interrupt(self, worker: int, task: int) -> bool:
        """Ask a worker to end if it runs this task still; False when it does not."""
        # First the mark, then the look: a worker that has ended its task since sees the mark before it takes another.
        self._board.set_stop(worker, True)
        running = self._board.running(worker)
        if running is None or running[0] != task or worker not in self._workers:
            self._board.set_stop(worker, False)
            return False
        self._workers[worker].signal_group(signal.SIGTERM)
        return True

    def nudge(self, worker: int) -> None:
        """Have a worker that was interrupted notice it, should it wait for something."""
        self._workers[worker].nudge()

    def kill(self, worker: int) -> None:
        """End a worker's process group."""
        self._workers[worker].kill()

    def running(self) -> dict[int, tuple[int, float]]:
        """Worker and time of start (monotonic clock) of each task that runs."""
        return self._board.all_running()

    def answer(self, worker: int, kind: int, id_: int, buffers: tuple[Buffer, ...], function: int = 0) -> None:
        """Send what a worker waits for."""
        self._workers[worker].send(kind, id_, function, buffers)

    def run_parked(self, worker: int, task: int, function: int, environment: bytes, arguments: Payload) -> None:
        """Have a parked worker run this task, in an environment of its own."""
        self.answer(worker, stream.RUN, task, (environment, *payload_buffers(arguments)), function)

    def release(self, workers: Iterable[int]) -> None:
        """Let parked workers go on with the queue."""
        for worker in workers:
            self.answer(worker, stream.RELEASE, 0, ())

    def memory_mb(self, worker: int, suspicious_mb: float) -> float:
        """Memory that a worker and all its descendants use; see ``memory_use.memory_mb``."""
        return memory_use.memory_mb(self._workers[worker].pid, suspicious_mb) if worker in self._workers else 0.0

    def uses(self, workers: Mapping[int, int]) -> dict[int, ProcessUse]:
        """What the workers use that run these tasks, and their descendants; all are looked at together."""
        pids = {task: self._workers[worker].pid for task, worker in workers.items() if worker in self._workers}
        found = uses_of(pids.values())
        return {task: found[pid] for task, pid in pids.items() if pid in found}

    def define(self, worker: int, function: int, data: Buffer) -> None:
        self._workers[worker].functions.add(function)
        self.answer(worker, stream.FUNCTION, function, (data,))

    def forget(self, functions: Iterable[int]) -> None:
        """No task will name these functions any more."""
        for worker, process in self._workers.items():
            for function in process.functions.intersection(functions):
                process.functions.discard(function)
                self.answer(worker, stream.FORGET, function, ())

    def _on_readable(self, worker: int) -> None:
        process = self._workers[worker]
        frames = process.receive()
        if frames is None:
            process.lose()
        else:
            self._on_frames(worker, frames)

    def _on_ended(self, worker: int) -> None:
        process = self._workers[worker]
        self._on_frames(worker, process.receive_rest())  # a result that it wrote before it died counts
        del self._workers[worker]
        kills = host.oom_kills()
        reason = process.reap(kills - self._oom_kills)
        self._oom_kills = min(kills, self._oom_kills + 1)  # each explains one worker
        logger.info("worker %d ended, pid %d: %s", worker, process.pid, reason)
        running = self._board.running(worker)
        self._board.clear(worker)
        self._on_exit(worker, None if running is None else running[0], reason)

    # -- the queue ---------------------------------------------------------------------------------------------

    def offer(self, tasks: Iterable[tuple[int, bytes]]) -> None:
        """Put tasks, with their messages, into the workers' queue, or behind those that already wait for room in it."""
        self._offer(tasks)

    def park(self, count: int) -> None:
        """Put tokens into the workers' queue."""
        self._offer([(None, _TOKEN)] * count)

    def _offer(self, entries: Iterable[tuple[int | None, bytes]]) -> None:
        no_room = bool(self._waiting)
        self._waiting.extend(entries)
        if not no_room:
            self._fill()
            if self._waiting:
                self._loop.add_writer(self._queue.writer_fd, self._on_room)

    def _fill(self) -> None:
        """Announce as much of what waits as there is room for, and put it into the queue."""
        waiting, offer, note_put = self._waiting, self._queue.offer, self._unstarted.put
        count = self._queue.fitting([len(message) for _, message in waiting])
        ids = [task for task, _ in itertools.islice(waiting, count) if task is not None]
        if ids:
            self._unstarted.prepare(ids)
            self._on_offer(ids)
        put = 0
        for _ in range(count):
            task, message = waiting[0]
            if task is not None:
                put += 1
                note_put(put)
            if not offer(message):  # it stays as it is, prepared, for another time
                note_put(put - (task is not None))
                return
            waiting.popleft()

    def _on_room(self) -> None:
        self._fill()
        if not self._waiting:
            self._loop.remove_fd(self._queue.writer_fd)

    def take_back(self) -> list[int]:
        """Ids of the tasks that no worker has taken, in their order; the queue is empty then, of tokens too."""
        back: list[int] = []
        for task in itertools.chain(map(stream.task_id, self._queue.take_back()), (task for task, _ in self._waiting)):
            if task is not None:
                self._unstarted.take_back(task)
                back.append(task)
        if self._waiting:
            self._waiting.clear()
            self._loop.remove_fd(self._queue.writer_fd)
        return back
