"""Parsl's poller of jobs: looks at executors' blocks from time to time, and scales them.

Executors on our base classes have a thread for that, which is told the strategy; for others it is done here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trellis.executors.scalable import BlockProviderExecutor
from trellis.jobs.strategy import Strategy
from trellis.utils import Timer

__all__ = ["BlockProviderExecutor", "JobStatusPoller", "Strategy", "Timer"]


class JobStatusPoller(Timer):
    """Looks after the blocks of the executors that it is given, which have been started, until ``close``.

    Args:
        strategy: How they are scaled; see ``trellis.jobs.strategy.Strategy``.
        max_idletime: Seconds after which blocks that do nothing end.
        strategy_period: Seconds between two looks.

    Raises:
        ConfigurationError: the strategy is not known, or a time cannot be one.
    """

    def __init__(self, *, strategy: str | None, max_idletime: float, strategy_period: float) -> None:
        self._executors: list[Any] = []
        self._strategy = Strategy(strategy=strategy, max_idletime=max_idletime)
        super().__init__(self._poll_others, interval=strategy_period, name="JobStatusPoller")

    def add_executors(self, executors: Sequence[Any]) -> None:
        """Look after these from now on, those without a provider left out."""
        for executor in executors:
            if executor.status_polling_interval > 0:
                self._executors.append(executor)
                if isinstance(executor, BlockProviderExecutor):
                    executor.scale_by(self._strategy.strategy, self.interval, self._strategy.max_idletime)
        self._strategy.add_executors(executors)

    def poll(self) -> None:
        """Look at all blocks now."""
        for executor in self._executors:
            if isinstance(executor, BlockProviderExecutor):
                executor.poll_facade()
        self._poll_others()

    def _poll_others(self) -> None:
        """Do for executors what those on our base classes do by themselves."""
        others = [executor for executor in self._executors if not isinstance(executor, BlockProviderExecutor)]
        for executor in others:
            executor.poll_facade()
        for executor in others:
            executor.handle_errors(executor.status_facade)
        self._strategy.strategize(others)

    def stop(self) -> None:
        """Make no more looks. Blocks are left to who has started the executors."""
        super().close()

    def close(self, timeout: float | None = None) -> None:
        """Make no more looks, and end all blocks of executors that have not failed."""
        super().close(timeout)
        for executor in self._executors:
            if not executor.bad_state_is_set:
                executor.scale_in_facade(len(executor.status_facade))
