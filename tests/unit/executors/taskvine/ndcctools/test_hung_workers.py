"""Workers that the manager has given up."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from trellis.executors.taskvine.ndcctools import hung_workers
from trellis.executors.taskvine.ndcctools.hung_workers import GRACE_S, HungWorkers


def test_who_is_without_a_manager_for_too_long_hangs() -> None:
    hung = HungWorkers()
    assert hung.look({1: True, 2: False, 3: False}, 0.0) == []
    assert hung.look({1: True, 2: True, 3: False}, GRACE_S - 1) == []  # 2 has found it again
    assert hung.look({1: True, 2: False, 3: False}, GRACE_S) == [3]
    assert hung.look({2: False}, 2 * GRACE_S) == [2]


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], socket.socket, int]]:
    """A process that looks like a worker, and the manager's end of its connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        program = tmp_path / "vine_worker"
        shutil.copy(os.path.realpath(sys.executable), program)
        words = "import socket, sys, time\nlink = socket.create_connection(('127.0.0.1', int(sys.argv[-1])))\n"
        words += "print('up', flush=True)\ntime.sleep(600)\n"
        command = [str(program), "-c", words, "--from-factory", "trellis-factory", "127.0.0.1", str(port)]
        environment = {**os.environ, "PYTHONHOME": sys.base_prefix}
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline() == "up\n"
                link, _ = server.accept()
                with link:
                    yield process, link, port
            finally:
                process.kill()


def test_a_workers_connection_is_seen_and_its_process_ended(
    worker: tuple[subprocess.Popen[str], socket.socket, int],
) -> None:
    process, link, port = worker
    assert hung_workers.local_workers(port) == {process.pid: True}
    assert hung_workers.local_workers(1) == {}
    link.close()
    assert hung_workers.local_workers(port) == {process.pid: False}
    psutil.Process(process.pid).suspend()
    hung_workers.end(process.pid)
    assert process.wait(30) == -9
    hung_workers.end(process.pid)  # it is gone: no error
