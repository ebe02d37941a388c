"""What people who ask are told of blocks: each state, each reason, and why there are no more of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from trellis.blocks.book import BlockBook
from trellis.blocks.pool import BACKOFF_S, BlockPool
from trellis.blocks.pool_events import BlocksWanted, JobRejected, JobSubmitted, StatusesObserved
from trellis.blocks.reports import KnownBlocks, block_hindrances, block_reports
from trellis.core.jobs import JobState, JobStatus
from trellis.core.reports import BlockReport, Hindrance
from trellis.testing import FakeClock, FakeProvider


def known(max_blocks: int = 10, strategy: str = "simple", **statuses: JobStatus) -> KnownBlocks:
    """Blocks b0, b1, … with the jobs 100, 101, …"""
    named = {name.removeprefix("b"): status for name, status in statuses.items()}
    jobs = {block: f"10{block}" for block in named}
    return KnownBlocks(named, jobs, dict.fromkeys(named, 5.0), max_blocks, strategy)


def pending(reason: str | None = None) -> JobStatus:
    return JobStatus(JobState.PENDING, reason)


def only(blocks: KnownBlocks) -> Hindrance:
    (hindrance,) = block_hindrances(blocks, {})
    return hindrance


# -- reports -----------------------------------------------------------------------------------------------------


def test_a_report_has_every_block_there_has_been(tmp_path: Path) -> None:
    (tmp_path / "err").write_text("...\nsomething odd: 17\n")
    failed = JobStatus(JobState.FAILED, None, 1, stderr_path=str(tmp_path / "err"))
    blocks = known(b0=failed, b1=JobStatus(JobState.RUNNING), b2=pending("pending: Priority"))
    assert block_reports(blocks, {"1": 2}) == [
        BlockReport("0", "FAILED", "100", "exit code 1: something odd: 17", 0, 5.0),
        BlockReport("1", "RUNNING", "101", "", 2, 5.0),
        BlockReport("2", "PENDING", "102", "Priority", 0, 5.0),
    ]


def test_an_exit_code_is_said_once() -> None:
    (report,) = block_reports(known(b0=JobStatus(JobState.FAILED, "it ended with exit code 3", 3)), {})
    assert report.reason == "it ended with exit code 3"


def test_the_likely_cause_of_a_failure_is_named() -> None:
    status = JobStatus(JobState.MISSING, "bash: python3: command not found", 127)
    (report,) = block_reports(known(b0=status), {})
    assert report.reason.startswith("bash: python3: command not found, exit code 127: ")


# -- hindrances --------------------------------------------------------------------------------------------------


def test_a_block_that_waits_as_jobs_do() -> None:
    assert only(known(b0=pending("pending: Priority"))) == Hindrance(
        "block 0 (job 100)",
        "the batch system has not started its job: Priority",
        "when it is its turn in the batch system's queue",
    )
    assert only(known(b0=pending())).reason == "its job has not started yet"


def test_a_block_that_waits_for_something_gets_a_hint() -> None:
    found = only(known(b0=pending("pending: QOSMaxJobsPerUserLimit")))
    assert found.reason.endswith("job: QOSMaxJobsPerUserLimit")
    assert "limit of your account" in found.until


def test_blocks_with_one_reason_are_told_of_once() -> None:
    found = only(known(b0=pending("pending: Priority"), b1=pending("pending: Priority")))
    assert found.place == "blocks 0, 1 (jobs 100, 101)"


def test_a_block_that_is_held() -> None:
    found = only(known(b0=JobStatus(JobState.HELD, "pending: JobHeldUser")))
    assert found.reason == "its job is held or suspended: pending: JobHeldUser"
    assert "scontrol release" in found.until


def test_a_block_without_managers() -> None:
    assert only(known(b0=JobStatus(JobState.RUNNING))).reason == "its job runs, and no manager of it is connected"
    assert block_hindrances(known(b0=JobStatus(JobState.RUNNING)), {"0": 1}) == []


def test_a_block_of_which_nobody_knows() -> None:
    found = only(known(b0=JobStatus(JobState.UNKNOWN, "squeue: error: timed out")))
    assert found.reason == "the batch system does not tell how its job is: squeue: error: timed out"


def test_a_block_that_is_just_submitted() -> None:
    blocks = KnownBlocks({"0": pending()}, {}, {}, 10, "simple")
    assert only(blocks) == Hindrance(
        "block 0", "it is being submitted to the batch system", "when its job is known and has started"
    )


def test_blocks_that_have_failed() -> None:
    status = JobStatus(JobState.FAILED, "ScalingFailed: sbatch: error: invalid partition")
    found = only(known(b0=status, b1=status))
    assert found.place == "blocks 0, 1"
    assert "invalid partition" in found.reason


@pytest.mark.parametrize("max_blocks", [0, -1])
def test_no_block_is_allowed(max_blocks: int) -> None:
    found = only(known(max_blocks=max_blocks))
    assert (found.place, found.reason) == ("more blocks", f"max_blocks is {max_blocks}")


def test_as_many_blocks_as_there_may_be() -> None:
    *_, found = block_hindrances(known(max_blocks=1, b0=pending()), {})
    assert found.reason == "there are as many as max_blocks of the provider allows: 1"


def test_after_failures_the_next_block_waits() -> None:
    found = only(replace(known(), retry_in_s=17.4))
    assert (found.reason, found.until) == (
        "the last ones have failed, and another is not tried at once",
        "in 17 s the next one is",
    )


def test_parallelism_keeps_blocks_few() -> None:
    blocks = replace(known(b0=JobStatus(JobState.RUNNING)), parallelism=0.25)
    (found,) = block_hindrances(blocks, {"0": 1})
    assert found.reason.startswith("with parallelism=0.25 of the provider")


def test_a_strategy_that_starts_none() -> None:
    assert "starts none beyond init_blocks" in only(known(strategy="none")).reason
    ended = known(strategy="none", b0=JobStatus(JobState.COMPLETED))
    assert only(ended).reason == "all blocks have ended, and the strategy 'none' starts no others"
    assert block_hindrances(known(strategy="none", b0=JobStatus(JobState.RUNNING)), {"0": 1}) == []


def test_without_a_provider_somebody_else_starts_managers() -> None:
    (found,) = block_hindrances(known(), {}, has_provider=False)
    assert found.reason == "no manager is connected, and there is no provider that starts any"
    assert block_hindrances(known(), {"x": 1}, has_provider=False) == []


# -- the book ----------------------------------------------------------------------------------------------------


def test_each_change_of_a_block_is_there_once_and_in_order() -> None:
    pool, book = BlockPool(5), BlockBook("label")
    pool.handle(BlocksWanted(2), 0.0)
    book.publish(pool)
    pool.handle(JobSubmitted("0", 7), 0.0)
    pool.handle(StatusesObserved({7: JobStatus(JobState.RUNNING)}), 1.0)
    book.publish(pool)
    changes = [{block: job.state for block, job in batch.items()} for batch in book.take_changes()]
    assert changes == [{"0": JobState.PENDING, "1": JobState.PENDING}, {"0": JobState.RUNNING}]
    assert book.take_changes() == []
    assert (set(book.made_at), book.jobs) == ({"0", "1"}, {"0": 7})


def test_it_is_told_when_the_next_block_is_tried() -> None:
    pool, clock = BlockPool(5), FakeClock()
    book = BlockBook("label", clock)
    for now in (0.0, 1.0):
        pool.handle(BlocksWanted(1), now)
        pool.handle(JobRejected(str(int(now)), "no"), now)
    book.publish(pool)
    clock.advance(5.0)
    assert book.known(FakeProvider(max_blocks=3), "simple").retry_in_s == 1.0 + BACKOFF_S - 5.0
    clock.advance(50.0)
    assert book.known(FakeProvider(max_blocks=3), "simple").retry_in_s == 0.0
