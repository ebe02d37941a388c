"""What people who ask are told of an executor's blocks: how each is, and why no more tasks run there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trellis.blocks.user_messages import MOST_NAMES, by_cause, has_failed, likely_cause, name_blocks
from trellis.core.block_rows import block_seen
from trellis.core.jobs import JobState, JobStatus
from trellis.core.measurements import BlockSeen
from trellis.core.reports import BlockReport, Hindrance
from trellis.core.waiting import why_it_waits

# Failed blocks of which a waiting task's hindrances tell: the last ones. Reports have all.
_MOST_FAILURES = 20


@dataclass(frozen=True, slots=True)
class KnownBlocks:
    """What a block controller knows, copied at one moment."""

    statuses: Mapping[str, JobStatus]  # of every block there has been, oldest first
    jobs: Mapping[str, Any]
    made_at: Mapping[str, float]  # when each was asked for, seconds since the epoch
    max_blocks: int
    strategy: str
    retry_in_s: float = 0.0  # no block is started before, since the last ones have failed
    parallelism: float = 1.0


def block_reports(known: KnownBlocks, managers: Mapping[str, int]) -> list[BlockReport]:
    """Every block there has been, oldest first; ``managers``: how many are connected of each."""
    return [
        BlockReport(
            block_id,
            status.status_name,
            None if known.jobs.get(block_id) is None else str(known.jobs[block_id]),
            reason_of(status),
            managers.get(block_id, 0),
            known.made_at.get(block_id),
        )
        for block_id, status in known.statuses.items()
    ]


def reason_of(status: JobStatus) -> str:
    """What the batch system says of a job, in one line; of one that has failed also the likely cause."""
    text = " ".join((status.message or "").split()).removeprefix(f"{status.state.name.lower()}: ")
    if has_failed(status):
        if status.exit_code is not None and f"exit code {status.exit_code}" not in text:
            text = f"{text}, exit code {status.exit_code}" if text else f"exit code {status.exit_code}"
        cause = likely_cause(status) or _last_line(status)
        return f"{text}: {cause}" if text and cause else text or cause or ""
    return text


def blocks_seen(rows: Iterable[Mapping[str, Any]], statuses: Mapping[str, JobStatus], label: str) -> list[BlockSeen]:
    """Turn rows of ``create_monitoring_info``, perhaps a user's, about these blocks into measurements."""
    seen = []
    for row in rows:
        status = statuses.get(str(row["block_id"]))
        seen.append(block_seen(row, label, "" if status is None else reason_of(status)))
    return seen


def _last_line(status: JobStatus) -> str | None:
    lines = (status.stderr_summary or "").strip().splitlines()
    return lines[-1].strip() if lines else None


def block_hindrances(known: KnownBlocks, managers: Mapping[str, int], has_provider: bool = True) -> list[Hindrance]:
    """Why a task that waits does not run in each block that has no manager, and why there is no other block."""
    if not has_provider:
        if managers:
            return []
        reason = "no manager is connected, and there is no provider that starts any"
        return [Hindrance("blocks", reason, "when somebody starts one by hand")]
    live = {block_id: job for block_id, job in known.statuses.items() if not job.terminal}
    waiting = {block_id: job for block_id, job in live.items() if not managers.get(block_id)}
    return [*_of_waiting(waiting, known.jobs), *_of_failed(known.statuses), *_of_limits(known, live)]


def _of_waiting(blocks: Mapping[str, JobStatus], jobs: Mapping[str, Any]) -> Iterable[Hindrance]:
    groups: dict[tuple[str, str], list[str]] = {}
    for block_id, status in blocks.items():
        groups.setdefault(_why_block_waits(block_id, status, jobs), []).append(block_id)
    for (reason, until), names in groups.items():
        yield Hindrance(_place(names, jobs), reason, until)


def _why_block_waits(block_id: str, status: JobStatus, jobs: Mapping[str, Any]) -> tuple[str, str]:
    said = reason_of(status)
    if jobs.get(block_id) is None:
        return "it is being submitted to the batch system", "when its job is known and has started"
    cause = why_it_waits(status.message or "")
    if status.state is JobState.PENDING:
        reason = f"the batch system has not started its job: {said}" if said else "its job has not started yet"
        return reason, cause.hint if cause else "when it is its turn in the batch system's queue"
    if status.state is JobState.HELD:
        reason = f"its job is held or suspended: {said}" if said else "its job is held or suspended"
        return reason, cause.hint if cause else "when it is released"
    if status.state is JobState.RUNNING:
        return (
            "its job runs, and no manager of it is connected",
            "when its managers have started and reach this host; what the job writes is in its output",
        )
    reason = f"the batch system does not tell how its job is: {said}" if said else "nobody knows how its job is"
    return reason, "when the batch system answers again"


def _of_failed(statuses: Mapping[str, JobStatus]) -> Iterable[Hindrance]:
    failed = [(block_id, status) for block_id, status in statuses.items() if has_failed(status)][-_MOST_FAILURES:]
    by_id = dict(failed)
    for names in by_cause(failed).values():
        reason = reason_of(by_id[names[-1]])
        yield Hindrance(_place(names, {}), f"failed: {reason}" if reason else "failed")


def _of_limits(known: KnownBlocks, live: Mapping[str, JobStatus]) -> Iterable[Hindrance]:
    if known.max_blocks <= 0:
        yield Hindrance("more blocks", f"max_blocks is {known.max_blocks}", "when max_blocks of the provider is raised")
    elif known.strategy == "none" and not live:
        yield Hindrance(
            "more blocks",
            "all blocks have ended, and the strategy 'none' starts no others"
            if known.statuses
            else "the strategy 'none' starts none beyond init_blocks",
            "with another strategy= in Config, or after executor.scale_out_facade(1)",
        )
    elif known.retry_in_s > 0:
        yield Hindrance(
            "more blocks",
            "the last ones have failed, and another is not tried at once",
            f"in {known.retry_in_s:.0f} s the next one is",
        )
    elif len(live) >= known.max_blocks:
        yield Hindrance(
            "more blocks",
            f"there are as many as max_blocks of the provider allows: {known.max_blocks}",
            "when one of them has ended, or max_blocks is raised",
        )
    elif known.parallelism < 1 and live and known.strategy != "none":
        yield Hindrance(
            "more blocks",
            f"with parallelism={known.parallelism:g} of the provider, the tasks that wait may be too few for another",
            "when more tasks wait, or with a larger parallelism",
        )


def _place(names: Sequence[str], jobs: Mapping[str, Any]) -> str:
    ids = [str(jobs[name]) for name in names if jobs.get(name) is not None]
    if not ids:
        return name_blocks(names)
    more = f" and {len(ids) - MOST_NAMES} more" if len(ids) > MOST_NAMES else ""
    return f"{name_blocks(names)} ({'job' if len(ids) == 1 else 'jobs'} {', '.join(ids[:MOST_NAMES])}{more})"
