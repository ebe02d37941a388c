"""What users' executors do with their blocks in their own way, under Parsl's names, step by step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from tests.unit.blocks.fakes import FakeExecutor
from trellis.blocks.book import BlockBook
from trellis.blocks.controller import BlockController
from trellis.blocks.overrides import Overrides, UsersWord, overrides_of
from trellis.blocks.user_messages import UserMessages
from trellis.core.interfaces import ExecutorContext
from trellis.core.jobs import JobState, JobStatus
from trellis.executors.htex.executor import HighThroughputExecutor
from trellis.testing import FakeClock, FakeProvider


class Stage:
    """A controller, and what the user's executor does; a test sets ``overrides``."""

    def __init__(self, *, strategy: str = "simple", **settings: Any) -> None:
        self.clock = FakeClock()
        self.told: list[str] = []
        self.provider = FakeProvider(**settings)
        self.executor = FakeExecutor(self.provider)
        self.overrides = Overrides()
        context = ExecutorContext(strategy=strategy, strategy_period_s=5, max_idletime_s=60, notify=self.told.append)
        self.controller = BlockController(
            self.executor, self.provider, context=context, clock=self.clock, overrides=lambda: self.overrides
        )

    def step(self, seconds: float = 0) -> None:
        end = self.clock.now() + seconds
        while True:
            deadline = self.controller.step()
            if deadline > end:
                self.clock.advance(end - self.clock.now())
                return
            assert deadline > self.clock.now(), "the controller is busy for nothing"
            self.clock.advance(deadline - self.clock.now())

    @property
    def states(self) -> dict[str, str]:
        return {block: status.status_name for block, status in self.controller.said_status().items()}


def test_a_method_that_fails_is_told_of_once_and_the_blocks_are_looked_after() -> None:
    stage = Stage(init_blocks=1)

    def status() -> dict[str, JobStatus]:
        raise RuntimeError("no idea")

    stage.overrides = Overrides(status=status)
    stage.step()
    stage.provider.run()
    stage.step(3)
    assert stage.told == ["fake_executor: the method status failed: RuntimeError: no idea"]
    assert stage.states == {"0": "RUNNING"}


def test_a_block_is_ended_when_the_executor_says_that_it_has_failed_and_the_handler_hears_its_words() -> None:
    heard: list[dict[str, str]] = []
    stage = Stage(init_blocks=1, strategy="none")
    stage.executor.handler = lambda _, statuses: heard.append({b: str(job.message) for b, job in statuses.items()})
    stage.step()
    stage.provider.run()
    stage.overrides = Overrides(status=lambda: {"0": JobStatus(JobState.FAILED, "too hot")})
    stage.step(2)
    assert stage.provider.cancelled == ["job-0"]
    assert heard[-1] == {"0": "too hot"}
    assert stage.states == {"0": "FAILED"}


def test_a_block_that_the_executor_calls_scaled_in_has_not_failed() -> None:
    stage = Stage(init_blocks=1, strategy="none")
    stage.step()
    stage.overrides = Overrides(status=lambda: {"0": JobStatus(JobState.SCALED_IN)})
    stage.step(2)
    assert (stage.provider.cancelled, stage.states) == (["job-0"], {"0": "SCALED_IN"})


def test_what_was_said_of_a_block_holds_until_something_happens_to_it() -> None:
    stage = Stage(init_blocks=1, strategy="none")
    stage.step()
    stage.overrides = Overrides(status=lambda: {"0": JobStatus(JobState.HELD)})
    stage.step(1)
    assert stage.states == {"0": "HELD"}
    stage.controller.scale_in(1)
    assert stage.states == {"0": "SCALED_IN"}


def test_status_facade_has_the_last_word() -> None:
    stage = Stage(init_blocks=1, strategy="none")
    stage.overrides = Overrides(
        status=lambda: {"0": JobStatus(JobState.HELD)}, status_facade=lambda: {"0": JobStatus(JobState.UNKNOWN)}
    )
    stage.step(1)
    assert stage.states == {"0": "UNKNOWN"}


def test_what_callers_do_with_statuses_does_not_reach_the_pool() -> None:
    stage = Stage(init_blocks=1)
    stage.step()
    for statuses in (stage.controller.status(), stage.controller.said_status()):
        statuses["0"].state = JobState.FAILED
    assert stage.states == {"0": "PENDING"}


