"""The controller over a fake provider and a fake clock, step by step; its thread in the last section only."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.unit.blocks.fakes import FakeExecutor
from trellis.blocks.controller import BlockController
from trellis.core.interfaces import ExecutorContext
from trellis.core.jobs import JobState, JobStatus
from trellis.errors import SubmitException, TooManyJobFailuresError
from trellis.testing import FakeClock, FakeProvider

CONTEXT = ExecutorContext(strategy="simple", strategy_period_s=5, max_idletime_s=60)


class House:
    """A controller with all that it talks to."""

    def __init__(self, *, context: ExecutorContext = CONTEXT, handler: Any = False, **settings: Any) -> None:
        self.clock = FakeClock()
        self.provider = FakeProvider(**settings)
        self.executor = FakeExecutor(self.provider)
        self.controller = BlockController(
            self.executor, self.provider, block_error_handler=handler, context=context, clock=self.clock
        )

    def step(self, seconds: float = 0) -> None:
        """Let time pass as the thread would: step whenever something is due."""
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
        return {block: status.status_name for block, status in self.controller.status().items()}


# -- starting ----------------------------------------------------------------------------------------------------


def test_the_first_step_submits_the_first_blocks() -> None:
    house = House(init_blocks=2, max_blocks=3)
    house.step()
    assert house.provider.submitted == {"job-0": "start-managers 0", "job-1": "start-managers 1"}
    assert house.controller.blocks_to_job_id == {"0": "job-0", "1": "job-1"}
    assert house.controller.job_ids_to_block == {"job-0": "0", "job-1": "1"}
    assert house.states == {"0": "PENDING", "1": "PENDING"}


def test_init_blocks_above_max_blocks_are_started() -> None:
    house = House(init_blocks=2, max_blocks=1)
    house.step()
    assert len(house.provider.submitted) == 2


def test_a_rejected_block_has_failed_with_the_providers_words() -> None:
    house = House()
    house.provider.submit_error = SubmitException("x", "no such queue")
    house.step()
    assert house.states == {"0": "FAILED"}
    assert "no such queue" in (house.controller.status()["0"].message or "")


def test_a_launch_command_that_cannot_be_made_is_a_failed_block() -> None:
    house = House()
    house.executor.launch_error = ValueError("bad template")
    house.step()
    assert house.states == {"0": "FAILED"}


def test_when_all_first_blocks_are_rejected_the_executor_fails_at_once() -> None:
    house = House(handler=True)
    house.provider.submit_error = SubmitException("x", "no such queue")
    house.step()
    assert isinstance(house.executor.failure, TooManyJobFailuresError)


# -- looking after them ------------------------------------------------------------------------------------------


def test_jobs_are_looked_at_in_the_providers_interval_and_plans_made_in_the_strategys() -> None:
    house = House(init_blocks=1, max_blocks=2, status_polling_interval=60)
    house.step()
    house.executor.outstanding = 2
    house.step(59)
    assert house.provider.status_calls == 0
    assert len(house.provider.submitted) == 2
    house.step(1)
    assert house.provider.status_calls == 1


def test_statuses_follow_the_provider() -> None:
    house = House(init_blocks=2, max_blocks=2)
    house.step()
    house.provider.run()
    house.executor.connect("0")
    house.step(1)
    assert house.states == {"0": "RUNNING", "1": "RUNNING"}
    house.provider.finish("job-0")
    house.provider.finish("job-1")
    house.step(1)
    assert house.states == {"0": "COMPLETED", "1": "MISSING"}


def test_jobs_that_ended_are_not_asked_for() -> None:
    house = House()
    house.step()
    house.provider.finish("job-0")
    house.step(1)
    calls = house.provider.status_calls
    house.step(3)
    assert house.provider.status_calls == calls


def test_wake_looks_before_the_interval_is_over_but_not_in_a_storm() -> None:
    house = House(status_polling_interval=60)
    house.executor.outstanding = 1
    house.step(60)
    for _ in range(100):
        house.controller.wake()
        house.step(0.1)
    assert house.provider.status_calls == 2


def test_a_provider_that_does_not_answer_changes_nothing_and_is_asked_less_and_less(
    caplog: pytest.LogCaptureFixture,
) -> None:
    house = House(max_blocks=2)
    house.executor.outstanding = 1
    house.step()
    house.provider.run()
    house.step(1)
    house.provider.status_error = OSError("socket timed out")
    house.step(100)
    assert house.states == {"0": "RUNNING"}
    assert len(house.provider.submitted) == 1
    assert house.provider.status_calls == 1 + 6  # after 1, 2, 4, 8, 16, 32 s
    assert caplog.text.count("socket timed out") == 1
    house.provider.status_error = None
    with caplog.at_level(logging.INFO, "trellis"):
        house.step(100)
    assert "answers again" in caplog.text
    calls = house.provider.status_calls
    house.step(5)
    assert house.provider.status_calls == calls + 5


def test_an_unanswered_provider_is_not_hurried_by_wake() -> None:
    house = House(status_polling_interval=60)
    house.provider.status_error = OSError("socket timed out")
    house.step(60)
    house.controller.wake()
    house.step(60)
    assert house.provider.status_calls == 1


def test_too_few_statuses_count_as_no_answer() -> None:
    house = House()
    house.step()
    house.provider.status = lambda job_ids: []  # type: ignore[method-assign]
    house.step(1)
    assert house.states == {"0": "PENDING"}


# -- errors ------------------------------------------------------------------------------------------------------


def test_the_error_handler_gets_the_executor_and_all_statuses_after_each_look() -> None:
    heard: list[tuple[Any, dict[str, JobState]]] = []

    def handler(executor: Any, statuses: dict[str, JobStatus]) -> None:
        heard.append((executor, {block: status.state for block, status in statuses.items()}))

    house = House(handler=handler)
    house.step()
    house.provider.run()
    house.step(1)
    assert heard == [(house.executor, {"0": JobState.PENDING}), (house.executor, {"0": JobState.RUNNING})]


def test_true_stands_for_the_simple_handler_and_false_for_none() -> None:
    for handler, fails in ((True, True), (False, False)):
        house = House(handler=handler)
        house.step()
        house.provider.finish("job-0", exit_code=1)
        house.step(1)
        assert house.executor.bad_state_is_set == fails


def test_blocks_of_an_executor_that_failed_are_ended() -> None:
    house = House(init_blocks=2, max_blocks=2)
    house.executor.outstanding = 2
    house.step()
    house.executor.fail_all(RuntimeError("the interchange died"))
    house.step(30)
    assert house.provider.cancelled == ["job-0", "job-1"]
    assert len(house.provider.submitted) == 2


def test_a_lost_block_is_replaced_while_tasks_wait() -> None:
    house = House()
    house.executor.outstanding = 1
    house.step()
    house.provider.run()
    house.executor.connect("0")
    house.step(1)
    house.provider.finish("job-0", exit_code=1)
    house.step(5)
    assert house.states == {"0": "FAILED", "1": "PENDING"}


def test_blocks_that_keep_failing_are_started_less_and_less() -> None:
    house = House()
    house.executor.outstanding = 1
    house.provider.submit_error = SubmitException("x", "down for maintenance")
    house.step(3600)
    assert 5 < len(house.states) < 15


# -- scaling -----------------------------------------------------------------------------------------------------


def test_scale_out_gives_the_new_blocks_within_max_blocks() -> None:
    house = House(init_blocks=1, max_blocks=3)
    house.step()
    assert house.controller.scale_out(5) == ["1", "2"]
    assert house.controller.scale_out(1) == []


def test_scale_out_does_not_name_blocks_that_were_rejected() -> None:
    house = House(init_blocks=0)
    house.provider.submit_error = SubmitException("x", "no")
    assert house.controller.scale_out(1) == []


def test_scale_in_releases_blocks_before_it_cancels_them() -> None:
    house = House(init_blocks=2, max_blocks=2)
    house.step()
    house.executor.connect("0", tasks=3)
    house.executor.connect("1", tasks=1)
    cancel = house.provider.cancel

    def recording_cancel(job_ids: list[Any]) -> list[bool]:
        house.executor.calls.append(("cancel", tuple(job_ids)))
        return cancel(job_ids)

    house.provider.cancel = recording_cancel  # type: ignore[method-assign]
    assert house.controller.scale_in(1) == ["1"]
    assert house.executor.calls == [("release", ("1",)), ("cancel", ("job-1",))]
    assert house.states == {"0": "PENDING", "1": "SCALED_IN"}


def test_scale_in_can_spare_blocks_that_work() -> None:
    house = House(init_blocks=3, max_blocks=3)
    house.step()
    house.executor.connect("0", tasks=1)
    house.executor.connect("1", tasks=0, idle_s=5)
    house.executor.connect("2", tasks=0, idle_s=50)
    assert house.controller.scale_in(3, max_idletime=10) == ["2"]
    assert house.controller.scale_in(3, force=False) == ["1"]
    assert house.controller.scale_in(3) == ["0"]


@pytest.mark.parametrize("fault", ["refuses", "raises"])
def test_a_cancel_that_failed_is_tried_again(fault: str) -> None:
    house = House()
    house.step()
    if fault == "refuses":
        house.provider.refuses_cancel = True
    else:
        house.provider.cancel_error = OSError("scancel: timed out")
    assert house.controller.scale_in(1) == ["0"]
    house.step(2)
    assert house.states == {"0": "PENDING"}
    house.provider.refuses_cancel = False
    house.provider.cancel_error = None
    house.step(2)
    assert house.states == {"0": "SCALED_IN"}


def test_idle_blocks_are_ended_after_max_idletime() -> None:
    house = House(init_blocks=2, min_blocks=1, max_blocks=2)
    house.executor.connect("0", "1", tasks=0, idle_s=1000)
    house.step(60)
    assert house.provider.cancelled == []
    house.step(10)
    assert house.states == {"0": "PENDING", "1": "SCALED_IN"}


def test_a_task_starts_the_idle_time_anew() -> None:
    house = House(init_blocks=1)
    house.executor.connect("0", tasks=0, idle_s=1000)
    house.step(50)
    house.executor.outstanding = 1
    house.step(10)
    house.executor.outstanding = 0
    house.step(60)
    assert house.provider.cancelled == []


def test_strategy_none_starts_and_ends_nothing() -> None:
    house = House(context=ExecutorContext(strategy="none", max_idletime_s=1), max_blocks=5)
    house.executor.outstanding = 100
    house.step(100)
    house.executor.outstanding = 0
    house.step(100)
    assert house.states == {"0": "PENDING"}


# -- telling the user --------------------------------------------------------------------------------------------


def test_the_user_is_told_once_of_a_block_that_runs_without_a_manager(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[str] = []
    house = House(context=ExecutorContext(notify=told.append), init_blocks=2, max_blocks=2)
    (tmp_path / "err").write_text("python: command not found\n")
    house.step()
    for job in ("job-0", "job-1"):
        house.provider.set_status(job, JobStatus(JobState.RUNNING, stderr_path=str(tmp_path / "err")))
    house.executor.connect("0")
    house.step(9)
    assert told == []
    house.step(60)
    assert len(told) == 1
    assert told[0].startswith("fake_executor: block 1 (job job-1)")
    assert "python: command not found" in told[0]
    assert "python: command not found" in caplog.text


def test_the_user_is_told_once_when_nothing_will_ever_run_the_tasks() -> None:
    told: list[str] = []
    house = House(context=ExecutorContext(strategy="none", notify=told.append))
    house.executor.outstanding = 3
    house.step()
    house.executor.connect("0")
    house.provider.finish("job-0")
    house.step(60)
    assert len(told) == 1
    assert "3 tasks wait" in told[0]


# -- the thread --------------------------------------------------------------------------------------------------


def test_close_without_start_cancels_what_there_is() -> None:
    house = House()
    house.step()
    house.controller.close()
    house.controller.close()
    assert house.provider.cancelled == ["job-0"]
    assert house.controller.scale_out(1) == []


def test_blocks_end_even_when_the_executor_cannot_release_them(caplog: pytest.LogCaptureFixture) -> None:
    house = House()
    house.step()
    house.executor.release = lambda block_ids: 1 / 0  # type: ignore[method-assign,assignment,return-value]
    house.controller.close()
    assert house.provider.cancelled == ["job-0"]
    assert "could not release blocks 0" in caplog.text


class Recording(FakeProvider):
    """Lets a test wait for the first submission."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.got_first = threading.Event()
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def submit(self, command: str, tasks_per_node: int, job_name: str = "parsl.fake") -> str:
        self.thread = threading.current_thread().name
        self.job_name = job_name
        self.got_first.set()
        assert self.may_go_on.wait(30)
        return super().submit(command, tasks_per_node, job_name)


