"""What a manager may use, and until when, from what the system and the batch system say."""

from __future__ import annotations

import math
from datetime import datetime

import pytest

from trellis.errors import ConfigurationError
from trellis.executors.common.capacity import (
    cgroup_directories,
    drain_after_s,
    ends_in_s,
    parse_cpu_max,
    parse_cpu_quota,
    parse_memory_limit,
    parse_oom_kills,
    parse_slurm_end,
    slurm_job_to_ask_for,
    usable_cores,
    usable_memory_bytes,
)

MB, GB = 2**20, 2**30
SLURM = {"SLURM_JOB_ID": "7", "SLURMD_NODENAME": "n1"}


def test_groups_of_version_2_and_those_around_them() -> None:
    assert list(cgroup_directories("0::/system.slice/job\n")) == [
        ("", "/system.slice/job"),
        ("", "/system.slice"),
        ("", "/"),
    ]


def test_groups_of_version_1_that_matter() -> None:
    text = "5:memory:/job\n4:cpu,cpuacct:/\n3:devices:/x\n1:name=systemd:/y\n0::/\n"
    assert list(cgroup_directories(text)) == [("memory", "/job"), ("memory", "/"), ("cpu", "/"), ("", "/")]


def test_a_group_out_of_sight_is_looked_for_further_out() -> None:
    assert list(cgroup_directories("0::/../../outside")) == [("", "/outside"), ("", "/")]


@pytest.mark.parametrize(
    ("text", "cpus"), [("max 100000\n", math.inf), ("150000 100000\n", 1.5), ("50000 100000", 0.5), ("200000", 2.0)]
)
def test_cores_of_version_2(text: str, cpus: float) -> None:
    assert parse_cpu_max(text) == cpus


def test_cores_of_version_1() -> None:
    assert parse_cpu_quota("-1\n", "100000\n") == math.inf
    assert parse_cpu_quota("400000\n", "100000\n") == 4


@pytest.mark.parametrize(
    ("text", "limit"), [("max\n", math.inf), ("9223372036854771712\n", math.inf), ("1073741824\n", GB)]
)
def test_memory_of_both_versions(text: str, limit: float) -> None:
    assert parse_memory_limit(text) == limit


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("low 0\noom 4\noom_kill 2\noom_group_kill 0\n", 2),
        ("oom_kill_disable 0\nunder_oom 0\noom_kill 1\n", 1),
        ("oom_kill_disable 0\nunder_oom 0\n", None),
        ("", None),
    ],
)
def test_kills_for_lack_of_memory(text: str, count: int | None) -> None:
    assert parse_oom_kills(text) == count


@pytest.mark.parametrize(
    ("environ", "allowed", "cgroup", "cores"),
    [
        ({}, 8, math.inf, 8),
        ({}, 8, 2.5, 2),
        ({}, 8, 0.5, 1),
        ({"PARSL_CORES": "64"}, 8, 2.0, 64),
        ({"PARSL_CORES": ""}, 8, 2.0, 2),
        ({**SLURM, "SLURM_CPUS_ON_NODE": "3"}, 8, math.inf, 3),
        ({**SLURM, "SLURM_CPUS_ON_NODE": "16"}, 8, math.inf, 8),
        ({"SLURM_JOB_ID": "7", "SLURM_CPUS_ON_NODE": "3"}, 8, math.inf, 8),  # a login node, beside an allocation
        ({**SLURM, "SLURM_CPUS_ON_NODE": "4(x2)"}, 8, math.inf, 8),
    ],
)
def test_cores_are_the_least_that_anybody_allows(
    environ: dict[str, str], allowed: int, cgroup: float, cores: int
) -> None:
    assert usable_cores(environ, allowed, cgroup) == cores


@pytest.mark.parametrize(
    ("environ", "cgroup", "memory"),
    [
        ({}, math.inf, 16 * GB),
        ({}, 3.0 * GB, 3 * GB),
        ({"PARSL_MEMORY_GB": "1.5"}, 3.0 * GB, 1536 * MB),
        ({**SLURM, "SLURM_MEM_PER_NODE": "2000"}, math.inf, 2000 * MB),
        ({**SLURM, "SLURM_MEM_PER_NODE": "0"}, math.inf, 16 * GB),  # all there is
        ({**SLURM, "SLURM_MEM_PER_CPU": "500", "SLURM_CPUS_ON_NODE": "3"}, math.inf, 1500 * MB),
        ({"SLURM_MEM_PER_NODE": "2000"}, math.inf, 16 * GB),
    ],
)
def test_memory_is_the_least_that_anybody_allows(environ: dict[str, str], cgroup: float, memory: int) -> None:
    assert usable_memory_bytes(environ, 16 * GB, cgroup) == memory


@pytest.mark.parametrize(
    ("environ", "walltime_s", "seconds"),
    [
        ({}, None, None),
        ({}, 600.0, 600.0),
        ({**SLURM, "SLURM_JOB_END_TIME": "1500"}, 600.0, 500.0),
        ({**SLURM, "SLURM_JOB_END_TIME": "900"}, None, 0.0),
        ({"SLURM_JOB_END_TIME": "1500"}, None, None),
        ({"PBS_JOBID": "7", "PBS_WALLTIME": "300"}, 600.0, 300.0),
        ({"PBS_JOBID": "7"}, 600.0, 600.0),
    ],
)
def test_the_end_of_the_job(environ: dict[str, str], walltime_s: float | None, seconds: float | None) -> None:
    assert ends_in_s(environ, walltime_s, now=1000.0) == seconds


def test_slurm_is_asked_for_the_end_only_where_it_has_not_told_the_job() -> None:
    assert slurm_job_to_ask_for({**SLURM, "SLURM_JOB_ID": "7"}) == "7"
    assert slurm_job_to_ask_for({**SLURM, "SLURM_JOB_END_TIME": "1500"}) is None
    assert slurm_job_to_ask_for({"SLURM_JOB_ID": "7"}) is None  # on a login node
    assert slurm_job_to_ask_for({}) is None


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        # The options of the user's are stronger than the provider's walltime.
        ("StartTime=1970-01-02T00:00:00 EndTime=1970-01-02T00:01:00 Deadline=N/A", 60.0),
        ("EndTime=Unknown", None),
        ("", 600.0),
        ("EndTime=tomorrow", 600.0),
    ],
)
def test_the_end_of_the_job_as_slurms_controller_says(said: str, seconds: float | None) -> None:
    now = datetime(1970, 1, 2).timestamp()
    assert ends_in_s(SLURM, 600.0, now, parse_slurm_end(said)) == seconds


@pytest.mark.parametrize(
    ("drain_period_s", "ends", "after"),
    [(None, None, None), (10.0, None, 10.0), (None, 3600.0, 3540.0), (None, 100.0, 90.0), (50.0, 100.0, 50.0)],
)
def test_it_drains_in_time(drain_period_s: float | None, ends: float | None, after: float | None) -> None:
    assert drain_after_s(drain_period_s, ends) == after


@pytest.mark.parametrize("value", ["two", "0", "-1", "nan", "inf"])
def test_what_the_user_says_of_a_node_is_checked(value: str) -> None:
    with pytest.raises(ConfigurationError, match=f"PARSL_CORES must be a number of at least 1, not '{value}'"):
        usable_cores({"PARSL_CORES": value}, 8, math.inf)
    with pytest.raises(ConfigurationError, match=f"PARSL_MEMORY_GB must be a number .*, not '{value}'"):
        usable_memory_bytes({"PARSL_MEMORY_GB": value}, 16 * GB, math.inf)
