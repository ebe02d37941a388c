"""What a computer says, from files of the test's own."""

from __future__ import annotations

import math
import os
import subprocess
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from trellis.errors import ConfigurationError
from trellis.executors.common import host


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty place for control groups; this process is in /job of all of them."""
    own = "0::/job\n5:memory:/job\n4:cpu,cpuacct:/job\n"
    read = host._read
    monkeypatch.setattr(host, "_CGROUPS", tmp_path)
    monkeypatch.setattr(host, "_read", lambda path: own if path == Path("/proc/self/cgroup") else read(path))
    return tmp_path


def write(root: Path, **files: str) -> None:
    root.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (root / name.replace("__", ".")).write_text(text)


def test_without_limits_there_are_none(groups: Path) -> None:
    assert host.cgroup_limits() == (math.inf, math.inf)


def test_the_tightest_group_counts(groups: Path) -> None:
    write(groups, cpu__max="300000 100000\n", memory__max="1000000\n")
    write(groups / "job", cpu__max="max 100000\n", memory__max="5000000\n")
    assert host.cgroup_limits() == (3.0, 1000000.0)


def test_version_1_groups_count_too(groups: Path) -> None:
    write(groups / "cpu" / "job", cpu__cfs_quota_us="150000\n", cpu__cfs_period_us="100000\n")
    write(groups / "memory" / "job", memory__limit_in_bytes="2000000\n")
    write(groups / "memory", memory__limit_in_bytes="9223372036854771712\n")
    assert host.cgroup_limits() == (1.5, 2000000.0)


def test_what_is_usable_is_the_least_of_all(groups: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "allowed_cpus", lambda: [0, 2, 3, 5])
    monkeypatch.setattr(host, "total_memory_bytes", lambda: 9_000)
    assert host.usable({}, None, 0.0) == ([0, 2, 3, 5], 4, 9_000, None)
    write(groups, cpu__max="300000 100000\n", memory__max="8000\n")
    assert host.usable({}, 60.0, 0.0) == ([0, 2, 3, 5], 3, 8_000, 60.0)
    job = {"SLURM_JOB_ID": "7", "SLURMD_NODENAME": "n", "SLURM_CPUS_ON_NODE": "2", "SLURM_JOB_END_TIME": "150"}
    assert host.usable(job, 60.0, 100.0) == ([0, 2, 3, 5], 2, 8_000, 50.0)


def test_slurm_says_when_a_job_ends_that_was_not_told(groups: Path, tmp_path: Path) -> None:
    command = tmp_path / "scontrol"
    command.write_text('#!/bin/sh\necho "$4 $SLURM_TIME_FORMAT JobId=$4 EndTime=2026-11-30T18:00:00"\n')
    command.chmod(0o755)
    job = {"SLURM_JOB_ID": "7", "SLURMD_NODENAME": "n", "PATH": f"{tmp_path}:/usr/bin:/bin", "SLURM_TIME_FORMAT": "%s"}
    now = datetime(2026, 11, 30, 17).timestamp()
    assert host.usable(job, 60.0, now).ends_in_s == 3600.0
    command.unlink()
    assert host.usable(job, 60.0, now).ends_in_s == 60.0


def test_a_file_in_a_strange_form_says_nothing(groups: Path) -> None:
    write(groups / "job", cpu__max="much\n", memory__max="1000\n")
    assert host.cgroup_limits() == (math.inf, math.inf)


def test_the_nearest_group_counts_kills(groups: Path) -> None:
    write(groups, memory__events="oom_kill 9\n")
    write(groups / "job", memory__events="oom 3\noom_kill 2\n")
    assert host.oom_kills() == 2


def test_without_groups_the_systems_kills_count(groups: Path) -> None:
    assert host.oom_kills() >= 0


def test_cores_and_memory_of_this_computer() -> None:
    assert host.allowed_cpus() == sorted(os.sched_getaffinity(0))
    assert host.total_memory_bytes() == psutil.virtual_memory().total


def test_installed_packages() -> None:
    assert host.packages()["psutil"] == psutil.__version__


def test_nodes_of_pbs_are_named_once_each(tmp_path: Path) -> None:
    (tmp_path / "nodes").write_text("n2\nn2\nn1\nn2\n")
    assert host.node_names({"PBS_NODEFILE": str(tmp_path / "nodes")}) == ("n2", "n1")


def test_nodes_of_slurm_are_told_apart_by_its_own_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(command: list[str], **_: Any) -> bytes:
        assert command == ["scontrol", "show", "hostnames", "n[1-3]"]
        return b"n1\nn2\nn3\n"

    monkeypatch.setattr(subprocess, "check_output", answer)
    assert host.node_names({"SLURM_JOB_NODELIST": "n[1-3]"}) == ("n1", "n2", "n3")
    assert host.node_names({"SLURM_JOB_NODELIST": "n7"}) == ("n7",)


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({}, "neither SLURM_JOB_NODELIST nor PBS_NODEFILE is set"),
        ({"PBS_NODEFILE": "/nowhere/nodes"}, "/nowhere/nodes, cannot be read"),
        ({"SLURM_JOB_NODELIST": "n[1-3]"}, r"the nodes n\[1-3\] cannot be told apart: scontrol"),
    ],
)
def test_where_nobody_names_the_nodes_the_error_says_what_is_missing(
    environ: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ConfigurationError, match=message):
        host.node_names(environ)


def test_mpiexec_is_asked_for_its_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    mpiexec = tmp_path / "mpiexec"
    mpiexec.write_text('#!/bin/sh\n[ "$*" = --version ] && echo "the best of all MPIs"\n')
    mpiexec.chmod(0o755)
    assert host.mpiexec_version() == "the best of all MPIs\n"
    monkeypatch.setenv("PATH", "/nowhere")
    assert host.mpiexec_version() == ""
