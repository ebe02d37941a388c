"""Base of executors whose workers live in blocks of a provider. Where their tasks are is the subclass's business."""

from __future__ import annotations

import logging
import os
import threading
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from trellis.blocks.controller import BlockController
from trellis.blocks.error_handlers import BlockErrorHandler, resolve_error_handler
from trellis.core.interfaces import ExecutorContext, PoolLoad, Provider
from trellis.core.jobs import JobState, JobStatus
from trellis.core.kinds import Either, Flag, Function, OrNone
from trellis.core.parameters import PROVIDER
from trellis.core.validation import check
from trellis.errors import BadStateException, ScalingFailed
from trellis.executors.base import TrellisExecutor

logger = logging.getLogger(__name__)


class BlockProviderExecutor(TrellisExecutor):
    """Scales by blocks: a subclass calls ``start_blocks`` when it can take managers, and ``stop_blocks`` at its end.

    Args:
        provider: Where blocks come from; None: none are started here, managers come from elsewhere.
        block_error_handler: Called as ``handler(executor, statuses by block id)`` after each look at the blocks.
            True: the executor is given up when all its first blocks have failed. False: never.
    """

    def __init__(self, *, provider: Provider | None, block_error_handler: bool | BlockErrorHandler = True) -> None:
        super().__init__()
        owner = type(self).__name__
        block_error_handler = check(owner, "block_error_handler", block_error_handler, Either(Flag(), Function()))
        self._provider: Provider | None = check(owner, "provider", provider, OrNone(PROVIDER))
        self.block_error_handler = resolve_error_handler(block_error_handler)
        self._controller: BlockController | None = None
        self._bad_state_lock = threading.Lock()
        self._executor_exception: Exception | None = None

    # -- given by subclasses -----------------------------------------------------------------------------------

    def launch_command(self, block_id: str) -> str:
        """The command that starts this block's managers, for the provider to run on each node."""
        return self._get_launch_command(block_id)

    def _get_launch_command(self, block_id: str) -> str:
        """Give the same, by the name under which a subclass changes it that was written for Parsl."""
        raise NotImplementedError(f"{type(self).__name__} does not say how managers of block {block_id} are started")

    @abstractmethod
    def load(self) -> PoolLoad:
        """What there is to do, and with what. Called often, from several threads."""

    @abstractmethod
    def release(self, block_ids: Sequence[str]) -> None:
        """Give these blocks no more tasks: they are about to be cancelled."""

    @abstractmethod
    def drain(self, block_ids: Sequence[str]) -> None:
        """Give these blocks no more tasks, and let them finish those that run. Called again while it is wanted."""

    @abstractmethod
    def fail_outstanding(self, exception: BadStateException) -> None:
        """Fail all tasks without a result with this exception. Called once, from any thread."""

    @property
    @abstractmethod
    def outstanding(self) -> int:
        """Tasks without a result."""

    @property
    @abstractmethod
    def workers_per_node(self) -> float:
        """Tasks that one node runs at a time, as far as that is known."""

    # -- starting and stopping ---------------------------------------------------------------------------------

    def start_blocks(self, context: ExecutorContext) -> None:
        """Start looking after blocks; the first ones are submitted in the background at once.

        An executor that had failed is as new. A provider with an attribute ``script_dir`` gets
        ``<run_dir>/submit_scripts``, which is made when it is missing.
        """
        self._executor_exception = None
        self._controller = None
        if self._provider is None:
            return
        if hasattr(self._provider, "script_dir"):
            script_dir = os.path.join(os.path.abspath(context.run_dir), "submit_scripts")
            os.makedirs(script_dir, exist_ok=True)
            self._provider.script_dir = script_dir
        self._controller = BlockController(
            self, self._provider, block_error_handler=self.block_error_handler, context=context
        )
        self._controller.start()

    def stop_judging_blocks(self) -> None:
        """Take no end of a block for a failure any more: a subclass is about to end what runs in them."""
        if self._controller is not None:
            self._controller.judges = False

    def stop_blocks(self) -> None:
        """Cancel all blocks and stop looking after them. A second call does nothing."""
        if self._controller is not None:
            self._controller.close()

    # -- Parsl's surface ---------------------------------------------------------------------------------------

    @property
    def provider(self) -> Provider | None:
        return self._provider

    @property
    def status_polling_interval(self) -> float:
        """Seconds between two looks at the blocks; 0 without a provider."""
        return 0 if self._provider is None else self._provider.status_polling_interval

    @property
    def blocks_to_job_id(self) -> dict[str, Any]:
        """Ids of all jobs there have been, by block id."""
        return {} if self._controller is None else self._controller.blocks_to_job_id

    @property
    def job_ids_to_block(self) -> dict[Any, str]:
        return {} if self._controller is None else self._controller.job_ids_to_block

    def status(self) -> dict[str, JobStatus]:
        """Status of all blocks there have been, by block id, as it was at the last look at them.

        A block with a manager runs, whatever the batch system said when it was asked last.
        """
        statuses = {} if self._controller is None else self._controller.status()
        for block_id in self._blocks_with_managers():
            if block_id in statuses and statuses[block_id].state is JobState.PENDING:
                statuses[block_id] = JobStatus(JobState.RUNNING)
        return statuses

    def _blocks_with_managers(self) -> set[str]:
        """Blocks of which a manager is connected now."""
        return set()

    @property
    def status_facade(self) -> dict[str, JobStatus]:
        return self.status()

    def poll_facade(self) -> None:
        """Look at the blocks now, in the background."""
        if self._controller is not None:
            self._controller.wake()

    def scale_out_facade(self, n: int) -> list[str]:
        """Start up to ``n`` more blocks; give the ids of those submitted.

        Raises:
            ScalingFailed: there is no provider, or the executor is not started.
        """
        return self._need_controller().scale_out(n)

    def scale_in(self, blocks: int, max_idletime: float | None = None, force: bool = True) -> list[str]:
        """End some blocks, idle ones first; give the ids of those chosen.

        Args:
            blocks: How many at most.
            max_idletime: Only such as have been idle for so many seconds.
            force: Without ``max_idletime``, end busy blocks too, and what they run; False spares them.

        Raises:
            ScalingFailed: there is no provider, or the executor is not started.
        """
        return self._need_controller().scale_in(blocks, force, max_idletime)

    def scale_in_facade(self, n: int, max_idletime: float | None = None) -> list[str]:
        return self.scale_in(n, max_idletime)

    def _need_controller(self) -> BlockController:
        if self._controller is None:
            raise ScalingFailed(self, "it has no provider" if self._provider is None else "it is not started")
        return self._controller

    # -- failure -----------------------------------------------------------------------------------------------

    def handle_errors(self, status: Mapping[str, JobStatus]) -> None:
        """Let the block error handler judge these blocks."""
        self.block_error_handler(self, dict(status))

    def set_bad_state_and_fail_all(self, exception: Exception) -> None:
        """The executor cannot work any more: outstanding tasks fail, new ones are refused. The first reason stays."""
        with self._bad_state_lock:
            if self._executor_exception is not None:
                return
            self._executor_exception = exception
        logger.error("%s cannot work any more: %s", self.label, exception)
        self.fail_outstanding(BadStateException(self, exception))
        self.poll_facade()  # so that blocks, which nobody needs now, end soon

    def fail_all(self, exception: Exception) -> None:
        """Do as ``set_bad_state_and_fail_all``."""
        self.set_bad_state_and_fail_all(exception)

    @property
    def bad_state_is_set(self) -> bool:
        return self._executor_exception is not None

    @property
    def executor_exception(self) -> Exception | None:
        """Why the executor cannot work any more; None when it can."""
        return self._executor_exception

    def submit(self, func: Any, resource_specification: dict[str, Any], *args: Any, **kwargs: Any) -> Future[Any]:
        if self._executor_exception is not None:
            raise BadStateException(self, self._executor_exception)
        return super().submit(func, resource_specification, *args, **kwargs)