def test_blocks_that_the_executor_starts_by_itself_are_asked_about_counted_and_cancelled() -> None:
    stage = Stage(init_blocks=1, max_blocks=2)
    jobs: dict[str, Any] = {}
    wanted: list[int] = []

    def scale_out(number: int) -> Sequence[str]:
        wanted.append(number)
        for _ in range(number):
            jobs[f"mine-{len(jobs)}"] = stage.provider.submit("mine", 1)
        return list(jobs)

    stage.overrides = Overrides(scale_out=scale_out, jobs=lambda: jobs)
    stage.step()
    assert wanted == [1]
    assert stage.states == {"mine-0": "PENDING"}
    stage.executor.outstanding = 10
    stage.step(20)
    assert wanted == [1, 1]
    stage.provider.run()
    stage.step(5)
    assert stage.states == {"mine-0": "RUNNING", "mine-1": "RUNNING"}
    stage.controller.close()
    assert sorted(stage.provider.cancelled) == sorted(jobs.values())


def test_blocks_that_only_the_executor_knows_count() -> None:
    stage = Stage(init_blocks=0, max_blocks=2)
    wanted: list[int] = []
    stage.overrides = Overrides(
        scale_out=lambda number: wanted.append(number), status=lambda: {"mine": JobStatus(JobState.RUNNING)}
    )
    stage.executor.outstanding = 10
    stage.step(6)
    assert wanted == [0, 1]
    assert stage.states == {"mine": "RUNNING"}


def test_the_plan_calls_the_executors_scale_in_and_ends_what_that_names() -> None:
    stage = Stage(init_blocks=2, max_blocks=2)
    asked: list[tuple[int, dict[str, float]]] = []
    chosen: list[str] | None = None

    def scale_in(number: int, **idle: float) -> list[str] | None:
        asked.append((number, idle))
        return chosen

    stage.overrides = Overrides(scale_in=scale_in)
    stage.step(66)
    assert set(stage.states.values()) == {"PENDING"}
    assert asked[0] == (2, {})
    chosen = ["0", "no such block"]
    stage.step(5)
    assert (stage.states, stage.provider.cancelled) == ({"0": "SCALED_IN", "1": "PENDING"}, ["job-0"])


def test_single_idle_blocks_are_scaled_in_with_the_idle_time() -> None:
    stage = Stage(strategy="htex_auto_scale", init_blocks=2, max_blocks=2)
    asked: list[tuple[int, dict[str, float]]] = []
    stage.overrides = Overrides(scale_in=lambda number, **idle: asked.append((number, idle)))
    stage.executor.outstanding = 1
    stage.step()
    stage.provider.run()
    stage.executor.connect("0")
    stage.executor.connect("1", tasks=0, idle_s=61)
    stage.step(5)
    assert asked == [(1, {"max_idletime": 60})]


def test_a_poll_that_does_not_ask_for_ours_is_asked_no_more_often_for_it() -> None:
    stage = Stage(init_blocks=1, status_polling_interval=60)
    polls: list[float] = []
    stage.overrides = Overrides(poll=lambda: polls.append(stage.clock.now()))
    stage.step(120)
    assert 1 < len(polls) < 25
    assert stage.provider.status_calls == 0


def test_changes_of_states_are_passed_on_once() -> None:
    stage = Stage(init_blocks=1, strategy="none")
    told: list[dict[str, str]] = []
    stage.overrides = Overrides(
        send_monitoring_info=lambda status: told.append({block: job.status_name for block, job in status.items()})
    )
    stage.step(3)
    stage.provider.run()
    stage.step(3)
    assert told == [{"0": "PENDING"}, {"0": "RUNNING"}]


@pytest.mark.parametrize("name", ["poll_facade", "status", "scale_out_facade", "scale_in_facade", "scale_in"])
def test_a_method_that_is_put_on_the_object_counts_as_one_of_a_subclass(name: str) -> None:
    executor = HighThroughputExecutor()
    assert overrides_of(executor) == Overrides()
    setattr(executor, name, lambda *args, **kwargs: {})
    found = [field for field, method in overrides_of(executor)._asdict().items() if method is not None]
    assert found == {
        "poll_facade": ["poll"],
        "status": ["status"],
        "scale_out_facade": ["scale_out", "jobs"],
        "scale_in_facade": ["scale_in"],
        "scale_in": ["scale_in"],
    }.get(name)


def test_statuses_that_are_no_mapping_are_passed_over() -> None:
    user = UsersWord(lambda: Overrides(status=lambda: None), UserMessages("x", None), BlockBook("x"))  # type: ignore[arg-type, return-value]
    known = {"0": JobStatus(JobState.RUNNING)}
    assert user.hear(known) == {}
    assert user.statuses(known)["0"].state is JobState.RUNNING
