"""What goes wrong with jobs, and what becomes of their tasks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.real.programs import WAITING_PROGRAM, Load, run, slow_at_first, starts, wait_for
from tests.real.slurm import cluster
from trellis.errors import BadStateException, ManagerLost


def test_a_job_at_its_walltime_makes_place_for_the_next(load: Load, notes: Path) -> None:
    # One worker has a task that never ends. The other's tasks take longer than the job may, and nothing of theirs is
    # lost: the manager stops to take them some seconds before the minute is over, which it knows from Slurm, since the
    # provider's walltime is not what counts. Slurm ends it then, or at its next look, which it takes twice a minute.
    htex = load(scheduler_options="#SBATCH --time=1", max_blocks=1, htex={"max_workers_per_node": 2})
    endless = run(notes, -1, 1000.0)
    futures = [run(notes, i, 4.0) for i in range(20)]
    assert isinstance(endless.exception(timeout=150), ManagerLost)
    assert [future.result(timeout=60) for future in futures] == list(range(20))
    assert starts(notes) == dict.fromkeys(range(-1, 20), 1)
    assert [job.status_name for job in htex.status().values()] == ["TIMEOUT", "RUNNING"]


def test_a_job_cancelled_by_somebody_else_loses_what_it_ran_and_nothing_more(load: Load, notes: Path) -> None:
    load(max_blocks=1, htex={"max_workers_per_node": 2})
    victims = [run(notes, i, 100.0) for i in range(2)]
    waiting = [run(notes, i) for i in range(2, 8)]
    wait_for("two tasks run", lambda: len(starts(notes)) == 2)
    job = cluster.the_running_job()
    cluster.command("scancel", job)
    for victim in victims:
        assert isinstance(victim.exception(timeout=60), ManagerLost)
    assert [future.result(timeout=60) for future in waiting] == [2, 3, 4, 5, 6, 7]
    assert starts(notes) == dict.fromkeys(range(8), 1)


def test_with_retries_what_ran_in_a_cancelled_job_is_run_again(load: Load, notes: Path) -> None:
    load(max_blocks=1, config={"infrastructure_retries": 1})
    future = slow_at_first(notes / "note")
    wait_for("it runs", (notes / "note").exists)
    cluster.command("scancel", cluster.the_running_job())
    assert future.result(timeout=60) == "the second time"


def test_nothing_is_lost_or_submitted_again_while_slurm_does_not_answer(load: Load, notes: Path) -> None:
    htex = load(max_blocks=2, cmd_timeout=3, config={"max_idletime": 300})
    assert run(notes, 0).result(timeout=60) == 0
    jobs = set(cluster.jobs())
    with cluster.controller_stopped():
        time.sleep(20)  # several questions go unanswered
        assert run(notes, 1).result(timeout=30) == 1
    assert run(notes, 2).result(timeout=30) == 2
    time.sleep(3)  # questions are answered again
    assert set(cluster.jobs()) == jobs
    assert list(htex.status()) == ["0"]


def test_a_submission_that_got_no_answer_leaves_no_job_nobody_knows(load: Load, notes: Path) -> None:
    htex = load(init_blocks=0, max_blocks=1, cmd_timeout=3, htex={"block_error_handler": False})
    with cluster.controller_stopped():
        future = run(notes, 0)
        wait_for("a submission has failed", lambda: [s for s in htex.status().values() if s.terminal])
    assert future.result(timeout=90) == 0
    # If the job that nobody has heard of was quick, it has run the task, and no other one was submitted.
    wait_for("jobs that nobody knows are gone", lambda: set(cluster.jobs()) == set(htex.blocks_to_job_id.values()), 80)


def test_a_partition_that_there_is_not_is_told_with_slurms_words(load: Load, notes: Path) -> None:
    load(partition="nonesuch")
    error = run(notes, 0).exception(timeout=60)
    assert isinstance(error, BadStateException)
    assert "invalid partition specified: nonesuch" in str(error)  # sbatch's stderr
    assert "sinfo" in str(error)  # the advice


def test_a_job_that_fails_is_told_with_its_last_words(load: Load, notes: Path) -> None:
    load(worker_init="echo there is no such module >&2; exit 3")
    error = run(notes, 0).exception(timeout=90)
    assert isinstance(error, BadStateException)
    assert "there is no such module" in str(error)
    assert "exit code 3" in str(error)


@pytest.mark.parametrize("state", ["PENDING", "RUNNING"])
def test_jobs_of_a_killed_program_are_cancelled(state: str, tmp_path: Path) -> None:
    if state == "PENDING":
        cluster.command("sbatch", "--nodes=2", "--exclusive", "--output=/dev/null", "--wrap=sleep 1000")
        wait_for("both nodes are taken", cluster.running)
    before = cluster.jobs()
    script = tmp_path / "program.py"
    script.write_text(WAITING_PROGRAM.format(provider="SlurmProvider"))
    with subprocess.Popen([sys.executable, str(script)], cwd=tmp_path) as program:
        (job,) = wait_for("its job is there", lambda: set(cluster.jobs()) - set(before))
        wait_for(f"it is {state}", lambda: cluster.jobs().get(job) == state)
        os.kill(program.pid, signal.SIGKILL)
    wait_for("it is gone", lambda: job not in cluster.jobs())
    for other in before:
        cluster.command("scancel", other)
