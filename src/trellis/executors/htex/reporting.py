"""What an HTEX tells of itself and of one task when people ask: from what its processes answer in time. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from trellis.core.reports import Begun, BlockReport, ExecutorReport, Hindrance, ManagerReport, Stage, Standing
from trellis.wire.questions import Obstacle, StandingAtManager, StandingReply, StatusReply

_STAGES = ("unknown", "queued", "assigned", "running")


def executor_report(
    label: str,
    kind: str,
    status: StatusReply | None,
    is_new: bool,
    outstanding: int,
    blocks: Sequence[BlockReport],
    max_blocks: int | None,
    error: str,
) -> ExecutorReport:
    """How the executor is.

    Args:
        status: what the interchange said; None: it never said anything.
        is_new: whether it said so just now.
        outstanding: tasks without an outcome.
    """
    if status is None or error:
        notes = [] if error else [f"the interchange does not answer; {outstanding} tasks are outstanding"]
        return ExecutorReport(label, kind, 0, blocks=blocks, max_blocks=max_blocks, error=error, notes=notes)
    managers = [
        ManagerReport(
            manager.manager,
            manager.hostname,
            manager.block,
            manager.workers,
            manager.busy,
            manager.tasks,
            manager.state,
            manager.last_heard_s,
        )
        for manager in status.managers
    ]
    running = sum(manager.begun for manager in status.managers)
    return ExecutorReport(
        label,
        kind,
        sum(manager.workers for manager in status.managers),
        queued=status.pending if is_new else None,
        assigned=max(0, status.running - running) if is_new else None,
        running=running if is_new else None,
        managers=managers,
        blocks=blocks,
        max_blocks=max_blocks,
        notes=[*_notes(managers), *_silence(is_new, outstanding)],
    )


def _silence(is_new: bool, outstanding: int) -> list[str]:
    if is_new:
        return []
    return [f"the interchange does not answer: what is told of managers is older; {outstanding} tasks are outstanding"]


def _notes(managers: Sequence[ManagerReport]) -> list[str]:
    return [
        f"manager {manager.name} on {manager.hostname} (block {manager.block_id}) is {manager.state}"
        for manager in managers
        if manager.state != "active"
    ]


def managers_by_block(status: StatusReply | None) -> dict[str, int]:
    """How many managers of each block are connected."""
    counts: dict[str, int] = {}
    for manager in () if status is None else status.managers:
        counts[manager.block] = counts.get(manager.block, 0) + 1
    return counts


# -- one task ------------------------------------------------------------------------------------------------------


def task_standing(
    known: StandingReply | None,
    answer: StandingAtManager | None,
    begun: Begun | None,
    where: tuple[str, str],
    blocks: Sequence[Hindrance],
) -> Standing:
    """Where a task is.

    Args:
        known: what the interchange says; None: nothing in time.
        answer: what the manager says that has it; None: nothing in time, or none has it.
        begun: what was said when it had been running for a while.
        where: host and block of the manager that has it; empty when they are not known.
        blocks: why it does not run in blocks without managers.
    """
    if answer is not None and answer.stage == "running":
        begun = begun or Begun(*where, answer.manager, answer.worker, answer.started)
        return Standing("running", answer.text, begun=begun)
    if known is None:
        silent = "the interchange does not answer: it is stopped, very busy, or being started again"
        if begun is not None:
            return Standing("running", f"{_runs(begun)}, as was said before; {silent}", begun=begun)
        return Standing("unknown", silent, hindrances=[Hindrance("interchange", silent), *blocks])
    if known.manager and answer is None:
        text = f"{known.text}; the manager does not answer: it is stopped, cut off, or very busy"
        if begun is not None:
            return Standing("running", f"{_runs(begun)}, as was said before; {text}", begun=begun)
        return Standing("assigned", text, queue=known.queue, hindrances=_hindrances(known.obstacles))
    if answer is not None:
        return Standing(_stage(answer.stage), answer.text, hindrances=_hindrances(answer.obstacles))
    stage = _stage(known.stage)
    position = known.position if known.position >= 0 else None
    hindrances = _hindrances(known.obstacles)
    return Standing(
        stage,
        known.text,
        position,
        known.queue if stage == "queued" else None,
        hindrances=[*hindrances, *blocks] if stage == "queued" else hindrances,
    )


def _runs(begun: Begun) -> str:
    return f"worker {begun.worker} of manager {begun.manager_id} on {begun.hostname} runs it"


def _stage(name: str) -> Stage:
    return cast(Stage, name) if name in _STAGES else "unknown"


def _hindrances(obstacles: Sequence[Obstacle]) -> list[Hindrance]:
    return [Hindrance(obstacle.place, obstacle.reason, obstacle.until) for obstacle in obstacles]
