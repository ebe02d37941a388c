"""Programs that are asked from outside: while they go on, suspended, too busy to answer, killed; on every executor."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from trellis.cli.main import main
from trellis.watching import ask as ask_module
from trellis.watching.processes import look

TIMEOUT_S = 60.0

PROGRAM = """
import os, re, sys, threading, time
import trellis
from trellis import Config, python_app
from trellis.executors import HighThroughputExecutor, MPIExecutor, TaskVineExecutor, ThreadPoolExecutor
from trellis.launchers import SimpleLauncher
from trellis.providers import LocalProvider

@python_app
def wait(path, *after, parsl_resource_specification={}):
    import os, time
    while not os.path.exists(path):
        time.sleep(0.01)

if __name__ == "__main__":
    what, path = sys.argv[1], os.path.abspath("go on")
    provider = LocalProvider(init_blocks=1, max_blocks=1)
    nodes = "echo n1 > nodes; export PBS_NODEFILE=$PWD/nodes"
    with_nodes = LocalProvider(init_blocks=1, max_blocks=1, launcher=SimpleLauncher(), worker_init=nodes)
    executor = {
        "threads": lambda: ThreadPoolExecutor("used"),
        "htex": lambda: HighThroughputExecutor("used", max_workers_per_node=1, provider=provider),
        "mpi": lambda: MPIExecutor("used", max_workers_per_block=1, mpi_launcher="mpiexec", provider=with_nodes),
        "taskvine": lambda: TaskVineExecutor("used"),
    }[what]()
    with trellis.load(Config(executors=[executor], exit_mode="wait", run_dir="runinfo")):
        how = {"parsl_resource_specification": {"num_nodes": 1}} if what == "mpi" else {}
        first = wait(path, **how)
        for _ in range(3):
            wait(path, first, **how)
        print("ready", flush=True)
        for line in sys.stdin:
            exec(line)
"""


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    (tmp_path / "program.py").write_text(textwrap.dedent(PROGRAM))
    monkeypatch.chdir(tmp_path)
    started: list[subprocess.Popen[str]] = []

    def run(what: str) -> subprocess.Popen[str]:
        program = subprocess.Popen(
            [sys.executable, "program.py", what], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(program)
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
        return program

    yield run
    (tmp_path / "go on").touch()
    for program in started:
        program.send_signal(signal.SIGCONT)
        try:
            program.communicate(timeout=TIMEOUT_S / 4)
        except subprocess.TimeoutExpired:  # it searches still: the test has failed
            program.kill()
            program.communicate()


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    def run(*words: str) -> Any:
        capsys.readouterr()
        main([*words, "--json"])
        return json.loads(capsys.readouterr().out)

    return run


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("what", ["threads", "htex", "mpi", "taskvine"])
def test_every_executor_tells_what_runs_where_and_what_waits(
    what: str, start: Callable[[str], subprocess.Popen[str]], say: Callable[..., Any]
) -> None:
    program = start(what)
    until(lambda: say("status")["states"] == {"pending": 3, "running": 1})
    status = say("status", str(program.pid))
    (executor,) = status["executors"]
    assert (executor["label"], executor["running"]) == ("used", 1)
    assert executor["workers"] >= 1
    task = say("tasks", "--state", "running")["tasks"][0]
    assert (task["task_id"], task["hostname"] != "", task["running_since"] is not None) == (0, True, True)
    explained = say("explain", "2")
    assert explained["waits"][0]["task_id"] == 0
    assert " runs on " in explained["waits"][0]["text"]
    assert say("cancel", "3")["cancelled"] == [3]
    Path("go on").touch()
    program.communicate(timeout=TIMEOUT_S)
    assert say("status")["states"] == {"exec_done": 3, "cancelled": 1}


def test_a_suspended_program_a_busy_one_and_one_that_was_killed_are_told(
    start: Callable[[str], subprocess.Popen[str]], say: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    program = start("threads")
    program.send_signal(signal.SIGSTOP)
    until(lambda: (process := look(program.pid)) is not None and process.state == "T")
    told = say("status", str(program.pid))
    assert (told["state"], f"`kill -CONT {program.pid}` lets it go on" in told["text"]) == ("suspended", True)
    program.send_signal(signal.SIGCONT)
    until(lambda: say("status")["state"] == "live")

    monkeypatch.setattr(ask_module, "HELLO_S", 0.3)
    assert program.stdin is not None
    # A search that takes hours, and keeps all other threads waiting; and before it a child that has the socket too.
    program.stdin.write("threading.Thread(target=lambda: os.fork() or time.sleep(4) or os._exit(0)).start()\n")
    program.stdin.write("time.sleep(0.5); re.match('(a+)+$', 'a' * 40 + 'b')\n")
    program.stdin.flush()
    until(lambda: say("explain", "1").get("state") == "silent")
    assert "of a core): probably one call, in C" in say("tasks")["text"]

    program.kill()
    program.wait()
    assert say("status")["state"] == "killed"
    assert say("runs")["runs"][0]["state"] == "killed"
    assert not os.path.exists("runinfo/000/run.sock")
