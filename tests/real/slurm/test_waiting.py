"""Jobs that do not start, stop in the middle, or have lost what they ran: the user hears of it, and work goes on."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path

import psutil
import pytest

from tests.real.programs import Load, Told, run, slow_at_first, starts, wait_for
from tests.real.slurm import cluster
from trellis.errors import BadStateException


@pytest.fixture
def ended_badly() -> str:
    """The number of a job that has failed."""
    done = subprocess.run(
        ["sbatch", "--parsable", "--wait", "--output=/dev/null", "--wrap=exit 3"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout.strip()


def test_a_job_longer_than_its_partition_allows_fails_at_once(load: Load, notes: Path) -> None:
    load(partition="short", walltime="10:00:00")
    error = run(notes, 0).exception(timeout=45)
    assert isinstance(error, BadStateException)
    # PartitionTimeLimit; before it has tried to place the job, Slurm says PartitionConfig.
    assert "its job can never start: pending: Partition" in str(error)
    assert "ask for less with walltime=" in str(error)
    wait_for("it is cancelled", lambda: not cluster.jobs())


def test_a_job_that_waits_for_one_which_failed_fails_at_once(load: Load, notes: Path, ended_badly: str) -> None:
    load(scheduler_options=f"#SBATCH --dependency=afterok:{ended_badly}")
    error = run(notes, 0).exception(timeout=45)
    assert isinstance(error, BadStateException)
    assert "pending: DependencyNeverSatisfied" in str(error)
    assert "look at scheduler_options" in str(error)


def test_a_job_that_slurm_could_not_launch_fails_at_once(load: Load, notes: Path) -> None:
    with cluster.prolog_fails():
        load()
        error = run(notes, 0).exception(timeout=60)
    assert isinstance(error, BadStateException)
    assert "requeued held" in str(error)
    assert "tell the site" in str(error)


@pytest.mark.parametrize("reason", ["JobHeldUser", "PartitionDown"])
def test_a_reason_that_may_pass_is_told_once(
    reason: str, load: Load, notes: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trellis.blocks.pool.WAITING_S", 2.0)
    options = "#SBATCH --hold" if reason == "JobHeldUser" else ""
    if reason == "PartitionDown":
        cluster.command("scontrol", "update", "partition=short", "state=down")
    try:
        load(partition="short", walltime="00:01:00", scheduler_options=options)
        future = run(notes, 0)
        wait_for("it is told", lambda: told(reason))
    finally:
        cluster.command("scontrol", "update", "partition=short", "state=up")
    if reason == "JobHeldUser":
        cluster.command("scontrol", "release", *cluster.jobs())
    assert future.result(timeout=60) == 0
    assert len(told(reason)) == 1
    assert len(told("likely cause")) == 1


def daemon_of(job: str) -> psutil.Process:
    """The process by which Slurm watches over this job on its node; what runs in the job descends from it."""
    processes = psutil.process_iter(["cmdline"])
    (daemon,) = [process for process in processes if f"[{job}.batch]" in " ".join(process.info["cmdline"] or ())]
    return daemon


QUICK = {"max_workers_per_node": 1, "heartbeat_period": 1, "heartbeat_threshold": 3}


def test_a_suspended_job_is_told_and_replaced(load: Load, notes: Path, told: Told) -> None:
    htex = load(max_blocks=1, htex=QUICK, config={"lost_block_timeout": 3, "infrastructure_retries": 1})
    future = slow_at_first(notes / "note")
    wait_for("it runs", (notes / "note").exists)
    job = cluster.the_running_job()
    cluster.command("scontrol", "suspend", job)
    wait_for("it is told", lambda: told("has been suspended"))
    assert future.result(timeout=90) == "the second time"
    assert [status.status_name for status in htex.status().values()] == ["CANCELLED", "RUNNING"]
    assert len(told("has been suspended")) == 1
    assert len(told("lost_block_timeout")) == 1
    assert job not in cluster.running()


def test_a_block_that_slurm_and_its_manager_have_left_is_replaced(load: Load, notes: Path, told: Told) -> None:
    htex = load(max_blocks=1, htex=QUICK, config={"lost_block_timeout": 3, "infrastructure_retries": 1})
    future = slow_at_first(notes / "note")
    wait_for("it runs", (notes / "note").exists)
    job = cluster.the_running_job()
    daemon = daemon_of(job)
    for process in [daemon, *daemon.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):  # workers end with their manager
            process.kill()
    assert cluster.jobs()[job] == "RUNNING"  # as far as Slurm knows
    assert future.result(timeout=90) == "the second time"
    assert [status.status_name for status in htex.status().values()] == ["CANCELLED", "RUNNING"]
    assert len(told("lost_block_timeout")) == 1


def test_with_no_such_time_a_block_keeps_its_place(load: Load, notes: Path) -> None:
    htex = load(max_blocks=1, htex=QUICK, config={"lost_block_timeout": None})
    future = run(notes, 0, 100.0)
    wait_for("it runs", lambda: starts(notes))
    job = cluster.the_running_job()
    cluster.command("scontrol", "suspend", job)
    assert future.exception(timeout=60) is not None
    wait_for("its manager has gone", lambda: not htex.connected_managers())
    assert list(cluster.jobs().values()) == ["SUSPENDED"]
    assert list(htex.status()) == ["0"]
