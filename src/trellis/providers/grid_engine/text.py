"""What Grid Engine says and wants to hear: job scripts, and the answers of its commands. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Sequence

from trellis.core.jobs import JobState
from trellis.providers.reports import Hint, JobReport, ended
from trellis.providers.script import JobRequest, render_body, render_directives, render_redirection

HINTS = (
    Hint(r"unknown queue|queue .* does not exist", "`qconf -sql` lists the queues; set queue="),
    Hint(r"unknown resource", "`qconf -sc` lists the resources that `-l` can ask for"),
    Hint(r"no suitable queues", "no queue allows this walltime and these resources: `qstat -f`, `qconf -sq QUEUE`"),
    Hint(r"parallel environment", "`qconf -spl` lists the parallel environments that `-pe` can name"),
    Hint(r"unknown project|project", "`qconf -sprjl` lists the projects"),
    Hint(r"unable to (contact|send message to) qmaster|commlib error", "the qmaster does not answer"),
)

TIME_OPTION = r"^#\$\s.*\bh_rt=([\d:]+)"

# How the scheduler says that it has nothing to say.
_NOTHING = "There are no messages available"

# Before it stops a job Grid Engine sends this, because of -notify; nobody shall die of it.
_IGNORE = "trap '' USR1\n"

# What qacct calls "failed" when the walltime was over.
_ENFORCED_WALLTIME = "37"


def render_script(
    request: JobRequest, *, options: Sequence[str | None], scheduler_options: str, worker_init: str
) -> str:
    """Give a script for ``qsub``: its own needs, then ``options``, then the user's ``scheduler_options``."""
    # Up to a colon a path names a host, and variables are filled in.
    plain = request.has_plain_paths
    head = render_directives(
        "#$",
        [
            f"-N {request.name}",
            "-S /bin/bash",
            "-cwd",
            f'-o "{request.stdout_path if plain else "/dev/null"}"',
            f'-e "{request.stderr_path if plain else "/dev/null"}"',
            "-notify",  # SIGUSR2 comes some time before SIGKILL; otherwise nothing would
            *options,
        ],
    )
    start = _IGNORE if plain else f"{_IGNORE}{render_redirection(request)}"
    return f"#!/bin/bash\n{head}{scheduler_options}\n{start}{render_body(request, worker_init, 'USR2')}"


def parse_qsub(text: str) -> str | None:
    """Give the job's id from ``Your job 42 ("name") has been submitted``, or from what ``-terse`` makes of it."""
    match = re.search(r"^(?:Your job (\d+)\b|(\d+)\s*$)", text, re.MULTILINE)
    return None if match is None else match[1] or match[2]


def parse_qstat(text: str) -> dict[str, JobReport]:
    """Read the table of ``qstat``; lines that are no jobs are passed over."""
    reports = {}
    for line in text.splitlines():
        match line.split():
            case [job_id, _priority, _name, _user, state, *_] if job_id.isdigit():
                reports[job_id] = _report(state)
    return reports


def _report(state: str) -> JobReport:
    """Read a state such as ``qw``, ``hqw``, ``r``, ``dr``, ``Eqw``: letters that each say one thing."""
    if "E" in state:
        return JobReport(JobState.FAILED, message=f"it could not be started (state {state}); `qstat -j` says why")
    if "h" in state:
        return JobReport(JobState.HELD, message=f"state {state}")
    if set(state) & set("sST"):
        return JobReport(JobState.HELD, message=f"suspended (state {state})")
    if set(state) & set("rt"):
        return JobReport(JobState.RUNNING)
    if set(state) & set("qw"):
        return JobReport(JobState.PENDING)
    return JobReport(JobState.UNKNOWN, message=f"state {state}")


def parse_reasons(text: str) -> dict[str, str]:
    """Read ``qstat -j ID,ID``: why jobs are in error, or what the scheduler says of them; each sentence once."""
    reasons = {}
    for job in re.split(r"^=+$", text, flags=re.MULTILINE):
        number = re.search(r"^job_number:\s+(\d+)", job, re.MULTILINE)
        # Further sentences stand in lines of their own, indented.
        found = re.findall(r"^(?:error reason\s+\d+|scheduling info):[ \t]*(.*(?:\n[ \t]+.*)*)", job, re.MULTILINE)
        sentences = [line.strip() for block in found for line in block.splitlines() if _NOTHING not in line]
        if number is not None and sentences:
            reasons[number[1]] = "; ".join(dict.fromkeys(sentences))
    return reasons


def parse_qacct(text: str, walltime_s: int) -> JobReport | None:
    """Read ``qacct -j ID``; None when there is no record. Of a job that ran several times the last record counts."""
    fields = dict(re.findall(r"^(\w+)[ \t]+(\S+)", text, re.MULTILINE))
    if not fields.get("exit_status", "").isdigit():
        return None
    # A job that a signal ended has 128 and its number here, as in a shell.
    report = ended(int(fields["exit_status"]), _seconds(fields.get("ru_wallclock")), walltime_s)
    failed = fields.get("failed", "0")
    if failed == _ENFORCED_WALLTIME:
        return JobReport(JobState.TIMEOUT, report.exit_code, f"its walltime of {walltime_s} s was over")
    if failed != "0" and report.state is JobState.COMPLETED:
        return JobReport(JobState.FAILED, None, f"Grid Engine could not run it (failed: {failed})")
    return report


def _seconds(text: str | None) -> float | None:
    match = re.match(r"[\d.]+", text or "")
    return float(match[0]) if match else None
