"""What a TaskVineExecutor tells of itself, and of one task, from what its manager answers in time. Pure."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import cast

from trellis.core.reports import Begun, BlockReport, ExecutorReport, Hindrance, ManagerReport, Stage, Standing
from trellis.wire.vine import VineStatus, WorkerStatus
from trellis.wire.vine_watching import VineStanding

_STAGES = ("unknown", "queued", "assigned", "running")


def silence(stopped: bool) -> str:
    """Why there is no answer, as far as that can be seen."""
    return f"the manager does not answer: it is {'stopped (SIGSTOP)' if stopped else 'very busy, or being started'}"


def executor_report(
    label: str,
    kind: str,
    status: VineStatus | None,
    is_new: bool,
    outstanding: int,
    blocks: Sequence[BlockReport],
    max_blocks: int | None,
    error: str,
    notes: Sequence[str],
    silent: str = "",
) -> ExecutorReport:
    """How the executor is.

    Args:
        status: what the manager said; None: it never said anything.
        is_new: whether it said so just now.
        outstanding: tasks without an outcome.
        notes: of what starts workers.
        silent: why there is no answer.
    """
    if status is None or error:
        unknown = [] if error else [f"{silent}; {outstanding} tasks are outstanding"]
        unknown += notes
        return ExecutorReport(label, kind, 0, blocks=blocks, max_blocks=max_blocks, error=error, notes=unknown)
    managers = [_worker(worker) for worker in status.workers]
    assigned = sum(worker.assigned for worker in status.workers)
    old = [] if is_new else [f"{silent}: what is told of workers is older; {outstanding} tasks are outstanding"]
    leaving = [f"worker {each.name} on {each.hostname} is {each.state}" for each in managers if each.state != "active"]
    return ExecutorReport(
        label,
        kind,
        sum(manager.workers for manager in managers),
        queued=status.waiting if is_new else None,
        assigned=assigned if is_new else None,
        running=max(0, status.running - assigned) if is_new else None,
        managers=managers,
        blocks=blocks,
        max_blocks=max_blocks,
        notes=[*old, *notes, *status.notes, *leaving],
    )


def _worker(worker: WorkerStatus) -> ManagerReport:
    cores = max(1, int(worker.total.cores or 1))
    # Calls take slots, and not cores; and what a library keeps is not busy while it has none.
    busy = max(0, worker.tasks - worker.assigned)
    return ManagerReport(
        worker.worker,
        worker.hostname,
        worker.block,
        cores,
        min(busy, cores),
        worker.tasks,
        worker.state,
        worker.last_heard_s,
    )


def task_standing(
    answer: VineStanding | None,
    begun: Begun | None,
    where: tuple[str, str],
    others: Sequence[Hindrance],
    silent: str = "",
) -> Standing:
    """Where a task is.

    Args:
        answer: what the manager says; None: nothing in time.
        begun: what was said when it had been running for a while.
        where: host and block of the worker that has it; empty when they are not known.
        others: why it does not run at workers that are not there.
        silent: why there is no answer.
    """
    if answer is None:
        if begun is not None:
            text = f"worker {begun.manager_id} on {begun.hostname} runs it, as was said before; {silent}"
            return Standing("running", text, begun=begun)
        return Standing("unknown", silent, hindrances=[Hindrance("manager", silent), *others])
    if answer.stage == "running":
        if begun is None or begun.manager_id != answer.worker:
            begun = Begun(*where, answer.worker, 0, time.time() - answer.running_s)
        return Standing("running", answer.text, begun=begun)
    stage = cast(Stage, answer.stage) if answer.stage in _STAGES else "unknown"
    hindrances = [Hindrance(each.place, each.reason, each.until) for each in answer.obstacles]
    if stage != "queued":
        return Standing(stage, answer.text, hindrances=hindrances)
    position = answer.position if answer.position >= 0 else None
    queue = answer.queue if position is not None else None
    return Standing(stage, answer.text, position, queue, hindrances=[*hindrances, *others])


def factory_hindrances(trouble: str, connected: int, max_workers: int, last_end: str) -> list[Hindrance]:
    """Why a factory's workers are no more.

    Args:
        trouble: why it starts none at all; empty: nothing is known.
        last_end: how the worker ended that was the last to end; empty: nothing is known.
    """
    if trouble:
        return [Hindrance("factory", trouble, "")]
    if connected >= max_workers:
        reason = f"there are as many workers as it may start: max_workers={max_workers}"
        return [Hindrance("factory", reason, "when max_workers of the factory_config is raised")]
    there = f"{connected} of at most {max_workers} workers are connected"
    reason = f"{there}; the last one that ended: {last_end}" if last_end else f"{there}; others are being started"
    return [Hindrance("factory", reason, "within seconds; its factory.log tells of workers that ended")]


def hand_hindrances(command: str, connected: int) -> list[Hindrance]:
    """Workers are started by hand."""
    if connected:
        return []
    return [Hindrance("workers", "none is connected; they are started by hand", f"start them with: {command}")]
