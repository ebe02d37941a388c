"""An executor for tests of the block controller: it remembers what it was asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trellis.blocks.error_handlers import BlockErrorHandler, noop_error_handler
from trellis.core.interfaces import BlockLoad, ExecutorContext, PoolLoad
from trellis.core.jobs import JobStatus


class FakeExecutor:
    label = "fake_executor"

    def __init__(self, provider: Any = None) -> None:
        self.provider = provider
        self.outstanding = 0
        self.workers_per_node = 1.0
        self.blocks: dict[str, BlockLoad] = {}
        self.calls: list[tuple[str, Any]] = []
        self.executor_exception: Exception | None = None
        self.launch_error: Exception | None = None
        self.load_error: Exception | None = None
        self.handler: BlockErrorHandler = noop_error_handler

    def start(self, context: ExecutorContext | None = None) -> None:
        """Nothing to start."""

    def shutdown(self) -> None:
        """Nor to end."""

    def launch_command(self, block_id: str) -> str:
        if self.launch_error is not None:
            raise self.launch_error
        return f"start-managers {block_id}"

    def launch_block(self, block_id: str) -> Any:
        return self.provider.submit(self.launch_command(block_id), 1, f"parsl.{self.label}.block-{block_id}")

    def handle_errors(self, status: dict[str, JobStatus]) -> None:
        self.handler(self, status)

    def load(self) -> PoolLoad:
        if self.load_error is not None:
            raise self.load_error
        return PoolLoad(self.outstanding, self.workers_per_node, dict(self.blocks))

    def connect(self, *block_ids: str, tasks: int = 1, idle_s: float = 0.0) -> None:
        for block_id in block_ids:
            self.blocks[block_id] = BlockLoad(1, tasks, idle_s, 1)

    def release(self, block_ids: Sequence[str]) -> None:
        self.calls.append(("release", tuple(block_ids)))

    def drain(self, block_ids: Sequence[str]) -> None:
        """Managers take no more tasks from now on; the test says when they have none."""
        self.calls.append(("drain", tuple(block_ids)))
        for block_id in block_ids:
            if block_id in self.blocks:
                self.blocks[block_id] = self.blocks[block_id]._replace(active=0)

    def fail_all(self, exception: Exception) -> None:
        self.executor_exception = self.executor_exception or exception

    set_bad_state_and_fail_all = fail_all

    @property
    def bad_state_is_set(self) -> bool:
        return self.executor_exception is not None
