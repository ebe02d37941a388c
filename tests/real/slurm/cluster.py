"""What tests ask of the bed's Slurm, and do to it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.real.bed import MARK
from tests.real.programs import wait_for

NODES = ("sinfo", "--noheader", "--Node", "--partition=debug")


def command(*argv: str) -> str:
    """Run a command of Slurm, and give what it prints."""
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
    return done.stdout


def jobs() -> dict[str, str]:
    """States of all jobs that have not ended, by id."""
    return dict(line.split() for line in command("squeue", "--noheader", "--format=%i %T").splitlines())


def running() -> list[str]:
    return [job_id for job_id, state in jobs().items() if state == "RUNNING"]


def the_running_job() -> str:
    """The only job that runs, as soon as the batch system says so: what a job does may be seen before that."""
    wait_for("one job runs", lambda: len(running()) == 1)
    return running()[0]


def nodes() -> list[str]:
    return command(*NODES, "--format=%T").split()


@contextmanager
def prolog_fails() -> Iterator[None]:
    """Jobs cannot be launched, and nodes that tried it are put aside; afterwards they serve again."""
    flag = Path(os.environ[MARK]) / "prolog-fails"
    flag.touch()
    try:
        yield
    finally:
        flag.unlink()
        for node in command(*NODES, "--states=drain", "--format=%N").split():
            command("scontrol", "update", f"node={node}", "state=resume")


@contextmanager
def controller_stopped() -> Iterator[None]:
    """The daemon that all of Slurm's commands talk to takes calls, and does not answer."""
    pid = int((Path(os.environ[MARK]) / "slurmctld.pid").read_text())
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
