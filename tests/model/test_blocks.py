"""Controller, pool and scaling over a batch system and managers that do what they like, at a clock of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.unit.blocks.fakes import FakeExecutor
from trellis.blocks.controller import BlockController
from trellis.core.interfaces import BlockLoad, ExecutorContext
from trellis.core.jobs import JobState, JobStatus
from trellis.errors import SubmitException
from trellis.testing import FakeClock, FakeProvider

MOST_BLOCKS = 4
STATES = [JobState.PENDING, JobState.RUNNING, JobState.UNKNOWN, JobState.HELD]
ENDS = [JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED, JobState.TIMEOUT, JobState.MISSING]


class HastyExecutor(FakeExecutor):
    """A task may reach a block while the message that it shall get no more is on its way."""

    late_tasks = 0

    def __init__(self, provider: Any) -> None:
        super().__init__(provider)
        self.drained: set[str] = set()  # managers that come to these later get no tasks either

    def release(self, block_ids: Sequence[str]) -> None:
        self._last_task_comes(block_ids)
        super().release(block_ids)

    def drain(self, block_ids: Sequence[str]) -> None:
        self.drained.update(block_ids)
        self._last_task_comes(block_ids)
        super().drain(block_ids)

    def _last_task_comes(self, block_ids: Sequence[str]) -> None:
        for block_id in block_ids:
            load = self.blocks.get(block_id)
            if self.late_tasks and load is not None and load.active:
                self.late_tasks -= 1
                self.blocks[block_id] = BlockLoad(1, load.tasks + 1, 0.0, 1)


class WatchedProvider(FakeProvider):
    """Knows which block a job is of, and notes busy ones that are cancelled although nobody forced their end."""

    executor: FakeExecutor
    may_kill = False
    killed = ""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.forced: set[str] = set()  # also where the cancel failed, and is tried again

    def cancel(self, job_ids: list[Any]) -> list[bool]:
        for job_id in job_ids:
            block = self.submitted[job_id].split()[-1]
            load = self.executor.blocks.get(block)
            if load is not None and load.tasks and not self.may_kill and block not in self.forced:
                self.killed = f"block {block} was killed with {load.tasks} tasks"
        return super().cancel(job_ids)

    def live(self) -> list[str]:
        """Jobs that have not ended."""
        return [job for job, status in self._statuses.items() if not status.terminal]


class BlocksModel(RuleBasedStateMachine):
    @initialize(
        strategy=st.sampled_from(["none", "simple", "htex_auto_scale"]),
        first=st.integers(0, MOST_BLOCKS),
        least=st.integers(0, 2),
    )
    def begin(self, strategy: str, first: int, least: int) -> None:
        self.clock = FakeClock()
        self.provider = WatchedProvider(
            init_blocks=first, min_blocks=least, max_blocks=MOST_BLOCKS, status_polling_interval=30
        )
        self.strategy = strategy
        self.executor = self.provider.executor = HastyExecutor(self.provider)
        self.controller = BlockController(
            self.executor,
            self.provider,
            context=ExecutorContext(strategy=strategy, max_idletime_s=60),
            clock=self.clock,
        )

    def running(self) -> list[str]:
        """Blocks whose jobs run."""
        jobs = self.controller.blocks_to_job_id
        states = self.provider._statuses
        return [block for block, job in jobs.items() if states[job].state is JobState.RUNNING]

    @rule(seconds=st.sampled_from([0.0, 1.0, 5.0, 61.0, 700.0]))
    def time_passes(self, seconds: float) -> None:
        end = self.clock.now() + seconds
        while (deadline := self.controller.step()) <= end:
            assert deadline > self.clock.now(), "the controller is busy for nothing"
            self.clock.advance(deadline - self.clock.now())
        self.clock.advance(max(0.0, end - self.clock.now()))

    @rule(fault=st.sampled_from(["submit", "status", "cancel", "refuse", "none"]))
    def batch_system_changes(self, fault: str) -> None:
        error = OSError("socket timed out")
        self.provider.submit_error = SubmitException("x", "queue closed") if fault == "submit" else None
        self.provider.status_error = error if fault == "status" else None
        self.provider.cancel_error = error if fault == "cancel" else None
        self.provider.refuses_cancel = fault == "refuse"

    @rule(data=st.data(), state=st.sampled_from([*STATES, *ENDS]))
    def job_changes(self, data: st.DataObject, state: JobState) -> None:
        if live := self.provider.live():
            job = data.draw(st.sampled_from(live))
            self.provider.set_status(job, JobStatus(state))
            if state in ENDS:
                self.executor.blocks.pop(self.provider.submitted[job].split()[-1], None)
                self.controller.wake()

    @rule(data=st.data())
    def job_will_never_start(self, data: st.DataObject) -> None:
        """Perhaps again: what it ran before is lost."""
        if live := self.provider.live():
            job = data.draw(st.sampled_from(live))
            self.provider.set_status(job, JobStatus(JobState.PENDING, "pending: BadConstraints"))
            self.executor.blocks.pop(self.provider.submitted[job].split()[-1], None)

    @rule(data=st.data())
    def managers_go(self, data: st.DataObject) -> None:
        """All of a block's, and its job runs on."""
        if blocks := [block for block in self.running() if block in self.executor.blocks]:
            self.executor.blocks[data.draw(st.sampled_from(blocks))] = BlockLoad(0, 0, 0.0, 0)

    @rule()
    def managers_come(self) -> None:
        self.provider.run()
        for block in self.running():
            self.executor.blocks.setdefault(block, BlockLoad(1, 0, 1000.0, int(block not in self.executor.drained)))

    @rule(tasks=st.sampled_from([0, 0, 1, 2, 10]), late=st.integers(0, 2))
    def tasks_come(self, tasks: int, late: int) -> None:
        self.executor.outstanding = tasks
        self.executor.late_tasks = late

    @rule(data=st.data(), tasks=st.integers(0, 2), idle_s=st.sampled_from([0.0, 1000.0]), active=st.booleans())
    def managers_change(self, data: st.DataObject, tasks: int, idle_s: float, active: bool) -> None:
        if running := self.running():
            block = data.draw(st.sampled_from(running))
            old = self.executor.blocks.get(block)
            if old is not None and not old.active:  # held or draining: no further tasks, and never active again
                tasks, active = min(tasks, old.tasks), False
            self.executor.blocks[block] = BlockLoad(1, tasks, 0.0 if tasks else idle_s, int(active))

    @rule(number=st.integers(0, 3), force=st.booleans())
    def user_scales_in(self, number: int, force: bool) -> None:
        self.provider.may_kill = force
        chosen = self.controller.scale_in(number, force=force)
        self.provider.may_kill = False
        if force:  # their tasks are lost
            self.provider.forced.update(chosen)
            for block in chosen:
                self.executor.blocks.pop(block, None)

    @rule(number=st.integers(0, 3))
    def user_scales_out(self, number: int) -> None:
        assert len(self.controller.scale_out(number)) <= number

    @invariant()
    def neither_too_many_jobs_nor_harm(self) -> None:
        if hasattr(self, "provider"):
            assert len(self.provider.live()) <= MOST_BLOCKS
            assert not self.provider.killed, self.provider.killed

    def teardown(self) -> None:
        """When all is well again, work gets its blocks; and in the end nothing is left."""
        if not hasattr(self, "provider"):
            return
        self.batch_system_changes("none")
        for job in self.provider.live():
            self.provider.set_status(job, JobState.RUNNING)
        self.executor.outstanding, self.executor.late_tasks = 10, 0
        for _ in range(60):
            self.time_passes(61.0)
            for block in self.running():
                old = self.executor.blocks.get(block)
                if old is None or old.active:
                    self.executor.blocks[block] = BlockLoad(1, 1, 0.0, 1)
                elif old.managers:
                    self.executor.blocks[block] = BlockLoad(1, 0, 1000.0, 0)
            self.provider.run()
            for job in self.provider.live():
                self.provider.set_status(job, JobState.RUNNING)
        if self.strategy != "none":
            working = [block for block in self.running() if self.executor.blocks[block].active]
            assert len(working) == MOST_BLOCKS, "work waits, and there is room for blocks"
        self.provider.may_kill = True
        self.controller.close()
        assert self.provider.live() == []


BlocksModel.TestCase.settings = settings(stateful_step_count=30)
TestBlocks = BlocksModel.TestCase
