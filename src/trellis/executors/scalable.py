"""Base of executors whose workers live in blocks of a provider, as Parsl's users subclass it.

Where their tasks are is the subclass's business. Our own executors are built on ``BlockExecutor``, which adds what
only Trellis asks for.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import os
import threading
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import replace
from itertools import compress
from typing import Any

from trellis.blocks.controller import BlockController
from trellis.blocks.error_handlers import BlockErrorHandler, resolve_error_handler
from trellis.blocks.overrides import Overrides, overrides_of
from trellis.blocks.reports import KnownBlocks, block_hindrances, block_reports, blocks_seen
from trellis.core.count import number_of
from trellis.core.interfaces import BlockLoad, ExecutorContext, PoolLoad, Provider
from trellis.core.jobs import JobState, JobStatus
from trellis.core.kinds import Either, Flag, Function, OrNone
from trellis.core.measurements import Measurements
from trellis.core.parameters import PROVIDER
from trellis.core.reports import BlockReport, Hindrance
from trellis.core.validation import check
from trellis.core.values import Duration, Number
from trellis.errors import BadStateException, ScalingFailed
from trellis.executors.base import ParslExecutor
from trellis.utils import AtomicIDCounter

logger = logging.getLogger(__name__)

_BLOCKS = Number(least=0, whole=True)


class BlockProviderExecutor(ParslExecutor):
    """Scales by blocks: a subclass gives ``start``, ``submit``, ``shutdown`` and the three below.

    A kernel starts the first blocks after ``start()``, and ends the blocks before ``shutdown()``.

    Args:
        provider: Where blocks come from; None: none are started here, managers come from elsewhere.
        block_error_handler: Called as ``handler(executor, statuses by block id)`` after each look at the blocks.
            True: the executor is given up when all its first blocks have failed. False: never.
    """

    # Whether it knows of its blocks' managers: then a block that ends without one has failed (MISSING).
    tells_managers = False

    def __init__(self, *, provider: Provider | None, block_error_handler: bool | BlockErrorHandler = True) -> None:
        super().__init__()
        owner = type(self).__name__
        block_error_handler = check(owner, "block_error_handler", block_error_handler, Either(Flag(), Function()))
        self._provider: Provider | None = check(owner, "provider", provider, OrNone(PROVIDER))
        self.block_error_handler = resolve_error_handler(block_error_handler)
        self._controller: BlockController | None = None
        self._measurements: Measurements | None = None  # who records the run
        self._bad_state_lock = threading.Lock()
        self._executor_bad_state = threading.Event()
        self._executor_exception: Exception | None = None
        self._tasks: dict[Any, Future[Any]] = {}
        self._blocks_to_job_id: dict[str, Any] = {}
        self._job_ids_to_block: dict[Any, str] = {}
        self._simulated_status: dict[str, JobStatus] = {}
        self._block_id_counter = AtomicIDCounter()

    # -- given by subclasses -----------------------------------------------------------------------------------

    def launch_command(self, block_id: str) -> str:
        """The command that starts this block's workers, for the provider to run on each node."""
        return self._get_launch_command(block_id)

    @abstractmethod
    def _get_launch_command(self, block_id: str) -> str:
        """Give the same: the name under which a subclass says it that was written for Parsl."""

    @property
    @abstractmethod
    def outstanding(self) -> int:
        """Tasks without a result."""

    @property
    @abstractmethod
    def workers_per_node(self) -> float:
        """Tasks that one node runs at a time, as far as that is known."""

    @property
    def tasks(self) -> dict[Any, Future[Any]]:
        """The futures of tasks without a result, by number: ``submit`` of a subclass keeps it."""
        return self._tasks

    # -- for the block controller ------------------------------------------------------------------------------

    def launch_block(self, block_id: str) -> Any:
        """Have the provider start this block; give the id of its job."""
        return self._launch_block(block_id)

    def _launch_block(self, block_id: str) -> Any:
        """Do the same, by the name under which a subclass changes it that was written for Parsl."""
        assert self._provider is not None
        command = self.launch_command(block_id)
        return self._provider.submit(command, 1, f"parsl.{self.label}.block-{block_id}")

    def load(self) -> PoolLoad:
        """What there is to do, and with what. Called often, from several threads."""
        outstanding = number_of(self.outstanding)
        idle_s = 0.0 if outstanding else float("inf")
        blocks = {
            block_id: BlockLoad(1, min(outstanding, 1), idle_s)
            for block_id, status in self._known_statuses().items()
            if status.state is JobState.RUNNING
        }
        return PoolLoad(outstanding, number_of(self.workers_per_node), blocks)

    def release(self, block_ids: Sequence[str]) -> None:
        """Give these blocks no more tasks: they are about to be cancelled."""

    def drain(self, block_ids: Sequence[str]) -> None:
        """Give these blocks no more tasks, and let them finish those that run. Called again while it is wanted."""

    def fail_outstanding(self, exception: BadStateException) -> None:
        """Fail all tasks without a result with this exception. Called once, from any thread."""
        for future in list(self.tasks.values()):
            with contextlib.suppress(InvalidStateError):  # it has ended meanwhile
                future.set_exception(exception)

    # -- starting and stopping ---------------------------------------------------------------------------------

    def give_script_dir(self, context: ExecutorContext) -> None:
        """Give a provider with an attribute ``script_dir`` ``<run_dir>/submit_scripts``, made when it is missing."""
        if hasattr(self._provider, "script_dir"):
            script_dir = os.path.join(os.path.abspath(context.run_dir), "submit_scripts")
            os.makedirs(script_dir, exist_ok=True)
            self._provider.script_dir = script_dir  # type: ignore[union-attr]

    def start_blocks(self, context: ExecutorContext) -> None:
        """Start looking after blocks; the first ones are submitted in the background at once."""
        self._measurements = context.measurements
        if self._provider is None:
            return
        if self._controller is None:
            self._controller = self._make_controller(context)
        self._controller.start()

    def _make_controller(self, context: ExecutorContext) -> BlockController:
        assert self._provider is not None
        return BlockController(
            self,
            self._provider,
            context=context,
            overrides=self._overrides,
            tells_managers=self.tells_managers,
        )

    def _overrides(self) -> Overrides:
        return overrides_of(self)

    def scale_by(self, strategy: str, period_s: float, max_idletime_s: float) -> None:
        """Scale the blocks by this strategy from now on, and begin to look after them if nobody does.

        Raises:
            ScalingFailed: there is no provider, or the executor is not started.
        """
        controller = self._need_controller()
        controller.follow(strategy, period_s, max_idletime_s)
        if not controller.is_started:
            controller.start()

    def stop_judging_blocks(self) -> None:
        """Take no end of a block for a failure any more: a subclass is about to end what runs in them."""
        if self._controller is not None:
            self._controller.judges = False

    def scale_in_at_end(self) -> None:
        """Let a subclass end its blocks in its own way, if it has one, before it is shut down."""
        if self._controller is not None and self._overrides().scale_in is not None and not self.bad_state_is_set:
            self.stop_judging_blocks()
            self.scale_in_facade(len(self.status_facade))

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
        """Ids of all jobs there have been, by block id. A subclass that starts blocks by itself adds them."""
        if self._controller is not None:
            self._blocks_to_job_id.update(self._controller.blocks_to_job_id)
        return self._blocks_to_job_id

    @blocks_to_job_id.setter
    def blocks_to_job_id(self, jobs: dict[str, Any]) -> None:
        self._blocks_to_job_id = jobs

    @property
    def job_ids_to_block(self) -> dict[Any, str]:
        if self._controller is not None:
            jobs = self._controller.blocks_to_job_id
            self._job_ids_to_block.update({job_id: block_id for block_id, job_id in jobs.items()})
        return self._job_ids_to_block

    @job_ids_to_block.setter
    def job_ids_to_block(self, blocks: dict[Any, str]) -> None:
        self._job_ids_to_block = blocks

    def _get_block_and_job_ids(self) -> tuple[list[str], list[Any]]:
        jobs = dict(self.blocks_to_job_id)
        return list(jobs), list(jobs.values())

    def _make_status_dict(self, block_ids: Sequence[str], status_list: Sequence[JobStatus]) -> dict[str, JobStatus]:
        if len(block_ids) != len(status_list):
            raise IndexError(f"{len(block_ids)} blocks, but {len(status_list)} statuses")
        return dict(zip(block_ids, status_list, strict=True))

    def _filter_scale_in_ids(self, to_kill: Sequence[Any], killed: Sequence[bool]) -> list[Any]:
        """The jobs that were cancelled; tell of the others in the log."""
        left = [job_id for job_id, done in zip(to_kill, killed, strict=True) if not done]
        if left:
            logger.warning("%s: jobs not cancelled: %s", self.label, ", ".join(map(str, left)))
        return list(compress(to_kill, killed))

    def status(self) -> dict[str, JobStatus]:
        """Status of all blocks there have been, by block id, as it was at the last look at them.

        Nobody looks by himself while no kernel runs this executor: then it is done now.
        """
        if self._controller is not None and not self._controller.is_started:
            self._controller.look()
        return self._known_statuses()

    def _known_statuses(self) -> dict[str, JobStatus]:
        statuses = {} if self._controller is None else self._controller.status()
        return {**statuses, **self._simulated_status}

    @property
    def status_facade(self) -> dict[str, JobStatus]:
        """Status of all blocks, as ``status`` has told it at the last look."""
        if self._controller is None:
            return dict(self._simulated_status)
        return {**self._controller.said_status(), **self._simulated_status}

    @property
    def _status(self) -> dict[str, JobStatus]:
        return self.status_facade

    def poll_facade(self) -> None:
        """Look at the blocks now, in the background."""
        if self._controller is not None:
            self._controller.poll()

    def scale_out_facade(self, n: int) -> list[str]:
        """Start ``n`` more blocks, also when these are more than ``max_blocks``; give the ids of those submitted.

        Raises:
            ScalingFailed: there is no provider, or the executor is not started.
            ConfigurationError: ``n`` is no number of blocks.
        """
        return self._need_controller().scale_out(check(self.label, "n", n, _BLOCKS), by_hand=True)

    def scale_in(self, blocks: int, max_idletime: float | None = None, force: bool = True) -> list[str]:
        """End some blocks, idle ones first; give the ids of those chosen.

        Args:
            blocks: How many at most.
            max_idletime: Only such as have been idle for so many seconds.
            force: Without ``max_idletime``, end busy blocks too, and what they run; False spares them.

        Raises:
            ScalingFailed: there is no provider, or the executor is not started.
        """
        blocks = check(self.label, "blocks", blocks, _BLOCKS)
        max_idletime = check(self.label, "max_idletime", max_idletime, OrNone(Duration(least=0)))
        return self._need_controller().scale_in(blocks, force, max_idletime)

    def scale_in_facade(self, n: int, max_idletime: float | None = None) -> list[str]:
        """Call ``scale_in``, and take the blocks that it names for ended."""
        # A subclass may not know of max_idletime, as in Parsl.
        chosen = self.scale_in(n) if max_idletime is None else self.scale_in(n, max_idletime=max_idletime)
        if chosen and self._controller is not None:
            self._controller.note_end(chosen)
        return chosen

    def _need_controller(self) -> BlockController:
        if self._provider is None:
            raise ScalingFailed(self, "it has no provider")
        if self._controller is None:
            self._begin_to_scale()
        assert self._controller is not None
        return self._controller

    def _begin_to_scale(self) -> None:
        """Be able to start blocks, though nobody looks after them yet: in ``start``, or without a kernel."""
        context = self.context or ExecutorContext(run_dir=self.run_dir, run_id=self.run_id or "")
        if getattr(self._provider, "script_dir", "") is None:
            self.give_script_dir(context)
        self._controller = self._make_controller(context)

    # -- monitoring --------------------------------------------------------------------------------------------

    @property
    def is_recorded(self) -> bool:
        """Whether somebody records the run."""
        return self._measurements is not None

    def create_monitoring_info(self, status: Mapping[str, JobStatus]) -> list[dict[str, Any]]:
        """What Parsl's monitoring is told of these blocks."""
        return [
            {
                "run_id": self.run_id,
                "status": job.status_name,
                "timestamp": dt.datetime.now(),
                "executor_label": self.label,
                "job_id": self.blocks_to_job_id.get(block_id),
                "block_id": block_id,
            }
            for block_id, job in status.items()
        ]

    def send_monitoring_info(self, status: Mapping[str, JobStatus]) -> None:
        """Called with the blocks whose states have changed: passes on what ``create_monitoring_info`` says of them."""
        measurements = self._measurements
        if measurements is not None:
            measurements.take(blocks_seen(self.create_monitoring_info(status), status, self.label))

    # -- for people who ask ------------------------------------------------------------------------------------

    def block_reports(self, managers: Mapping[str, int] | None = None) -> list[BlockReport]:
        """Every block there has been, oldest first; ``managers``: how many are connected of each block."""
        known = self._known_blocks()
        return [] if known is None else block_reports(known, managers or {})

    def block_hindrances(self, managers: Mapping[str, int] | None = None) -> list[Hindrance]:
        """Why a task that waits does not run in blocks without managers, and why there are no other blocks."""
        known = self._known_blocks()
        if known is None:
            known = KnownBlocks({}, {}, {}, 0, "none")
        return block_hindrances(known, managers or {}, self._provider is not None)

    def _known_blocks(self) -> KnownBlocks | None:
        """None without a provider, and before the start."""
        controller = self._controller
        return None if controller is None else replace(controller.known(), statuses=self._known_statuses())

    # -- failure -----------------------------------------------------------------------------------------------

    def handle_errors(self, status: Mapping[str, JobStatus]) -> None:
        """Let the block error handler judge these blocks."""
        self.block_error_handler(self, dict(status))

    def set_bad_state_and_fail_all(self, exception: Exception) -> None:
        """The executor cannot work any more: outstanding tasks fail, new ones are refused. The first reason stays."""
        with self._bad_state_lock:
            if self._executor_bad_state.is_set():
                return
            self._executor_exception = exception
            self._executor_bad_state.set()
        logger.error("%s cannot work any more: %s", self.label, exception)
        self.fail_outstanding(BadStateException(self, exception))
        self._look_soon()  # so that blocks, which nobody needs now, end soon

    def fail_all(self, exception: Exception) -> None:
        """Do as ``set_bad_state_and_fail_all``."""
        self.set_bad_state_and_fail_all(exception)

    def _look_soon(self) -> None:
        if self._controller is not None:
            self._controller.wake()

    @property
    def bad_state_is_set(self) -> bool:
        return self._executor_bad_state.is_set()

    @property
    def executor_exception(self) -> Exception | None:
        """Why the executor cannot work any more; None when it can."""
        return self._executor_exception
