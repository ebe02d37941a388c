"""What HTCondor says and wants to hear: submit descriptions, and the answers of its commands. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from trellis.core.jobs import JobState
from trellis.errors import SubmitException
from trellis.providers.reports import Hint, JobReport, ended
from trellis.providers.script import JobRequest, render_body

# What is asked for: one line per job, values as in HTCondor's expressions, a tab between two.
COLUMNS = (
    "-af:tV",
    "ClusterId",
    "JobStatus",
    "ExitCode",
    "ExitSignal",
    "HoldReason",
    "RemoveReason",
    "LastRejMatchReason",
)

# Ended jobs stay in the queue for an hour, so that one question tells all; then there is condor_history.
_KEPT_S = 3600

HINTS = (
    Hint(r"parse error|syntax", "a line of scheduler_options or requirements is not understood"),
    Hint(r"not authorized|permission|authentication", "you may not submit here"),
    Hint(r"max_jobs|limit", "a limit on jobs is reached"),
    Hint(r"can't find address|failed to connect|connect to local queue", "no scheduler runs here, or it is down"),
)

STATES = {
    "1": JobState.PENDING,
    "2": JobState.RUNNING,
    "3": JobState.CANCELLED,
    "4": JobState.COMPLETED,
    "5": JobState.HELD,
    "6": JobState.RUNNING,  # its output is on the way
    "7": JobState.HELD,
}


def render_script(request: JobRequest, *, worker_init: str, exports: str) -> str:
    """Give the script that the job runs."""
    return f"#!/bin/bash\n{exports}{render_body(request, worker_init)}"


def render_description(
    request: JobRequest,
    *,
    nodes: int,
    walltime_s: int,
    settings: Sequence[tuple[str, str | None]],
    scheduler_options: str,
) -> str:
    """Give the description for ``condor_submit``; of ``settings`` those without a value are left out."""
    # Each node of a job of several writes a file of its own.
    suffix = ".$(Node)" if nodes > 1 else ""
    lines: list[tuple[str, str | None]] = [
        ("universe", "parallel" if nodes > 1 else "vanilla"),
        ("machine_count", str(nodes) if nodes > 1 else None),
        ("executable", _path(request.script_path)),
        ("output", f"{_path(request.script_path)}.out{suffix}"),
        ("error", f"{_path(request.script_path)}.err{suffix}"),
        ("log", _path(request.log_path)),
        ("should_transfer_files", "IF_NEEDED"),
        ("when_to_transfer_output", "ON_EXIT"),
        ("notification", "Never"),
        ("kill_sig", "SIGTERM"),
        ("+TrellisName", quote(request.name)),
        ("periodic_remove", f"(JobStatus == 2) && (time() - EnteredCurrentStatus > {walltime_s})"),
        ("leave_in_queue", f"(JobStatus == 4) && (time() - CompletionDate < {_KEPT_S})"),
        *settings,
    ]
    head = "".join(f"{name} = {value}\n" for name, value in lines if value is not None)
    return f"{head}{scheduler_options}\nqueue\n"


def _path(path: str) -> str:
    """Give a path as a value of the description: all of a line, in which $(NAME) is a macro.

    Raises:
        SubmitException: no line can hold it.
    """
    if "\n" in path or "\r" in path:
        raise SubmitException(
            "block", f"HTCondor cannot be given the path {path!r}: choose a run_dir without line breaks"
        )
    return path.replace("$", "$(DOLLAR)")


def quote(text: str) -> str:
    """Give a string of HTCondor's expressions."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def render_variables(environment: Mapping[str, str]) -> str | None:
    """Give the value of ``environment``, in which quotes are doubled; None for no variables."""
    if not environment:
        return None
    words = [f"{name}='{value.replace(chr(39), 2 * chr(39))}'" for name, value in environment.items()]
    return '"' + " ".join(words).replace('"', '""') + '"'


def parse_submit(text: str) -> str | None:
    """Give the job's id, which is its cluster's, from ``1 job(s) submitted to cluster 42.``"""
    match = re.search(r"submitted to cluster (\d+)", text)
    return None if match is None else match[1]


def parse_jobs(text: str, walltime_s: int) -> dict[str, JobReport]:
    """Read the lines of ``condor_q`` or ``condor_history``, asked for ``COLUMNS``."""
    reports = {}
    for line in text.splitlines():
        match [field.strip().strip('"') for field in line.split("\t")]:
            case [job_id, status, code, signal, held, removed, *unmatched] if job_id.isdigit():
                report = _report(status, _exit_code(code, signal), held, removed, walltime_s)
                if report.state is JobState.PENDING and unmatched and _defined(unmatched[0]):
                    report = report._replace(message=f"not matched: {unmatched[0].strip()}")
                reports[job_id] = report
    return reports


def _exit_code(code: str, signal: str) -> int | None:
    if signal.isdigit():
        return -int(signal)
    return int(code) if re.fullmatch(r"-?\d+", code) else None


def _report(status: str, exit_code: int | None, held: str, removed: str, walltime_s: int) -> JobReport:
    state = STATES.get(status, JobState.UNKNOWN)
    if state is JobState.COMPLETED and exit_code is not None:
        return ended(exit_code, None, walltime_s)
    if state is JobState.CANCELLED:
        if "PeriodicRemove" in removed:
            return JobReport(JobState.TIMEOUT, exit_code, f"its walltime of {walltime_s} s was over")
        return JobReport(state, exit_code, _defined(removed))
    if state is JobState.HELD:
        return JobReport(state, message=f"held: {held}" if _defined(held) else "suspended")
    return JobReport(state)


def _defined(value: str) -> str | None:
    return None if value in ("", "undefined") else value
