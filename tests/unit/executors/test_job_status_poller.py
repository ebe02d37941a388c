"""Programs that start executors themselves scale them by a JobStatusPoller, as an endpoint of Globus Compute does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.executors.test_scalable import MinimalExecutor, ScriptedProvider
from trellis.core.interfaces import BlockLoad, ExecutorContext, PoolLoad
from trellis.executors.scalable import BlockProviderExecutor
from trellis.jobs.job_status_poller import JobStatusPoller

SOON: dict[str, Any] = {"max_idletime": 0, "strategy_period": 0.01}


class BusyExecutor(MinimalExecutor):
    """A task waits, unless ``idle``: then its blocks have nothing to do."""

    idle = False

    def load(self) -> PoolLoad:
        if self.idle:
            return PoolLoad(0, 1, {"0": BlockLoad(1, 0, float("inf"))})
        return PoolLoad(1, 1, {})


class OfParsls(BlockProviderExecutor):
    """An executor with Parsl's methods alone."""

    label = "of_parsls"
    outstanding = 1  # type: ignore[assignment]
    workers_per_node = 1  # type: ignore[assignment]

    def start(self) -> None:
        pass

    def submit(self, func: Any, resource_specification: Any, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError

    def shutdown(self) -> None:
        self.stop_blocks()

    def _get_launch_command(self, block_id: str) -> str:
        return f"start {block_id}"


Make = Callable[..., tuple[BusyExecutor, ScriptedProvider]]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[BusyExecutor] = []

    def make_started(**settings: Any) -> tuple[BusyExecutor, ScriptedProvider]:
        provider = ScriptedProvider(status_polling_interval=0.01, **settings)
        made.append(BusyExecutor(provider=provider))
        made[-1].start(ExecutorContext(run_dir=str(tmp_path), strategy="none"))
        return made[-1], provider

    yield make_started
    for executor in made:
        executor.shutdown()


def test_blocks_come_when_there_is_work(make: Make) -> None:
    executor, provider = make(init_blocks=0)

    poller = JobStatusPoller(strategy="simple", **SOON)
    poller.add_executors([executor])

    assert provider.submitted_one.wait(30)
    poller.close()


def test_an_executor_with_parsls_methods_alone_is_looked_after_from_then_on() -> None:
    executor = OfParsls(provider=(provider := ScriptedProvider(init_blocks=0)))
    executor.start()

    poller = JobStatusPoller(strategy="simple", **SOON)
    poller.add_executors([executor])

    assert provider.submitted_one.wait(30)
    poller.close()
    executor.shutdown()
    assert provider.cancelled == ["job-0"]


def test_blocks_that_are_idle_for_so_long_are_given_up(make: Make) -> None:
    executor, provider = make(init_blocks=1)
    assert provider.submitted_one.wait(30)
    executor.idle = True
    provider.run("job-0")

    poller = JobStatusPoller(strategy="htex_auto_scale", **SOON)
    poller.add_executors([executor])

    assert provider.emptied.wait(30)
    poller.close()


def test_closing_it_ends_the_blocks_and_starts_no_others(make: Make) -> None:
    executor, provider = make(init_blocks=1)
    assert provider.submitted_one.wait(30)
    poller = JobStatusPoller(strategy="none", **SOON)
    poller.add_executors([executor])

    poller.close()
    poller.close()

    assert provider.cancelled == ["job-0"]
    assert not executor.bad_state_is_set
    assert list(provider.submitted) == ["job-0"]