def test_the_thread_submits_the_first_blocks_and_close_cancels_them() -> None:
    provider = Recording(init_blocks=1)
    controller = BlockController(FakeExecutor(provider), provider, context=CONTEXT)
    controller.start()
    assert provider.got_first.wait(30)
    controller.close()
    assert (provider.thread, provider.job_name) == ("trellis-blocks-fake_executor", "parsl.fake_executor.block-0")
    assert provider.cancelled == ["job-0"]


def test_a_block_whose_submission_is_under_way_at_the_close_is_cancelled_too() -> None:
    provider = Recording(init_blocks=5, max_blocks=5)
    provider.may_go_on.clear()
    controller = BlockController(FakeExecutor(provider), provider, context=CONTEXT)
    controller.start()
    assert provider.got_first.wait(30)
    closer = threading.Thread(target=controller.close)
    closer.start()
    while not controller._closing:
        pass
    provider.may_go_on.set()
    closer.join(30)
    assert provider.cancelled == ["job-0"]  # and the other four were not even submitted
    assert list(provider.submitted) == ["job-0"]


def test_an_unexpected_error_fails_the_executor_and_cancels_its_blocks() -> None:
    provider = FakeProvider(status_polling_interval=0.001)
    executor = FakeExecutor(provider)
    executor.load_error = ZeroDivisionError("a defect")
    failed = threading.Event()
    executor.fail_all = lambda exception: (setattr(executor, "failure", exception), failed.set())[0]  # type: ignore[method-assign]
    controller = BlockController(executor, provider, context=CONTEXT)
    controller.start()
    assert failed.wait(30)
    controller.close()
    assert isinstance(executor.failure, ZeroDivisionError)
    assert provider.cancelled == ["job-0"]


