"""The controller over a fake provider and a fake clock, step by step; its thread in the last section only."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.unit.blocks.fakes import FakeExecutor
from trellis.blocks.controller import BlockController
from trellis.blocks.error_handlers import resolve_error_handler
from trellis.core.interfaces import BlockLoad, ExecutorContext
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
        self.executor.handler = resolve_error_handler(handler)
        self.controller = BlockController(self.executor, self.provider, context=context, clock=self.clock)

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
    assert house.states == {"0": "PENDING", "1": "PENDING"}


def test_init_blocks_above_max_blocks_are_not_started_and_that_is_told() -> None:
    told: list[str] = []
    house = House(init_blocks=3, max_blocks=1, context=ExecutorContext(notify=told.append))
    house.step()
    assert len(house.provider.submitted) == 1
    (text,) = told
    assert "1 blocks are started, not 3: init_blocks (3) of its provider is above max_blocks (1)" in text


def test_a_rejected_block_has_failed_with_the_providers_words() -> None:
    house = House()
    house.provider.submit_error = SubmitException("x", "no such queue")
    house.step()
    assert house.states == {"0": "MISSING"}
    assert "no such queue" in (house.controller.status()["0"].message or "")


def unheard_house() -> House:
    house = House(init_blocks=1, max_blocks=1, status_polling_interval=60)
    house.provider.submit_error = SubmitException("x", "sbatch has not ended")
    return house


def test_a_job_whose_id_was_not_heard_is_cancelled_though_no_other_job_is_asked_about() -> None:
    house = unheard_house()
    answers = iter([False, False, True])
    asked_at: list[float] = []

    def cancel_unheard() -> bool:
        asked_at.append(house.clock.now())
        return next(answers, True)

    house.provider.cancel_unheard = cancel_unheard
    began = house.clock.now()
    house.step(100)
    assert [now - began for now in asked_at] == [60, 66, 72]  # a tenth of the interval apart, until it is done


def test_what_was_not_heard_of_is_cancelled_at_the_end_too() -> None:
    house = unheard_house()
    answers = iter([False, True])
    house.provider.cancel_unheard = lambda: next(answers)
    house.controller.scale_out(1)
    house.controller.close()
    assert next(answers, "none") == "none"


def test_managers_of_a_job_whose_id_was_not_heard_get_no_more_tasks() -> None:
    house = unheard_house()
    house.step()
    house.executor.connect("0")
    house.step(60)
    assert ("drain", ("0",)) in house.executor.calls


def test_a_launch_command_that_cannot_be_made_is_a_failed_block() -> None:
    house = House()
    house.executor.launch_error = ValueError("bad template")
    house.step()
    assert house.states == {"0": "MISSING"}


def test_when_all_first_blocks_are_rejected_the_executor_fails_at_once() -> None:
    house = House(handler=True)
    house.provider.submit_error = SubmitException("x", "no such queue")
    house.step()
    assert isinstance(house.executor.executor_exception, TooManyJobFailuresError)


# -- looking after them ------------------------------------------------------------------------------------------


def test_jobs_are_looked_at_in_the_providers_interval_and_plans_made_in_the_strategys() -> None:
    house = House(init_blocks=1, max_blocks=2, status_polling_interval=60)
    house.executor.connect("0", "1")
    house.step()
    house.executor.outstanding = 2
    house.step(5)
    assert len(house.provider.submitted) == 2
    house.step(5)  # both are known to have managers now
    calls = house.provider.status_calls
    house.step(49)
    assert house.provider.status_calls == calls
    house.step(12)
    assert house.provider.status_calls == calls + 1


def test_blocks_that_are_new_or_have_just_begun_to_run_are_looked_at_more_often() -> None:
    house = House(status_polling_interval=60)
    house.executor.outstanding = 1
    house.step(3600)  # it waits in the queue
    assert house.provider.status_calls == 9 + 59  # every 6 seconds in the first minute
    house.provider.run()
    house.step(120)
    assert house.provider.status_calls == 9 + 59 + 1 + 9  # and after it was seen to run


def test_a_short_interval_is_no_shorter_for_new_blocks() -> None:
    house = House(status_polling_interval=4)
    house.step(40)
    assert house.provider.status_calls == 10


def test_all_jobs_are_asked_about_in_one_question() -> None:
    house = House(init_blocks=50, max_blocks=50, status_polling_interval=10)
    house.executor.connect(*map(str, range(50)))
    house.executor.outstanding = 50
    house.step(100)
    assert house.provider.status_calls == 10


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
    house.executor.connect("0")
    house.step(60)
    calls = house.provider.status_calls
    for _ in range(100):
        house.controller.wake()
        house.step(0.1)
    assert calls < house.provider.status_calls <= calls + 2


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


# -- storms: what an hour costs the batch system -----------------------------------------------------------------


def busy_house(**settings: Any) -> House:
    """A hundred blocks, and work for all of them."""
    house = House(init_blocks=1, max_blocks=100, status_polling_interval=60, **settings)
    house.executor.outstanding = 10_000
    return house


def run_all(house: House, connected: bool = True) -> None:
    house.provider.run()
    if connected:
        house.executor.connect(*house.controller.blocks_to_job_id)


def test_blocks_are_submitted_in_portions() -> None:
    house = busy_house()
    house.step(5)
    assert house.provider.submit_calls == 1 + 20
    house.step(20)
    assert house.provider.submit_calls == 100


def test_a_batch_system_that_takes_no_jobs_is_tried_a_few_times_an_hour() -> None:
    house = busy_house()
    house.provider.submit_error = SubmitException("x", "down for maintenance")
    house.step(3600)
    assert 5 < house.provider.submit_calls < 15
    house.provider.submit_error = None
    house.step(600 + 60)
    assert len(house.provider.submitted) == 100


def test_a_limit_of_the_site_on_jobs_is_tried_a_few_times_an_hour() -> None:
    house = busy_house()
    submit = house.provider.submit

    def limited(command: str, tasks_per_node: int, job_name: str = "x") -> str:
        house.provider.submit_error = (
            SubmitException("x", "too many jobs") if len(house.provider.submitted) == 50 else None
        )
        return submit(command, tasks_per_node, job_name)

    house.provider.submit = limited  # type: ignore[method-assign]
    house.step(15)
    run_all(house)
    house.step(3600)
    assert len(house.provider.submitted) == 50
    assert house.provider.submit_calls < 50 + 15


def test_a_batch_system_that_does_not_answer_for_an_hour_gets_no_further_jobs() -> None:
    house = busy_house()
    house.step(30)
    run_all(house)
    house.step(60)
    calls = house.provider.status_calls
    house.provider.status_error = OSError("socket timed out")
    house.step(3600)
    assert house.provider.submit_calls == 100
    assert house.provider.status_calls - calls < 20


def test_a_hundred_blocks_lost_at_once_are_replaced_once() -> None:
    house = busy_house()
    house.step(30)
    run_all(house)
    house.step(120)
    for job in house.provider.submitted:
        house.provider.finish(job, exit_code=1)
    house.step(90)
    assert house.provider.submit_calls == 200
    run_all(house)
    house.step(3600)
    assert house.provider.submit_calls == 200


@pytest.mark.parametrize("connects", [False, True])
def test_blocks_that_die_at_once_are_tried_a_few_times_an_hour(connects: bool) -> None:
    house = busy_house()
    for _ in range(720):
        house.step(5)
        run_all(house, connects)
        house.step(0)
        for job in house.provider.submitted:
            house.provider.finish(job, exit_code=1)
        house.controller.wake()
    assert 8 < house.provider.submit_calls < 100


# -- a handler that fails ----------------------------------------------------------------------------------------


def test_an_error_handler_that_raises_is_told_of_once_and_harms_nothing(caplog: pytest.LogCaptureFixture) -> None:
    told: list[str] = []
    calls: list[Any] = []

    def handler(executor: Any, statuses: Any) -> None:
        calls.append(statuses)
        raise KeyError("a defect")

    house = House(handler=handler, context=ExecutorContext(notify=told.append))
    house.executor.outstanding = 1
    house.executor.connect("0")
    house.step(60)
    assert len(calls) > 50
    assert told == ["fake_executor: the block error handler failed: KeyError: 'a defect'"]
    assert house.executor.executor_exception is None


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


def test_a_planned_scale_in_drains_blocks_and_ends_them_when_nothing_is_left_there() -> None:
    house = House(init_blocks=2, max_blocks=2, context=ExecutorContext(strategy="htex_auto_scale", max_idletime_s=60))
    house.executor.outstanding = 1
    house.executor.connect("0", tasks=1)
    house.executor.connect("1", tasks=0, idle_s=60)
    drain = house.executor.drain

    def drain_too_late(block_ids: Any) -> None:
        if ("drain", ("1",)) not in house.executor.calls:
            house.executor.connect("1", tasks=1)  # while the message was on its way
        drain(block_ids)

    house.executor.drain = drain_too_late  # type: ignore[method-assign]
    house.step(3600)
    assert house.executor.calls[0] == ("drain", ("1",))
    assert house.provider.cancelled == []
    assert house.states == {"0": "PENDING", "1": "PENDING"}
    house.executor.blocks["1"] = house.executor.blocks["1"]._replace(tasks=0)
    house.step(5)
    assert house.provider.cancelled == ["job-1"]
    assert house.states == {"0": "PENDING", "1": "SCALED_IN"}


def test_a_draining_block_whose_managers_have_gone_is_ended() -> None:
    house = House(init_blocks=1)
    house.step()
    house.executor.connect("0", tasks=0, idle_s=9)
    house.executor.drain = lambda block_ids: None  # type: ignore[method-assign]
    assert house.controller.scale_in(1, force=False) == ["0"]
    house.step(60)
    assert house.provider.cancelled == []
    house.executor.blocks["0"] = BlockLoad(0, 0, 0.0, 0)
    house.step(5)
    assert house.provider.cancelled == ["job-0"]


def test_a_draining_block_that_ends_by_itself_is_scaled_in() -> None:
    house = House(init_blocks=1)
    house.step()
    house.executor.connect("0", tasks=0, idle_s=9)
    house.executor.drain = lambda block_ids: None  # type: ignore[method-assign]
    house.controller.scale_in(1, force=False)
    house.provider.finish("job-0")
    house.step(1)
    assert house.states == {"0": "SCALED_IN"}


def test_an_executor_that_cannot_drain_is_asked_again(caplog: pytest.LogCaptureFixture) -> None:
    house = House(init_blocks=1)
    house.step()
    house.executor.connect("0", tasks=0, idle_s=9)
    drain = house.executor.drain
    house.executor.drain = lambda block_ids: 1 / 0  # type: ignore[method-assign,assignment,return-value]
    house.controller.scale_in(1, force=False)
    assert "could not drain blocks 0" in caplog.text
    house.executor.drain = drain  # type: ignore[method-assign]
    house.step(5)
    assert house.provider.cancelled == ["job-0"]


def test_blocks_that_are_put_aside_are_replaced() -> None:
    house = House(init_blocks=2, max_blocks=2)
    house.executor.outstanding = 2
    house.executor.connect("0")
    house.executor.blocks["1"] = BlockLoad(1, 0, 59.0, 0)
    house.step(30)
    assert house.provider.cancelled == []
    house.executor.blocks["1"] = BlockLoad(1, 0, 60.0, 0)
    house.step(10)
    assert house.states == {"0": "PENDING", "1": "SCALED_IN", "2": "PENDING"}


def test_scale_in_can_spare_blocks_that_work() -> None:
    house = House(init_blocks=3, max_blocks=3)
    house.step()
    house.executor.connect("0", tasks=1)
    house.executor.connect("1", tasks=0, idle_s=5)
    house.executor.connect("2", tasks=0, idle_s=50)
    assert house.controller.scale_in(3, max_idletime=10) == ["2"]
    assert house.controller.scale_in(3, force=False) == ["1"]
    assert house.provider.cancelled == ["job-2", "job-1"]
    assert [call for call, _ in house.executor.calls] == ["drain", "release", "drain", "release"]
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


def test_a_job_that_can_never_start_fails_its_block_at_once_with_what_to_try() -> None:
    house = House(handler=True)
    house.executor.outstanding = 1
    house.step()
    house.provider.set_status("job-0", JobStatus(JobState.PENDING, "pending: PartitionTimeLimit"))
    house.step(1)
    assert house.provider.cancelled == ["job-0"]
    assert house.states == {"0": "FAILED"}
    text = str(house.executor.executor_exception)
    assert "its job can never start: pending: PartitionTimeLimit" in text
    assert "likely cause: the walltime is longer than" in text


def test_the_user_is_told_once_of_jobs_that_wait_for_a_reason_which_may_pass() -> None:
    told: list[str] = []
    context = ExecutorContext(notify=told.append)
    house = House(context=context, init_blocks=3, max_blocks=3, status_polling_interval=60)
    house.executor.outstanding = 3
    house.step()
    limit = JobStatus(JobState.PENDING, "pending: QOSMaxJobsPerUserLimit")
    house.provider.set_status("job-0", limit)
    house.provider.set_status("job-1", limit)
    house.provider.set_status("job-2", JobStatus(JobState.PENDING, "pending: Resources"))
    house.step(50)
    assert told == []
    house.step(30)
    assert len(told) == 1
    assert told[0].startswith(
        "fake_executor: blocks 0, 1 (job job-0, job-1) has not started for more than 60 s: pending: "
    )
    assert "likely cause: a limit of your account or quality of service" in told[0]
    house.step(3600)
    assert len(told) == 1
    assert house.states == dict.fromkeys("012", "PENDING")


def test_the_user_is_told_once_of_a_suspended_job() -> None:
    told: list[str] = []
    house = House(context=ExecutorContext(notify=told.append))
    house.executor.outstanding = 1
    house.executor.connect("0")
    house.step()
    house.provider.run()
    house.step(1)
    house.provider.set_status("job-0", JobStatus(JobState.HELD, "suspended"))
    house.step(60)
    assert [text for text in told if "block 0 (job job-0) has been suspended" in text] == told
    assert len(told) == 1


@pytest.mark.parametrize(("limit_s", "replaced_after_s"), [(30.0, 35), (120.0, 125), (None, None)])
def test_a_block_whose_managers_have_all_gone_is_replaced(limit_s: float | None, replaced_after_s: int | None) -> None:
    told: list[str] = []
    house = House(context=ExecutorContext(lost_block_timeout_s=limit_s, notify=told.append))
    house.executor.outstanding = 1
    house.step()
    house.provider.run()
    house.executor.connect("0")
    house.step(10)
    house.executor.blocks["0"] = BlockLoad(0, 0, 0.0, 0)
    if replaced_after_s is None:
        house.step(3600)
        assert (house.states, told) == ({"0": "RUNNING"}, [])
        return
    house.step(replaced_after_s - 10)
    assert house.states == {"0": "RUNNING"}
    house.step(10)
    assert house.states == {"0": "CANCELLED", "1": "PENDING"}
    assert ("release", ("0",)) in house.executor.calls
    assert len(told) == 1
    assert "lost_block_timeout" in told[0]


def test_the_user_is_told_why_blocks_fail_with_the_likely_cause_once(tmp_path: Path) -> None:
    told: list[str] = []
    house = House(context=ExecutorContext(notify=told.append), init_blocks=4, max_blocks=4, status_polling_interval=60)
    (tmp_path / "err").write_text("/usr/bin/python3: No module named trellis.executors\n")
    house.executor.outstanding = 4
    house.executor.connect("0")
    house.step()
    failed = JobStatus(JobState.FAILED, exit_code=1, stderr_path=str(tmp_path / "err"))
    for job in ("job-1", "job-2"):
        house.provider.set_status(job, failed)
    house.step(6)
    assert len(told) == 1
    assert told[0].startswith("fake_executor: blocks 1, 2 failed: its job ended (FAILED) before any of its managers")
    assert "exit code 1" in told[0]
    assert "No module named trellis" in told[0]
    assert "likely cause: the interpreter on the node has no Trellis" in told[0]
    house.provider.set_status("job-3", failed)
    house.step(60)
    assert len(told) == 1


def test_the_user_is_told_why_the_batch_system_takes_no_jobs() -> None:
    told: list[str] = []
    house = House(context=ExecutorContext(notify=told.append))
    house.provider.submit_error = SubmitException(
        "x", "sbatch failed", stderr="error: invalid partition specified: foo"
    )
    house.step()
    assert len(told) == 1
    assert "invalid partition specified: foo" in told[0]
    assert "likely cause: the partition or queue does not exist" in told[0]


def test_what_the_executors_end_will_tell_is_not_told_twice() -> None:
    told: list[str] = []
    house = House(context=ExecutorContext(notify=told.append), handler=True)
    house.provider.submit_error = SubmitException("x", "no such queue")
    house.step()
    assert house.executor.bad_state_is_set
    assert told == []


def test_the_console_is_not_flooded(caplog: pytest.LogCaptureFixture) -> None:
    told: list[str] = []
    house = House(context=ExecutorContext(notify=told.append), init_blocks=30, max_blocks=30)
    house.step()
    for job in house.provider.submitted:
        house.provider.set_status(job, JobStatus(JobState.FAILED, f"{job} went wrong"))
    house.step(1)
    assert len(told) == 10
    assert "job-29 went wrong" in caplog.text


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


@pytest.mark.parametrize("failures", [1, 2, 9])
def test_at_the_end_a_failing_cancel_is_tried_again(
    failures: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("trellis.blocks.controller.LAST_PAUSES_S", (0, 0))
    house = House()
    house.step()
    cancel = house.provider.cancel
    calls: list[list[Any]] = []

    def failing_cancel(job_ids: list[Any]) -> list[bool]:
        calls.append(job_ids)
        if len(calls) <= failures:
            raise OSError("scancel: timed out")
        return cancel(job_ids)

    house.provider.cancel = failing_cancel  # type: ignore[method-assign]
    house.controller.close()
    assert house.provider.cancelled == (["job-0"] if failures < 3 else [])
    assert len(calls) == min(failures + 1, 3)
    assert ("jobs not cancelled: job-0" in caplog.text) == (failures >= 3)


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
    executor.fail_all = lambda exception: (setattr(executor, "executor_exception", exception), failed.set())[0]  # type: ignore[method-assign]
    controller = BlockController(executor, provider, context=CONTEXT)
    controller.start()
    assert failed.wait(30)
    controller.close()
    assert isinstance(executor.executor_exception, ZeroDivisionError)
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

    executor = FakeExecutor(provider)
    executor.handler = handler
    controller = BlockController(executor, provider, context=CONTEXT)
    controller.start()
    assert closed.wait(30)
    controller.close()
    assert provider.cancelled == ["job-0"]


def test_blocks_that_end_when_their_managers_are_dismissed_have_not_failed() -> None:
    judged: list[object] = []
    house = House(init_blocks=1, handler=lambda _, statuses: judged.append(dict(statuses)))
    house.step()
    house.controller.judges = False
    del judged[:]
    house.provider.finish("job-0")
    house.step(60)
    assert judged == []


# -- providers of users' own ---------------------------------------------------------------------------------------


def test_max_blocks_may_be_changed_while_the_program_runs() -> None:
    house = House(init_blocks=0, max_blocks=1)
    house.step()
    assert len(house.controller.scale_out(3)) == 1
    house.provider.max_blocks = 3
    assert len(house.controller.scale_out(3)) == 2
    house.provider.max_blocks = 1
    assert house.controller.scale_out(3) == []


@pytest.mark.parametrize("job_id", [None, "", 0, False, ["a list"]])
def test_what_is_no_job_id_is_a_failed_submission(job_id: object) -> None:
    house = House(init_blocks=1, max_blocks=1)
    house.provider.submit = lambda *args, **kwargs: job_id  # type: ignore[method-assign]
    house.step()
    assert house.states == {"0": "MISSING"}  # no manager came


@pytest.mark.parametrize("answer", [None, [], ["RUNNING"], [None], [JobState.RUNNING], 3])
def test_odd_answers_are_no_answers(answer: Any, caplog: pytest.LogCaptureFixture) -> None:
    house = House(init_blocks=1, max_blocks=1)
    house.step()
    house.provider.status = lambda job_ids: answer  # type: ignore[method-assign]
    house.step(10)
    assert house.states == {"0": "PENDING"}
    assert "cannot ask" in caplog.text


@pytest.mark.parametrize("answer", [None, [], [True, True], 3])
def test_odd_answers_to_a_cancel_end_nothing_but_the_attempt(answer: Any, caplog: pytest.LogCaptureFixture) -> None:
    house = House(init_blocks=1, max_blocks=1)
    house.step()
    house.provider.cancel = lambda job_ids: answer  # type: ignore[method-assign]
    house.controller.scale_in(1)
    assert house.states == {"0": "PENDING"}
    assert "cannot cancel jobs" in caplog.text
