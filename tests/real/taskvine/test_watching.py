"""What is told of tasks on the real TaskVine while they run and wait."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.integration.taskvine.test_watching import Record, Sink, launch, wait_and_use
from tests.integration.taskvine.vines import CALL
from tests.real.programs import wait_for
from tests.real.taskvine.conftest import Start
from trellis.core.interfaces import Attempt, ExecutorContext
from trellis.core.measurements import FileSeen, NodeSeen, TaskSample
from trellis.executors.taskvine import Library, TaskVineExecutor, TaskVineFactoryConfig, TaskVineManagerConfig
from trellis.staging.files import File


def test_tasks_that_run_and_wait_are_told_where_they_are(start: Start, tmp_path: Path) -> None:
    executor, sink, go = start(), Sink(), tmp_path / "go"
    small = {launch(executor, sink, go, cores=1, memory=100, disk=100) for _ in range(3)}
    large = launch(executor, sink, go, cores=9)
    wait_for("two are told to run", lambda: len(sink.running) == 2)
    first = sink.running[0][0]
    (third,) = small - {attempt for attempt, _ in sink.running}  # it is TaskVine that chooses
    report = executor.report()
    assert (report.workers, report.queued, report.assigned, report.running) == (2, 2, 0, 2)
    ran = executor.standing(first)
    assert (ran.stage, ran.begun) == ("running", dict(sink.running)[first])
    waits = executor.standing(third)
    assert (waits.stage, waits.position, waits.queue) == ("queued", 0, 2)
    assert [each.reason for each in waits.hindrances] == [
        "it has 0 of 2 cores free, and 1 is needed (taken by 2 tasks)",
        "there are as many workers as it may start: max_workers=1",
    ]
    assert executor.standing(large).hindrances[0].reason.startswith("9 cores asked for, and it has 2 cores, ")
    (manager,) = [child for child in psutil.Process().children() if "vine manager" in " ".join(child.cmdline())]
    os.kill(manager.pid, signal.SIGSTOP)
    try:
        assert executor.standing(first, 0.2).begun == ran.begun
        assert executor.standing(third, 0.2).stage == "unknown"
        assert executor.report(0.2).running is None
    finally:
        os.kill(manager.pid, signal.SIGCONT)
    executor.cancel(large)
    go.touch()
    wait_for("all have ended", lambda: len(sink.outcomes) == 4)


def test_what_is_measured_when_a_run_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in").write_text("some")
    record, sink, go = Record(), Sink(), tmp_path / "go"
    executor = TaskVineExecutor(
        "vine",
        engine="ndcctools",
        libraries=[Library("direct", exec_mode="direct", cores=1, memory=100, disk=100)],
        manager_config=TaskVineManagerConfig(
            port=0, library_config={"num_slots": 1, "cores": 1, "memory": 100, "disk": 100}
        ),
        factory_config=TaskVineFactoryConfig(cores=3, memory=1000, disk=2000),
    )
    executor.start(ExecutorContext(run_dir=str(tmp_path), run_id="test", measurements=record))
    try:
        files = {"inputs": [File("in")], "outputs": [File("out")]}
        for resources in ({"cores": 1, "memory": 200, "disk": 200}, CALL, {**CALL, "library": "direct"}):
            mine = files if "cores" in resources else {}
            executor.launch(Attempt(wait_and_use, (str(go),), mine, sink=sink, resources=resources))
        wait_for("all are sampled", lambda: len({sample.attempt for sample in record.of(TaskSample)}) == 3)
        go.touch()
        wait_for("all have ended", lambda: len(sink.outcomes) == 3)
        assert [outcome.value for _, outcome in sink.outcomes] == ["not seen"] * 3
        infos = [outcome.run_info for _, outcome in sink.outcomes]
        assert all(info and info.usage and info.usage.peak_memory_bytes > 20_000_000 for info in infos)
        wait_for("the output is told of", lambda: "out" in {file.name for file in record.of(FileSeen)})
    finally:
        executor.shutdown()
    seen = {(file.name, file.kind, file.event) for file in record.of(FileSeen)}
    assert seen >= {("in", "file", "transferred"), ("out", "task output", "transferred")}
    assert ("library", "started") in {(kind, event) for _, kind, event in seen}
    (node,) = [node for node in record.of(NodeSeen) if node.active]
    assert (node.executor, node.cpus, node.memory_bytes) == ("vine", 3, 1000 * 2**20)


def slow_context(path: str) -> dict[str, Any]:
    while not os.path.exists(path):
        time.sleep(0.05)
    return {}


def test_calls_wait_for_a_library_that_is_not_ready(start: Start, tmp_path: Path) -> None:
    sink, ready = Sink(), tmp_path / "ready"
    library = Library("slow", num_slots=1, context=slow_context, args=(str(ready),))
    executor = start(function_exec_mode="serverless", libraries=[library])
    call = launch(executor, sink, ready, library="slow")
    wait_for("it was sent to a worker", lambda: executor.standing(call).stage == "assigned")
    assert executor.standing(call).hindrances[0].reason == "it is starting"
    ready.touch()
    wait_for("it has ended", lambda: sink.outcomes)
