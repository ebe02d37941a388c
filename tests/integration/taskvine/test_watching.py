"""What an executor on the embedded engine tells while it works: of itself, and of tasks that run or wait."""

from __future__ import annotations

import contextlib
import os
import platform
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest

from tests.integration.taskvine.vines import CALL, WAIT_S, new_executor, running, wait_for
from trellis.core.interfaces import Attempt, ExecutorContext, Outcome
from trellis.core.measurements import FileSeen, Measurement, NodeSeen, TaskSample
from trellis.core.reports import Begun, Standing
from trellis.executors.taskvine import Library, TaskVineExecutor
from trellis.staging.files import File

M = TypeVar("M")


def wait_until_there(path: str) -> str:
    while not os.path.exists(path):
        time.sleep(0.02)
    return path


class Sink:
    """What is told of attempts."""

    def __init__(self) -> None:
        self.running: list[tuple[Attempt, Begun]] = []
        self.outcomes: list[tuple[Attempt, Outcome]] = []
        self.ended = threading.Event()

    def begun(self, attempts: Sequence[tuple[Attempt, Begun]]) -> None:
        self.running += attempts

    def deliver(self, outcomes: Sequence[tuple[Attempt, Outcome]]) -> None:
        self.outcomes += outcomes
        self.ended.set()


def launch(executor: TaskVineExecutor, sink: Sink, path: Path, **resources: Any) -> Attempt:
    attempt = Attempt(wait_until_there, (str(path),), {}, sink=sink, resources=resources)
    executor.launch(attempt)
    return attempt


def manager_pid() -> int:
    found = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):  # another test's, which has just ended
            if "vine manager" in " ".join(child.cmdline()):
                found.append(child.pid)
    (pid,) = found
    return pid


def test_tasks_that_run_and_wait_are_told_where_they_are(tmp_path: Path) -> None:
    """And all of it within the timeout while the manager is stopped."""
    sink, go = Sink(), tmp_path / "go"
    with running(tmp_path / "run", cores=1) as executor:
        first, second, call = (
            launch(executor, sink, go),
            launch(executor, sink, go),
            launch(executor, sink, go, **CALL),
        )
        wait_for(lambda: sink.running)
        ((attempt, begun),) = sink.running
        assert attempt is first
        report = executor.report()
        assert (report.workers, report.queued, report.assigned, report.running) == (1, 2, 0, 1)
        (worker,) = report.managers
        assert (begun.manager_id, begun.hostname, begun.block_id) == (worker.name, worker.hostname, worker.block_id)
        assert executor.standing(first).begun == begun
        busy = executor.standing(second)
        assert (busy.stage, busy.position, busy.queue) == ("queued", 0, 2)
        assert [each.reason for each in busy.hindrances] == [
            "it has 0 of 1 core free, and 1 is needed (taken by 1 task)",
            "there are as many workers as it may start: max_workers=1",
        ]
        assert executor.standing(call).hindrances[0].place.startswith("library trellis-library at worker ")
        os.kill(manager_pid(), signal.SIGSTOP)
        try:
            silent = executor.report(0.2)
            assert (silent.workers, silent.running) == (1, None)
            assert "it is stopped (SIGSTOP)" in silent.notes[0]
            assert executor.standing(first, 0.2).begun == begun
            assert executor.standing(second, 0.2).stage == "unknown"
        finally:
            os.kill(manager_pid(), signal.SIGCONT)
        assert executor.standing(second, WAIT_S).stage == "queued"
        go.touch()
        wait_for(lambda: len(sink.outcomes) == 3)
        assert {outcome.exception for _, outcome in sink.outcomes} == {None}
        assert {outcome.run_info.block_id for _, outcome in sink.outcomes if outcome.run_info} == {worker.block_id}
        assert executor.standing(first).text == "executor vine does not have it any more: it has ended"
    assert executor.report(0.1).error == "it is not running"


class Record:
    """What executors measure."""

    interval_s = 0.2

    def __init__(self) -> None:
        self.taken: list[Measurement] = []

    def take(self, batch: Sequence[Measurement]) -> None:
        self.taken += batch

    def of(self, kind: type[M]) -> list[M]:
        return [each for each in list(self.taken) if isinstance(each, kind)]


def wait_and_use(path: str, inputs: Sequence[File] = (), outputs: Sequence[File] = ()) -> str:
    content = b"x" * 20_000_000
    while not os.path.exists(path):
        time.sleep(0.02)
    for file in outputs:
        Path(file.filepath).write_bytes(content[:1_000])
    return os.environ.get("TRELLIS_RECORDED", "not seen")


def test_what_is_measured_when_a_run_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in").write_text("some")
    record, sink, go = Record(), Sink(), tmp_path / "go"
    executor = new_executor(cores=3, libraries=[Library("direct", exec_mode="direct", cores=1)])
    executor.start(ExecutorContext(run_dir=str(tmp_path), run_id="test", measurements=record))
    try:
        files = {"inputs": [File("in")], "outputs": [File("out")]}
        for resources in ({"cores": 1}, CALL, {**CALL, "library": "direct"}):
            mine = files if "cores" in resources else {}
            executor.launch(Attempt(wait_and_use, (str(go),), mine, sink=sink, resources=resources))
        wait_for(lambda: len({each.attempt for each in record.of(TaskSample) if each.resident_bytes > 1_000_000}) == 3)
        go.touch()
        wait_for(lambda: len(sink.outcomes) == 3)
        infos = [outcome.run_info for _, outcome in sink.outcomes]
        assert [outcome.value for _, outcome in sink.outcomes] == ["not seen"] * 3
        assert all(info and info.usage and info.usage.peak_memory_bytes > 20_000_000 for info in infos)
        wait_for(lambda: any(file.name.endswith("/out") and not file.worker for file in record.of(FileSeen)))
    finally:
        executor.shutdown()
    seen = {(Path(file.name).name, file.kind, file.event) for file in record.of(FileSeen)}
    assert seen >= {
        ("in", "file", "transferred"),
        ("out", "task output", "cached"),
        ("out", "task output", "transferred"),
        ("trellis-library", "library", "started"),
        ("direct", "library", "started"),
    }
    (node,) = [node for node in record.of(NodeSeen) if node.active]
    assert (node.executor, node.cpus, node.workers, node.memory_bytes) == ("vine", 3, 3, 1000 * 2**20)
    assert node.python_version == platform.python_version()
    assert [each.active for each in record.of(NodeSeen)] == [True, False]


def test_a_task_that_no_worker_takes_says_how_to_start_one(tmp_path: Path) -> None:
    with running(tmp_path / "run", method="manual", manager={"wait_for_workers": 0}) as executor:
        sink = Sink()
        standing: Standing = executor.standing(launch(executor, sink, tmp_path))
        assert standing.text == "it waits in the queue of the manager, it is the next; no worker is connected"
        assert executor.worker_command in standing.hindrances[0].until
        wait_for(lambda: sink.ended.is_set() or executor.report().queued == 1)
