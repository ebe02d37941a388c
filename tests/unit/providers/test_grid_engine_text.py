"""Grid Engine's answers, as recorded."""

from __future__ import annotations

import pytest

from trellis.core.jobs import JobState
from trellis.providers.grid_engine.text import HINTS, parse_qacct, parse_qstat, parse_qsub, parse_reasons
from trellis.providers.reports import JobReport, find_advice

# qstat -j 7,8,9, shortened
REASONS = """\
==============================================================
job_number:                 7
owner:                      root
stdout_path_list:           NONE:NONE:/nonexist/x
error reason          1:      11/30/2026 19:14:39 [0:15385]: error: can't open output file "/nonexist/x": No such file
scheduling info:            Job is in error state
==============================================================
job_number:                 8
owner:                      root
scheduling info:            queue instance "all.q@vm" dropped because it is disabled
                            queue instance "all.q@vm" dropped because it is disabled
                            All queues dropped because of overload or full
==============================================================
job_number:                 9
owner:                      root
binding:                    NONE
"""

QSTAT = """\
job-ID  prior   name       user         state submit/start at     queue                          slots ja-task-ID
-----------------------------------------------------------------------------------------------------------------
     11 0.55500 parsl.htex user         r     11/22/2026 04:40:11 all.q@node1                        1
     12 0.00000 parsl.htex user         qw    11/22/2026 04:40:12                                    1
     13 0.00000 parsl.htex user         hqw   11/22/2026 04:40:12                                    1
     14 0.55500 parsl.htex user         Eqw   11/22/2026 04:40:12                                    1
     15 0.55500 parsl.htex user         dr    11/22/2026 04:40:12 all.q@node1                        1
     16 0.55500 parsl.htex user         t     11/22/2026 04:40:12 all.q@node1                        1
     17 0.55500 parsl.htex user         S     11/22/2026 04:40:12 all.q@node1                        1
     18 0.55500 parsl.htex user         Rr    11/22/2026 04:40:12 all.q@node1                        1
     19 0.55500 parsl.htex user         z     11/22/2026 04:40:12                                    1
"""

QACCT = """\
==============================================================
qname        all.q
hostname     node1
jobname      parsl.htex.block-0.1795322318913065496
jobnumber    11
start_time   Sun Nov 22 04:40:11 2026
end_time     Sun Nov 22 04:40:12 2026
failed       {failed}
exit_status  {code}
ru_wallclock {seconds}s
"""


def qacct(failed: str = "0", code: int = 0, seconds: str = "1.2") -> JobReport | None:
    return parse_qacct(QACCT.format(failed=failed, code=code, seconds=seconds), 600)


@pytest.mark.parametrize(
    ("said", "job_id"),
    [
        ('Your job 42 ("parsl.htex.block-0.1") has been submitted\n', "42"),
        ('A word from the site.\nYour job 42 ("x") has been submitted\n', "42"),
        ("42\n", "42"),
        ("", None),
        ("2 errors in the request\n", None),
    ],
)
def test_qsub(said: str, job_id: str | None) -> None:
    assert parse_qsub(said) == job_id


def test_why_jobs_do_not_start() -> None:
    assert parse_reasons(REASONS) == {
        "7": (
            '11/30/2026 19:14:39 [0:15385]: error: can\'t open output file "/nonexist/x": No such file; '
            "Job is in error state"
        ),
        "8": 'queue instance "all.q@vm" dropped because it is disabled; All queues dropped because of overload or full',
    }
    nothing = "job_number:   7\nscheduling info:            There are no messages available\n"
    assert parse_reasons(nothing) == {}
    assert parse_reasons("Following jobs do not exist: \n9\n") == {}


def test_qstat() -> None:
    assert parse_qstat(QSTAT) == {
        "11": JobReport(JobState.RUNNING),
        "12": JobReport(JobState.PENDING),
        "13": JobReport(JobState.HELD, message="state hqw"),
        "14": JobReport(JobState.FAILED, message="it could not be started (state Eqw); `qstat -j` says why"),
        "15": JobReport(JobState.RUNNING),
        "16": JobReport(JobState.RUNNING),
        "17": JobReport(JobState.HELD, message="suspended (state S)"),
        "18": JobReport(JobState.RUNNING),
        "19": JobReport(JobState.UNKNOWN, message="state z"),
    }


def test_qstat_without_jobs() -> None:
    assert parse_qstat("") == {}


def test_the_accounting_file() -> None:
    assert qacct() == JobReport(JobState.COMPLETED, 0)
    assert qacct(code=3) == JobReport(JobState.FAILED, 3, "the job's script ended with exit code 3")


def test_a_walltime_that_was_over() -> None:
    over = JobReport(JobState.TIMEOUT, 137, "its walltime of 600 s was over")
    assert qacct("37 : qmaster enforced h_rt, h_cpu, or h_vmem limit", 137) == over
    assert qacct("100 : assumedly after job", 137, "600") == over


def test_a_job_that_could_not_be_run() -> None:
    assert qacct("26 : opening input/output file") == JobReport(
        JobState.FAILED, None, "Grid Engine could not run it (failed: 26)"
    )


def test_no_record_yet() -> None:
    assert parse_qacct("", 600) is None


@pytest.mark.parametrize(
    ("stderr", "word"),
    [
        ('Unable to run job: Job was rejected because job requests unknown queue "nosuch".', "queue="),
        ('Unable to run job: unknown resource "gpu".', "qconf -sc"),
        ("error: commlib error: got select error (Connection refused)", "qmaster"),
    ],
)
def test_refusals_come_with_advice(stderr: str, word: str) -> None:
    assert word in (find_advice(stderr, HINTS) or "")
