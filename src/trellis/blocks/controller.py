"""The shell around pool and scaling: a thread asks the provider and does what they decide. No decisions here."""

from __future__ import annotations

import contextlib
import itertools
import logging
import math
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, assert_never

from trellis.blocks import pool_events as events
from trellis.blocks.book import BlockBook
from trellis.blocks.overrides import NO_OVERRIDES, Overrides, UsersWord
from trellis.blocks.polling import PollSchedule
from trellis.blocks.pool import STEADY_S, BlockPool
from trellis.blocks.questions import Questions
from trellis.blocks.reports import KnownBlocks
from trellis.blocks.scaling import ScalingPlan, ScalingSnapshot, choose_blocks, is_drained, plan_scaling
from trellis.blocks.user_messages import UserMessages
from trellis.core.clock import Clock, MonotonicClock
from trellis.core.interfaces import ExecutorContext, PoolLoad, Provider, ScalableExecutor
from trellis.core.jobs import JobState, JobStatus
from trellis.errors import ScalingFailed

logger = logging.getLogger(__name__)

# close() waits this long for the thread, which may be in the middle of a command of the batch system.
CLOSE_TIMEOUT_S = 30.0
# At the end nobody looks at the jobs again: what could not be cancelled is tried after these pauses.
LAST_PAUSES_S = (1.0, 3.0)


