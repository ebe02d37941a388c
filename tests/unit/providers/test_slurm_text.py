"""Slurm's answers, as recorded."""

from __future__ import annotations

import pytest

from trellis.core.jobs import JobState
from trellis.providers.reports import JobReport, find_advice
from trellis.providers.script import JobRequest
from trellis.providers.slurm.text import HINTS, parse_sacct, parse_scontrol, parse_squeue, render_script

# squeue --noheader --states=all --format='%i|%T|%r' --jobs=…
SQUEUE = """\
CLUSTER: linux
12|RUNNING|None
13|PENDING|Resources
14|PENDING|JobHeldUser
15|COMPLETED|None
16|FAILED|NonZeroExitCode
17|TIMEOUT|TimeLimit
18|CANCELLED|None
19|COMPLETING|None
20|PREEMPTED|None
21|SUSPENDED|None
22|SOMETHING_NEW|None
"""

# scontrol --oneliner show job ID, shortened
SCONTROL = (
    "JobId=16 JobName=parsl.htex.block-0.1 UserId=user(1000) GroupId=user(1000) Priority=4294901746 Account=(null) "
    "QOS=(null) JobState=FAILED Reason=NonZeroExitCode Dependency=(null) Requeue=1 Restarts=0 BatchFlag=1 Reboot=0 "
    "ExitCode=3:0 RunTime=00:00:01 TimeLimit=00:10:00 NodeList=n1 Command=/run/submit_scripts/block=0.sh Power=\n"
)


def test_squeue() -> None:
    assert parse_squeue(SQUEUE) == {
        "12": JobReport(JobState.RUNNING),
        "13": JobReport(JobState.PENDING, message="pending: Resources"),
        "14": JobReport(JobState.HELD, message="JobHeldUser"),
        "15": JobReport(JobState.COMPLETED),
        "16": JobReport(JobState.FAILED, message="failed: NonZeroExitCode"),
        "17": JobReport(JobState.TIMEOUT, message="timeout: TimeLimit"),
        "18": JobReport(JobState.CANCELLED, message="cancelled"),
        "19": JobReport(JobState.RUNNING),
        "20": JobReport(JobState.CANCELLED, message="preempted"),
        "21": JobReport(JobState.HELD, message="suspended"),
        "22": JobReport(JobState.UNKNOWN, message="something_new"),
    }


def test_scontrol_tells_the_exit_code() -> None:
    assert parse_scontrol(SCONTROL) == JobReport(JobState.FAILED, 3, "failed: NonZeroExitCode")


def test_scontrol_tells_the_signal() -> None:
    said = "JobId=5 JobState=TIMEOUT Reason=TimeLimit ExitCode=0:15"
    assert parse_scontrol(said) == JobReport(JobState.TIMEOUT, -15, "timeout: TimeLimit")


def test_a_running_job_has_no_exit_code() -> None:
    assert parse_scontrol("JobId=5 JobState=RUNNING Reason=None ExitCode=0:0") == JobReport(JobState.RUNNING)


def test_scontrol_without_a_job() -> None:
    assert parse_scontrol("") is None


@pytest.mark.parametrize(
    ("said", "report"),
    [
        ("7|COMPLETED|0:0\n", JobReport(JobState.COMPLETED, 0)),
        ("7|CANCELLED by 1000|0:0\n", JobReport(JobState.CANCELLED, 0, "cancelled")),
        ("7|OUT_OF_MEMORY|0:125\n", JobReport(JobState.FAILED, -125, "out_of_memory")),
        ("70|COMPLETED|0:0\n", None),
        ("", None),
    ],
)
def test_sacct(said: str, report: JobReport | None) -> None:
    assert parse_sacct(said, "7") == report


def test_paths_that_slurm_would_read_otherwise() -> None:
    request = JobRequest("n.1", "true", 1, '/runs/50%j of "me"/a.sh')
    script = render_script(request, options=[], scheduler_options="", worker_init="", exports="")
    assert '#SBATCH --output="/runs/50%%j of \\"me\\"/a.sh.out"\n' in script


VIOLATES = (
    "sbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user's size "
    "and/or time limits)"
)


@pytest.mark.parametrize(
    ("stderr", "word"),
    [
        ("sbatch: error: Batch job submission failed: Invalid partition name specified", "partition="),
        ("sbatch: error: invalid partition specified: nosuch", "partition="),
        ("Batch job submission failed: Invalid account or account/partition combination specified", "sacctmgr"),
        ("sbatch: error: Batch job submission failed: Invalid qos specification", "qos"),
        ("sbatch: error: Batch job submission failed: Invalid feature specification", "constraint="),
        ("Batch job submission failed: Requested time limit is invalid (missing or exceeds some limit)", "walltime="),
        ("sbatch: error: Memory specification can not be satisfied", "mem_per_node="),
        ("sbatch: error: Batch job submission failed: Requested node configuration is not available", "sinfo"),
        ("sbatch: error: Invalid generic resource (gres) specification", "GPUs"),
        ("sbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit limit)", "limit"),
        (f"sbatch: error: AssocMaxSubmitJobLimit\n{VIOLATES}", "lower max_blocks"),
        (f"sbatch: error: QOSMaxWallDurationPerJobLimit\n{VIOLATES}", "walltime="),
        (VIOLATES, "lower max_blocks"),
        ("Batch job submission failed: Required partition not available (inactive or drain)", "takes no jobs now"),
        ("Batch job submission failed: Unable to contact slurm controller (connect failure)", "answer"),
    ],
)
def test_refusals_come_with_advice(stderr: str, word: str) -> None:
    assert word in (find_advice(stderr, HINTS) or "")
