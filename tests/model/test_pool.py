"""The pool under arbitrary orders of events, checked against what a person would say of each block."""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from trellis.blocks.pool import BlockPool
from trellis.blocks.pool_events import (
    Action,
    BlocksWanted,
    CancelJob,
    DrainWanted,
    JobCancelled,
    JobRejected,
    JobSubmitted,
    ManagersSeen,
    ReplaceWanted,
    ScaleInWanted,
    StatusesObserved,
    SubmitJob,
)
from trellis.core.jobs import JobState, JobStatus

LIMIT = 3
# Reasons for which a job waits: daily life, one that may pass, one that never does.
NEVER = "pending: BadConstraints"
REASONS = [None, "pending: Priority", "pending: QOSMaxJobsPerUserLimit", NEVER]
OBSERVABLE = [state for state in JobState if state is not JobState.SCALED_IN]


class PoolModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.pool = BlockPool(LIMIT)
        self.now = 0.0
        self.submitting: list[str] = []  # blocks whose job is being submitted
        self.jobs: dict[str, int] = {}  # of blocks that were submitted
        self.ended: dict[str, JobState] = {}  # how each block ended, as first told
        self.connected: set[str] = set()
        self.unwanted: set[str] = set()  # blocks that we have asked to end
        self.draining: set[str] = set()  # blocks that we have asked to end when their work is done
        self.verdicts: dict[str, JobState] = {}  # of blocks that are of no use: how they will end
        self.to_cancel: set[str] = set()  # those for which a CancelJob came

    def handle(self, event: Any) -> list[Action]:
        self.now += 1
        actions = self.pool.handle(event, self.now)
        for action in actions:
            if isinstance(action, CancelJob):
                assert action.block_id in self.unwanted, "nobody wanted this block to end"
                assert action.job_id == self.jobs[action.block_id]
                self.to_cancel.add(action.block_id)
        return actions

    @property
    def live(self) -> set[str]:
        return (set(self.submitting) | set(self.jobs)) - set(self.ended)

    @rule(number=st.integers(0, 5))
    def want_blocks(self, number: int) -> None:
        room = LIMIT - len(self.live)
        actions = self.handle(BlocksWanted(number))
        assert len(actions) == min(number, room)
        for action in actions:
            assert isinstance(action, SubmitJob)
            self.submitting.append(action.block_id)

    @precondition(lambda self: self.submitting)
    @rule(accepted=st.booleans())
    def submission_ends(self, accepted: bool) -> None:
        block = self.submitting.pop(0)
        if accepted:
            self.jobs[block] = 1000 + int(block)
            self.handle(JobSubmitted(block, self.jobs[block]))
            assert (block in self.to_cancel) == (block in self.unwanted)
        else:
            self.ended[block] = JobState.MISSING
            self.handle(JobRejected(block, "no"))

    @rule(data=st.data(), state=st.sampled_from(OBSERVABLE), reason=st.sampled_from(REASONS))
    def status_comes(self, data: st.DataObject, state: JobState, reason: str | None) -> None:
        if not self.jobs:
            return
        block = data.draw(st.sampled_from(sorted(self.jobs)))
        hopeless = state in (JobState.PENDING, JobState.HELD) and reason == NEVER
        if hopeless and block in self.live - self.unwanted:
            self.unwanted.add(block)
            self.verdicts[block] = JobState.FAILED
        actions = self.handle(StatusesObserved({self.jobs[block]: JobStatus(state, reason)}))
        if block in self.ended:
            assert actions == []
        elif JobStatus(state).terminal:
            assert actions == []
            if block in self.verdicts:
                self.ended[block] = self.verdicts[block]
            elif block in self.unwanted | self.draining:
                self.ended[block] = JobState.SCALED_IN
            else:
                self.ended[block] = state if block in self.connected else JobState.MISSING
        else:
            wanted = [CancelJob(block, self.jobs[block])] if block in self.unwanted else []
            assert actions == wanted

    @rule(data=st.data())
    def manager_connects(self, data: st.DataObject) -> None:
        if self.jobs:
            block = data.draw(st.sampled_from(sorted(self.jobs)))
            self.handle(ManagersSeen([block]))
            self.connected.add(block)

    @rule(numbers=st.lists(st.integers(0, 8), max_size=3))
    def time_passes_without_managers(self, numbers: list[int]) -> None:
        seen = [block for block in self.jobs if block in self.connected]
        self.handle(ManagersSeen(seen, [str(n) for n in numbers]))
        self.now += 100
        deserted = set(self.pool.troubles(self.now, 60).deserted)
        assert deserted <= (self.live & self.connected) - self.unwanted - self.draining
        assert not deserted - {str(n) for n in numbers}, "it has a manager"

    @rule(numbers=st.lists(st.integers(0, 8), max_size=3))
    def want_the_end(self, numbers: list[int]) -> None:
        self.unwanted |= {str(n) for n in numbers} & self.live
        self.handle(ScaleInWanted([str(n) for n in numbers]))

    @rule(numbers=st.lists(st.integers(0, 8), max_size=3))
    def want_others_in_their_place(self, numbers: list[int]) -> None:
        for block in ({str(n) for n in numbers} & self.live) - self.unwanted:
            self.verdicts[block] = JobState.CANCELLED
        self.unwanted |= {str(n) for n in numbers} & self.live
        self.handle(ReplaceWanted([str(n) for n in numbers], "of no use"))

    @rule(numbers=st.lists(st.integers(0, 8), max_size=3))
    def want_the_end_of_work(self, numbers: list[int]) -> None:
        self.draining |= {str(n) for n in numbers} & self.live
        assert self.handle(DrainWanted([str(n) for n in numbers])) == []

    @rule(data=st.data())
    def cancel_succeeds(self, data: st.DataObject) -> None:
        if self.to_cancel:
            block = data.draw(st.sampled_from(sorted(self.to_cancel)))
            self.handle(JobCancelled(block))
            self.ended.setdefault(block, self.verdicts.get(block, JobState.SCALED_IN))

    @invariant()
    def pool_agrees(self) -> None:
        self.pool.check_invariants()
        assert set(self.pool.live()) == self.live
        assert set(self.pool.staying()) == self.live - self.unwanted - self.draining
        assert set(self.pool.draining()) == (self.live & self.draining) - self.unwanted
        assert self.pool.may_start(self.now + 10_000) > 0 or self.pool.staying(), "no block could ever be started"
        assert self.pool.jobs() == self.jobs
        troubles = set(itertools.chain(*self.pool.troubles(self.now + 10_000, 60)))
        assert troubles <= set(self.pool.staying()), "a block that shall end, or has, is no trouble"
        ended = {block: status.state for block, status in self.pool.statuses().items() if status.terminal}
        assert ended == self.ended

    def teardown(self) -> None:
        """Whatever happened: once all is unwanted and every cancel succeeds, nothing is left."""
        while self.submitting:
            self.submission_ends(True)
        self.unwanted |= self.live
        self.handle(ScaleInWanted(sorted(self.live)))
        for block in sorted(self.live):
            assert block in self.to_cancel, f"block {block} would stay for ever"
            self.handle(JobCancelled(block))
        assert self.pool.live() == {}


TestPool = PoolModel.TestCase
