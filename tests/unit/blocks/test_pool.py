"""Single stories of the pool; tests/model has it under arbitrary orders of events."""

from __future__ import annotations

import pytest

from trellis.blocks.pool import (
    BACKOFF_LIMIT_S,
    BACKOFF_S,
    BlockPool,
    BlocksWanted,
    CancelJob,
    JobCancelled,
    JobRejected,
    JobSubmitted,
    ManagersSeen,
    ScaleInWanted,
    StatusesObserved,
    SubmitJob,
)
from trellis.core.jobs import JobState, JobStatus


def pool_of(blocks: int, limit: int = 10) -> BlockPool:
    pool = BlockPool(limit)
    pool.handle(BlocksWanted(blocks), 0)
    for n in range(blocks):
        pool.handle(JobSubmitted(str(n), f"job-{n}"), 0)
    return pool


def observe(pool: BlockPool, now: float = 1, **states: JobState | JobStatus) -> list[object]:
    """Events by job: ``observe(pool, job_0=JobState.RUNNING)``."""
    return list(
        pool.handle(
            StatusesObserved(
                {
                    job.replace("_", "-"): state if isinstance(state, JobStatus) else JobStatus(state)
                    for job, state in states.items()
                }
            ),
            now,
        )
    )


def states(pool: BlockPool) -> list[JobState]:
    pool.check_invariants()
    return [status.state for status in pool.statuses().values()]


def test_blocks_are_numbered_and_limited() -> None:
    pool = BlockPool(2)
    assert pool.handle(BlocksWanted(5), 0) == [SubmitJob("0"), SubmitJob("1")]
    assert pool.handle(BlocksWanted(1), 0) == []
    pool.handle(JobRejected("0", "no"), 0)
    assert pool.handle(BlocksWanted(5), 0) == [SubmitJob("2")]


def test_a_rejected_block_has_failed() -> None:
    pool = BlockPool(1)
    pool.handle(BlocksWanted(1), 0)
    pool.handle(JobRejected("0", "queue closed"), 0)
    status = pool.statuses()["0"]
    assert (status.state, status.message) == (JobState.FAILED, "queue closed")
    assert pool.jobs() == {}


def test_unknown_is_not_gone() -> None:
    pool = pool_of(1, limit=1)
    observe(pool, job_0=JobState.RUNNING)
    observe(pool, job_0=JobState.UNKNOWN)
    assert states(pool) == [JobState.UNKNOWN]
    assert pool.staying() == ["0"]
    assert pool.handle(BlocksWanted(1), 2) == []


@pytest.mark.parametrize("ended", [JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED, JobState.TIMEOUT])
def test_a_job_that_ended_before_a_manager_connected_is_missing(ended: JobState) -> None:
    pool = pool_of(1)
    observe(pool, job_0=JobStatus(ended, "sad", exit_code=3, stdout_path="o", stderr_path="e"))
    status = pool.statuses()["0"]
    assert (status.state, status.exit_code, status.stdout_path, status.stderr_path) == (JobState.MISSING, 3, "o", "e")
    assert status.message == f"its job ended ({ended.name}) before any of its managers had connected: sad"


@pytest.mark.parametrize("ended", [JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED, JobState.TIMEOUT])
def test_a_job_that_ended_after_its_managers_connected_keeps_its_state(ended: JobState) -> None:
    pool = pool_of(1)
    pool.handle(ManagersSeen(["0"]), 1)
    observe(pool, job_0=ended)
    assert states(pool) == [ended]


def test_the_end_of_a_block_comes_once() -> None:
    pool = pool_of(1)
    pool.handle(ManagersSeen(["0"]), 1)
    observe(pool, job_0=JobState.FAILED)
    observe(pool, job_0=JobState.RUNNING)
    pool.handle(JobCancelled("0"), 2)
    pool.handle(ManagersSeen(["0"]), 2)
    assert states(pool) == [JobState.FAILED]


