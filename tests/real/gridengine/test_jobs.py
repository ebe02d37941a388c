"""Programs whose blocks are jobs of Grid Engine, and what goes wrong with those."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.real.gridengine import cluster
from tests.real.programs import WAITING_PROGRAM, Load, run, starts, wait_for
from trellis.errors import BadStateException, ManagerLost


def test_blocks_come_with_the_work_and_go_with_it(load: Load, notes: Path) -> None:
    load(
        init_blocks=0,
        max_blocks=2,
        config={"strategy": "htex_auto_scale", "max_idletime": 1.0},
        htex={"max_workers_per_node": 1},
    )
    assert cluster.jobs() == {}
    futures = [run(notes, i, 0.5) for i in range(20)]
    wait_for("two jobs run", lambda: len(cluster.running()) == 2)
    assert [future.result(timeout=60) for future in futures] == list(range(20))
    wait_for("no job is left", lambda: not cluster.jobs())


def test_a_job_at_its_walltime_makes_place_for_the_next(load: Load, notes: Path) -> None:
    # One worker has a task that never ends. The other's tasks take longer than the job may, and nothing of theirs is
    # lost: the manager stops to take them two seconds before the end.
    htex = load(scheduler_options="#$ -l h_rt=0:0:20", max_blocks=1, htex={"max_workers_per_node": 2})
    endless = run(notes, -1, 1000.0)
    futures = [run(notes, i, 1.0) for i in range(25)]
    assert isinstance(endless.exception(timeout=90), ManagerLost)
    assert [future.result(timeout=60) for future in futures] == list(range(25))
    assert starts(notes) == dict.fromkeys(range(-1, 25), 1)
    assert [job.status_name for job in htex.status().values()] == ["TIMEOUT", "RUNNING"]


def test_a_job_deleted_by_somebody_else_loses_what_it_ran_and_nothing_more(load: Load, notes: Path) -> None:
    load(max_blocks=1, htex={"max_workers_per_node": 2})
    victims = [run(notes, i, 100.0) for i in range(2)]
    waiting = [run(notes, i) for i in range(2, 8)]
    wait_for("two tasks run", lambda: len(starts(notes)) == 2)
    cluster.command("qdel", *cluster.jobs())
    for victim in victims:
        assert isinstance(victim.exception(timeout=60), ManagerLost)
    assert [future.result(timeout=60) for future in waiting] == [2, 3, 4, 5, 6, 7]
    assert starts(notes) == dict.fromkeys(range(8), 1)


def test_nothing_is_lost_or_submitted_again_while_the_master_does_not_answer(load: Load, notes: Path) -> None:
    htex = load(max_blocks=2, cmd_timeout=3, config={"max_idletime": 300})
    assert run(notes, 0).result(timeout=60) == 0
    jobs = set(cluster.jobs())
    with cluster.master_stopped():
        time.sleep(10)  # several questions go unanswered
        assert run(notes, 1).result(timeout=30) == 1
    assert run(notes, 2).result(timeout=30) == 2
    time.sleep(3)  # questions are answered again
    assert set(cluster.jobs()) == jobs
    assert list(htex.status()) == ["0"]


def test_a_queue_that_there_is_not_is_told_with_grid_engines_words(load: Load, notes: Path) -> None:
    load(queue="nonesuch.q")
    error = run(notes, 0).exception(timeout=60)
    assert isinstance(error, BadStateException)
    assert 'unknown queue "nonesuch.q"' in str(error)  # qsub's stderr
    assert "qconf -sql" in str(error)  # the advice


def test_a_job_that_fails_is_told_with_its_last_words(load: Load, notes: Path) -> None:
    load(worker_init="echo there is no such module >&2; exit 3")
    error = run(notes, 0).exception(timeout=90)
    assert isinstance(error, BadStateException)
    assert "there is no such module" in str(error)
    assert "exit code 3" in str(error)


@pytest.mark.parametrize("state", ["qw", "r"])
def test_jobs_of_a_killed_program_are_deleted(state: str, tmp_path: Path) -> None:
    if state == "qw":
        for _ in range(2):
            cluster.command("qsub", "-b", "y", "-o", "/dev/null", "-e", "/dev/null", "sleep", "1000")
        wait_for("both slots are taken", lambda: len(cluster.running()) == 2)
    before = cluster.jobs()
    script = tmp_path / "program.py"
    script.write_text(WAITING_PROGRAM.format(provider="GridEngineProvider"))
    with subprocess.Popen([sys.executable, str(script)], cwd=tmp_path) as program:
        (job,) = wait_for("its job is there", lambda: set(cluster.jobs()) - set(before))
        wait_for(f"it is in state {state}", lambda: cluster.jobs().get(job) == state)
        os.kill(program.pid, signal.SIGKILL)
    wait_for("it is gone", lambda: job not in cluster.jobs())
    if before:
        cluster.command("qdel", *before)
