"""``trellis doctor`` on configurations that work, and on such as are broken in the ways that users break them.

Each runs as a process of its own, as users run it, and has to name the cause within half a minute.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

WITHIN_S = 30

CONFIG = """
from trellis import Config, HighThroughputExecutor
from trellis.launchers import *
from trellis.providers import *
config = Config(executors=[HighThroughputExecutor({parameters})], run_dir={run_dir!r})
"""


class Doctor:
    """Writes a configuration, and lets ``trellis doctor`` look at it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.environment = dict(os.environ)

    def write(self, parameters: str = "max_workers_per_node=1", before: str = "") -> str:
        path = self.directory / "config.py"
        path.write_text(before + CONFIG.format(parameters=parameters, run_dir=str(self.directory / "runinfo")))
        return str(path)

    def examine(self, *arguments: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "trellis", "doctor", *arguments],
            capture_output=True,
            text=True,
            timeout=WITHIN_S,
            env={**self.environment, "COLUMNS": "1000"},
            cwd=self.directory,
        )
        assert done.stderr == ""
        return done.returncode, done.stdout

    def put_on_path(self, name: str, script: str) -> None:
        """A command that the examined program finds first."""
        directory = self.directory / "bin"
        directory.mkdir(exist_ok=True)
        (directory / name).write_text(f"#!/bin/bash\n{script}\n")
        (directory / name).chmod(0o755)
        self.environment["PATH"] = f"{directory}{os.pathsep}{os.environ['PATH']}"


@pytest.fixture
def doctor(tmp_path: Path) -> Doctor:
    return Doctor(tmp_path)


def step(output: str, name: str) -> str:
    """The line of a step, with those that belong to it."""
    lines = output.splitlines()
    (start,) = (n for n, line in enumerate(lines) if line[2:].split(maxsplit=1)[1:] and f" {name} " in f"{line} ")
    end = next((n for n in range(start + 1, len(lines)) if not lines[n].startswith("    ")), len(lines))
    return "\n".join(lines[start:end])


# -- what works ------------------------------------------------------------------------------------------------


def test_a_healthy_configuration_passes_every_step(doctor: Doctor) -> None:
    script = doctor.directory / "program.py"
    script.write_text(
        "import json, helpers\nfrom trellis import python_app\n"
        "def plot():\n    import nothing_that_workers_need\n"
        "@python_app\ndef work():\n    import psutil.tests\n    import numpy as np\n"
    )
    (doctor.directory / "helpers.py").write_text("__version__ = '1.2'")
    code, output = doctor.examine(doctor.write(), str(script), "--import", "email")
    assert (code, output.splitlines()[-1]) == (0, "Everything works.")
    assert [line.split()[1] for line in output.splitlines()[:-1]] == ["ok"] * 10
    assert f"Python {sys.version.split()[0]}" in step(output, "a task runs")
    assert "1.2" in step(output, "import helpers")
    for name in ("email", "psutil", "numpy"):
        step(output, f"import {name}")


def test_every_executor_of_a_configuration_is_tried(doctor: Doctor) -> None:
    before = "import trellis\nmine = trellis.Config(executors=[trellis.ThreadPoolExecutor(label='a'), "
    before += "trellis.ThreadPoolExecutor(label='b')])\n"
    path = doctor.directory / "config.py"
    path.write_text(before)
    code, output = doctor.examine(str(path))
    assert code == 0
    assert [line.split()[2] for line in output.splitlines() if " starts " in line] == ["a", "b"]


def test_tasks_that_spread_over_nodes_are_tried_too(doctor: Doctor) -> None:
    path = Path(doctor.write())
    path.write_text(
        "from trellis import Config\nfrom trellis.executors import MPIExecutor\n"
        "from trellis.launchers import SimpleLauncher\nfrom trellis.providers import LocalProvider\n"
        "nodes = 'hostname > nodes.txt; export PBS_NODEFILE=$PWD/nodes.txt'\n"
        "provider = LocalProvider(launcher=SimpleLauncher(), worker_init=nodes)\n"
        "def config():\n    return Config(executors=[MPIExecutor(provider=provider)])\n"
    )
    code, output = doctor.examine(str(path))
    assert code == 0, output


# -- five broken ones ------------------------------------------------------------------------------------------


def test_a_wrong_partition(doctor: Doctor) -> None:
    doctor.put_on_path(
        "sbatch",
        "echo 'sbatch: error: invalid partition specified: nosuch' >&2\n"
        "echo 'sbatch: error: Batch job submission failed: Invalid partition name specified' >&2\nexit 1",
    )
    code, output = doctor.examine(doctor.write("provider=SlurmProvider(partition='nosuch')"))
    assert code == 1
    assert "invalid partition specified: nosuch" in step(output, "a block is submitted")
    assert "hint: the partition or queue does not exist" in step(output, "a block is submitted")
    assert "skipped" in step(output, "a manager connects")


