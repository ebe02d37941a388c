"""What Slurm says and wants to hear: job scripts, and the answers of its commands. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Sequence

from trellis.core.jobs import JobState
from trellis.providers.reports import Hint, JobReport
from trellis.providers.script import JobRequest, render_body, render_directives, render_redirection

SQUEUE_FORMAT = "%i|%T|%r"
# One number alone is minutes.
TIME_OPTION = r"^#SBATCH\s(?:.*\s)?(?:--time[=\s]|-t\s*=?)\s*([\d:-]+)"
SACCT_FIELDS = "JobID,State,ExitCode"

HINTS = (
    Hint(r"partition not available", "the partition takes no jobs now: `sinfo` lists others; set partition="),
    Hint(r"invalid partition", "`sinfo` lists the partitions; set partition="),
    Hint(r"invalid account|account/partition combination", "`sacctmgr show assoc user=$USER` lists your accounts"),
    Hint(r"invalid qos|invalid quality of service", "`sacctmgr show assoc user=$USER format=account,qos` lists yours"),
    Hint(r"invalid feature", "`sinfo -o '%f'` lists the features that constraint= can name"),
    Hint(
        r"MaxSubmit",
        "your account may have no more jobs, also waiting ones (`sacctmgr show assoc user=$USER`): lower max_blocks=",
    ),
    Hint(
        r"MaxWall|PartitionTimeLimit", "`sinfo -o '%P %l'` and `sacctmgr show qos` tell time limits; shorten walltime="
    ),
    Hint(
        r"job violates accounting|job submit limit",
        "a limit of your account or quality of service is reached, on the number of jobs, their size or their time: "
        "`sacctmgr show assoc user=$USER`, `sacctmgr show qos`; lower max_blocks= first",
    ),
    Hint(r"time limit", "`sinfo -o '%P %l'` tells the partitions' time limits; shorten walltime="),
    Hint(r"memory specification", "mem_per_node= is in GB and more than a node has: `sinfo -o '%P %m'` (MB)"),
    Hint(
        r"node configuration is not available|more processors requested|node count",
        "no node is like that: `sinfo -o '%P %D %c %m %G'` tells their number, cores, memory (MB) and GPUs",
    ),
    Hint(r"invalid (generic resource|gres)", "`sinfo -o '%P %G'` tells which GPUs and other resources there are"),
    Hint(r"unable to contact|connection refused|socket timed out", "the Slurm controller does not answer"),
)

# Names of Slurm's documentation of squeue, "JOB STATE CODES". What is absent is unknown.
STATES = {
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

# A job with --export=NONE among its options would have its own srun start the managers without PATH, PYTHONPATH and
# what worker_init has set.
_EXPORT_ALL = "unset SLURM_EXPORT_ENV\n"


def render_script(
    request: JobRequest, *, options: Sequence[str | None], scheduler_options: str, worker_init: str, exports: str
) -> str:
    """Give a script for ``sbatch``: its own needs, then ``options``, then the user's ``scheduler_options``."""
    # From a path with a backslash Slurm takes that away, and a line ends at a newline: the script can do better.
    beyond_slurm = bool(set("\\\n") & set(request.script_path))
    redirection = render_redirection(request) if beyond_slurm else ""
    head = render_directives(
        "#SBATCH",
        [
            f"--job-name={request.name}",
            f"--output={'/dev/null' if beyond_slurm else _quote(request.stdout_path)}",
            f"--error={'/dev/null' if beyond_slurm else _quote(request.stderr_path)}",
            *options,
        ],
    )
    start = f"{redirection}{_EXPORT_ALL}{exports}"
    return f"#!/bin/bash\n{head}{scheduler_options}\n{start}{render_body(request, worker_init)}"


def _quote(path: str) -> str:
    # Slurm fills in %j and others; " would end its quotes.
    return '"' + path.replace('"', '\\"').replace("%", "%%") + '"'


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
    known = STATES.get(name, JobState.UNKNOWN)
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
