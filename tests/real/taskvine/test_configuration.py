"""What users say of managers, workers and tasks, and what the real TaskVine makes of it."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import trellis
from tests.real.programs import wait_for
from tests.real.taskvine.conftest import Start
from trellis import Config
from trellis.errors import ExecutorError
from trellis.executors.taskvine import TaskVineExecutor, TaskVineFactoryConfig, TaskVineManagerConfig
from trellis.executors.taskvine.manager_config import DEFAULT_PORT
from trellis.providers import LocalProvider


def sandbox() -> str:
    return os.getcwd()


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.create_server(("", 0)) as server:
        yield server.getsockname()[1]


def test_a_task_has_what_it_asks_for(start: Start) -> None:
    executor = start()
    resources = {"cores": 1, "memory": 200, "disk": 300}
    found = [executor.submit(os.getenv, resources, name).result(60) for name in ("CORES", "MEMORY", "DISK")]
    assert found == ["1", "200", "300"]
    # Nothing said: the whole worker.
    assert executor.submit(os.getenv, {}, "CORES").result(60) == "2"


class worker_of:
    """A worker that the user has started, as the executor says."""

    def __init__(self, executor: TaskVineExecutor, *options: str) -> None:
        self._command = f"exec {executor.worker_command} --parent-death {' '.join(options)}"

    def __enter__(self) -> subprocess.Popen[bytes]:
        self._process = subprocess.Popen(self._command, shell=True, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
        return self._process

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()


def test_features_choose_workers(start: Start) -> None:
    executor = start(worker_launch_method="manual")
    future = executor.submit(sandbox, {"features": ["ssd"]})
    with worker_of(executor, "--workspace", "/tmp/plain"):
        wait_for("the plain worker is there", lambda: executor.connected_workers == 1)
        with worker_of(executor, "--workspace", "/tmp/special", "--feature", "ssd"):
            assert future.result(60).startswith("/tmp/special")


def test_variables_and_an_init_command_reach_tasks(start: Start) -> None:
    executor = start(manager={"env_vars": {"A": "1"}, "init_command": "export B=$A$A;"})
    assert executor.submit(os.getenv, {}, "B").result(60) == "11"


def test_an_init_command_that_fails_is_told(start: Start) -> None:
    executor = start(manager={"init_command": "echo no such module; exit 3;"})
    with pytest.raises(Exception, match="no such module"):
        executor.submit(sandbox, {}).result(60)


def test_tasks_wait_for_enough_workers(start: Start) -> None:
    executor = start(worker_launch_method="manual", manager={"wait_for_workers": 2})
    future = executor.submit(sandbox, {})
    with worker_of(executor):
        wait_for("one worker is there", lambda: executor.connected_workers == 1)
        assert not future.done()
        with worker_of(executor):
            future.result(60)


def test_two_executors_run_side_by_side(start: Start) -> None:
    first, second = (start(manager={"port": DEFAULT_PORT}) for _ in range(2))
    assert [executor.submit(abs, {}, -1).result(60) for executor in (first, second)] == [1, 1]


def test_a_port_that_was_asked_for_and_is_taken_is_an_error(tmp_path: Path, taken: int) -> None:
    executor = TaskVineExecutor(engine="ndcctools", manager_config=TaskVineManagerConfig(port=taken))
    with pytest.raises(ExecutorError, match=f"port {taken} is in use"):
        trellis.load(Config(executors=[executor], run_dir=str(tmp_path)))
    trellis.clear()


def test_monitoring_that_is_not_there_is_named(tmp_path: Path) -> None:
    executor = TaskVineExecutor(engine="ndcctools", manager_config=TaskVineManagerConfig(port=0, autolabel=True))
    with pytest.raises(ExecutorError, match="autolabel needs the command resource_monitor"):
        trellis.load(Config(executors=[executor], run_dir=str(tmp_path)))
    trellis.clear()


def test_unknown_tuning_parameters_are_named(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    executor = start(manager={"tune_parameters": {"no-such-thing": 1, "temp-replica-count": 1}})
    executor.submit(abs, {}, 1).result(60)
    wait_for("the notice has come", lambda: "does not know no-such-thing" in caplog.text)


def test_workers_must_know_the_password(start: Start, tmp_path: Path) -> None:
    secret, wrong = tmp_path / "secret", tmp_path / "wrong"
    secret.write_text("right")
    secret.chmod(0o600)
    wrong.write_text("wrong")
    executor = start(worker_launch_method="manual", manager={"project_password_file": str(secret)})
    assert str(secret) in executor.worker_command
    future = executor.submit(abs, {}, -1)
    command = executor.worker_command.replace(str(secret), str(wrong))
    with subprocess.Popen(f"exec {command}", shell=True, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as other:
        try:
            log = Path(executor.logdir) / "manager.log"
            wait_for("it was refused", lambda: "wrong password" in log.read_text())
            assert not future.done()
            with worker_of(executor):
                assert future.result(60) == 1
        finally:
            other.terminate()


def test_blocks_of_a_provider_run_workers(start: Start) -> None:
    executor = start(worker_launch_method="provider", provider=LocalProvider(init_blocks=1, max_blocks=1))
    assert executor.submit(abs, {}, -1).result(60) == 1
    (worker,) = executor.vine_status().workers
    assert worker.block == "0"


def test_the_status_tells_of_workers_and_tasks(start: Start) -> None:
    executor = start()
    executor.submit(abs, {}, -1).result(60)
    status: Any = executor.vine_status()
    assert (status.done, status.failed, status.waiting) == (1, 0, 0)
    (worker,) = status.workers
    assert (worker.total.cores, worker.total.memory, worker.from_factory) == (2, 1000, True)


def test_configurations_are_not_changed(tmp_path: Path) -> None:
    manager, factory = TaskVineManagerConfig(port=0), TaskVineFactoryConfig(cores=1)
    executor = TaskVineExecutor(engine="ndcctools", manager_config=manager, factory_config=factory)
    with trellis.load(Config(executors=[executor], run_dir=str(tmp_path))):
        executor.submit(abs, {}, -1).result(60)
    assert (manager, factory) == (TaskVineManagerConfig(port=0), TaskVineFactoryConfig(cores=1))