class BlockController:
    """Keeps an executor's blocks.

    The thread "trellis-blocks-<label>" starts the first blocks, looks after them at the provider's interval, plans at
    the strategy's, and cancels what is left when it ends. Other threads may scale as well: one at a time is inside
    the provider.

    Args:
        executor: Whose blocks they are.
        provider: Where they come from.
        context: The strategy, its period and idle time; whom to tell of blocks that do not come up.
        clock: For tests.
        overrides: Gives what a user's executor does in its own way, as it is now.
        tells_managers: Whether the executor knows of its blocks' managers.
    """

    def __init__(
        self,
        executor: ScalableExecutor,
        provider: Provider,
        *,
        context: ExecutorContext,
        clock: Clock | None = None,
        overrides: Callable[[], Overrides] = lambda: NO_OVERRIDES,
        tells_managers: bool = True,
    ) -> None:
        self._executor = executor
        self._provider = provider
        self._context = context
        self._clock = clock or MonotonicClock()
        self._polls = PollSchedule(provider.status_polling_interval, self._clock.now())
        self._questions = Questions(executor.label, provider, self._polls, self._clock)
        # A provider whose blocks are short by nature may say after how long one of them has worked.
        self._asked_for = 0  # blocks that were to be there at a time because the program said so
        self._pool = BlockPool(provider.max_blocks, getattr(provider, "steady_s", STEADY_S), tells_managers)
        # Guards the provider and the pool. Held during calls of the provider, so readers use the copies below.
        self._lock = threading.RLock()
        self._book = BlockBook(executor.label, self._clock)
        self._wakeup = threading.Event()
        self._poll_soon = False
        self._plan_soon = False
        self._closing = False
        self.judges = True  # False: managers are being dismissed, blocks that end have not failed
        self._thread: threading.Thread | None = None
        # Owned by the thread (in tests: by the caller of step()).
        self._next_plan: float | None = None  # None: not a step was made
        self._idle_since: float | None = None
        self._messages = UserMessages(executor.label, context.notify)
        self._gave_up = False
        self._user = UsersWord(overrides, self._messages, self._book)
        self._in_poll = False  # of the user's executor, which may ask for ours

    # -- for the executor, from any thread ---------------------------------------------------------------------

    @property
    def is_started(self) -> bool:
        return self._thread is not None

    def start(self) -> None:
        """Start the thread; it submits the first blocks at once."""
        self._thread = threading.Thread(target=self._run, name=f"trellis-blocks-{self._executor.label}", daemon=True)
        self._thread.start()

    def scale_out(self, blocks: int = 1, *, tries_all: bool = True, by_hand: bool = False) -> list[str]:
        """Start up to ``blocks`` more blocks, but no more than ``max_blocks``; give the ids of those submitted.

        ``tries_all=False``: no more after one that the provider did not take. ``by_hand``: the program says how many.
        """
        started: list[str] = []
        with self._lock:
            for number in range(blocks):
                if self._closing:
                    break
                if by_hand:
                    self._asked_for = max(self._asked_for, len(self._pool.live()) + 1)
                new = self._handle(events.BlocksWanted(1))
                if not new:
                    logger.info("%s: max_blocks allow %d of %d new blocks", self._executor.label, number, blocks)
                    break
                started += [block for block in new if block in self._book.jobs]
                if not tries_all and len(started) <= number:
                    break
        return started

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

    def note_end(self, block_ids: Iterable[str]) -> None:
        """The user's executor says that it has ended these blocks, or that they shall end."""
        with self._lock:
            staying = set(self._pool.staying())
            self._end_blocks([block_id for block_id in block_ids if block_id in staying])

    def status(self) -> dict[str, JobStatus]:
        """Status of every block there has been, by block id, as it was at the last look. They are the caller's own."""
        return self._book.own_statuses()

    def said_status(self) -> dict[str, JobStatus]:
        """The same, as the user's executor says."""
        return self._user.statuses(self._book.statuses)

    def follow(self, strategy: str, period_s: float, max_idletime_s: float) -> None:
        """Scale by another strategy from now on."""
        self._context = replace(
            self._context, strategy=strategy, strategy_period_s=period_s, max_idletime_s=max_idletime_s
        )
        self._plan_soon = True
        self._wakeup.set()

    @property
    def blocks_to_job_id(self) -> dict[str, Any]:
        return dict(self._book.jobs)

    def known(self) -> KnownBlocks:
        """What is known of all blocks, as it was at the last look."""
        return self._book.known(self._provider, self._context.strategy)

    def wake(self) -> None:
        """Look at the jobs soon, not only when the interval is over. For example: a manager has disconnected."""
        self._poll_soon = True
        self._wakeup.set()

    def poll(self) -> None:
        """Look at the jobs: soon, on the thread; at once when it is the thread that asks, or there is none."""
        if self._thread is None or (self._in_poll and self._thread is threading.current_thread()):
            self.look()
        else:
            self.wake()

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
                ", ".join(
                    str(self._book.jobs.get(block)) for block, job in self._book.statuses.items() if not job.terminal
                ),
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
            self._user.report()

    def step(self) -> float:
        """Do what is due; give the time at which something will be due again. Called by the thread, and by tests."""
        if self._next_plan is None:
            self._start_first_blocks()
            self._next_plan = self._clock.now() + self._context.strategy_period_s
            # Submission may have failed: the handler shall hear of it now, not an interval later.
            self._handle_errors()
        if self._clock.now() >= self._next_poll():
            self._poll_soon = False
            self._poll()
            self._handle_errors()
        if self._plan_soon or self._clock.now() >= self._next_plan:
            self._plan_soon = False
            self._plan()
            self._user.report()
            self._next_plan = self._clock.now() + self._context.strategy_period_s
        return min(self._next_poll(), self._next_plan)

    def _next_poll(self) -> float:
        if not self.judges:  # managers are dismissed: blocks that end now are still to be cancelled
            return math.inf
        with self._lock:
            young_since = self._pool.young_since(self._clock.now())
        return self._polls.next(young_since, soon=self._poll_soon)

    def _poll(self) -> None:
        poll = self._user.methods.poll
        if poll is None:
            self.look()
            return
        before, self._in_poll = self._polls.last_asked, True
        self._user.call("method poll_facade", poll)
        self._in_poll = False
        if self._polls.last_asked == before:  # it has not asked for ours
            self._polls.asked(self._clock.now(), answered=True)

    def look(self) -> None:
        """Ask the provider and the executor, and pass on to the pool what they say."""
        with self._lock:
            self._adopt()
            job_ids = [job_id for job_id in self._pool.live().values() if job_id is not None]
            observed = self._questions.ask(job_ids)
            if not job_ids:  # else it was part of the question
                self._poll_soon |= not self._questions.cancel_unheard()
        # After the question, so that a manager which has connected before its job ended is known by now.
        load = self._executor.load()
        with self._lock:
            self._see_managers(load)
            self._handle(events.StatusesObserved(observed))
        self._hear_user()
        self._look_after_live_blocks()

    # -- what a user's executor does in its own way ------------------------------------------------------------

    def _adopt(self) -> None:
        """Take in blocks that the executor has started by itself."""
        for block_id, job_id in self._user.own_jobs().items():
            if block_id not in self._book.jobs:
                self._handle(events.BlockAdopted(block_id, job_id))

    def _hear_user(self) -> None:
        """Ask the executor for its statuses, and believe it when it says that a block has ended."""
        said = self._user.hear(self._book.statuses)
        with self._lock:
            live = self._pool.live()
            for block_id, status in said.items():
                if block_id in live and status.terminal:
                    scaled_in = status.state is JobState.SCALED_IN
                    self._end_blocks([block_id], None if scaled_in else events.StatusSaid(block_id, status))

    def _start_first_blocks(self) -> None:
        first, limit = self._provider.init_blocks, self._provider.max_blocks
        if first > limit:
            self._messages.tell_of_fewer(first, limit)
        self._start_blocks(min(first, limit))

    def _start_blocks(self, number: int, *, tries_all: bool = True) -> bool:
        """Start blocks; False when the provider did not take all of them."""
        scale_out = self._user.methods.scale_out
        before = self._pool.rejected
        if scale_out is None:
            self.scale_out(number, tries_all=tries_all)
        else:
            self._user.call("method scale_out_facade", scale_out, number)
            with self._lock:
                self._adopt()
        return self._pool.rejected == before

    # -- errors and plans --------------------------------------------------------------------------------------

    def _handle_errors(self) -> None:
        self._user.report()
        statuses = self.said_status()
        if not self.judges:
            return
        if not self._executor.bad_state_is_set:
            self._user.call("block error handler", self._executor.handle_errors, statuses)
        if not self._executor.bad_state_is_set:
            self._messages.tell_of_failures(self._book.statuses)
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
        status = self._book.statuses.get(block_id)
        return status is not None and status.terminal and self._book.jobs.get(block_id) is None

    def _look_after_live_blocks(self) -> None:
        with self._lock:
            troubles = self._pool.troubles(self._clock.now(), self._context.lost_block_timeout_s)
            jobs = {block: (self._book.jobs[block], self._book.statuses[block]) for block in itertools.chain(*troubles)}
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
        with self._lock:
            plan = plan_scaling(self._snapshot(load, now))
        refused = self._follow_plan(plan, load)
        with self._lock:
            none_left = self._context.strategy == "none" and self._book.jobs and not self._pool.staying()
        if refused:
            self._handle_errors()
        if none_left and load.outstanding:
            self._messages.tell(
                f"all blocks have ended, the strategy 'none' starts no others, and {load.outstanding} tasks wait",
                "none left",
            )

    def _follow_plan(self, plan: ScalingPlan, load: PoolLoad) -> bool:
        """Give whether the provider refused a block."""
        if plan.scale_out:
            logger.info("%s: scaling out by %d: %s", self._executor.label, plan.scale_out, plan.reason)
            return not self._start_blocks(plan.scale_out, tries_all=False)
        if plan.scale_in:
            logger.info("%s: scaling in %s: %s", self._executor.label, ", ".join(plan.scale_in), plan.reason)
            scale_in = self._user.methods.scale_in
            if scale_in is None:
                with self._lock:
                    self._drain_blocks(plan.scale_in)
            else:  # blocks of its own choice
                idle = {"max_idletime": self._context.max_idletime_s} if load.outstanding else {}
                chosen: Sequence[str] | None
                chosen = self._user.call("method scale_in", scale_in, len(plan.scale_in), **idle)
                self.note_end(chosen or ())
        return False

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
            blocks={**self._loads_of_staying(load), **dict.fromkeys(self._user.blocks_of_its_own())},
            may_start=self._pool.may_start(now),
        )

    def _cancel_everything(self) -> None:
        with self._lock:
            self._end_blocks(list(self._pool.live()))
            for pause_s in LAST_PAUSES_S:
                left = [events.CancelJob(block, job) for block, job in self._pool.live().items() if job is not None]
                if self._questions.cancel_unheard() and not left:
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
        # Programs may change the provider while they run, and start more blocks by hand; no plan goes so far.
        self._pool.limit = max(self._provider.max_blocks, self._asked_for)
        actions = self._pool.handle(event, self._clock.now())
        self._book.publish(self._pool)
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
            job_id = self._executor.launch_block(block_id)
            if not job_id:  # None, or whatever else is false: Parsl's way to say that it failed
                raise ScalingFailed(self._executor, f"its provider gave no job id but {job_id!r}")
            hash(job_id)
            event = events.JobSubmitted(block_id, job_id)
        except Exception as error:
            logger.warning("%s: block %s was not started: %s", self._executor.label, block_id, error)
            event = events.JobRejected(block_id, f"{type(error).__name__}: {error}")
        self._handle(event)
        if isinstance(event, events.JobSubmitted) and getattr(self._provider, "runs_at_once", False):
            with contextlib.suppress(Exception):  # asked again at the next look
                self._handle(events.StatusesObserved({event.job_id: self._provider.status([event.job_id])[0]}))

    def _cancel(self, cancels: Sequence[events.CancelJob]) -> None:
        try:
            results = list(self._provider.cancel([cancel.job_id for cancel in cancels]))
            if len(results) != len(cancels):
                raise ValueError(f"{self._provider.label} gave {len(results)} results for {len(cancels)} jobs")
        except Exception as error:
            # The pool asks again at the next look at the jobs.
            logger.warning("%s: cannot cancel jobs: %s", self._executor.label, error)
            return
        for cancel, done in zip(cancels, results, strict=True):
            if done:
                self._handle(events.JobCancelled(cancel.block_id))