def test_close_tells_of_jobs_that_a_hanging_provider_may_keep(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("trellis.blocks.controller.CLOSE_TIMEOUT_S", 0.01)
    provider = Recording(init_blocks=0, max_blocks=2)
    executor = FakeExecutor(provider)
    controller = BlockController(executor, provider, context=ExecutorContext(strategy_period_s=0.001))
    controller.scale_out(1)
    provider.got_first.clear()
    provider.may_go_on.clear()
    executor.outstanding = 2
    controller.start()
    assert provider.got_first.wait(30)
    controller.close()
    assert "job-0" in caplog.text
    provider.may_go_on.set()
    monkeypatch.setattr("trellis.blocks.controller.CLOSE_TIMEOUT_S", 30)
    controller.close()
    assert provider.cancelled == list(provider.submitted)


def test_the_error_handler_may_close_the_controller() -> None:
    provider = FakeProvider(status_polling_interval=0.001)
    closed = threading.Event()

    def handler(executor: Any, statuses: dict[str, JobStatus]) -> None:
        controller.close()
        closed.set()

    controller = BlockController(FakeExecutor(provider), provider, block_error_handler=handler, context=CONTEXT)
    controller.start()
    assert closed.wait(30)
    controller.close()
    assert provider.cancelled == ["job-0"]
