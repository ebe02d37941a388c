"""The cable between the two hosts is cut: who notices, when, and what becomes of the tasks."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.real.network.cable import Cable
from trellis.core.interfaces import ExecutorContext
from trellis.errors import ManagerLost
from trellis.executors.htex.executor import DEFAULT_LAUNCH_CMD, HighThroughputExecutor
from trellis.launchers import WrappedLauncher
from trellis.providers import LocalProvider

PERIOD_S, THRESHOLD_S = 1, 4
# Beyond the threshold: a period until the next sign of life would have come, and the moment that ends take.
NOTICED_S = THRESHOLD_S + PERIOD_S + 2.0
WAIT_S = 30.0

StartExecutor = Callable[..., HighThroughputExecutor]


@pytest.fixture
def cable() -> Iterator[Cable]:
    with Cable() as cable:
        yield cable


@pytest.fixture
def start(cable: Cable, tmp_path: Path) -> Iterator[StartExecutor]:
    """Start executors whose first block is on the other host, and later ones here."""
    started: list[HighThroughputExecutor] = []

    def start(blocks: int = 1, **parameters: Any) -> HighThroughputExecutor:
        script = tmp_path / "on-the-right-host"
        script.write_text(
            "#!/bin/sh\n"
            f'if mkdir {tmp_path}/first 2>/dev/null; then exec ip netns exec {cable.host} "$@"; fi\n'
            f"while [ ! -e {tmp_path}/joined ]; do sleep 0.05; done\n"
            'exec "$@"\n'
        )
        script.chmod(0o700)
        provider = LocalProvider(
            launcher=WrappedLauncher(str(script)), init_blocks=blocks, min_blocks=0, max_blocks=blocks
        )
        executor = HighThroughputExecutor(
            provider=provider,
            address=cable.address,
            max_workers_per_node=1,
            heartbeat_period=PERIOD_S,
            heartbeat_threshold=THRESHOLD_S,
            block_error_handler=False,
            **parameters,
        )
        started.append(executor)
        executor.start(ExecutorContext(run_dir=str(tmp_path)))
        wait_until(lambda: len(executor.connected_managers()) == 1, "the other host's manager is there")
        (tmp_path / "joined").touch()
        wait_until(lambda: len(executor.connected_managers()) == blocks, "all managers are there")
        return executor

    yield start
    for executor in started:
        executor.shutdown()


def wait_until(condition: Callable[[], Any], what: str, timeout_s: float = WAIT_S) -> float:
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < timeout_s, f"not within {timeout_s} s: {what}"
        time.sleep(0.02)
    return time.monotonic() - started


def note(path: str, name: str, seconds: float) -> str:
    """Note that this begins, and give the network namespace in which it runs."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, f"{name}\n".encode())
    os.close(fd)
    time.sleep(seconds)
    return os.readlink("/proc/self/ns/net")


def begun(path: Path) -> Counter[str]:
    return Counter(path.read_text().split()) if path.exists() else Counter()


def here() -> str:
    return os.readlink("/proc/self/ns/net")


def manager_log(executor: HighThroughputExecutor) -> str:
    (log,) = Path(executor.logdir).glob("block-0/*/manager.log")
    return log.read_text()


def test_a_cut_is_noticed_by_both_sides_and_the_manager_cut_off_stops_its_tasks(
    start: StartExecutor, cable: Cable, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    executor = start()
    log = tmp_path / "log"
    running = executor.submit(note, {}, str(log), "endless", 600.0)
    wait_until(lambda: begun(log), "the task has begun")
    assert cable.processes()
    cable.cut()
    cut_at = time.monotonic()
    exception = running.exception(NOTICED_S)
    record_property("interchange_noticed_s", time.monotonic() - cut_at)
    assert isinstance(exception, ManagerLost)
    assert "sent nothing" in str(exception)
    cable.wait_until_empty(NOTICED_S)
    record_property("manager_gone_s", time.monotonic() - cut_at)
    assert "nothing" in manager_log(executor).splitlines()[-1]
    assert begun(log) == {"endless": 1}


def test_what_ran_on_the_host_cut_off_runs_elsewhere_when_it_is_tried_again(
    start: StartExecutor, cable: Cable, tmp_path: Path
) -> None:
    executor = start(blocks=2)
    log = tmp_path / "log"
    futures = {name: executor.submit(note, {}, str(log), name, 600.0) for name in ("a", "b")}
    wait_until(lambda: len(begun(log)) == 2, "a task runs on each host")
    cable.cut()
    wait_until(lambda: any(future.done() for future in futures.values()), "the loss is noticed", NOTICED_S)
    (lost,) = (name for name, future in futures.items() if future.done())
    assert isinstance(futures[lost].exception(0), ManagerLost)
    (kept,) = set(futures) - {lost}
    futures[kept].cancel()
    assert executor.submit(note, {}, str(log), lost, 0.0).result(WAIT_S) == here()
    assert begun(log)[lost] == 2


def test_a_cut_that_is_mended_in_time_costs_nothing(start: StartExecutor, cable: Cable, tmp_path: Path) -> None:
    executor = start()
    log = tmp_path / "log"
    futures = [executor.submit(note, {}, str(log), f"task-{number}", 0.2) for number in range(20)]
    wait_until(lambda: len(begun(log)) >= 2, "tasks run")
    cable.cut()
    time.sleep(THRESHOLD_S / 2)
    cable.mend()
    assert {future.result(WAIT_S) for future in futures} == {futures[0].result(0)} != {here()}
    assert begun(log) == {f"task-{number}": 1 for number in range(20)}
    assert len(executor.connected_managers()) == 1


def test_a_manager_that_returns_too_late_is_told_that_it_was_given_up(
    start: StartExecutor, cable: Cable, tmp_path: Path
) -> None:
    # It would wait for a minute; the interchange does not.
    patient = DEFAULT_LAUNCH_CMD.replace("--hb_threshold {heartbeat_threshold}", "--hb_threshold 60")
    assert patient != DEFAULT_LAUNCH_CMD
    executor = start(launch_cmd=patient)
    log = tmp_path / "log"
    running = executor.submit(note, {}, str(log), "endless", 600.0)
    wait_until(lambda: begun(log), "the task has begun")
    cable.cut()
    assert isinstance(running.exception(NOTICED_S), ManagerLost)
    assert cable.processes()
    cable.mend()
    cable.wait_until_empty(WAIT_S)
    assert "dismissed: it sent nothing for 4 s" in manager_log(executor)
    assert executor.connected_managers() == []


def test_of_several_addresses_the_one_that_answers_is_taken(start: StartExecutor, cable: Cable) -> None:
    addresses = f"{cable.black_hole},{{addresses}}"
    started = time.monotonic()
    executor = start(launch_cmd=DEFAULT_LAUNCH_CMD.replace("{addresses}", addresses), address_probe_timeout=20)
    assert time.monotonic() - started < 15  # one after the other would take the black hole's twenty seconds first
    assert f"uses tcp://{cable.address}:" in manager_log(executor)
    assert executor.submit(len, {}, "abc").result(WAIT_S) == 3
