"""LSF's answers, as recorded."""

from __future__ import annotations

import pytest

from trellis.core.jobs import JobState
from trellis.providers.lsf.text import HINTS, only_gone, parse_bhist, parse_bjobs, parse_bsub, parse_reasons
from trellis.providers.reports import JobReport, find_advice

BJOBS = """\
11|RUN|-|-
12|PEND|-|-
13|PSUSP|-|-
14|DONE|-|-
15|EXIT|3|-
16|EXIT|140|TERM_RUNLIMIT: job killed after reaching LSF run time limit
17|EXIT|130|TERM_OWNER: job killed by owner
18|EXIT|1|TERM_MEMLIMIT: job killed after reaching LSF memory usage limit
19|UNKWN|-|-
20|ZOMBI|-|-
"""

BHIST = """
Job <15>, Job Name <parsl.htex.block-0.1>, User <user>, Project <default>, Com
                     mand <#!/bin/bash;#BSUB -J parsl.htex.block-0.1>
Sun Nov 22 04:40:11: Submitted from host <login>, to Queue <normal>;
Sun Nov 22 04:40:12: Starting (Pid 4711);
{end}

Summary of time in seconds spent in various states by  Sun Nov 22 04:50:13
"""


def bhist(end: str) -> JobReport | None:
    return parse_bhist(BHIST.format(end=end), 600)


def test_bsub() -> None:
    assert parse_bsub("Job <42> is submitted to default queue <normal>.\n") == "42"
    assert parse_bsub("Job <42>: dependency condition is invalid. Job not submitted.\n") is None
    assert parse_bsub("Request aborted by esub. Job not submitted.\n") is None


def test_why_jobs_are_pending() -> None:
    # bjobs -p 12 13 14
    said = """\
JOBID   USER    STAT  QUEUE      FROM_HOST   EXEC_HOST   JOB_NAME   SUBMIT_TIME
12      user    PEND  normal     hostA                   parsl      Nov 30 13:08
 User has reached the per-user job slot limit of the queue;
 Job requirements for reserving resource (mem) not satisfied: 3 hosts;
13      user    PEND  normal     hostA                   parsl      Nov 30 13:08
 New job is waiting for scheduling;
14      user    PEND  normal     hostA                   parsl      Nov 30 13:08
"""
    assert parse_reasons(said) == {
        "12": (
            "User has reached the per-user job slot limit of the queue; "
            "Job requirements for reserving resource (mem) not satisfied: 3 hosts"
        ),
        "13": "New job is waiting for scheduling",
    }
    assert parse_reasons("No pending job found\n") == {}


def test_bjobs() -> None:
    assert parse_bjobs(BJOBS) == {
        "11": JobReport(JobState.RUNNING),
        "12": JobReport(JobState.PENDING, message="state PEND"),
        "13": JobReport(JobState.HELD, message="state PSUSP"),
        "14": JobReport(JobState.COMPLETED, 0),
        "15": JobReport(JobState.FAILED, 3, "the job's script ended with exit code 3"),
        "16": JobReport(JobState.TIMEOUT, 140, "TERM_RUNLIMIT: job killed after reaching LSF run time limit"),
        "17": JobReport(JobState.CANCELLED, 130, "TERM_OWNER: job killed by owner"),
        "18": JobReport(JobState.FAILED, 1, "TERM_MEMLIMIT: job killed after reaching LSF memory usage limit"),
        "19": JobReport(JobState.UNKNOWN, message="state UNKWN"),
        "20": JobReport(JobState.FAILED),
    }


@pytest.mark.parametrize(
    ("end", "report"),
    [
        (
            "Sun Nov 22 04:40:13: Done successfully. The CPU time used is 0.1 seconds;",
            JobReport(JobState.COMPLETED, 0),
        ),
        (
            "Sun Nov 22 04:40:13: Exited with exit code 3. The CPU time used is 0.1 seco\n                     nds;",
            JobReport(JobState.FAILED, 3, "the job's script ended with exit code 3"),
        ),
        (
            "Sun Nov 22 04:50:13: Exited by signal 12. The CPU time used is 0.1 seconds;\n"
            "Sun Nov 22 04:50:13: Completed <exit>; TERM_RUN\n                     LIMIT: job killed after reaching"
            " LSF run time limit;",
            JobReport(JobState.TIMEOUT, -12, "TERM_RUNLIMIT: job killed after reaching LSF run time limit"),
        ),
        (
            "Sun Nov 22 04:50:13: Exited; job has been forced to exit with return code 0; TERM_FORCE_OWNER: job killed",
            JobReport(JobState.CANCELLED, None, "TERM_FORCE_OWNER: job killed"),
        ),
        ("", None),
    ],
)
def test_bhist(end: str, report: JobReport | None) -> None:
    assert bhist(end) == report


def test_only_forgotten_jobs_are_no_failure() -> None:
    assert only_gone("Job <5> is not found\nJob <6> is not found\n")
    assert not only_gone("LSF is down. Please wait ...\n")
    assert not only_gone("")


@pytest.mark.parametrize(
    ("stderr", "word"),
    [
        ("nosuch: No such queue. Job not submitted.", "queue="),
        ("RUNLIMIT: Cannot exceed queue's hard limit(s). Job not submitted.", "walltime="),
        ("The project <x> is not valid. Job not submitted.", "project="),
        ("Bad resource requirement syntax. Job not submitted.", "bhosts"),
        ("LSF is down. Please wait ...", "answer"),
    ],
)
def test_refusals_come_with_advice(stderr: str, word: str) -> None:
    assert word in (find_advice(stderr, HINTS) or "")
