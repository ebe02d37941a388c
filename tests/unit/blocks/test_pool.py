"""Single stories of the pool; tests/model has it under arbitrary orders of events."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from trellis.blocks.pool import BACKOFF_LIMIT_S, BACKOFF_S, MOST_AT_ONCE, STEADY_S, YOUNG_S, BlockPool
from trellis.blocks.pool_events import (
    BlockAdopted,
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
    StatusSaid,
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


@pytest.mark.parametrize(("tells_managers", "state"), [(True, JobState.MISSING), (False, JobState.FAILED)])
def test_a_rejected_block_has_failed(tells_managers: bool, state: JobState) -> None:
    pool = BlockPool(1, tells_managers=tells_managers)
    pool.handle(BlocksWanted(1), 0)
    pool.handle(JobRejected("0", "queue closed"), 0)
    status = pool.statuses()["0"]
    assert (status.state, status.message, pool.rejected) == (state, "queue closed", 1)
    assert pool.jobs() == {}


def test_where_managers_are_not_known_a_job_that_ends_is_not_missing() -> None:
    pool = BlockPool(1, tells_managers=False)
    pool.handle(BlocksWanted(1), 0)
    pool.handle(JobSubmitted("0", "job-0"), 0)
    observe(pool, job_0=JobState.COMPLETED)
    assert states(pool) == [JobState.COMPLETED]


def test_a_block_that_somebody_else_has_started_is_taken_in_once_and_its_number_is_not_used_again() -> None:
    pool = BlockPool(1)
    pool.handle(BlockAdopted("0", "theirs"), 0)
    pool.handle(BlockAdopted("mine", "also theirs"), 0)
    pool.handle(BlockAdopted("mine", "another"), 0)
    assert pool.live() == {"0": "theirs", "mine": "also theirs"}
    pool.handle(StatusesObserved({"theirs": JobStatus(JobState.COMPLETED)}), 1)
    pool.handle(StatusesObserved({"also theirs": JobStatus(JobState.RUNNING)}), 1)
    pool.check_invariants()
    pool.handle(ScaleInWanted(["mine"]), 2)
    pool.handle(JobCancelled("mine"), 2)
    assert pool.handle(BlocksWanted(1), 2) == [SubmitJob("2")]


def test_whoever_says_that_a_block_has_ended_is_believed_and_its_job_is_cancelled() -> None:
    pool = pool_of(1)
    assert pool.handle(StatusSaid("0", JobStatus(JobState.FAILED, "too hot")), 1) == [CancelJob("0", "job-0")]
    assert pool.handle(StatusSaid("0", JobStatus(JobState.FAILED, "again")), 1) == []
    pool.handle(JobCancelled("0"), 1)
    status = pool.statuses()["0"]
    assert (status.state, status.message) == (JobState.FAILED, "too hot")


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
    assert pool.troubles(19.9).silent == []
    assert pool.troubles(20).silent == ["0"]


# -- blocks that are of no use -----------------------------------------------------------------------------------


def waiting(reason: str) -> JobStatus:
    return JobStatus(JobState.PENDING, f"pending: {reason}")


def test_a_job_that_can_never_start_is_cancelled_at_once_and_has_failed() -> None:
    pool = pool_of(2)
    actions = observe(pool, job_0=waiting("PartitionTimeLimit"), job_1=waiting("Resources"))
    assert actions == [CancelJob("0", "job-0")]
    assert states(pool) == [JobState.PENDING, JobState.PENDING]
    # The cancel failed: it is tried again, and nothing takes the block's place so far.
    assert observe(pool, now=2, job_0=waiting("PartitionTimeLimit")) == [CancelJob("0", "job-0")]
    assert list(pool.live()) == ["0", "1"]
    pool.handle(JobCancelled("0"), 3)
    assert states(pool) == [JobState.FAILED, JobState.PENDING]
    assert pool.statuses()["0"].message == "its job can never start: pending: PartitionTimeLimit"


def test_jobs_that_can_never_start_are_not_submitted_in_a_storm() -> None:
    pool = pool_of(1)
    for number in range(1, 4):
        observe(pool, now=number, **{f"job_{number - 1}": waiting("BadConstraints")})
        pool.handle(JobCancelled(str(number - 1)), number)
        pool.handle(BlocksWanted(1), number)
        pool.handle(JobSubmitted(str(number), f"job-{number}"), number)
    assert pool.may_start(4) == 0


def test_a_job_that_is_held_for_good_after_it_has_run_has_failed() -> None:
    pool = pool_of(1)
    observe(pool, job_0=JobState.RUNNING)
    pool.handle(ManagersSeen(["0"]), 1)
    held = JobStatus(JobState.HELD, "pending: launch failed requeued held")
    assert observe(pool, now=2, job_0=held) == [CancelJob("0", "job-0")]
    observe(pool, now=3, job_0=JobStatus(JobState.CANCELLED, "cancelled", 15))
    status = pool.statuses()["0"]
    assert (status.state, status.exit_code) == (JobState.FAILED, 15)
    assert "launch failed requeued held" in (status.message or "")


def test_a_reason_that_may_pass_is_a_trouble_after_a_minute_and_not_when_it_passes() -> None:
    pool = pool_of(3)
    for now in (10, 40):
        assert observe(pool, now=now, job_0=waiting("QOSMaxJobsPerUserLimit"), job_1=waiting("Priority")) == []
    observe(pool, now=40, job_2=JobStatus(JobState.HELD, "JobHeldUser"))
    assert pool.troubles(69).waiting == []
    assert pool.troubles(70).waiting == ["0"]
    assert pool.troubles(100).waiting == ["0", "2"]
    observe(pool, now=101, job_0=waiting("Resources"))
    assert pool.troubles(200).waiting == ["2"]


def test_only_jobs_that_have_run_are_suspended() -> None:
    pool = pool_of(5)
    observe(pool, now=1, job_0=JobState.RUNNING, job_1=JobState.RUNNING)
    pool.handle(ManagersSeen(["3"]), 1)
    held = JobStatus(JobState.HELD)
    suspended = JobStatus(JobState.HELD, "suspended")
    by_admin = JobStatus(JobState.HELD, "JobHeldAdmin")
    # Nobody has seen 2, 3 and 4 run; of 3 and 4 it must be so.
    observe(pool, now=2, job_0=held, job_1=by_admin, job_2=held, job_3=held, job_4=suspended)
    assert pool.troubles(2).suspended == ["0", "3", "4"]
    observe(pool, now=3, job_0=JobState.RUNNING)
    assert pool.troubles(3).suspended == ["3", "4"]


def test_a_block_is_deserted_though_its_job_was_never_seen_to_run() -> None:
    pool = pool_of(1)
    pool.handle(ManagersSeen(["0"]), 1)
    observe(pool, now=2, job_0=JobStatus(JobState.HELD, "suspended"))
    pool.handle(ManagersSeen(["0"], ["0"]), 10)
    assert pool.troubles(70, 60).deserted == ["0"]


def test_a_block_is_deserted_when_its_managers_have_been_away_for_long() -> None:
    pool = pool_of(4)
    observe(pool, now=1, job_0=JobState.RUNNING, job_1=JobState.RUNNING, job_2=JobState.RUNNING)
    pool.handle(ManagersSeen(["0", "1", "2", "3"]), 2)  # 3 is not known to run
    pool.handle(ManagersSeen(["0", "1", "3"], deserted=["0", "3"]), 10)  # 2 is not even named
    pool.handle(ManagersSeen(["0", "1", "2"], deserted=["0"]), 50)  # and comes back
    assert pool.troubles(69, 60).deserted == []
    assert pool.troubles(70, 60).deserted == ["0"]
    assert pool.troubles(10_000, None).deserted == []


def test_a_deserted_block_is_cancelled_and_has_not_failed() -> None:
    pool = pool_of(1)
    observe(pool, now=1, job_0=JobState.RUNNING)
    pool.handle(ManagersSeen(["0"]), 2)
    assert pool.handle(ReplaceWanted(["0", "9"], "they have gone"), 100) == [CancelJob("0", "job-0")]
    assert pool.handle(ReplaceWanted(["0"], "they have gone"), 101) == []
    pool.handle(JobCancelled("0"), 102)
    assert states(pool) == [JobState.CANCELLED]
    assert pool.statuses()["0"].message == "they have gone"


def test_the_managers_of_a_job_that_was_requeued_are_waited_for_again() -> None:
    pool = pool_of(1)
    observe(pool, now=1, job_0=JobState.RUNNING)
    pool.handle(ManagersSeen(["0"]), 2)
    pool.handle(ManagersSeen(["0"], ["0"]), 3)
    observe(pool, now=4, job_0=waiting("BeginTime"))
    observe(pool, now=50, job_0=JobState.RUNNING)
    pool.handle(ManagersSeen(["0"], ["0"]), 51)
    assert pool.troubles(1000, 60).deserted == []
    pool.handle(ManagersSeen(["0"]), 1001)
    pool.handle(ManagersSeen(["0"], ["0"]), 1002)
    assert pool.troubles(1062, 60).deserted == ["0"]


# -- how many may be started -------------------------------------------------------------------------------------


def reject_one(pool: BlockPool, now: float) -> None:
    (action,) = pool.handle(BlocksWanted(1), now)
    pool.handle(JobRejected(action.block_id, "no"), now)


def lose_one(pool: BlockPool, now: float, *, connected_for: float | None = None) -> None:
    """A block is started now, and ends a second later, or so long after its manager has come."""
    (action,) = pool.handle(BlocksWanted(1), now)
    pool.handle(JobSubmitted(action.block_id, f"job-{action.block_id}"), now)
    end = now + 1
    if connected_for is not None:
        pool.handle(ManagersSeen([action.block_id]), now)
        end = now + connected_for
        pool.handle(ManagersSeen([action.block_id]), end)
    pool.handle(StatusesObserved({f"job-{action.block_id}": JobStatus(JobState.COMPLETED)}), end)


def wait_of(pool: BlockPool, now: float) -> float:
    """Seconds until a block may be started."""
    waits = (0, *(BACKOFF_S * 2**n for n in range(6)), BACKOFF_LIMIT_S)
    return next(wait for wait in waits if pool.may_start(now + wait))


@pytest.mark.parametrize("fail", [reject_one, lose_one])
def test_failures_in_a_row_make_the_next_block_wait_longer_and_longer(fail: Callable[[BlockPool, float], None]) -> None:
    pool = BlockPool(1)
    waits = []
    for now in range(0, 110, 10):
        fail(pool, now)
        waits.append(wait_of(pool, now + (fail is lose_one)))
    assert waits == [0, *(BACKOFF_S * 2**n for n in range(6)), *([BACKOFF_LIMIT_S] * 4)]


def test_not_all_blocks_are_started_at_once() -> None:
    assert BlockPool(1000).may_start(0) == MOST_AT_ONCE


def test_blocks_that_were_started_together_and_fail_one_by_one_count_once() -> None:
    pool = pool_of(4)
    for second in range(4):
        observe(pool, now=second, **{f"job_{second}": JobState.FAILED})
    assert pool.may_start(4) == MOST_AT_ONCE


def test_after_two_deaths_one_block_is_tried_until_it_has_worked() -> None:
    pool = BlockPool(100)
    for now in (0, 10):
        lose_one(pool, now)
    assert pool.may_start(20) == 0
    assert pool.may_start(21) == 1
    pool.handle(BlocksWanted(1), 30)
    pool.handle(JobSubmitted("2", "job-2"), 30)
    assert pool.may_start(10_000) == 0
    pool.handle(ManagersSeen(["2"]), 10_000)
    pool.handle(ManagersSeen(["2"]), 10_000 + STEADY_S - 1)
    assert pool.may_start(10_000 + STEADY_S - 1) == 0
    pool.handle(ManagersSeen(["2"]), 10_000 + STEADY_S)
    assert pool.may_start(10_000 + STEADY_S) == MOST_AT_ONCE


def test_a_block_that_has_worked_long_ago_says_nothing_of_those_that_fail_now() -> None:
    pool = pool_of(1)
    for now in (0, STEADY_S):
        pool.handle(ManagersSeen(["0"]), now)
    for now in (100, 110, 120):
        lose_one(pool, now)
        pool.handle(ManagersSeen(["0"]), now + 1)
    assert pool.may_start(122) == 0


def test_blocks_that_die_soon_after_their_managers_came_are_failures_too() -> None:
    pool = BlockPool(1)
    for now in (0, 100, 200):
        lose_one(pool, now, connected_for=STEADY_S - 1)
    assert pool.may_start(201 + STEADY_S) == 0


def test_blocks_that_worked_and_ended_are_not() -> None:
    pool = BlockPool(1)
    for now in (0, 100, 200):
        lose_one(pool, now, connected_for=STEADY_S)
    assert pool.may_start(200 + STEADY_S) == MOST_AT_ONCE


def test_a_provider_may_say_after_how_long_a_block_has_worked() -> None:
    pool = BlockPool(1, steady_s=5)
    for now in (0, 100, 200):
        lose_one(pool, now, connected_for=5)
    assert pool.may_start(205) == MOST_AT_ONCE
    for now in (300, 400, 500):
        lose_one(pool, now, connected_for=4)
    assert pool.may_start(505) == 0


def test_after_a_rejection_one_job_is_tried_until_it_is_taken() -> None:
    pool = BlockPool(100)
    reject_one(pool, 0)
    assert pool.may_start(1) == 1
    pool.handle(BlocksWanted(1), 1)
    pool.handle(JobSubmitted("1", "job-1"), 1)
    assert pool.may_start(1) == MOST_AT_ONCE


def test_blocks_whose_end_was_wanted_have_not_failed() -> None:
    pool = pool_of(4)
    pool.handle(DrainWanted(["0", "1"]), 1)
    pool.handle(ScaleInWanted(["2", "3"]), 1)
    for second in range(4):
        observe(pool, now=2 + second, **{f"job_{second}": JobState.FAILED})
    assert pool.may_start(1) == MOST_AT_ONCE
    assert states(pool) == [JobState.SCALED_IN] * 4


# -- draining, and young blocks ----------------------------------------------------------------------------------


def test_a_draining_block_stays_until_its_end_is_wanted() -> None:
    pool = pool_of(2)
    assert pool.handle(DrainWanted(["0", "no such block"]), 1) == []
    assert (pool.staying(), pool.draining(), list(pool.live())) == (["1"], ["0"], ["0", "1"])
    assert observe(pool, job_0=JobState.RUNNING) == []
    assert pool.handle(ScaleInWanted(["0"]), 2) == [CancelJob("0", "job-0")]
    assert pool.draining() == []


def test_a_block_is_young_after_its_submission_and_after_its_start_until_a_manager_comes() -> None:
    pool = pool_of(1)
    assert (pool.young_since(YOUNG_S - 1), pool.young_since(YOUNG_S)) == (0, None)
    observe(pool, now=1000, job_0=JobState.RUNNING)
    assert (pool.young_since(999 + YOUNG_S), pool.young_since(1000 + YOUNG_S)) == (1000, None)
    pool.handle(ManagersSeen(["0"]), 1001)
    assert pool.young_since(1001) is None


def test_a_job_that_waits_again_has_not_begun_to_run() -> None:
    pool = pool_of(1)
    observe(pool, now=10, job_0=JobState.RUNNING)
    observe(pool, now=15, job_0=JobState.PENDING)
    assert pool.troubles(30).silent == []
    observe(pool, now=40, job_0=JobState.RUNNING)
    assert pool.troubles(49).silent == []
    assert pool.troubles(50).silent == ["0"]


def test_blocks_that_shall_end_are_neither_young_nor_silent() -> None:
    pool = pool_of(1)
    observe(pool, now=1, job_0=JobState.RUNNING)
    pool.handle(DrainWanted(["0"]), 1)
    assert pool.young_since(2) is None
    assert pool.troubles(100).silent == []


def test_the_invariants_notice_a_pool_that_contradicts_itself() -> None:
    pool = pool_of(2, limit=2)
    pool.limit = 1
    with pytest.raises(AssertionError, match="2 blocks live, 1 allowed"):
        pool.check_invariants()
