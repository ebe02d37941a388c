"""Executors work with Pythons that know less of Linux than it can: conda's and uv's, and on systems that can less."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

# Of a module that each interpreter loads when it starts.
KNOW_LESS = {
    "neither memory files nor pidfds": "import os; del os.memfd_create, os.pidfd_open",
    "no pidfds, and Linux has none": """
import errno, os
def pidfd_open(pid, flags=0):
    raise OSError(errno.ENOSYS, "as Linux 4.18 says")
os.pidfd_open = pidfd_open
""",
}

PROGRAM = """
import os, signal
import trellis
from trellis import Config, HighThroughputExecutor, python_app
from trellis.executors.taskvine import TaskVineExecutor, TaskVineFactoryConfig
from trellis.providers import LocalProvider

def taskvine(mode):
    factory = TaskVineFactoryConfig(min_workers=1, max_workers=1, cores=2)
    return TaskVineExecutor(
        label=mode, engine="embedded", worker_launch_method="factory", function_exec_mode=mode, factory_config=factory
    )

config = Config(
    executors=[
        HighThroughputExecutor("htex", max_workers_per_node=1, provider=LocalProvider(init_blocks=1)),
        taskvine("regular"),
        taskvine("serverless"),
    ],
)

def known():
    import os
    return [hasattr(os, "memfd_create"), hasattr(os, "pidfd_open")]

def die():
    import os, signal
    os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    with trellis.load(config):
        for label in ("htex", "regular", "serverless"):
            run = {"executors": [label]}
            work, fail = python_app(known, **run), python_app(die, **run)
            print(label, "knows", work().result())
            print(label, "lost", type(fail().exception()).__name__)
            print(label, "goes on", len(work().result()))
"""


@pytest.mark.parametrize("what", KNOW_LESS)
def test_executors_need_no_more_than_old_builds_of_python_know(what: str, tmp_path: Path) -> None:
    (tmp_path / "less").mkdir()
    (tmp_path / "less" / "sitecustomize.py").write_text(KNOW_LESS[what])
    (tmp_path / "program.py").write_text(PROGRAM)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "less")}
    done = subprocess.run(
        [sys.executable, "program.py"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    knows = "[False, False]" if what.startswith("neither") else "[True, True]"
    said = done.stdout.splitlines()
    for label in ("htex", "regular", "serverless"):
        assert f"{label} knows {knows}" in said, done.stdout
        assert any(line.startswith(f"{label} lost ") and not line.endswith("NoneType") for line in said), done.stdout
        assert f"{label} goes on 2" in said, done.stdout
    assert done.returncode == 0, done.stdout
