"""Which processes are tasks of the real TaskVine, by where they work."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.integration.taskvine.vines import wait_for
from trellis.executors.taskvine.ndcctools.local_tasks import local_tasks, tasks_among


def test_the_first_process_of_each_sandbox_is_the_task() -> None:
    places = {
        10: (1, "/w/worker-0-23"),
        11: (10, "/w/worker-0-23/task.7"),
        12: (11, "/w/worker-0-23/task.7"),
        13: (10, "/w/worker-0-23/libr.5"),
        14: (13, "/w/worker-0-23/func.3"),
        15: (13, "/w/worker-0-23/func.2"),
        16: (14, "/home/task.9/x"),
    }
    assert tasks_among(places) == {7: 11, 3: 14, 2: 15}


def test_tasks_of_a_worker_are_found_by_its_port(tmp_path: Path) -> None:
    """A worker that is none: the name, the port, and a child that works where a task would."""
    sandbox = tmp_path / "task.42"
    sandbox.mkdir()
    code = (
        "import subprocess, sys; open('/proc/self/comm', 'w').write('vine_worker'); "
        "child = subprocess.Popen(['sleep', '60'], cwd=sys.argv[1]); sys.stdin.read(); child.kill(); child.wait()"
    )
    worker = subprocess.Popen([sys.executable, "-c", code, str(sandbox), "4711"], stdin=subprocess.PIPE)
    try:
        found = wait_for(lambda: local_tasks(4711))
        assert found.keys() == {42}
        assert os.readlink(f"/proc/{found[42]}/cwd") == str(sandbox)
        assert local_tasks(4712) == {}
    finally:
        worker.communicate(b"")
