"""The shell around pool and scaling: a thread asks the provider and does what they decide. No decisions here."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import Any, Protocol

from trellis.blocks.error_handlers import BlockErrorHandler, resolve_error_handler
from trellis.blocks.pool import (
    BlockPool,
    BlocksWanted,
    CancelJob,
    Event,
    JobCancelled,
    JobRejected,
    JobSubmitted,
    ManagersSeen,
    ScaleInWanted,
    StatusesObserved,
    SubmitJob,
)
from trellis.blocks.scaling import ScalingSnapshot, choose_blocks, plan_scaling
from trellis.core.clock import Clock, MonotonicClock
from trellis.core.interfaces import ExecutorContext, PoolLoad, Provider, ScalableExecutor
from trellis.core.jobs import JobStatus
from trellis.errors import ScalingFailed

logger = logging.getLogger(__name__)

# How long a job may run before a manager of it connects, until the user is told: several times what imports need.
SILENT_BLOCK_S = 10.0
# A provider that does not answer is asked half as often each time, but at least this often (or at its own interval).
LONGEST_BACKOFF_S = 300.0
# close() waits this long for the thread, which may be in the middle of a command of the batch system.
CLOSE_TIMEOUT_S = 30.0


class ControlledExecutor(ScalableExecutor, Protocol):
    """What the controller needs of an executor."""

    @property
    def bad_state_is_set(self) -> bool: ...


class BlockController:
    """Keeps an executor's blocks.

    The thread "trellis-blocks-<label>" starts the first blocks, looks after them at the provider's interval, plans at
    the strategy's, and cancels what is left when it ends. Other threads may scale as well: one at a time is inside
    the provider.

    Args:
        executor: Whose blocks they are.
        provider: Where they come from.
        block_error_handler: Called as ``handler(executor, statuses)`` after each look at the blocks; True stands for
            ``simple_error_handler``, False for ``noop_error_handler``.
        context: The strategy, its period and idle time; whom to tell of blocks that do not come up.
        clock: For tests.
    """

    def __init__(
        self,
        executor: ControlledExecutor,
        provider: Provider,
        *,
        block_error_handler: bool | BlockErrorHandler = True,
        context: ExecutorContext,
        clock: Clock | None = None,
    ) -> None:
        self._executor = executor
        self._provider = provider
        self._error_handler = resolve_error_handler(block_error_handler)
        self._context = context
        self._clock = clock or MonotonicClock()
        # init_blocks above max_blocks, as in LocalProvider(init_blocks=2), means that many from the start.
        self._pool = BlockPool(max(provider.max_blocks, provider.init_blocks))
        # Guards the provider and the pool. Held during calls of the provider, so readers use the copies below.
        self._lock = threading.RLock()
        self._statuses: dict[str, JobStatus] = {}
        self._jobs: dict[str, Any] = {}
        self._wakeup = threading.Event()
        self._poll_now = False
        self._closing = False
        self._thread: threading.Thread | None = None
        # Owned by the thread (in tests: by the caller of step()).
        self._next_poll = self._next_plan = self._last_poll = float("-inf")
        self._unanswered = 0  # status questions in a row that the provider did not answer
        self._idle_since: float | None = None
        self._told: set[str] = set()  # blocks whose silence the user was told of
        self._gave_up = False

    # -- for the executor, from any thread ---------------------------------------------------------------------

    def start(self) -> None:
        """Start the thread; it submits the first blocks at once."""
        self._thread = threading.Thread(target=self._run, name=f"trellis-blocks-{self._executor.label}", daemon=True)
        self._thread.start()

    def scale_out(self, blocks: int = 1) -> list[str]:
        """Start up to ``blocks`` more blocks, but no more than ``max_blocks``; give the ids of those submitted."""
        with self._lock:
            if self._closing:
                return []
            started = self._handle(BlocksWanted(blocks))
            if len(started) < blocks:
                logger.info("%s: max_blocks allow %d of %d new blocks", self._executor.label, len(started), blocks)
            return [block for block in started if block in self._jobs]

    def scale_in(self, blocks: int, force: bool = True, max_idletime: float | None = None) -> list[str]:
        """End up to ``blocks`` blocks, those that are missed least; give the ids of those chosen.

        ``force=False`` spares blocks that have work; ``max_idletime`` spares those idle for fewer seconds than that.
        """
        if not force and max_idletime is None:
            max_idletime = 0.0
        load = self._executor.load()
        with self._lock:
            staying = self._loads_of_staying(load)
            chosen = choose_blocks(staying, blocks, idle_for_s=max_idletime)
            self._end_blocks(chosen)
            return list(chosen)

    def status(self) -> dict[str, JobStatus]:
        """Status of every block there has been, by block id, as it was at the last look."""
        return dict(self._statuses)

    @property
    def blocks_to_job_id(self) -> dict[str, Any]:
        return dict(self._jobs)

    @property
    def job_ids_to_block(self) -> dict[Any, str]:
        return {job_id: block_id for block_id, job_id in self._jobs.items()}

    def wake(self) -> None:
        """Look at the jobs soon, not only when the interval is over. For example: a manager has disconnected."""
        self._poll_now = True
        self._wakeup.set()

    def close(self) -> None:
        """Stop the thread and cancel all live jobs. Takes 30 s at most: then it goes on without the caller."""
        self._closing = True
        self._wakeup.set()
        if self._thread is None:
            self._cancel_everything()
            return
        if self._thread is threading.current_thread():  # an error handler shuts the executor down
            return
        self._thread.join(CLOSE_TIMEOUT_S)
        if self._thread.is_alive():
            logger.error(
                "%s: the provider %s has not answered for %g s; these jobs may not have been cancelled: %s",
                self._executor.label,
                self._provider.label,
                CLOSE_TIMEOUT_S,
                ", ".join(str(self._jobs.get(block)) for block, job in self._statuses.items() if not job.terminal),
            )

    # -- the thread --------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._closing:
                deadline = self.step()
                self._wakeup.wait(max(0.0, deadline - self._clock.now()))
                self._wakeup.clear()
        except Exception as error:
            logger.exception("%s: the controller of its blocks failed", self._executor.label)
            self._executor.fail_all(error)
        finally:
            self._cancel_everything()

    def step(self) -> float:
        """Do what is due; give the time at which something will be due again. Called by the thread, and by tests."""
        if self._next_plan == float("-inf"):
            self.scale_out(self._provider.init_blocks)
            now = self._clock.now()
            self._next_poll = now + self._poll_interval()
            self._next_plan = now + self._context.strategy_period_s
            # Submission may have failed: the handler shall hear of it now, not an interval later.
            self._handle_errors()
        if self._poll_now:
            self._poll_now = False
            if not self._unanswered:
                # Many managers may disconnect one after the other: spare the batch system.
                soon = self._last_poll + self._provider.status_polling_interval / 10
                self._next_poll = min(self._next_poll, soon)
        now = self._clock.now()
        if now >= self._next_poll:
            self._poll()
            self._last_poll = self._clock.now()
            self._next_poll = self._last_poll + self._poll_interval()
        if now >= self._next_plan:
            self._plan()
            self._next_plan = self._clock.now() + self._context.strategy_period_s
            self._tell_of_silent_blocks()
        return min(self._next_poll, self._next_plan)

    def _poll_interval(self) -> float:
        interval = self._provider.status_polling_interval
        # The exponent is limited too: a float ends at about 2**1000.
        return min(interval * 2.0 ** min(self._unanswered, 30), max(interval, LONGEST_BACKOFF_S))

    def _poll(self) -> None:
        with self._lock:
            job_ids = [job_id for job_id in self._pool.live().values() if job_id is not None]
            observed = self._ask(job_ids)
        # After the question, so that a manager which has connected before its job ended is known by now.
        load = self._executor.load()
        with self._lock:
            self._handle(ManagersSeen(list(load.blocks)))
            self._handle(StatusesObserved(observed))
        self._handle_errors()

    def _ask(self, job_ids: list[Any]) -> dict[Any, JobStatus]:
        """Give what the provider says of these jobs; nothing when it does not answer."""
        if not job_ids:
            return {}
        try:
            statuses = self._provider.status(job_ids)
            if len(statuses) != len(job_ids):
                raise ValueError(f"it gave {len(statuses)} statuses for {len(job_ids)} jobs")
        except Exception as error:
            self._unanswered += 1
            if self._unanswered == 1:
                logger.warning("%s: cannot ask %s: %s", self._executor.label, self._provider.label, error)
            return {}
        if self._unanswered:
            logger.info("%s: %s answers again", self._executor.label, self._provider.label)
            self._unanswered = 0
        return dict(zip(job_ids, statuses, strict=True))

    def _handle_errors(self) -> None:
        if self._executor.bad_state_is_set:
            if not self._gave_up:
                # What still runs cannot do anything for anybody.
                self._gave_up = True
                with self._lock:
                    self._end_blocks(self._pool.staying())
            return
        self._error_handler(self._executor, self.status())

    def _tell_of_silent_blocks(self) -> None:
        with self._lock:
            silent = self._pool.silent(self._clock.now(), SILENT_BLOCK_S)
        for block_id in silent:
            words = (self._statuses[block_id].stderr_summary or "").strip()
            self._tell_once(
                block_id,
                f"block {block_id} (job {self._jobs[block_id]}) has been running for more than {SILENT_BLOCK_S:.0f} s, "
                f"but no manager has connected; its stderr is {f'this:{chr(10)}{words}' if words else 'empty'}",
            )

    def _tell_once(self, topic: str, text: str) -> None:
        if topic in self._told:
            return
        self._told.add(topic)
        logger.warning("%s: %s", self._executor.label, text)
        if self._context.notify is not None:
            self._context.notify(f"{self._executor.label}: {text}")

    def _plan(self) -> None:
        if self._executor.bad_state_is_set:
            return
        load = self._executor.load()
        now = self._clock.now()
        if load.outstanding:
            self._idle_since = None
        elif self._idle_since is None:
            self._idle_since = now
        with self._lock:
            self._handle(ManagersSeen(list(load.blocks)))
            plan = plan_scaling(self._snapshot(load, now))
            if plan.scale_out:
                logger.info("%s: scaling out by %d: %s", self._executor.label, plan.scale_out, plan.reason)
                self.scale_out(plan.scale_out)
            if plan.scale_in:
                logger.info("%s: scaling in %s: %s", self._executor.label, ", ".join(plan.scale_in), plan.reason)
                self._end_blocks(plan.scale_in)

        if self._context.strategy == "none" and load.outstanding and self._jobs and not self._pool.staying():
            self._tell_once(
                "none left",
                f"all blocks have ended, the strategy 'none' starts no others, and {load.outstanding} tasks wait",
            )

    def _snapshot(self, load: PoolLoad, now: float) -> ScalingSnapshot:
        provider, context = self._provider, self._context
        return ScalingSnapshot(
            strategy=context.strategy,
            min_blocks=provider.min_blocks,
            max_blocks=provider.max_blocks,
            nodes_per_block=provider.nodes_per_block,
            parallelism=provider.parallelism,
            max_idletime_s=context.max_idletime_s,
            workers_per_node=load.workers_per_node,
            outstanding=load.outstanding,
            idle_s=0.0 if self._idle_since is None else now - self._idle_since,
            blocks=self._loads_of_staying(load),
            may_start=now >= self._pool.retry_at(),
        )

    def _cancel_everything(self) -> None:
        with self._lock:
            self._end_blocks(list(self._pool.live()))

    # -- provider and pool; the caller has the lock ------------------------------------------------------------

    def _loads_of_staying(self, load: PoolLoad) -> dict[str, Any]:
        return {block_id: load.blocks.get(block_id) for block_id in self._pool.staying()}

    def _end_blocks(self, block_ids: Sequence[str]) -> None:
        if block_ids:
            # First no more tasks go there: one sent to a block on its end would be lost.
            try:
                self._executor.release(block_ids)
            except Exception:  # a broken executor is no reason to leave jobs running
                logger.exception("%s: could not release blocks %s", self._executor.label, ", ".join(block_ids))
            self._handle(ScaleInWanted(block_ids))

    def _handle(self, event: Event) -> list[str]:
        """Pass an event to the pool and do what it asks for; give the blocks this was about."""
        actions = self._pool.handle(event, self._clock.now())
        self._publish()
        cancels = [action for action in actions if isinstance(action, CancelJob)]
        if cancels:
            self._cancel(cancels)
        for action in actions:
            if isinstance(action, SubmitJob):
                self._submit(action.block_id)
        return [action.block_id for action in actions]

    def _submit(self, block_id: str) -> None:
        event: Event
        try:
            if self._closing:
                raise ScalingFailed(self._executor, "it is shutting down")
            command = self._executor.launch_command(block_id)
            job_id = self._provider.submit(command, 1, f"parsl.{self._executor.label}.block-{block_id}")
            event = JobSubmitted(block_id, job_id) if job_id is not None else JobRejected(block_id, "no job id")
        except Exception as error:
            logger.warning("%s: block %s was not started: %s", self._executor.label, block_id, error)
            event = JobRejected(block_id, f"{type(error).__name__}: {error}")
        self._handle(event)

    def _cancel(self, cancels: Sequence[CancelJob]) -> None:
        try:
            results = self._provider.cancel([cancel.job_id for cancel in cancels])
        except Exception as error:
            # The pool asks again at the next look at the jobs.
            logger.warning("%s: cannot cancel jobs: %s", self._executor.label, error)
            return
        for cancel, done in zip(cancels, results, strict=True):
            if done:
                self._handle(JobCancelled(cancel.block_id))

    def _publish(self) -> None:
        before, self._statuses = self._statuses, self._pool.statuses()
        self._jobs = self._pool.jobs()
        for block_id, status in self._statuses.items():
            old = before.get(block_id)
            if status is not old and (old is None or old.state is not status.state):
                logger.info("%s: block %s is %s", self._executor.label, block_id, status)
