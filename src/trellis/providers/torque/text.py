"""What Torque and PBS Pro say and want to hear: job scripts, and the answers of their commands. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Sequence

from trellis.core.jobs import JobState
from trellis.providers.reports import Hint, JobReport, ended
from trellis.providers.script import JobRequest, render_body, render_directives, render_redirection, short_name

HINTS = (
    Hint(r"unknown queue", "`qstat -q` lists the queues; set queue="),
    Hint(r"account|project|allocation", "the account may not run jobs here; set account="),
    Hint(r"walltime|resource.* exceed", "a limit of the queue is exceeded: `qstat -Q -f`; shorten walltime="),
    Hint(r"not enabled|not started", "the queue takes no jobs now: `qstat -q`"),
    Hint(r"unauthorized|not permitted|access", "you may not use this queue or server"),
    Hint(r"maximum number of jobs|limit", "a limit of the queue or of your account is reached"),
    Hint(r"cannot connect|connection refused|no permission", "the PBS server does not answer"),
)

WALLTIME_OPTION = r"^#PBS\s.*\bwalltime=([\d:]+)"

# How qstat says that a job is not there any more; nothing else in its complaints is that harmless.
_GONE = re.compile(r"unknown job ?id|job has finished", re.IGNORECASE)

STATES = {
    "B": JobState.RUNNING,
    "E": JobState.RUNNING,  # ending
    "H": JobState.HELD,
    "M": JobState.PENDING,  # moved to another server
    "Q": JobState.PENDING,
    "R": JobState.RUNNING,
    "S": JobState.HELD,
    "T": JobState.PENDING,
    "U": JobState.HELD,
    "W": JobState.PENDING,
}
# PBS Pro's exit status of a job whose walltime was over.
_KILLED_BY_WALLTIME = -29


def render_script(
    request: JobRequest, *, options: Sequence[str | None], scheduler_options: str, worker_init: str
) -> str:
    """Give a script for ``qsub``: its own needs, then ``options``, then the user's ``scheduler_options``."""
    head = render_directives(
        "#PBS",
        [
            "-S /bin/bash",
            f"-N {short_name(request.name)}",
            "-m n",  # no mail
            "-j oe",
            f"-o {request.log_path if request.has_plain_paths else '/dev/null'}",
            *options,
        ],
    )
    # Like other systems, start where the job was submitted, not at home.
    start = f'{render_redirection(request)}[ -z "${{PBS_O_WORKDIR:-}}" ] || cd "$PBS_O_WORKDIR"\n'
    return f"#!/bin/bash\n{head}{scheduler_options}\n{start}{render_body(request, worker_init)}"


def parse_qsub(text: str) -> str | None:
    """Give the job's id, which is all that ``qsub`` says: ``42.server``."""
    found: list[str] = re.findall(r"^(\d+(?:\[\])?(?:\.[\w.-]+)?)\s*$", text, re.MULTILINE)
    return found[-1] if found else None


def only_gone(stderr: str) -> bool:
    """Whether ``qstat`` complains about nothing but jobs that are not there any more."""
    lines = [line for line in stderr.splitlines() if line.strip()]
    return bool(lines) and all(_GONE.search(line) for line in lines)


def parse_qstat(text: str, job_ids: Sequence[str], walltime_s: int) -> dict[str, JobReport]:
    """Read ``qstat -f``: a block of ``name = value`` lines for each job."""
    found = {}
    for block in re.split(r"^Job Id:\s*", text, flags=re.MULTILINE)[1:]:
        head, _, body = block.partition("\n")
        # Long values go on in the next line, after a tab.
        fields = re.findall(r"^\s+([\w.]+) = (.*)$", body.replace("\n\t", ""), re.MULTILINE)
        found[head.strip()] = _report({name.lower(): value.strip() for name, value in fields}, walltime_s)
    # The server may name itself in full where qsub did not.
    short = {job_id.partition(".")[0]: report for job_id, report in found.items()}
    known = {job_id: found.get(job_id) or short.get(job_id.partition(".")[0]) for job_id in job_ids}
    return {job_id: report for job_id, report in known.items() if report is not None}


def _report(fields: dict[str, str], walltime_s: int) -> JobReport:
    letter = fields.get("job_state", "")
    if letter in ("C", "F", "X"):
        return _end(fields, walltime_s)
    state = STATES.get(letter, JobState.UNKNOWN)
    return JobReport(state, message=None if state is JobState.RUNNING else fields.get("comment", f"state {letter}"))


def _end(fields: dict[str, str], walltime_s: int) -> JobReport:
    comment = fields.get("comment")
    status = fields.get("exit_status", "")
    if not re.fullmatch(r"-?\d+", status):
        return JobReport(JobState.CANCELLED, message=comment or "it was deleted before it ran")
    code = int(status)
    if code == _KILLED_BY_WALLTIME:
        return JobReport(JobState.TIMEOUT, None, comment or f"its walltime of {walltime_s} s was over")
    if code < 0:
        return JobReport(JobState.FAILED, None, comment or f"PBS could not run it (exit status {code})")
    # 256 and more: a signal has ended it.
    report = ended(256 - code if code >= 256 else code, _seconds(fields.get("resources_used.walltime")), walltime_s)
    return report if report.state is JobState.COMPLETED or comment is None else report._replace(message=comment)


def _seconds(text: str | None) -> float | None:
    match = re.fullmatch(r"(\d+):(\d+):(\d+)", text or "")
    return None if match is None else int(match[1]) * 3600 + int(match[2]) * 60 + int(match[3])
