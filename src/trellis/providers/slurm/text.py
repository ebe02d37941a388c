"""What Slurm says and wants to hear: job scripts, and the answers of its commands. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Sequence

from trellis.core.jobs import JobState
from trellis.providers.reports import Hint, JobReport
from trellis.providers.script import JobRequest, render_body, render_directives

SQUEUE_FORMAT = "%i|%T|%r"
SACCT_FIELDS = "JobID,State,ExitCode"

HINTS = (
    Hint(r"invalid partition", "`sinfo` lists the partitions; set partition="),
    Hint(r"invalid account|account/partition combination", "`sacctmgr show assoc user=$USER` lists your accounts"),
    Hint(r"invalid qos|invalid quality of service", "`sacctmgr show assoc user=$USER format=account,qos` lists yours"),
    Hint(r"invalid feature", "`sinfo -o '%f'` lists the features that constraint= can name"),
    Hint(r"time limit", "`sinfo -o '%P %l'` tells the partitions' time limits; shorten walltime="),
    Hint(r"memory specification", "mem_per_node= is in GB and more than a node has: `sinfo -o '%P %m'` (MB)"),
    Hint(
        r"node configuration is not available|more processors requested|node count",
        "no node is like that: `sinfo -o '%P %D %c %m %G'` tells their number, cores, memory (MB) and GPUs",
    ),
    Hint(r"invalid (generic resource|gres)", "`sinfo -o '%P %G'` tells which GPUs and other resources there are"),
    Hint(r"job violates accounting|MaxSubmit|job submit limit", "a limit of your account is reached"),
    Hint(r"unable to contact|connection refused|socket timed out", "the Slurm controller does not answer"),
)

# Names of Slurm's documentation of squeue, "JOB STATE CODES". What is absent is unknown.
_STATES = {
    "BOOT_FAIL": JobState.FAILED,
    "CANCELLED": JobState.CANCELLED,
    "COMPLETED": JobState.COMPLETED,
    "COMPLETING": JobState.RUNNING,
    "CONFIGURING": JobState.PENDING,
    "DEADLINE": JobState.TIMEOUT,
    "FAILED": JobState.FAILED,
    "NODE_FAIL": JobState.FAILED,
    "OUT_OF_MEMORY": JobState.FAILED,
    "PENDING": JobState.PENDING,
    "PREEMPTED": JobState.CANCELLED,
    "REQUEUED": JobState.PENDING,
    "REQUEUE_FED": JobState.PENDING,
    "REQUEUE_HOLD": JobState.HELD,
    "RESIZING": JobState.RUNNING,
    "RESV_DEL_HOLD": JobState.HELD,
    "REVOKED": JobState.CANCELLED,
    "RUNNING": JobState.RUNNING,
    "SIGNALING": JobState.RUNNING,
    "SPECIAL_EXIT": JobState.HELD,
    "STAGE_OUT": JobState.RUNNING,
    "STOPPED": JobState.HELD,
    "SUSPENDED": JobState.HELD,
    "TIMEOUT": JobState.TIMEOUT,
}
_HOLDS = ("JobHeldUser", "JobHeldAdmin")


def render_script(
    request: JobRequest, *, options: Sequence[str | None], scheduler_options: str, worker_init: str, exports: str
) -> str:
    """Give a script for ``sbatch``: its own needs, then ``options``, then the user's ``scheduler_options``."""
    head = render_directives(
        "#SBATCH",
        [
            f"--job-name={request.name}",
            f"--output={_quote(request.stdout_path)}",
            f"--error={_quote(request.stderr_path)}",
            *options,
        ],
    )
    return f"#!/bin/bash\n{head}{scheduler_options}\n{exports}{render_body(request, worker_init)}"


def _quote(path: str) -> str:
    # Slurm fills in %j and others; \ and " would end its quotes.
    return '"' + re.sub(r'(["\\])', r"\\\1", path).replace("%", "%%") + '"'


def parse_squeue(text: str) -> dict[str, JobReport]:
    """Read lines of ``squeue --format='%i|%T|%r'``. Other lines (it names clusters in between) are passed over."""
    reports = {}
    for line in text.splitlines():
        job_id, bar, rest = line.partition("|")
        if bar:
            state, _, reason = rest.partition("|")
            reports[job_id.strip()] = _report(state, reason.strip(), None)
    return reports


def parse_scontrol(text: str) -> JobReport | None:
    """Read the line of ``scontrol --oneliner show job ID``; None when there is none."""
    fields = dict(word.split("=", 1) for word in text.split() if "=" in word)
    if "JobState" not in fields:
        return None
    return _report(fields["JobState"], fields.get("Reason", "None"), fields.get("ExitCode"))


def parse_sacct(text: str, job_id: str) -> JobReport | None:
    """Read ``sacct --parsable2 --noheader``; None when the job is not there."""
    for line in text.splitlines():
        match line.split("|"):
            case [found, state, exit_code] if found == job_id:
                return _report(state, "None", exit_code)
    return None


def _report(state: str, reason: str, exit_code: str | None) -> JobReport:
    # "CANCELLED by 1000", "CANCELLED+": the first word is the state.
    words = re.findall(r"[A-Z_]+", state)
    name = words[0] if words else ""
    if name == "PENDING" and reason in _HOLDS:
        return JobReport(JobState.HELD, message=reason)
    known = _STATES.get(name, JobState.UNKNOWN)
    message = None if known in (JobState.RUNNING, JobState.COMPLETED) else name.lower()
    if message is not None and reason not in ("", "None"):
        message += f": {reason}"
    ended = known in (JobState.COMPLETED, JobState.FAILED, JobState.TIMEOUT, JobState.CANCELLED)
    return JobReport(known, _parse_exit_code(exit_code) if ended else None, message)


def _parse_exit_code(text: str | None) -> int | None:
    """Read ``code:signal``; a signal is given as a negative number."""
    match = re.fullmatch(r"(\d+):(\d+)", text or "")
    if match is None:
        return None
    code, signal = int(match[1]), int(match[2])
    return -signal if signal else code
