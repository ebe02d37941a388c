"""No job outlives the program that asked for it, however that ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.providers.systems import PROVIDERS, FakeSystem

# It submits a job at the stand-in in its directory, says the job's id, and does what the test wants.
PROGRAM = """
import os, sys, time
from pathlib import Path
from tests.providers.systems import PROVIDERS
from trellis.launchers import SimpleLauncher
directory, system, ending = sys.argv[1:]
provider = PROVIDERS[system](launcher=SimpleLauncher())
provider.script_dir = directory
job_id = provider.submit("sleep 1000", 1)
print(job_id, flush=True)
exec(ending)
"""


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)


def start(system: FakeSystem, name: str, ending: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(system.scripts), name, ending],
        env={**os.environ, "PATH": system.path},
        stdout=subprocess.PIPE,
        text=True,
    )


def run(system: FakeSystem, name: str, ending: str) -> str:
    with start(system, name, ending) as program:
        return program.communicate(timeout=60)[0]


def reapers(program: int) -> list[psutil.Process]:
    return [child for child in psutil.Process(program).children() if "reaper" in " ".join(child.cmdline())]


def catches(pid: int, number: int) -> bool:
    (mask,) = re.findall(r"^SigCgt:\s*(\w+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return bool(int(mask, 16) >> (number - 1) & 1)


@pytest.fixture(params=sorted(PROVIDERS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def system(tmp_path: Path, name: str) -> FakeSystem:
    return FakeSystem(tmp_path, name)


@pytest.mark.parametrize("name", ["slurm"], indirect=True)
@pytest.mark.parametrize(
    "ending",
    [
        "os.kill(os.getpid(), 9)",
        "os._exit(0)",
        "os.kill(os.getpid(), 15)",
        "raise RuntimeError('a defect of the program')",
        "sys.exit(0)",
    ],
)
@pytest.mark.parametrize("waiting", [False, True])
def test_a_program_that_ends_without_a_word_leaves_no_job(
    system: FakeSystem, name: str, ending: str, waiting: bool
) -> None:
    if waiting:
        system.set("hold")
    assert run(system, name, ending) == "1\n"
    wait_for(lambda: system.cancelled() == ["1"])
    wait_for(lambda: waiting or (system.state / "1" / "code").exists())


def test_every_batch_system_is_told(system: FakeSystem, name: str) -> None:
    run(system, name, "os._exit(0)")
    wait_for(lambda: (system.state / "1" / "code").exists())
    assert system.cancelled() == ["1"]


def test_a_job_whose_id_nobody_heard_is_found_by_its_name(system: FakeSystem, name: str) -> None:
    system.set("deaf")
    with start(system, name, "") as program:
        wait_for(lambda: (system.state / "1" / "pid").exists())
        (reaper,) = reapers(program.pid)
        (submitting,) = (child for child in psutil.Process(program.pid).children() if child != reaper)
        program.kill()
    wait_for(lambda: (system.state / "1" / "code").exists())
    assert system.cancelled() == ["1"]
    os.killpg(submitting.pid, signal.SIGKILL)  # it hangs, as the test told it
    reaper.kill()  # it goes on looking for half a minute: the job might have appeared later


@pytest.mark.parametrize("name", ["slurm"], indirect=True)
def test_the_reaper_tries_again(system: FakeSystem, name: str) -> None:
    with start(system, name, "Path(directory, 'x').touch(); time.sleep(1000)") as program:
        wait_for((system.scripts / "x").exists)
        system.set("down")
        program.kill()
    wait_for(lambda: "scancel 1" in system.commands())
    assert system.cancelled() == []
    system.unset("down")
    wait_for(lambda: system.cancelled() == ["1"])


def test_a_job_that_ended_by_itself_is_let_alone(system: FakeSystem, name: str) -> None:
    with start(system, name, "Path(directory, 'x').touch(); time.sleep(1000)") as program:
        wait_for((system.scripts / "x").exists)
        (reaper,) = reapers(program.pid)
        os.kill(int((system.state / "1" / "pid").read_text()), signal.SIGTERM)
        wait_for((system.state / "1" / "code").exists)
        program.kill()
    wait_for(lambda: not reaper.is_running() or reaper.status() == psutil.STATUS_ZOMBIE)
    assert system.cancelled() == []


@pytest.mark.parametrize("name", ["slurm"], indirect=True)
def test_a_job_that_was_cancelled_is_not_cancelled_again(system: FakeSystem, name: str) -> None:
    run(system, name, "provider.cancel([job_id]); os._exit(0)")
    run(system, name, "os._exit(0)")  # its reaper is not faster than one that was started before
    wait_for(lambda: "2" in system.cancelled())
    assert system.commands().count("scancel 1") == 1


@pytest.mark.parametrize("name", ["slurm"], indirect=True)
def test_a_reaper_lives_as_long_as_there_are_jobs(
    system: FakeSystem, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", system.path)
    first, second = (system.provider.submit("sleep 1000", 1) for _ in range(2))
    assert len(reapers(os.getpid())) == 1
    system.provider.cancel([first])
    assert len(reapers(os.getpid())) == 1
    system.provider.cancel([second])
    assert reapers(os.getpid()) == []


@pytest.mark.parametrize("name", ["slurm"], indirect=True)
def test_a_reaper_that_somebody_has_killed_is_replaced(system: FakeSystem, name: str) -> None:
    ending = """
import psutil
(reaper,) = psutil.Process().children()
reaper.kill()
while reaper.status() != psutil.STATUS_ZOMBIE:
    time.sleep(0.01)
provider.submit("sleep 1000", 1)
os._exit(0)
"""
    run(system, name, ending)
    wait_for(lambda: system.cancelled() == ["1", "2"])


@pytest.mark.parametrize("name", ["slurm"], indirect=True)
def test_ctrl_c_at_the_terminal_does_not_end_the_reaper(
    system: FakeSystem, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", system.path)
    job = system.provider.submit("sleep 1000", 1)
    (reaper,) = reapers(os.getpid())
    wait_for(lambda: catches(reaper.pid, signal.SIGHUP))  # it has started
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        reaper.send_signal(number)
    assert os.getsid(reaper.pid) != os.getsid(0)
    assert reaper.status() != psutil.STATUS_ZOMBIE
    system.provider.cancel([job])
    assert reapers(os.getpid()) == []
