"""The shell around pool and scaling: a thread asks the provider and does what they decide. No decisions here."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Sequence
from typing import Any, Protocol, assert_never

from trellis.blocks import pool_events as events
from trellis.blocks.error_handlers import BlockErrorHandler, resolve_error_handler
from trellis.blocks.polling import PollSchedule
from trellis.blocks.pool import STEADY_S, BlockPool
from trellis.blocks.scaling import ScalingSnapshot, choose_blocks, is_drained, plan_scaling
from trellis.blocks.user_messages import UserMessages
from trellis.core.clock import Clock, MonotonicClock
from trellis.core.interfaces import ExecutorContext, PoolLoad, Provider, ScalableExecutor
from trellis.core.jobs import JobStatus
from trellis.errors import ScalingFailed

logger = logging.getLogger(__name__)

# close() waits this long for the thread, which may be in the middle of a command of the batch system.
CLOSE_TIMEOUT_S = 30.0
# At the end nobody looks at the jobs again: what could not be cancelled is tried after these pauses.
LAST_PAUSES_S = (1.0, 3.0)


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
        self._polls = PollSchedule(provider.status_polling_interval, self._clock.now())
        # init_blocks above max_blocks, as in LocalProvider(init_blocks=2), means that many from the start.
        limit = max(provider.max_blocks, provider.init_blocks)
        # A provider whose blocks are short by nature may say after how long one of them has worked.
        self._pool = BlockPool(limit, getattr(provider, "steady_s", STEADY_S))
        # Guards the provider and the pool. Held during calls of the provider, so readers use the copies below.
        self._lock = threading.RLock()
        self._statuses: dict[str, JobStatus] = {}
        self._jobs: dict[str, Any] = {}
        self._wakeup = threading.Event()
        self._poll_soon = False
        self._closing = False
        self.judges = True  # False: managers are being dismissed, blocks that end have not failed
        self._thread: threading.Thread | None = None
        # Owned by the thread (in tests: by the caller of step()).
        self._next_plan: float | None = None  # None: not a step was made
        self._idle_since: float | None = None
        self._messages = UserMessages(executor.label, context.notify)
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
            started = self._handle(events.BlocksWanted(blocks))
            if len(started) < blocks:
                logger.info("%s: max_blocks allow %d of %d new blocks", self._executor.label, len(started), blocks)
            return [block for block in started if block in self._jobs]

    def scale_in(self, blocks: int, force: bool = True, max_idletime: float | None = None) -> list[str]:
        """End up to ``blocks`` blocks, those that are missed least; give the ids of those chosen.

        ``force=False`` spares blocks that have work; ``max_idletime`` spares those idle for fewer seconds than that.
        A task that reaches a chosen block at the last moment is let to its end then.
        """
        load = self._executor.load()
        with self._lock:
            staying = self._loads_of_staying(load)
            if force and max_idletime is None:
                chosen = choose_blocks(staying, blocks)
                self._end_blocks(chosen)
            else:
                chosen = choose_blocks(staying, blocks, idle_for_s=max_idletime or 0.0)
                self._drain_blocks(chosen)
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
        self._poll_soon = True
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
        if self._next_plan is None:
            self.scale_out(self._provider.init_blocks)
            self._next_plan = self._clock.now() + self._context.strategy_period_s
            # Submission may have failed: the handler shall hear of it now, not an interval later.
            self._handle_errors()
        if self._clock.now() >= self._next_poll():
            self._poll_soon = False
            self._poll()
        if self._clock.now() >= self._next_plan:
            self._plan()
            self._next_plan = self._clock.now() + self._context.strategy_period_s
        return min(self._next_poll(), self._next_plan)

    def _next_poll(self) -> float:
        with self._lock:
            young_since = self._pool.young_since(self._clock.now())
        return self._polls.next(young_since, soon=self._poll_soon)

    def _poll(self) -> None:
        with self._lock:
            job_ids = [job_id for job_id in self._pool.live().values() if job_id is not None]
            observed = self._ask(job_ids)
            if not job_ids:  # else it was part of the question
                self._poll_soon |= not self._cancel_unheard()
        # After the question, so that a manager which has connected before its job ended is known by now.
        load = self._executor.load()
        with self._lock:
            self._see_managers(load)
            self._handle(events.StatusesObserved(observed))
        self._look_after_live_blocks()
        self._handle_errors()

    def _ask(self, job_ids: list[Any]) -> dict[Any, JobStatus]:
        """Give what the provider says of these jobs; nothing when it does not answer."""
        unanswered = self._polls.unanswered
        try:
            statuses = self._provider.status(job_ids) if job_ids else []
            if len(statuses) != len(job_ids):
                raise ValueError(f"it gave {len(statuses)} statuses for {len(job_ids)} jobs")
        except Exception as error:
            self._polls.asked(self._clock.now(), answered=False)
            if not unanswered:
                logger.warning("%s: cannot ask %s: %s", self._executor.label, self._provider.label, error)
            return {}
        self._polls.asked(self._clock.now(), answered=True)
        if unanswered:
            logger.info("%s: %s answers again", self._executor.label, self._provider.label)
        return dict(zip(job_ids, statuses, strict=True))

    def _handle_errors(self) -> None:
        if not self.judges:
            return
        if not self._executor.bad_state_is_set:
            try:
                self._error_handler(self._executor, self.status())
            except Exception as error:  # the user's: blocks are looked after without it
                logger.debug("the block error handler failed", exc_info=True)
                self._messages.tell(f"the block error handler failed: {type(error).__name__}: {error}", "error handler")
        if not self._executor.bad_state_is_set:
            self._messages.tell_of_failures(self._statuses)
        elif not self._gave_up:
            # What still runs cannot do anything for anybody.
            self._gave_up = True
            with self._lock:
                self._end_blocks(list(self._pool.live()))

    def _see_managers(self, load: PoolLoad) -> None:
        deserted = [block_id for block_id, block in load.blocks.items() if block.managers == 0]
        self._handle(events.ManagersSeen(list(load.blocks), deserted))
        strays = [
            block_id for block_id, block in load.blocks.items() if block.managers and self._was_rejected(block_id)
        ]
        if strays:  # their jobs are cancelled as soon as the batch system lets us: they shall have nothing to lose then
            self._drain(strays)

    def _was_rejected(self, block_id: str) -> bool:
        """Whether this block has failed without a job that we know of."""
        status = self._statuses.get(block_id)
        return status is not None and status.terminal and self._jobs.get(block_id) is None

    def _look_after_live_blocks(self) -> None:
        with self._lock:
            troubles = self._pool.troubles(self._clock.now(), self._context.lost_block_timeout_s)
            jobs = {block: (self._jobs[block], self._statuses[block]) for block in itertools.chain(*troubles)}
            self._end_drained()
            reason = "its managers had all gone while its job ran"
            self._end_blocks(troubles.deserted, events.ReplaceWanted(troubles.deserted, reason))
        self._messages.tell_of_troubles(troubles, jobs)

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
            self._see_managers(load)
        self._look_after_live_blocks()
        refused = False
        with self._lock:
            plan = plan_scaling(self._snapshot(load, now))
            if plan.scale_out:
                logger.info("%s: scaling out by %d: %s", self._executor.label, plan.scale_out, plan.reason)
                refused = not self._start_while_accepted(plan.scale_out)
            if plan.scale_in:
                logger.info("%s: scaling in %s: %s", self._executor.label, ", ".join(plan.scale_in), plan.reason)
                self._drain_blocks(plan.scale_in)
            none_left = self._context.strategy == "none" and self._jobs and not self._pool.staying()
        if refused:
            self._handle_errors()
        if none_left and load.outstanding:
            self._messages.tell(
                f"all blocks have ended, the strategy 'none' starts no others, and {load.outstanding} tasks wait",
                "none left",
            )

    def _start_while_accepted(self, number: int) -> bool:
        """Start blocks one by one, but no more after one that the provider did not take; False when there was one."""
        for _ in range(number):
            if self._closing:
                break
            new = self._handle(events.BlocksWanted(1))
            if not all(block_id in self._jobs for block_id in new):
                return False
        return True

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
            may_start=self._pool.may_start(now),
        )

    def _cancel_everything(self) -> None:
        with self._lock:
            self._end_blocks(list(self._pool.live()))
            for pause_s in LAST_PAUSES_S:
                left = [events.CancelJob(block, job) for block, job in self._pool.live().items() if job is not None]
                if self._cancel_unheard() and not left:
                    return
                time.sleep(pause_s)
                self._cancel(left)
            if jobs := self._pool.live():
                logger.error("%s: jobs not cancelled: %s", self._executor.label, ", ".join(map(str, jobs.values())))

    # -- provider and pool; the caller has the lock ------------------------------------------------------------

    def _loads_of_staying(self, load: PoolLoad) -> dict[str, Any]:
        return {block_id: load.blocks.get(block_id) for block_id in self._pool.staying()}

    def _drain_blocks(self, block_ids: Sequence[str]) -> None:
        self._handle(events.DrainWanted(block_ids))
        self._end_drained()

    def _end_drained(self) -> None:
        """Tell draining blocks that they are, and end those that have nothing left to do."""
        draining = self._pool.draining()
        if not draining:
            return
        self._drain(draining)  # each time: an interchange that was restarted meanwhile does not know
        # Asked after it was told: what this says of them is said by managers that get no more tasks.
        load = self._executor.load()
        self._end_blocks([block_id for block_id in draining if is_drained(load.blocks.get(block_id))])

    def _drain(self, block_ids: Sequence[str]) -> None:
        try:
            self._executor.drain(block_ids)
        except Exception:  # tried again at the next look
            logger.exception("%s: could not drain blocks %s", self._executor.label, ", ".join(block_ids))

    def _end_blocks(self, block_ids: Sequence[str], wish: events.Event | None = None) -> None:
        if block_ids:
            # First no more tasks go there: one sent to a block on its end would be lost.
            try:
                self._executor.release(block_ids)
            except Exception:  # a broken executor is no reason to leave jobs running
                logger.exception("%s: could not release blocks %s", self._executor.label, ", ".join(block_ids))
            self._handle(wish or events.ScaleInWanted(block_ids))

    def _handle(self, event: events.Event) -> list[str]:
        """Pass an event to the pool and do what it asks for; give the blocks this was about."""
        actions = self._pool.handle(event, self._clock.now())
        self._publish()
        submits: list[events.SubmitJob] = []
        cancels: list[events.CancelJob] = []
        for action in actions:
            match action:
                case events.SubmitJob():
                    submits.append(action)
                case events.CancelJob():
                    cancels.append(action)
                case _:
                    assert_never(action)
        if cancels:
            self._cancel(cancels)
        for submit in submits:
            self._submit(submit.block_id)
        return [action.block_id for action in actions]

    def _submit(self, block_id: str) -> None:
        event: events.Event
        try:
            if self._closing:
                raise ScalingFailed(self._executor, "it is shutting down")
            command = self._executor.launch_command(block_id)
            job_id = self._provider.submit(command, 1, f"parsl.{self._executor.label}.block-{block_id}")
            if job_id is None:
                raise ScalingFailed(self._executor, "its provider gave no job id")
            event = events.JobSubmitted(block_id, job_id)
        except Exception as error:
            logger.warning("%s: block %s was not started: %s", self._executor.label, block_id, error)
            event = events.JobRejected(block_id, f"{type(error).__name__}: {error}")
        self._handle(event)

    def _cancel(self, cancels: Sequence[events.CancelJob]) -> None:
        try:
            results = self._provider.cancel([cancel.job_id for cancel in cancels])
        except Exception as error:
            # The pool asks again at the next look at the jobs.
            logger.warning("%s: cannot cancel jobs: %s", self._executor.label, error)
            return
        for cancel, done in zip(cancels, results, strict=True):
            if done:
                self._handle(events.JobCancelled(cancel.block_id))

    def _cancel_unheard(self) -> bool:
        """Let the provider cancel jobs whose ids it never heard; False when there may still be one."""
        cancel_unheard = getattr(self._provider, "cancel_unheard", None)  # ours have it, users' need not
        return cancel_unheard is None or bool(cancel_unheard())

    def _publish(self) -> None:
        before, self._statuses = self._statuses, self._pool.statuses()
        self._jobs = self._pool.jobs()
        for block_id, status in self._statuses.items():
            old = before.get(block_id)
            if status is not old and (old is None or old.state is not status.state):
                logger.info("%s: block %s is %s", self._executor.label, block_id, status)
