"""What tests ask of the bed's Grid Engine, and do to it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.real.bed import MARK
from tests.real.programs import wait_for


def command(*argv: str) -> str:
    """Run a command of Grid Engine, and give what it prints."""
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
    return done.stdout


def jobs() -> dict[str, str]:
    """States of all jobs that have not ended, by id: ``qw`` waits, ``r`` runs."""
    lines = command("qstat").splitlines()[2:]
    return {fields[0]: fields[4] for line in lines if (fields := line.split())}


def running() -> list[str]:
    return [job_id for job_id, state in jobs().items() if state == "r"]


def the_running_job() -> str:
    """The only job that runs, as soon as the batch system says so: what a job does may be seen before that."""
    wait_for("one job runs", lambda: len(running()) == 1)
    return running()[0]


@contextmanager
def master_stopped() -> Iterator[None]:
    """The daemon that all of Grid Engine's commands talk to takes calls, and does not answer."""
    pid = int((Path(os.environ[MARK]) / "qmaster.pid").read_text())
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
