"""Parsl's strategy and its poller, over executors that only have Parsl's public methods."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from trellis.core.jobs import JobState, JobStatus
from trellis.errors import ConfigurationError
from trellis.jobs.job_status_poller import JobStatusPoller
from trellis.jobs.strategy import Strategy


class Duck:
    """An executor of nobody's: it has what Parsl's poller and strategy call."""

    label = "duck"
    status_polling_interval = 1
    workers_per_node = 2
    bad_state_is_set = False

    def __init__(self, **settings: Any) -> None:
        numbers = {"init_blocks": 1, "min_blocks": 0, "max_blocks": 4, "nodes_per_block": 1, "parallelism": 1}
        self.provider = SimpleNamespace(**{**numbers, **settings})
        self.outstanding = 0
        self.status_facade: dict[str, JobStatus] = {}
        self.calls: list[tuple[Any, ...]] = []
        self.polled = threading.Event()

    def poll_facade(self) -> None:
        self.polled.set()

    def handle_errors(self, statuses: Any) -> None:
        self.calls.append(("handle_errors", len(statuses)))

    def scale_out_facade(self, n: int) -> None:
        self.calls.append(("out", n))
        for _ in range(n):
            self.status_facade[str(len(self.status_facade))] = JobStatus(JobState.RUNNING)

    def scale_in_facade(self, n: int, **idle: float) -> None:
        self.calls.append(("in", n, *idle.values()))


def strategy_for(duck: Duck, name: str = "simple", max_idletime: float = 0) -> Strategy:
    strategy = Strategy(strategy=name, max_idletime=max_idletime)
    strategy.add_executors([duck])
    return strategy


def test_the_first_blocks_are_started_once() -> None:
    duck = Duck(init_blocks=2)
    strategy = strategy_for(duck, "none")
    assert strategy.executors == {"duck": {"idle_since": None, "first": True}}
    strategy.strategize([duck])
    strategy.strategize([duck])
    assert duck.calls == [("out", 2)]
    assert not strategy.executors["duck"]["first"]


def test_more_tasks_than_slots_start_blocks_and_no_tasks_end_them() -> None:
    duck = Duck(init_blocks=0)
    duck.outstanding = 5
    strategy = strategy_for(duck)
    strategy.strategize([duck])
    assert duck.calls == [("out", 0), ("out", 3)]
    duck.outstanding = 0
    strategy.strategize([duck])
    assert duck.calls[2:] == [("in", 3)]


def test_blocks_stay_until_the_idle_time_is_over() -> None:
    duck = Duck()
    strategy = strategy_for(duck, max_idletime=3600)
    strategy.strategize([duck])
    strategy.strategize([duck])
    assert duck.calls == [("out", 1)]
    assert strategy.executors["duck"]["idle_since"] is not None


def test_single_blocks_are_offered_with_the_idle_time() -> None:
    duck = Duck(init_blocks=3)
    duck.outstanding = 1
    strategy = strategy_for(duck, "htex_auto_scale", max_idletime=7)
    strategy.strategize([duck])
    assert duck.calls == [("out", 3), ("in", 2, 7)]


def test_numbers_may_be_methods() -> None:
    duck = Duck(init_blocks=0)
    duck.outstanding = lambda: 3  # type: ignore[assignment]
    duck.workers_per_node = lambda: 3  # type: ignore[assignment, method-assign]
    strategy_for(duck).strategize([duck])
    assert duck.calls[-1] == ("out", 1)


@pytest.mark.parametrize(
    "wrong", [{"strategy": "greedy", "max_idletime": 1}, {"strategy": "simple", "max_idletime": -1}]
)
def test_what_cannot_work_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigurationError):
        Strategy(**wrong)


def test_none_for_none_is_deprecated() -> None:
    with pytest.warns(DeprecationWarning, match="'none'"):
        assert Strategy(strategy=None, max_idletime=1).strategy == "none"


@pytest.fixture
def poller() -> Iterator[JobStatusPoller]:
    made = JobStatusPoller(strategy="simple", max_idletime=60, strategy_period=0.01)
    yield made
    made.stop()


def test_the_poller_looks_judges_and_scales_until_it_is_closed(poller: JobStatusPoller) -> None:
    duck = Duck()
    poller.add_executors([duck])
    assert duck.polled.wait(30)
    poller.close()
    assert duck.calls[:2] == [("handle_errors", 0), ("out", 1)]
    assert duck.calls[-1] == ("in", 1)
    number = len(duck.calls)
    poller.poll()
    assert len(duck.calls) == number + 1  # by hand only


def test_executors_without_a_provider_are_left_alone(poller: JobStatusPoller) -> None:
    duck = Duck()
    duck.status_polling_interval = 0
    poller.add_executors([duck])
    poller.poll()
    poller.close()
    assert duck.calls == []
