"""Base of our own executors whose workers live in blocks: they know their managers, and take attempts."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

from trellis.core.interfaces import ExecutorContext, PoolLoad
from trellis.core.jobs import JobState, JobStatus
from trellis.errors import BadStateException, ScalingFailed
from trellis.executors.base import TrellisExecutor
from trellis.executors.scalable import BlockProviderExecutor


class BlockExecutor(BlockProviderExecutor, TrellisExecutor):
    """A subclass calls ``start_blocks`` when it can take managers, and ``stop_blocks`` at its end."""

    tells_managers = True

    @abstractmethod
    def load(self) -> PoolLoad: ...

    @abstractmethod
    def release(self, block_ids: Sequence[str]) -> None: ...

    @abstractmethod
    def drain(self, block_ids: Sequence[str]) -> None: ...

    @abstractmethod
    def fail_outstanding(self, exception: BadStateException) -> None: ...

    def initialize_scaling(self) -> None:
        """Called at the start, before the first block: a subclass may change ``launch_cmd`` here, as in Parsl."""

    def start_blocks(self, context: ExecutorContext) -> None:
        """Start looking after blocks. An executor that had failed is as new."""
        self._executor_exception = None
        self._executor_bad_state.clear()
        self._controller = None
        self._blocks_to_job_id, self._job_ids_to_block = {}, {}
        self.give_script_dir(context)
        super().start_blocks(context)

    def _known_statuses(self) -> dict[str, JobStatus]:
        """A block with a manager runs, whatever the batch system said when it was asked last."""
        statuses = super()._known_statuses()
        for block_id in self._blocks_with_managers():
            if block_id in statuses and statuses[block_id].state is JobState.PENDING:
                statuses[block_id] = JobStatus(JobState.RUNNING)
        return statuses

    def _blocks_with_managers(self) -> set[str]:
        """Blocks of which a manager is connected now."""
        return set()

    def _begin_to_scale(self) -> None:
        raise ScalingFailed(self, "it is not started")

    def submit(self, func: Any, resource_specification: dict[str, Any], *args: Any, **kwargs: Any) -> Future[Any]:
        if self._executor_exception is not None:
            raise BadStateException(self, self._executor_exception)
        return super().submit(func, resource_specification, *args, **kwargs)
