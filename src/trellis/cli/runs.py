"""What ran where and when, read off a kernel's task records; and sums over it. Nothing is drawn or printed here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trellis.core.interfaces import INTERNAL_EXECUTOR
from trellis.dataflow.states import FINAL_FAILURE_STATES

if TYPE_CHECKING:
    from trellis.dataflow.taskrecord import TaskRecord


# (host, block, manager or thread, rank): one worker
WorkerId = tuple[str, str, str, int]


@dataclass(frozen=True, slots=True)
class TaskRun:
    """A task on a worker; times are seconds, ``started_at`` since the epoch."""

    task_id: int
    app: str
    worker: WorkerId
    started_at: float
    duration_s: float
    failed: bool = False
    detail: str = ""  # which of the app's tasks this is, for readers

    @property
    def ended_at(self) -> float:
        return self.started_at + self.duration_s


def collect_runs(records: Iterable[TaskRecord]) -> list[TaskRun]:
    """What is known of the tasks in ``records`` (values of ``DataFlowKernel.tasks``) that have run, by start time.

    Bodies of join apps are left out: they run in the user's own process.
    """
    runs = []
    for record in records:
        info = record.run_info
        if info is not None and record.executor != INTERNAL_EXECUTOR:
            worker = (info.hostname, info.block_id, info.manager_id, info.worker)
            failed = record.status in FINAL_FAILURE_STATES
            times = (info.started_at, info.duration_s)
            runs.append(TaskRun(record.id, record.func_name, worker, *times, failed, _detail(record)))
    return sorted(runs, key=lambda run: run.started_at)


def parallel_efficiency(runs: Iterable[TaskRun], workers: int, wall_s: float) -> float:
    """Share of the workers' time that was spent in tasks, 0 to 1."""
    return sum(run.duration_s for run in runs) / (workers * wall_s) if workers and wall_s > 0 else 0.0


def name_workers(workers: Iterable[WorkerId]) -> dict[WorkerId, str]:
    """Short names of workers, in natural order: only what tells them apart."""
    ordered = sorted(workers, key=_natural_key)
    varying = [i for i in range(3) if len({worker[i] for worker in ordered}) > 1]
    if not varying or len({tuple(worker[i] for i in varying) for worker in ordered}) < len(ordered):
        varying.append(3)
    return {worker: " ".join(_part(worker, i) for i in varying) for worker in ordered}


def group_by_worker(runs: Sequence[TaskRun]) -> dict[WorkerId, list[TaskRun]]:
    """Runs of each worker, in the order of ``runs``; workers in natural order."""
    groups: dict[WorkerId, list[TaskRun]] = {worker: [] for worker in name_workers({run.worker for run in runs})}
    for run in runs:
        groups[run.worker].append(run)
    return groups


def _detail(record: TaskRecord) -> str:
    """The first argument when it is a text; of a path, the end."""
    first = record.args[0] if record.args else None
    return "/".join(first.split("/")[-2:])[-60:] if isinstance(first, str) else ""


def _part(worker: WorkerId, index: int) -> str:
    if index == 3:
        return f"worker {worker[3]}"
    text = str(worker[index])
    if index == 1:
        text = f"block {text}"
    return text if len(text) <= 20 else f"{text[:19]}…"


def _natural_key(worker: WorkerId) -> list[tuple[int, int, str]]:
    """Sorts thread 10 after thread 9."""
    pieces = re.split(r"(\d+)", "\0".join(map(str, worker)))
    return [(0, int(piece), "") if piece.isdigit() else (1, 0, piece) for piece in pieces]
