"""Which block is which job, and in what state. Decides nothing about numbers; no I/O, threads or clock here."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, assert_never

from trellis.blocks.pool_events import (
    Action,
    BlockAdopted,
    BlocksWanted,
    CancelJob,
    DrainWanted,
    Event,
    JobCancelled,
    JobRejected,
    JobSubmitted,
    ManagersSeen,
    ReplaceWanted,
    ScaleInWanted,
    StatusesObserved,
    StatusSaid,
    SubmitJob,
)
from trellis.core.jobs import JobState, JobStatus
from trellis.core.waiting import never_starts, why_it_waits

# Failures one after the other, without a success in between, make the next block wait: no time after the first, then
# this long, doubled each time up to the limit. A broken site gets a few jobs per hour, not a storm.
BACKOFF_S = 10.0
BACKOFF_LIMIT_S = 600.0
# A block has worked when a manager of it was there for this long. Blocks that die sooner, again and again, are a storm.
STEADY_S = 60.0
# New blocks at a time: submitting a hundred jobs takes a batch system a while, and nobody looks at it meanwhile.
MOST_AT_ONCE = 20
# So long after its submission, and after its start, a block without a manager is young: if it fails, it fails now.
YOUNG_S = 60.0
# How long a job may run before a manager of it connects, until the user is told: several times what imports need.
SILENT_S = 10.0
# How long a job may wait for a reason that is more than its turn, until the user is told: most of them pass sooner.
WAITING_S = 60.0

_FAILED = (JobState.FAILED, JobState.MISSING)


# -- the machine -------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Block:
    block_id: str
    status: JobStatus
    made_at: float
    job_id: Any = None  # None: not submitted yet, or rejected
    connected_at: float | None = None  # when a manager of it was first seen
    steady: bool = False  # and is still a block after STEADY_S
    draining: bool = False  # we want its end, when its work is done
    leaving: bool = False  # we want its end now
    running_since: float | None = None
    deserted_since: float | None = None  # it had managers, and has none
    starts_again: bool = False  # its job was requeued: managers have to come once more
    waits_since: float | None = None  # for a reason that is worth a word
    adopted: bool = False  # the user's executor has started it
    verdict: JobStatus | None = None  # what its end will be, when we want that for a reason of its own

    @property
    def unwanted(self) -> bool:
        return self.draining or self.leaving

    @property
    def has_begun(self) -> bool:
        """Whether its job must have run, also if nobody has seen it."""
        return self.connected_at is not None or "susp" in (self.status.message or "").lower()

    @property
    def suspended(self) -> bool:
        return self.status.state is JobState.HELD and self.running_since is not None and self.waits_since is None


class Troubles(NamedTuple):
    """Blocks that live, and are not well; each list oldest first."""

    silent: list[str]  # their jobs run, and no manager has connected
    waiting: list[str]  # they wait for another reason than that others come first
    suspended: list[str]  # their jobs have been stopped
    deserted: list[str]  # their jobs run, and all their managers have gone


@dataclass(slots=True)
class _Row:
    """Failures of one kind, one after the other."""

    length: int = 0
    last: float = float("-inf")

    def add(self, block: _Block, now: float) -> None:
        # A block from before the last failure does not tell whether things are still bad: those that were started
        # together, and fail together or one by one, count once.
        if self.length == 0 or block.made_at > self.last:
            self.length += 1
            self.last = now

    def retry_at(self) -> float:
        if self.length <= 1:
            return self.last
        # The exponent is limited too: a float ends at about 2**1000.
        return self.last + min(BACKOFF_S * 2.0 ** min(self.length - 2, 30), BACKOFF_LIMIT_S)


class BlockPool:
    """The blocks of one executor, from "0" on. Changes through ``handle`` only.

    ``tells_managers``: the executor knows of its managers; for one that does not, a block works while its job runs.
    """

    def __init__(self, limit: int, steady_s: float = STEADY_S, tells_managers: bool = True) -> None:
        self.limit = limit
        self._steady_s = steady_s
        self._tells_managers = tells_managers
        self._blocks: dict[str, _Block] = {}
        self._live: dict[str, _Block] = {}  # those not terminal, oldest first
        self.rejected = 0  # blocks that the provider did not take
        self._by_job: dict[Any, _Block] = {}  # live ones: a batch system may use a number again
        self._rejections = _Row()  # until a job is taken
        self._deaths = _Row()  # until a block has worked

    def handle(self, event: Event, now: float) -> list[Action]:
        """Take an event in; give what the shell has to do. ``now`` in seconds never goes back."""
        match event:
            case StatusesObserved(statuses):
                return self._on_statuses(statuses, now)
            case ManagersSeen(block_ids, deserted):
                self._on_managers(block_ids, deserted, now)
            case BlocksWanted(number):
                return [self._new_block(now) for _ in range(min(number, self.limit - len(self._live)))]
            case JobSubmitted(block_id, job_id):
                return self._on_submitted(self._blocks[block_id], job_id)
            case JobRejected(block_id, reason):
                block = self._blocks[block_id]
                self.rejected += 1
                self._rejections.add(block, now)
                # As in Parsl: whatever ends without a manager is MISSING, where managers are known.
                state = JobState.MISSING if self._tells_managers else JobState.FAILED
                self._end(block, JobStatus(state, reason))
            case BlockAdopted(block_id, job_id):
                self._adopt(block_id, job_id, now)
            case StatusSaid(block_id, status):
                if (live := self._live.get(block_id)) and not live.leaving:
                    return self._give_up(live, status.state, status.message or "", now)
            case DrainWanted(block_ids):
                for block_id in block_ids:
                    if live := self._live.get(block_id):
                        live.draining = True
            case ScaleInWanted(block_ids):
                return self._on_scale_in(block_ids)
            case ReplaceWanted(block_ids, reason):
                blocks = [live for block_id in block_ids if (live := self._live.get(block_id)) and not live.leaving]
                return [action for live in blocks for action in self._give_up(live, JobState.CANCELLED, reason, now)]
            case JobCancelled(block_id):
                if live := self._live.get(block_id):
                    self._end(live, live.verdict or _with_words(live.status, JobState.SCALED_IN))
            case _:
                assert_never(event)
        return []

    # -- what readers may ask --

    def statuses(self) -> dict[str, JobStatus]:
        """Status of every block there has been, by block id, oldest first."""
        return {block_id: block.status for block_id, block in self._blocks.items()}

    def jobs(self) -> dict[str, Any]:
        """Job ids by block id, oldest first; blocks that were rejected have none."""
        return {block_id: block.job_id for block_id, block in self._blocks.items() if block.job_id is not None}

    def live(self) -> dict[str, Any]:
        """Job ids of the blocks that have not ended, by block id, oldest first."""
        return {block_id: block.job_id for block_id, block in self._live.items()}

    def staying(self) -> list[str]:
        """Blocks that have not ended and shall not end, oldest first."""
        return [block_id for block_id, block in self._live.items() if not block.unwanted]

    def draining(self) -> list[str]:
        """Blocks that shall end when their work is done, oldest first."""
        return [block_id for block_id, block in self._live.items() if block.draining and not block.leaving]

    def troubles(self, now: float, deserted_s: float | None = None) -> Troubles:
        """Blocks that have been in such a state for long: deserted ones for ``deserted_s``, or for ever (None)."""

        def since(begin: float | None, limit_s: float | None) -> bool:
            return begin is not None and limit_s is not None and now - begin >= limit_s

        staying = [block for block in self._live.values() if not block.unwanted]
        return Troubles(
            [b.block_id for b in staying if b.connected_at is None and since(b.running_since, SILENT_S)],
            [b.block_id for b in staying if since(b.waits_since, WAITING_S)],
            [b.block_id for b in staying if b.suspended],
            [b.block_id for b in staying if b.running_since is not None and since(b.deserted_since, deserted_s)],
        )

    def young_since(self, now: float) -> float | None:
        """When the oldest young block was submitted, or began to run; None when there is no young one.

        A block is young for ``YOUNG_S``, until a manager of it has connected.
        """
        begins = [
            block.made_at if block.running_since is None else block.running_since
            for block in self._live.values()
            if block.connected_at is None and not block.unwanted
        ]
        return min((begin for begin in begins if now - begin < YOUNG_S), default=None)

    @property
    def retry_at(self) -> float:
        """When the next block may be started, after others have failed."""
        return max(self._rejections.retry_at(), self._deaths.retry_at())

    def may_start(self, now: float) -> int:
        """How many blocks should be started now at most, seeing how the last ones did."""
        if now < self.retry_at:
            return 0
        if self._deaths.length > 1:
            # One at a time, until one has worked.
            return 0 if any(not block.steady and not block.unwanted for block in self._live.values()) else 1
        return 1 if self._rejections.length else MOST_AT_ONCE

    def check_invariants(self) -> None:
        """Raise ``AssertionError`` when the pool contradicts itself."""
        own = {block_id: block for block_id, block in self._blocks.items() if not block.adopted}
        live = len(self._live.keys() & own)
        assert live <= max(self.limit, 0), f"{live} blocks live, {self.limit} allowed"
        if len(own) == len(self._blocks):
            assert list(own) == [str(n) for n in range(len(own))], "block ids are not consecutive"
        for block in self._blocks.values():
            name = f"block {block.block_id}"
            assert block.status.terminal != (block.block_id in self._live), f"{name}: live and ended, or neither"
            assert block.unwanted or block.status.state is not JobState.SCALED_IN, f"{name}: nobody asked for its end"
        for block in self._live.values():
            if block.job_id is not None:
                assert self._by_job.get(block.job_id) is block, f"block {block.block_id}: its job is not known as its"
        assert all(block.block_id in self._live for block in self._by_job.values()), "a job of a block that ended"

    # -- events --

    def _new_block(self, now: float) -> SubmitJob:
        block = _Block(self._next_id(), JobStatus(JobState.PENDING), now)
        self._blocks[block.block_id] = self._live[block.block_id] = block
        return SubmitJob(block.block_id)

    def _next_id(self) -> str:
        number = len(self._blocks)
        while str(number) in self._blocks:  # of a block that was adopted
            number += 1
        return str(number)

    def _adopt(self, block_id: str, job_id: Any, now: float) -> None:
        if block_id in self._blocks:
            return
        block = _Block(block_id, JobStatus(JobState.PENDING), now, job_id, adopted=True)
        self._blocks[block_id] = self._live[block_id] = self._by_job[job_id] = block

    def _on_submitted(self, block: _Block, job_id: Any) -> list[Action]:
        block.job_id = job_id
        self._by_job[job_id] = block
        self._rejections = _Row()
        return [CancelJob(block.block_id, job_id)] if block.leaving else []

    def _on_scale_in(self, block_ids: Sequence[str]) -> list[Action]:
        actions: list[Action] = []
        for block_id in block_ids:
            block = self._live.get(block_id)
            if block is None or block.leaving:
                continue
            block.leaving = True
            if block.job_id is not None:  # otherwise it is cancelled as soon as its job is known
                actions.append(CancelJob(block_id, block.job_id))
        return actions

    def _give_up(self, block: _Block, state: JobState, reason: str, now: float) -> list[Action]:
        """End a block that is of no use, and count it as one that has died."""
        if not block.draining and (state in _FAILED or not block.steady):
            self._deaths.add(block, now)
        block.verdict = _with_words(block.status, state, reason)
        return self._on_scale_in([block.block_id])

    def _on_managers(self, block_ids: Sequence[str], deserted: Collection[str], now: float) -> None:
        for block_id in block_ids:
            block = self._live.get(block_id)
            if block is None:
                continue
            if block.connected_at is None:
                block.connected_at = now
            elif not block.steady and now - block.connected_at >= self._steady_s:
                # Once for each block: one that has worked for days says nothing of those that fail now.
                block.steady = True
                self._deaths = _Row()
        here = set(block_ids).difference(deserted)
        for block in self._live.values():
            if block.block_id in here:
                block.deserted_since, block.starts_again = None, False
            elif block.connected_at is not None and block.deserted_since is None and not block.starts_again:
                block.deserted_since = now

    def _on_statuses(self, statuses: Mapping[Any, JobStatus], now: float) -> list[Action]:
        actions: list[Action] = []
        for job_id, status in statuses.items():
            block = self._by_job.get(job_id)
            if block is None:  # it ended while the question was on its way
                continue
            if status.terminal:
                status = _judge(block, status, self._tells_managers)
                if not block.unwanted and (status.state in _FAILED or not block.steady):
                    self._deaths.add(block, now)
                self._end(block, status)
                continue
            block.status = status
            if block.leaving:  # the provider could not cancel it: try again
                actions.append(CancelJob(block.block_id, job_id))
            else:
                actions += self._on_live_status(block, status, now)
        return actions

    def _on_live_status(self, block: _Block, status: JobStatus, now: float) -> list[Action]:
        waits = status.state in (JobState.PENDING, JobState.HELD)
        cause = why_it_waits(status.message or "") if waits else None
        if cause is not None and not cause.passes:
            return self._give_up(block, JobState.FAILED, never_starts(status.message or ""), now)
        if cause is None:
            block.waits_since = None
        elif block.waits_since is None:
            block.waits_since = now
        # Between two looks it may have begun to run, and have been stopped.
        stopped = status.state is JobState.HELD and cause is None and block.has_begun
        if status.state is JobState.PENDING:  # perhaps again: batch systems requeue jobs
            block.starts_again = block.starts_again or block.running_since is not None
            block.running_since = block.deserted_since = None
        elif (status.state is JobState.RUNNING or stopped) and block.running_since is None:
            block.running_since = now
        return []

    def _end(self, block: _Block, status: JobStatus) -> None:
        block.status = status
        del self._live[block.block_id]
        self._by_job.pop(block.job_id, None)


def _with_words(status: JobStatus, state: JobState, message: str | None = None) -> JobStatus:
    """Give another state, with what is known of the job."""
    return JobStatus(state, message or status.message, status.exit_code, status.stdout_path, status.stderr_path)


def _judge(block: _Block, status: JobStatus, tells_managers: bool) -> JobStatus:
    """What the end of a job means for its block."""
    if block.verdict is not None:
        return _with_words(status, block.verdict.state, block.verdict.message)
    if block.unwanted:
        return _with_words(status, JobState.SCALED_IN)
    if tells_managers and block.connected_at is None and status.state is not JobState.MISSING:
        # It may have ended with exit code 0 and still done nothing for us: wrong address, firewall, missing package.
        message = f"its job ended ({status.state.name}) before any of its managers had connected"
        return _with_words(status, JobState.MISSING, f"{message}: {status.message}" if status.message else message)
    return status
