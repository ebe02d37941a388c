"""What the processes of a node share: the manager, its workers, and its witness."""

from __future__ import annotations

from typing import NamedTuple

from trellis.executors.common.lookahead import MOST_AHEAD_PER_WORKER, MOST_READY
from trellis.executors.htex.manager.unstarted import Unstarted
from trellis.executors.htex.worker.board import Board, TaskQueue


class Shared(NamedTuple):
    """Made by the manager before it has threads."""

    queue: TaskQueue
    board: Board
    unstarted: Unstarted

    def close(self) -> None:
        for part in self:
            part.close()


def share(workers: int, prefetch: int) -> Shared:
    """Make them for a node with so many workers, and room for so many tasks that wait."""
    most_tasks = prefetch + (1 + MOST_AHEAD_PER_WORKER) * workers
    return Shared(TaskQueue(), Board(workers), Unstarted(2 * most_tasks + MOST_READY))
