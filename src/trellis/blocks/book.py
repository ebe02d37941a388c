"""What others read of an executor's blocks, from any thread: as it was at the last look, and what has changed since."""

from __future__ import annotations

import logging
import time
from copy import copy
from typing import Any

from trellis.blocks.pool import BlockPool
from trellis.blocks.reports import KnownBlocks
from trellis.core.clock import Clock, MonotonicClock
from trellis.core.interfaces import Provider
from trellis.core.jobs import JobStatus

logger = logging.getLogger(__name__)


class BlockBook:
    """Written by the block controller under its lock, one dictionary in place of another; read without.

    Args:
        label: The executor's.
        clock: The pool's.
    """

    def __init__(self, label: str, clock: Clock | None = None) -> None:
        self._label = label
        self._clock = clock or MonotonicClock()
        self._retry_at = 0.0
        self._changes: list[tuple[str, JobStatus]] = []
        self.statuses: dict[str, JobStatus] = {}  # of every block there has been
        self.jobs: dict[str, Any] = {}
        self.made_at: dict[str, float] = {}  # when each was asked for, seconds since the epoch

    def publish(self, pool: BlockPool) -> None:
        """Let others see what the pool has now."""
        before, self.statuses = self.statuses, pool.statuses()
        self.jobs = pool.jobs()
        self._retry_at = pool.retry_at
        for block_id, status in self.statuses.items():
            old = before.get(block_id)
            if old is None:
                self.made_at = {**self.made_at, block_id: time.time()}
            if status is not old and (old is None or old.state is not status.state):
                self._changes.append((block_id, status))
                logger.info("%s: block %s is %s", self._label, block_id, status)

    def own_statuses(self) -> dict[str, JobStatus]:
        """Copies, for a caller who may change them."""
        return {block_id: copy(status) for block_id, status in self.statuses.items()}

    def known(self, provider: Provider, strategy: str) -> KnownBlocks:
        """All of it as it is now."""
        retry_in_s = max(0.0, self._retry_at - self._clock.now())
        return KnownBlocks(
            self.own_statuses(),
            self.jobs,
            self.made_at,
            provider.max_blocks,
            strategy,
            retry_in_s,
            provider.parallelism,
        )

    def take_changes(self) -> list[dict[str, JobStatus]]:
        """New states of blocks since the last call, in order; a block that has changed twice is in two of them."""
        changes, self._changes = self._changes, []
        batches: list[dict[str, JobStatus]] = []
        for block_id, status in changes:
            if not batches or block_id in batches[-1]:
                batches.append({})
            batches[-1][block_id] = status
        return batches
