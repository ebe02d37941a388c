"""HTCondor's answers and descriptions."""

from __future__ import annotations

import pytest

from trellis.core.jobs import JobState
from trellis.errors import SubmitException
from trellis.providers.condor.text import HINTS, parse_jobs, parse_submit, quote, render_description, render_variables
from trellis.providers.reports import JobReport, find_advice
from trellis.providers.script import JobRequest

# condor_q -af:tV ClusterId JobStatus ExitCode ExitSignal HoldReason RemoveReason LastRejMatchReason
JOBS = "\n".join(
    "\t".join(fields)
    for fields in [
        ("11", "1", "undefined", "undefined", "undefined", "undefined"),
        ("12", "2", "undefined", "undefined", "undefined", "undefined"),
        ("13", "4", "0", "undefined", "undefined", "undefined"),
        ("14", "4", "3", "undefined", "undefined", "undefined"),
        ("15", "4", "undefined", "9", "undefined", "undefined"),
        ("16", "5", "undefined", "undefined", '"Error from slot1@node: memory"', "undefined"),
        ("17", "3", "undefined", "undefined", "undefined", '"via condor_rm (by user user)"'),
        ("18", "3", "undefined", "15", "undefined", '"The job attribute PeriodicRemove expression evaluated to TRUE"'),
        ("19", "7", "undefined", "undefined", "undefined", "undefined"),
        ("20", "6", "0", "undefined", "undefined", "undefined"),
        ("21", "9", "undefined", "undefined", "undefined", "undefined"),
        ("22", "1", "undefined", "undefined", "undefined", "undefined", '"no match found "'),
        ("23", "2", "undefined", "undefined", "undefined", "undefined", '"no match found "'),
    ]
)


def test_submit() -> None:
    assert parse_submit("Submitting job(s).\n1 job(s) submitted to cluster 42.\n") == "42"
    assert parse_submit("Submitting job(s)\n") is None


def test_jobs() -> None:
    assert parse_jobs(JOBS, 600) == {
        "11": JobReport(JobState.PENDING),
        "12": JobReport(JobState.RUNNING),
        "13": JobReport(JobState.COMPLETED, 0),
        "14": JobReport(JobState.FAILED, 3, "the job's script ended with exit code 3"),
        "15": JobReport(JobState.FAILED, -9, "the job was ended by signal 9"),
        "16": JobReport(JobState.HELD, None, "held: Error from slot1@node: memory"),
        "17": JobReport(JobState.CANCELLED, None, "via condor_rm (by user user)"),
        "18": JobReport(JobState.TIMEOUT, -15, "its walltime of 600 s was over"),
        "19": JobReport(JobState.HELD, None, "suspended"),
        "20": JobReport(JobState.RUNNING),
        "21": JobReport(JobState.UNKNOWN),
        "22": JobReport(JobState.PENDING, None, "not matched: no match found"),
        "23": JobReport(JobState.RUNNING),
    }


def test_other_lines_are_passed_over() -> None:
    assert parse_jobs("-- Schedd: node\n\nall done\n", 600) == {}


def test_paths_that_condor_would_read_otherwise() -> None:
    def describe(path: str) -> str:
        request = JobRequest("n.1", "true", 1, path)
        return render_description(request, nodes=1, walltime_s=60, settings=[], scheduler_options="")

    assert "executable = /my $(DOLLAR)(HOME) \\ runs/a.sh\n" in describe("/my $(HOME) \\ runs/a.sh")
    with pytest.raises(SubmitException, match="without line breaks"):
        describe("/my\nruns/a.sh")


def test_strings_are_quoted() -> None:
    assert quote('a "b" \\') == '"a \\"b\\" \\\\"'


def test_environment_variables_are_quoted_twice() -> None:
    assert render_variables({"A": "1", "B": 'it\'s "two" words'}) == "\"A='1' B='it''s \"\"two\"\" words'\""
    assert render_variables({}) is None


@pytest.mark.parametrize(
    ("stderr", "word"),
    [
        ("ERROR: Parse error in expression: Requirements = (", "requirements"),
        ("ERROR: Can't find address of local schedd", "scheduler"),
    ],
)
def test_refusals_come_with_advice(stderr: str, word: str) -> None:
    assert word in (find_advice(stderr, HINTS) or "")
