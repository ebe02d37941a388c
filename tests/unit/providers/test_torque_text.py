"""Answers of Torque and PBS Pro, as recorded."""

from __future__ import annotations

import pytest

from trellis.core.jobs import JobState
from trellis.providers.reports import JobReport, find_advice
from trellis.providers.torque.text import HINTS, only_gone, parse_qstat, parse_qsub

PBSPRO = """\
Job Id: 11.pbs-server
    Job_Name = parsl8913065496
    Job_Owner = user@login
    resources_used.walltime = 00:00:05
    job_state = R
    queue = workq
    Variable_List = PBS_O_HOME=/home,PBS_O_LANG=C.UTF-8,
\tPBS_O_PATH=/usr/local/bin:/usr/bin,PBS_O_SHELL=/bin/bash,
\tPBS_O_WORKDIR=/runs
    comment = Job run at Sun Nov 22 at 04:40 on (node1:ncpus=1)

Job Id: 12.pbs-server
    job_state = Q
    comment = Not Running: Insufficient amount of resource: ncpus (R: 64 A: 2
\tT: 2)

Job Id: 13.pbs-server
    job_state = F
    resources_used.walltime = 00:00:01
    Exit_status = 0
    comment = Job run at Sun Nov 22 at 04:40 on (node1:ncpus=1) and finished

Job Id: 14.pbs-server
    job_state = F
    resources_used.walltime = 00:10:01
    Exit_status = -29
    comment = Job run at Sun Nov 22 at 04:40 on (node1:ncpus=1) and failed

Job Id: 15.pbs-server
    job_state = F
    substate = 91

Job Id: 16.pbs-server
    job_state = H
    Hold_Types = u

Job Id: 17.pbs-server
    job_state = F
    Exit_status = -1
"""

TORQUE = """\
Job Id: 21.server.site.org
    Job_Name = parsl8913065496
    resources_used.walltime = 00:00:02
    job_state = C
    exit_status = 3

Job Id: 22.server.site.org
    resources_used.walltime = 00:10:03
    job_state = C
    exit_status = 271

Job Id: 23.server.site.org
    resources_used.walltime = 00:00:03
    job_state = C
    exit_status = 271

Job Id: 24.server.site.org
    job_state = E
"""


def test_qsub() -> None:
    assert parse_qsub("42.server\n") == "42.server"
    assert parse_qsub("qsub: waiting for the policy\n42.server\n") == "42.server"
    assert [parse_qsub(said) for said in ("", "nothing\n")] == [None, None]
    assert parse_qsub("too many jobs, try again in\n15 minutes\n") is None
    assert [parse_qsub(said) for said in ("7\n", "7[].server.site.org\n")] == ["7", "7[].server.site.org"]


def test_pbs_pro() -> None:
    ids = [f"{number}.pbs-server" for number in range(11, 19)]
    assert parse_qstat(PBSPRO, ids, 600) == {
        "11.pbs-server": JobReport(JobState.RUNNING),
        "12.pbs-server": JobReport(
            JobState.PENDING, message="Not Running: Insufficient amount of resource: ncpus (R: 64 A: 2T: 2)"
        ),
        "13.pbs-server": JobReport(JobState.COMPLETED, 0),
        "14.pbs-server": JobReport(
            JobState.TIMEOUT, None, "Job run at Sun Nov 22 at 04:40 on (node1:ncpus=1) and failed"
        ),
        "15.pbs-server": JobReport(JobState.CANCELLED, None, "it was deleted before it ran"),
        "16.pbs-server": JobReport(JobState.HELD, None, "state H"),
        "17.pbs-server": JobReport(JobState.FAILED, None, "PBS could not run it (exit status -1)"),
    }


def test_torque() -> None:
    ids = [f"{number}.server.site.org" for number in range(21, 26)]
    assert parse_qstat(TORQUE, ids, 600) == {
        "21.server.site.org": JobReport(JobState.FAILED, 3, "the job's script ended with exit code 3"),
        "22.server.site.org": JobReport(JobState.TIMEOUT, -15, "its walltime of 600 s was over"),
        "23.server.site.org": JobReport(
            JobState.CANCELLED, -15, "SIGTERM: the batch system or somebody else ended the job"
        ),
        "24.server.site.org": JobReport(JobState.RUNNING),
    }


def test_a_server_may_call_itself_by_a_longer_name() -> None:
    assert list(parse_qstat(TORQUE, ["24.server"], 600)) == ["24.server"]


@pytest.mark.parametrize(
    ("stderr", "harmless"),
    [
        ("qstat: Unknown Job Id 12.server\n", True),
        ("qstat: Unknown Job Id Error 12.server\n", True),
        ("qstat: 12.server Job has finished, use -x or -H to obtain historical job information\n", True),
        ("qstat: Unknown Job Id 12.server\nConnection refused\n", False),
        ("Connection refused\nqstat: cannot connect to server server (errno=111)\n", False),
        ("", False),
    ],
)
def test_only_forgotten_jobs_are_no_failure(stderr: str, harmless: bool) -> None:
    assert only_gone(stderr) is harmless


@pytest.mark.parametrize(
    ("stderr", "word"),
    [
        ("qsub: Unknown queue\n", "queue="),
        ("qsub: Request rejected.  Reason: Account is not allowed to run jobs", "account="),
        ("qsub: Job exceeds queue resource limits MSG=cannot satisfy queue max walltime requirement", "walltime="),
        ("qsub: would exceed queue generic's per-user limit of jobs in 'Q' state", "limit"),
        ("qsub: cannot connect to server server (errno=111) Connection refused", "answer"),
    ],
)
def test_refusals_come_with_advice(stderr: str, word: str) -> None:
    assert word in (find_advice(stderr, HINTS) or "")
