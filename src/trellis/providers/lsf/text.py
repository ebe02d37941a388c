"""What LSF says and wants to hear: job scripts, and the answers of its commands. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Sequence

from trellis.core.jobs import JobState
from trellis.providers.reports import Hint, JobReport, ended
from trellis.providers.script import JobRequest, render_body, render_directives, render_redirection

# The last field may hold anything.
BJOBS_FORMAT = "jobid stat exit_code exit_reason delimiter='|'"

# Hours and minutes, or minutes alone; a host for which the time is meant may follow.
TIME_OPTION = r"^#BSUB\s(?:.*\s)?-W\s*([\d:]+)"

HINTS = (
    Hint(r"no such queue", "`bqueues` lists the queues; set queue="),
    Hint(r"queue.*(closed|not accept)", "the queue takes no jobs now: `bqueues -l`"),
    Hint(r"project", "the project does not exist or is not yours; set project="),
    Hint(
        r"run ?time limit|cannot exceed queue's hard limit", "the queue's limit is shorter: `bqueues -l`; see walltime="
    ),
    Hint(r"bad resource requirement|too many processors", "no host is like that: `bhosts`, `lshosts`"),
    Hint(r"limit", "a limit of the queue or of your account is reached: `busers`, `bqueues -l`"),
    Hint(r"lsf is down|cannot connect|cannot open", "LSF does not answer; is its environment set up here?"),
)

STATES = {
    "DONE": JobState.COMPLETED,
    "EXIT": JobState.FAILED,
    "PEND": JobState.PENDING,
    "PROV": JobState.PENDING,
    "PSUSP": JobState.HELD,
    "RUN": JobState.RUNNING,
    "SSUSP": JobState.HELD,
    "USUSP": JobState.HELD,
    "WAIT": JobState.PENDING,
    "ZOMBI": JobState.FAILED,
}
# Reasons that say more than that the job failed.
_TIMEOUT = re.compile(r"TERM_(RUNLIMIT|DEADLINE|WINDOW)")
_CANCELLED = re.compile(r"TERM_(OWNER|FORCE_OWNER|ADMIN|FORCE_ADMIN|PREEMPT|REMOVE_HUNG_JOB)")


def render_script(
    request: JobRequest, *, walltime_s: int, options: Sequence[str | None], scheduler_options: str, worker_init: str
) -> str:
    """Give a script for ``bsub``: its own needs, then ``options``, then the user's ``scheduler_options``."""
    minutes = -(-walltime_s // 60)
    head = render_directives(
        "#BSUB",
        [
            f"-J {request.name}",
            f"-W {minutes // 60:02d}:{minutes % 60:02d}",
            f'-o "{request.log_path if request.has_plain_paths else "/dev/null"}"',
            "-L /bin/bash",
            *options,
        ],
    )
    body = render_body(request, worker_init, "INT USR2")
    return f"#!/bin/bash\n{head}{scheduler_options}\n{render_redirection(request)}{body}"


def parse_bsub(text: str) -> str | None:
    """Give the job's id from ``Job <42> is submitted to queue <normal>.``"""
    match = re.search(r"Job <(\d+)> is submitted", text)
    return None if match is None else match[1]


def only_gone(stderr: str) -> bool:
    """Whether ``bjobs`` complains about nothing but jobs that it has forgotten."""
    lines = [line for line in stderr.splitlines() if line.strip()]
    return bool(lines) and all(re.search(r"job <\d+> is not found", line, re.IGNORECASE) for line in lines)


def parse_bjobs(text: str) -> dict[str, JobReport]:
    """Read lines of ``bjobs -noheader -o "jobid stat exit_code exit_reason delimiter='|'"``."""
    reports = {}
    for line in text.splitlines():
        match [field.strip() for field in line.split("|", 3)]:
            case [job_id, stat, exit_code, reason]:
                reports[job_id] = _report(stat, exit_code, reason)
    return reports


def _report(stat: str, exit_code: str, reason: str) -> JobReport:
    state = STATES.get(stat, JobState.UNKNOWN)
    if state is JobState.FAILED:
        return _failure(int(exit_code) if exit_code.isdigit() else None, reason)
    if state is JobState.COMPLETED:
        return JobReport(state, 0)
    return JobReport(state, message=None if state is JobState.RUNNING else f"state {stat}")


def _failure(exit_code: int | None, reason: str) -> JobReport:
    words = None if reason in ("", "-") else reason
    if _TIMEOUT.search(reason):
        return JobReport(JobState.TIMEOUT, exit_code, words)
    if _CANCELLED.search(reason):
        return JobReport(JobState.CANCELLED, exit_code, words)
    if exit_code is None:
        return JobReport(JobState.FAILED, None, words)
    return JobReport(JobState.FAILED, exit_code, words or f"the job's script ended with exit code {exit_code}")


def parse_reasons(text: str) -> dict[str, str]:
    """Read ``bjobs -p``: a line for each job, and in lines that begin with a space why it is pending."""
    reasons: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in text.splitlines():
        words = line.split()
        if words and not line[0].isspace():
            lines = reasons.setdefault(words[0], [])
        elif words:
            lines.append(line.strip().rstrip(";"))
    return {job_id: "; ".join(lines) for job_id, lines in reasons.items() if lines and job_id.isdigit()}


def parse_bhist(text: str, walltime_s: int) -> JobReport | None:
    """Read ``bhist -l ID``, which tells a job's life in sentences; None when there is none, or no end of it."""
    life = re.sub(r"\n {2,}", "", text)  # long lines go on in the next one, indented
    if re.search(r"Done successfully", life):
        return JobReport(JobState.COMPLETED, 0)
    reason = re.search(r"TERM_\w+[^.;\n]*", life)
    code = re.search(r"Exited with exit code (\d+)", life)
    signal = re.search(r"Exited by signal (\d+)", life)
    if code is None and signal is None:
        return _failure(None, reason[0]) if reason and re.search(r"\bExited\b", life) else None
    exit_code = int(code[1]) if code else -int(signal[1]) if signal else 0
    return ended(exit_code, None, walltime_s) if reason is None else _failure(exit_code, reason[0])
