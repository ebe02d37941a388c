"""What is said of tasks that do not get on: one line that tells why, and what to try. Words only."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple

from trellis.core.interfaces import INTERNAL_EXECUTOR
from trellis.core.reports import BlockReport, ExecutorReport, Hindrance, Standing
from trellis.core.values import shown
from trellis.core.waiting import why_it_waits
from trellis.dataflow.taskrecord import TaskRecord

# What is named of many, and how much of a text: it is one line.
_MOST_REASONS = 2
_MOST_TASKS = 2
_LONGEST_TEXT = 400


class StallWarning(NamedTuple):
    """What to say, and what kind it is of: one kind is said once."""

    kind: Hashable
    text: str


def of_circle(label: str, pairs: Sequence[tuple[TaskRecord, TaskRecord]], standing_s: float) -> StallWarning:
    """Tasks that run wait for others that get no place because those run."""
    named = [f"{one.describe()} waits for {other.describe()}" for one, other in pairs[:_MOST_TASKS]]
    if len(pairs) > _MOST_TASKS:
        named.append(f"and so on for {len(pairs) - _MOST_TASKS} more")
    more = "internal_tasks_max_threads=" if label == INTERNAL_EXECUTOR else "max_threads="
    text = (
        f"{_begin(standing_s)}: everything that runs on {name(label)} waits for other tasks that need a thread there "
        f"({', '.join(named)}). Pass futures as arguments, let a join_app call the inner apps, or give more threads "
        f"({more})"
    )
    return StallWarning("circle", text)


def of_foreign_futures(records: Sequence[TaskRecord], future: Future[Any], standing_s: float) -> StallWarning:
    """Tasks wait for futures that somebody else has to complete."""
    text = (
        f"{_begin(standing_s)}: {_waits(records)} for a future that is no task of this program, and that nobody has "
        f"completed: {shown(future)}. Whoever made it has to call its set_result() or set_exception()"
    )
    return StallWarning("foreign", text)


def of_executor(
    label: str, records: Sequence[TaskRecord], report: ExecutorReport, standings: Sequence[Standing], standing_s: float
) -> StallWarning | None:
    """Tasks that an executor has do not run; None when nobody knows why."""
    found = _hindrances(report, standings)
    if not found:
        return None
    reasons = [_clip(f"{one.place}: {one.reason}" + (f" ({one.until})" if one.until else "")) for one in found]
    more = len(reasons) - _MOST_REASONS
    told = "; ".join(reasons[:_MOST_REASONS]) + (f"; and {more} more reasons" if more > 1 else "")
    text = (
        f"{_begin(standing_s)}: {_waits(records)} at {name(label)}. {told}. "
        f"'trellis explain {records[0].id}' tells more"
    )
    return StallWarning(frozenset(map(_kind, found[:_MOST_REASONS])), text)


def name(label: str) -> str:
    """What people know an executor by."""
    return "the threads for join apps and staging" if label == INTERNAL_EXECUTOR else f"executor {label}"


def _begin(standing_s: float) -> str:
    return f"nothing has moved for {standing_s:.0f} s" if standing_s >= 1 else "nothing moves"


def _waits(records: Sequence[TaskRecord]) -> str:
    if len(records) == 1:
        return f"{records[0].describe()} waits"
    return f"{len(records):,} tasks wait (the first is {records[0].describe()})"


def _clip(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}…"


def _kind(hindrance: Hindrance) -> tuple[str, str]:
    """Numbers differ from look to look, and so does which block it is; the advice says what is the matter."""
    what = hindrance.until or hindrance.reason
    return hindrance.place.partition(" ")[0].rstrip("s"), re.sub(r"[\d.]+", "", what)


# -- why -----------------------------------------------------------------------------------------------------------


def _hindrances(report: ExecutorReport, standings: Sequence[Standing]) -> list[Hindrance]:
    """What keeps the tasks from running, each once; what the executor says of them first."""
    found = dict.fromkeys(hindrance for standing in standings for hindrance in standing.hindrances)
    return list(found) or list(dict.fromkeys(_of_report(report)))


def _of_report(report: ExecutorReport) -> Iterable[Hindrance]:
    """What can be concluded from how the executor is, when it says nothing of the tasks."""
    if report.error:
        yield Hindrance(f"executor {report.label}", report.error)
    for note in report.notes:
        yield Hindrance(f"executor {report.label}", note)
    for manager in report.managers:
        if manager.state != "active":
            yield Hindrance(f"manager {manager.name} on {manager.hostname}", f"it is {manager.state}")
    if not report.workers:
        yield from (_of_block(block) for block in report.blocks if block.state in ("PENDING", "HELD", "RUNNING"))
    if report.max_blocks == 0:
        yield Hindrance("more blocks", "max_blocks is 0", "when max_blocks of the provider is raised")


def _of_block(block: BlockReport) -> Hindrance:
    place = f"block {block.block_id}" + (f" (job {block.job_id})" if block.job_id else "")
    if block.state == "RUNNING":
        return Hindrance(place, "its job runs, and no worker of it has come", "what the job writes is in its output")
    cause = why_it_waits(block.reason)
    reason = f"the batch system has not started it: {block.reason or block.state.lower()}"
    return Hindrance(place, reason, cause.hint if cause else "when it is its turn")