def test_a_block_that_we_end_is_scaled_in() -> None:
    pool = pool_of(2)
    assert pool.handle(ScaleInWanted(["1"]), 1) == [CancelJob("1", "job-1")]
    assert pool.staying() == ["0"]
    assert pool.live() == {"0": "job-0", "1": "job-1"}
    pool.handle(JobCancelled("1"), 1)
    assert states(pool) == [JobState.PENDING, JobState.SCALED_IN]


@pytest.mark.parametrize("ended", [JobState.CANCELLED, JobState.FAILED, JobState.MISSING])
def test_a_block_that_we_end_is_scaled_in_however_its_job_ends(ended: JobState) -> None:
    pool = pool_of(1)
    pool.handle(ScaleInWanted(["0"]), 1)
    observe(pool, job_0=ended)
    assert states(pool) == [JobState.SCALED_IN]
    assert pool.retry_at() == float("-inf")


def test_a_cancel_that_did_nothing_is_repeated_at_the_next_look() -> None:
    pool = pool_of(1)
    pool.handle(ScaleInWanted(["0"]), 1)
    assert pool.handle(ScaleInWanted(["0"]), 1) == []
    assert observe(pool, job_0=JobState.RUNNING) == [CancelJob("0", "job-0")]


def test_a_block_ended_while_it_is_submitted_is_cancelled_when_its_job_is_known() -> None:
    pool = BlockPool(1)
    pool.handle(BlocksWanted(1), 0)
    assert pool.handle(ScaleInWanted(["0"]), 0) == []
    assert pool.handle(JobSubmitted("0", 7), 0) == [CancelJob("0", 7)]


def test_a_job_number_may_come_again() -> None:
    pool = pool_of(1)
    observe(pool, job_0=JobState.FAILED)
    pool.handle(BlocksWanted(1), 2)
    pool.handle(JobSubmitted("1", "job-0"), 2)
    observe(pool, job_0=JobState.RUNNING)
    assert states(pool) == [JobState.MISSING, JobState.RUNNING]


def test_silent_blocks_run_for_long_without_a_manager() -> None:
    pool = pool_of(3)
    observe(pool, now=10, job_0=JobState.RUNNING, job_1=JobState.RUNNING)
    observe(pool, now=15, job_0=JobState.RUNNING)
    pool.handle(ManagersSeen(["1"]), 15)
    assert pool.silent(19.9, 10) == []
    assert pool.silent(20, 10) == ["0"]


def fail_one(pool: BlockPool, now: float) -> None:
    (action,) = pool.handle(BlocksWanted(1), now)
    pool.handle(JobRejected(action.block_id, "no"), now)


def test_failures_in_a_row_make_the_next_block_wait_longer_and_longer() -> None:
    pool = BlockPool(1)
    waits = []
    for now in range(1, 12):
        fail_one(pool, now)
        waits.append(pool.retry_at() - now)
    assert waits[:4] == [0, BACKOFF_S, 2 * BACKOFF_S, 4 * BACKOFF_S]
    assert waits[-1] == BACKOFF_LIMIT_S


def test_blocks_that_fail_together_count_once() -> None:
    pool = pool_of(3)
    observe(pool, now=1, job_0=JobState.FAILED, job_1=JobState.FAILED, job_2=JobState.FAILED)
    assert pool.retry_at() == 1


def test_a_manager_that_connects_ends_the_waiting() -> None:
    pool = BlockPool(2)
    pool.handle(BlocksWanted(1), 0)
    pool.handle(JobSubmitted("0", 1), 0)
    for now in range(1, 5):
        fail_one(pool, now)
    pool.handle(ManagersSeen(["0"]), 5)
    assert pool.retry_at() <= 5


def test_a_block_that_ends_well_does_not_make_the_next_one_wait() -> None:
    pool = pool_of(1)
    pool.handle(ManagersSeen(["0"]), 1)
    observe(pool, job_0=JobState.COMPLETED)
    assert pool.retry_at() == float("-inf")


def test_the_invariants_notice_a_pool_that_contradicts_itself() -> None:
    pool = pool_of(2, limit=2)
    pool.limit = 1
    with pytest.raises(AssertionError, match="2 blocks live, 1 allowed"):
        pool.check_invariants()
