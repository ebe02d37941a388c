"""Workers that die, and tasks that are cancelled, by the hundred, while tasks stream through the node.

What must hold whatever happens: every future ends, results are right, and nothing runs twice by itself.
"""

from __future__ import annotations

import contextlib
import os
import queue
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.integration.htex.conftest import StartExecutor, workers_of
from trellis.errors import ManagerLost, WorkerLost
from trellis.executors.htex.executor import HighThroughputExecutor
from trellis.providers import LocalProvider

WAIT_S = 30


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {WAIT_S} s: {what}"
        time.sleep(0.01)


def wait_until_all_is_reported(executor: HighThroughputExecutor) -> None:
    wait_until(lambda: executor.outstanding == 0, "all tasks are reported, cancelled ones too")


class Log:
    """A file with a line for each task that was started: the name of the attempt, and the process."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        path.touch()
        self._read = 0  # so far by new_pids

    def lines(self) -> list[tuple[int, int]]:
        return [(int(name), int(pid)) for name, pid in map(str.split, self._text(0).splitlines())]

    def new_pids(self) -> set[int]:
        """Of processes that have run a task since this was asked last."""
        text = self._text(self._read)
        self._read += len(text)
        return {int(line.split()[1]) for line in text.splitlines()}

    def _text(self, start: int) -> str:
        """The lines from there on that are whole: of one that is being written, a part may be seen."""
        with open(self.path, "rb") as file:
            file.seek(start)
            text = file.read().decode("ascii")
        return text[: text.rfind("\n") + 1]


def note(path: str, attempt: int, x: int) -> int:
    fd = os.open(path, os.O_WRONLY | os.O_APPEND)
    try:
        os.write(fd, b"%d %d\n" % (attempt, os.getpid()))
    finally:
        os.close(fd)
    return x * x


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path / "log")


@pytest.fixture
def four_workers(monkeypatch: pytest.MonkeyPatch, start_htex: StartExecutor) -> Iterator[HighThroughputExecutor]:
    monkeypatch.setenv("PARSL_CORES", "4")
    executor = start_htex(max_workers_per_node=4)
    yield executor
    # All is well still: nothing is left, and all workers are there or come again.
    assert executor.outstanding == 0
    manager = psutil.Process(executor.submit(os.getpid, {}).result(WAIT_S)).parent()
    assert manager is not None
    wait_until(lambda: len(workers_of(manager)) == 4, "all workers were replaced")


class Killer:
    """Kills random workers that have been at work, one after the other, in a thread of its own."""

    def __init__(self, log: Log, times: int, pause_s: float) -> None:
        self.killed: set[int] = set()
        self._log, self._times, self._pause_s = log, times, pause_s
        self._stop = threading.Event()
        self._random = random.Random(5)
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Killer:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stop.set()
        self._thread.join()

    def done(self) -> bool:
        return not self._thread.is_alive()

    def _run(self) -> None:
        workers: set[int] = set()  # all that were seen, less those that are gone
        while len(self.killed) < self._times and not self._stop.wait(self._pause_s):
            workers |= self._log.new_pids() - self.killed
            if not workers:
                continue
            pid = self._random.choice(sorted(workers))
            workers.remove(pid)
            with contextlib.suppress(psutil.NoSuchProcess):
                worker = psutil.Process(pid)
                if any(part.startswith("trellis: worker") for part in worker.cmdline()):  # the number is still its own
                    worker.kill()
                    self.killed.add(pid)


def run_with_retries(
    submit: Callable[[int, int], Future[int]], tasks: int, more: Callable[[], bool], most_at_once: int
) -> tuple[dict[int, int], set[int]]:
    """Run at least so many tasks, and for as long as ``more`` says. A task whose worker was lost is tried again.

    Returns:
        Results by task, and the attempts that were reported lost.
    """
    ended: queue.SimpleQueue[tuple[int, int, Future[int]]] = queue.SimpleQueue()
    results: dict[int, int] = {}
    lost: set[int] = set()
    attempts = started = 0
    again: list[int] = []
    while len(results) < tasks or len(results) < started or more():
        while attempts - len(results) - len(lost) < most_at_once and (again or started < tasks or more()):
            if again:
                task = again.pop()
            else:
                task, started = started, started + 1
            future = submit(attempts, task)
            future.add_done_callback(lambda f, attempt=attempts, task=task: ended.put((attempt, task, f)))  # type: ignore[misc]
            attempts += 1
        if attempts == len(results) + len(lost):
            continue
        attempt, task, future = ended.get(timeout=WAIT_S)
        exception = future.exception(0)
        if exception is None:
            assert task not in results
            results[task] = future.result(0)
        else:
            assert isinstance(exception, WorkerLost), exception
            lost.add(attempt)
            again.append(task)
    return results, lost


def check(log: Log, results: dict[int, int], lost: set[int], killed: set[int]) -> None:
    assert results == {task: task * task for task in results}
    runs = Counter(attempt for attempt, _ in log.lines())
    assert max(runs.values()) == 1, "an attempt ran twice"
    assert set(range(len(results) + len(lost))) - lost <= runs.keys(), "a result came of an attempt that did not run"
    assert len(lost) <= len(killed), "more was lost than was killed"
    pid_of = dict(log.lines())
    assert {pid_of[attempt] for attempt in lost if attempt in pid_of} <= killed, "lost with a worker that lives"


def test_workers_killed_while_they_wait_for_tasks(four_workers: HighThroughputExecutor, log: Log) -> None:
    def submit(attempt: int, task: int) -> Future[int]:
        return four_workers.submit(note, {}, log.path, attempt, task)

    with Killer(log, 6, pause_s=0.05) as killer:
        # One task at a time: the other workers, and mostly this one, wait.
        results, lost = run_with_retries(submit, 300, lambda: not killer.done(), most_at_once=1)
    check(log, results, lost, killer.killed)


def test_fifty_workers_killed_under_a_stream_of_tasks(four_workers: HighThroughputExecutor, log: Log) -> None:
    def submit(attempt: int, task: int) -> Future[int]:
        return four_workers.submit(note, {}, log.path, attempt, task)

    with Killer(log, 50, pause_s=0.02) as killer:
        results, lost = run_with_retries(submit, 20_000, lambda: not killer.done(), most_at_once=1_000)
    assert len(killer.killed) == 50
    check(log, results, lost, killer.killed)


def test_half_of_all_tasks_are_cancelled_while_they_run(four_workers: HighThroughputExecutor, log: Log) -> None:
    def submit(task: int) -> Future[int]:
        return four_workers.submit(note, {}, log.path, task, task)

    futures = [submit(task) for task in range(5_000)]
    told = [future.cancel() for future in futures[::2]]
    kept = futures[1::2]
    assert [future.result(WAIT_S) for future in kept] == [task * task for task in range(1, 5_000, 2)]
    for future, cancelled in zip(futures[::2], told, strict=True):
        assert future.done()
        assert future.cancelled() == cancelled
    wait_until_all_is_reported(four_workers)
    runs = Counter(attempt for attempt, _ in log.lines())
    assert max(runs.values()) == 1, "a task ran twice"
    must_have_run = {*range(1, 5_000, 2), *(2 * n for n, cancelled in enumerate(told) if not cancelled)}
    assert must_have_run <= runs.keys()


def test_running_tasks_cancelled_one_by_one(four_workers: HighThroughputExecutor, log: Log) -> None:
    def note_and_sleep(path: str, attempt: int, seconds: float) -> Any:
        note(path, attempt, 0)
        time.sleep(seconds)

    for turn in range(6):
        long = four_workers.submit(note_and_sleep, {}, log.path, 2 * turn, 600)
        short = [four_workers.submit(note, {}, log.path, 1_000 + 100 * turn + n, n) for n in range(20)]
        wait_until(lambda attempt=2 * turn: attempt in dict(log.lines()), "it starts")  # type: ignore[misc]
        assert long.cancel()
        assert [future.result(WAIT_S) for future in short] == [n * n for n in range(20)]
    wait_until_all_is_reported(four_workers)


def test_everything_at_once_on_two_nodes(start_htex: StartExecutor, log: Log) -> None:
    """Large and small arguments, many functions, prefetch, cancels, kills; tasks move between the managers."""
    provider = LocalProvider(init_blocks=2, max_blocks=2)
    executor = start_htex(max_workers_per_node=2, prefetch_capacity=5, provider=provider)
    chance = random.Random(7)
    functions = [lambda data, x, path, attempt, n=n: note(path, attempt, x) + len(data) + n for n in range(30)]
    futures: list[tuple[int, Future[Any]]] = []
    with Killer(log, 12, pause_s=0.1) as killer:
        while len(futures) < 3_000 or not killer.done():
            n, attempt = chance.randrange(30), len(futures)
            size = chance.choice([0, 10, 1_000, 70_000, 500_000]) if chance.random() < 0.1 else 5
            future = executor.submit(functions[n], {}, b"a" * size, attempt, log.path, attempt)
            futures.append((attempt * attempt + size + n, future))
            if chance.random() < 0.2:
                chance.choice(futures[-50:])[1].cancel()
            while executor.outstanding > 300:
                time.sleep(0.002)
    wait([future for _, future in futures], WAIT_S)
    failed = 0
    for expected, future in futures:
        assert future.done(), "a task is never reported"
        if future.cancelled():
            continue
        if future.exception(0) is None:
            assert future.result(0) == expected
        else:
            assert isinstance(future.exception(0), WorkerLost)
            failed += 1
    assert failed <= len(killer.killed)
    assert max(Counter(attempt for attempt, _ in log.lines()).values()) == 1, "a task ran twice"
    wait_until_all_is_reported(executor)


def note_and_sleep(directory: str, name: int) -> None:
    Path(directory, str(name)).touch()
    time.sleep(600)


def test_all_workers_die_with_their_manager(
    start_htex: StartExecutor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PARSL_CORES", "4")
    executor = start_htex(max_workers_per_node=4, block_error_handler=False)
    manager = psutil.Process(executor.submit(os.getpid, {}).result(WAIT_S)).parent()
    assert manager is not None
    started = tmp_path / "started"
    started.mkdir()
    sleeping = [executor.submit(note_and_sleep, {}, str(started), n) for n in range(4)]
    wait_until(lambda: len(list(started.iterdir())) == 4, "all have started: else they go back to the queue")
    workers = workers_of(manager)
    assert len(workers) == 4
    manager.kill()
    _, alive = psutil.wait_procs(workers, WAIT_S)
    assert not alive
    assert all(isinstance(future.exception(WAIT_S), ManagerLost) for future in sleeping)
