"""The worker processes of one node, their queue and their board, without a manager's machine above them."""

from __future__ import annotations

import os
import pickle
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from trellis.executors.htex.manager.node import Node, task_message
from trellis.executors.htex.manager.shared import share
from trellis.transport.service import Loop
from trellis.wire import stream
from trellis.wire.codec import Buffer, Payload, payload_buffers
from trellis.wire.payload import dump_call, dump_function, load_exception, load_result

WAIT_S = 20  # nothing may take longer
WORKERS = 2


class Harness:
    """A node, and what its workers have said."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.shared = share(WORKERS, prefetch=0)
        self.announced: list[int] = []
        self.node = Node(
            self.loop,
            lambda worker: dict(os.environ),
            self._on_frames,
            self._on_exit,
            self.announced.extend,
            self.shared,
        )
        self.functions: dict[int, Buffer] = {}
        self.arguments: dict[int, Payload] = {}
        self.frames: list[tuple[int, stream.StreamFrame]] = []
        self.exits: list[tuple[int, int | None, str]] = []

    def _on_frames(self, worker: int, frames: Sequence[stream.StreamFrame]) -> None:
        for frame in frames:
            self.frames.append((worker, frame))
            if frame.kind == stream.NEED:
                self.node.define(worker, frame.id, self.functions[frame.id])
            elif frame.kind == stream.FETCH:
                self.node.answer(worker, stream.TASK, frame.id, payload_buffers(self.arguments[frame.id]))

    def _on_exit(self, worker: int, task: int | None, reason: str) -> None:
        self.exits.append((worker, task, reason))

    def start(self, *workers: int) -> None:
        for worker in workers:
            self.node.start_worker(worker)
        self.until(lambda: set(workers) <= {worker for worker, _ in self.of(stream.READY)})

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + WAIT_S
        while not condition():
            assert time.monotonic() < deadline, "it does not come"
            self.loop.run_once(0.05)

    def of(self, *kinds: int) -> list[tuple[int, stream.StreamFrame]]:
        return [said for said in self.frames if said[1].kind in kinds]

    def offer(self, task: int, function: int, *args: Any) -> None:
        self.arguments[task] = dump_call(args, {}, "app")
        self.node.offer([(task, task_message(task, function, self.arguments[task]))])

    def results(self) -> dict[int, Any]:
        """By task: what it gave, or the exception that it raised."""
        load = {stream.RESULT: load_result, stream.ERROR: load_exception}
        return {frame.id: load[frame.kind](_payload(frame)) for _, frame in self.of(stream.RESULT, stream.ERROR)}

    def run(self, task: int, function: int, *args: Any) -> Any:
        self.offer(task, function, *args)
        self.until(lambda: task in self.results())
        return self.results()[task]


def _payload(frame: stream.StreamFrame) -> Payload:
    return frame.buffers[0] if len(frame.buffers) == 1 else tuple(frame.buffers)


@pytest.fixture
def harness() -> Iterator[Harness]:
    harness = Harness()
    yield harness
    harness.node.close()
    harness.shared.close()
    harness.loop.close()


def test_a_function_is_asked_for_once_by_each_worker(harness: Harness) -> None:
    harness.functions = {1: dump_function(len), 2: dump_function(abs)}
    harness.start(0, 1)
    for task in range(40):
        harness.offer(task, 1 + task % 2, *([-task] if task % 2 else ["x" * task]))
    harness.until(lambda: len(harness.results()) == 40)
    assert harness.results() == {task: task for task in range(40)}
    asked = [(worker, frame.id) for worker, frame in harness.of(stream.NEED)]
    assert len(set(asked)) == len(asked)
    assert {function for _, function in asked} == {1, 2}


def test_a_forgotten_function_leaves_the_worker_with_its_next_question(harness: Harness) -> None:
    harness.functions = {1: dump_function(len), 2: dump_function(abs)}
    harness.start(0)
    assert harness.run(10, 1, "abc") == 3
    harness.node.forget([1, 99])
    harness.functions[1] = dump_function(max)
    assert harness.run(11, 2, -5) == 5  # FORGET came before this answer
    assert harness.run(12, 1, [4, 7]) == 7
    assert [frame.id for _, frame in harness.of(stream.NEED)] == [1, 2, 1]


def test_large_arguments_are_fetched_and_small_ones_are_not(harness: Harness) -> None:
    harness.functions = {1: dump_function(len)}
    harness.start(0)
    for task, size in enumerate((10, 60_000, 70_000, 1_000_000, 100_000_000)):
        assert harness.run(task, 1, b"a" * size) == size
    assert [frame.id for _, frame in harness.of(stream.FETCH)] == [2, 3, 4]


def _lengths(buffers: list[bytearray]) -> list[int]:
    return [len(buffer) for buffer in buffers]


def test_more_buffers_than_one_call_can_write(harness: Harness) -> None:
    harness.functions = {1: dump_function(_lengths)}
    harness.start(0)
    buffers = [pickle.PickleBuffer(bytes([n % 256]) * (n % 7)) for n in range(3_000)]
    parts: list[pickle.PickleBuffer] = []
    pickled = pickle.dumps(((buffers,), {}), protocol=5, buffer_callback=parts.append)
    harness.arguments[5] = (pickled, *(part.raw() for part in parts))
    harness.node.offer([(5, task_message(5, 1, harness.arguments[5]))])
    harness.until(lambda: 5 in harness.results())
    assert harness.results()[5] == [n % 7 for n in range(3_000)]


def test_more_tasks_than_the_queue_holds_wait_for_room(harness: Harness) -> None:
    harness.functions = {1: dump_function(len)}
    for task in range(60):
        harness.offer(task, 1, b"a" * 30_000)
    harness.start(0, 1)
    harness.until(lambda: len(harness.results()) == 60)
    assert set(harness.results().values()) == {30_000}
    assert harness.announced == list(range(60))  # each once, when there was room for it


def test_what_waits_for_room_is_taken_back_in_order(harness: Harness) -> None:
    for task in range(60):
        harness.offer(task, 1, b"a" * 30_000)
    assert 0 < len(harness.announced) < 60
    assert harness.shared.unstarted.read() == []  # what is announced is in the queue
    assert harness.node.take_back() == list(range(60))
    assert harness.shared.unstarted.read() == list(range(60))
    assert harness.node.take_back() == []
    harness.functions = {1: dump_function(abs)}
    harness.start(0)
    assert harness.run(100, 1, -1) == 1  # and the queue works on


def test_the_board_tells_who_runs_what(harness: Harness) -> None:
    harness.functions = {1: dump_function(time.sleep)}
    harness.start(0, 1)
    before = time.monotonic()
    harness.offer(7, 1, 60)
    harness.until(lambda: bool(harness.node.running()))
    ((task, (worker, since)),) = harness.node.running().items()
    assert task == 7
    assert worker in (0, 1)
    assert before <= since <= time.monotonic()
    assert harness.node.take_back() == []  # it is taken


def test_an_interrupted_worker_ends_and_its_task_is_named(harness: Harness) -> None:
    harness.functions = {1: dump_function(time.sleep)}
    harness.start(0)
    harness.offer(7, 1, 60)
    harness.until(lambda: 7 in harness.node.running())
    assert not harness.node.interrupt(0, 8)  # another task than it runs
    assert harness.node.interrupt(0, 7)
    time.sleep(0.05)
    harness.node.nudge(0)  # the signal may have come just before the sleep
    harness.until(lambda: bool(harness.exits))
    ((worker, task, reason),) = harness.exits
    assert (worker, task) == (0, 7)
    assert "SIGTERM" in reason


def test_a_task_that_has_ended_is_not_interrupted(harness: Harness) -> None:
    harness.functions = {1: dump_function(abs)}
    harness.start(0)
    assert harness.run(7, 1, -1) == 1
    harness.until(lambda: not harness.node.running())
    assert not harness.node.interrupt(0, 7)
    assert harness.run(8, 1, -2) == 2  # no mark is left that would end it
    assert harness.run(9, 1, -3) == 3
    assert harness.exits == []


def _deaf_to_sigterm(ready: str, told: str) -> str:
    signal.signal(signal.SIGTERM, lambda *_: open(told, "w").close())
    open(ready, "w").close()
    deadline = time.monotonic() + WAIT_S
    while not os.path.exists(told) and time.monotonic() < deadline:
        time.sleep(0.01)
    return "done"


def test_a_worker_that_ends_its_task_in_spite_of_the_signal_takes_no_other(harness: Harness, tmp_path: Path) -> None:
    harness.functions = {1: dump_function(_deaf_to_sigterm)}
    harness.start(0)
    harness.offer(7, 1, f"{tmp_path}/ready", f"{tmp_path}/told")
    harness.until((tmp_path / "ready").exists)
    harness.offer(8, 1, "", "")
    assert harness.node.interrupt(0, 7)
    harness.until(lambda: bool(harness.exits))
    assert harness.results() == {7: "done"}
    assert harness.exits[0][:2] == (0, None)
    assert "exit code 0" in harness.exits[0][2]
    assert harness.node.take_back() == [8]


def test_a_killed_worker_leaves_its_queue_to_the_others(harness: Harness) -> None:
    harness.functions = {1: dump_function(time.sleep), 2: dump_function(os.getpid)}
    harness.start(0, 1)
    harness.offer(7, 1, 60)
    harness.until(lambda: 7 in harness.node.running())
    worker, _ = harness.node.running()[7]
    harness.node.kill(worker)
    for task in range(10, 20):
        harness.offer(task, 2)
    harness.until(lambda: len(harness.results()) == 10 and bool(harness.exits))
    assert [(who, task) for who, task, _ in harness.exits] == [(worker, 7)]
    assert len(set(harness.results().values())) == 1
    harness.node.start_worker(worker)  # the slot, cleared, is for the next one
    harness.until(lambda: len(harness.of(stream.READY)) == 3)
    assert harness.node.running() == {}