def test_an_address_that_cannot_be_reached(doctor: Doctor) -> None:
    code, output = doctor.examine(doctor.write("address='203.0.113.1', max_workers_per_node=1"))
    assert code == 1
    assert "203.0.113.1" in step(output, "a manager connects")
    assert "give address=" in step(output, "a manager connects")


def test_a_package_that_workers_do_not_have(doctor: Doctor) -> None:
    # What the path leads to reaches the workers by itself; what the program has made in its memory does not.
    made = "import sys, types\nsys.modules['onlyhere'] = types.ModuleType('onlyhere')\n"
    code, output = doctor.examine(doctor.write("", before=f"{made}import onlyhere, psutil\n"))
    assert code == 1
    assert "cannot import onlyhere: ModuleNotFoundError" in step(output, "import onlyhere")
    assert "no module onlyhere: install it there" in step(output, "import onlyhere")
    assert " ok " in step(output, "import psutil")


@pytest.mark.parametrize(
    ("python", "hint"),
    [
        ("/no/such/python3", "the node has no /no/such/python3"),
        (f"{sys.executable} -I -S", "the interpreter on the node has no Trellis"),
    ],
    ids=["that is not there", "without Trellis"],
)
def test_a_wrong_interpreter(doctor: Doctor, python: str, hint: str) -> None:
    command = f"{python} -m trellis.executors.htex.manager.service -a {{addresses}} -p {{worker_port}}"
    code, output = doctor.examine(doctor.write(f"launch_cmd={command!r}"))
    assert code == 1
    assert f"hint: {hint}" in output


def test_more_memory_than_the_node_has(doctor: Doctor) -> None:
    code, output = doctor.examine(doctor.write("mem_per_worker=100_000"))
    assert code == 1
    assert "no worker fits this node" in step(output, "a manager connects")
    assert "hint: the node is too small for one worker" in step(output, "a manager connects")


# -- what else may be wrong ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        ("from trellis import Config\nConfig(retries='three')", "retries must be a number of at least 0, not 'three'"),
        ("import no_such_module_anywhere", "No module named 'no_such_module_anywhere'"),
        ("executors = []", "defines neither config nor fresh_config()"),
        ("x = (", "SyntaxError"),
    ],
)
def test_a_file_without_a_valid_configuration(doctor: Doctor, source: str, cause: str) -> None:
    path = doctor.directory / "config.py"
    path.write_text(source)
    code, output = doctor.examine(str(path))
    assert code == 1
    assert cause in step(output, "the configuration is valid")


def test_a_job_that_waits_too_long_is_cancelled(doctor: Doctor) -> None:
    cancelled = doctor.directory / "cancelled"
    doctor.put_on_path("sbatch", "echo Submitted batch job 4711")
    doctor.put_on_path("squeue", "echo '4711|PENDING|Priority'")
    doctor.put_on_path("scancel", f'echo "$@" >> {cancelled}')
    code, output = doctor.examine(doctor.write("provider=SlurmProvider(init_blocks=5, max_blocks=5)"), "--timeout", "1")
    assert code == 1
    assert "job 4711" in step(output, "a block is submitted")
    assert "the job still waits in its queue after 1 s" in step(output, "its job runs")
    assert "wait longer with --timeout" in step(output, "its job runs")
    assert cancelled.read_text().split() == ["4711"]  # one block, whatever the configuration says


def test_an_interrupt_ends_what_was_started(doctor: Doctor) -> None:
    submitted, cancelled = doctor.directory / "submitted", doctor.directory / "cancelled"
    doctor.put_on_path("sbatch", f"touch {submitted}; echo Submitted batch job 4711")
    doctor.put_on_path("squeue", "echo '4711|PENDING|Priority'")
    doctor.put_on_path("scancel", f'echo "$@" >> {cancelled}')
    path = doctor.write("provider=SlurmProvider()")
    command = [sys.executable, "-m", "trellis", "doctor", path]
    process = subprocess.Popen(
        command, env=doctor.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        while not submitted.exists():
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=WITHIN_S)
    assert (process.returncode, errors) == (130, "trellis: interrupted\n"), output
    assert cancelled.read_text().split() == ["4711"]


def test_another_version_of_python_on_the_workers(doctor: Doctor) -> None:
    # The node claims to have it: another Python is not to be had everywhere.
    (doctor.directory / "sitecustomize.py").write_text("import platform\nplatform.python_version = lambda: '3.9.1'\n")
    worker_init = f"export PYTHONPATH={doctor.directory}:{os.environ['PYTHONPATH']}"
    code, output = doctor.examine(doctor.write(f"provider=LocalProvider(worker_init={worker_init!r})"))
    assert code == 1
    assert "the worker has Python 3.9.1" in step(output, "a task runs")
    assert "hint: functions do not travel between versions of Python" in step(output, "a task runs")


def test_a_task_that_never_ends_its_import_is_given_up(doctor: Doctor) -> None:
    (doctor.directory / "endless.py").write_text("import time\ntime.sleep(1000)\n")
    code, output = doctor.examine(doctor.write(), "--import", "endless", "--timeout", "2")
    assert code == 1
    assert "no result after 2 s" in step(output, "import endless")
