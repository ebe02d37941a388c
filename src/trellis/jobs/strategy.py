"""Parsl's strategy: scales executors through their public methods, by the same plan as ours.

A kernel needs none of it: the executors that it has started scale by themselves. It is there for programs that scale
executors of their own, or without a kernel.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypedDict

from trellis.blocks.scaling import ScalingSnapshot, plan_scaling
from trellis.core.count import number_of
from trellis.core.interfaces import BlockLoad
from trellis.core.jobs import JobState, JobStatus
from trellis.core.kinds import Choice
from trellis.core.validation import check
from trellis.core.values import Duration

__all__ = ["ExecutorState", "Strategy"]

STRATEGIES = ("none", "simple", "htex_auto_scale")


class ExecutorState(TypedDict):
    """What a strategy remembers of an executor."""

    idle_since: float | None  # seconds since the epoch; None: it has tasks, or nobody has looked
    first: bool  # its first blocks are still to be started


class Strategy:
    """Starts and ends blocks of executors, as ``Config(strategy=...)`` says. ``strategize(executors)`` is one look.

    Args:
        strategy: ``"none"``, ``"simple"`` or ``"htex_auto_scale"``; see ``trellis.blocks.scaling``.
        max_idletime: Seconds after which blocks that do nothing end.

    Raises:
        ConfigurationError: the strategy is not known, or the time cannot be one.
    """

    def __init__(self, *, strategy: str | None, max_idletime: float) -> None:
        if strategy is None:
            warnings.warn("strategy=None is deprecated: say 'none'", DeprecationWarning, stacklevel=2)
            strategy = "none"
        self.strategy: str = check("Strategy", "strategy", strategy, Choice(*STRATEGIES))
        self.max_idletime: float = check("Strategy", "max_idletime", max_idletime, Duration(least=0))
        self.executors: dict[str, ExecutorState] = {}
        self.strategies: Mapping[str | None, Callable[[Iterable[Any]], None]] = {
            None: self._strategize_first,
            "none": self._strategize_first,
            "simple": self._strategize,
            "htex_auto_scale": self._strategize,
        }
        self.strategize = self.strategies[self.strategy]

    def add_executors(self, executors: Sequence[Any]) -> None:
        """Take these into account from now on."""
        for executor in executors:
            self.executors[executor.label] = {"idle_since": None, "first": True}

    def _strategize_first(self, executors: Iterable[Any]) -> None:
        for executor in executors:
            state = self.executors[executor.label]
            if state["first"]:
                executor.scale_out_facade(min(executor.provider.init_blocks, executor.provider.max_blocks))
                state["first"] = False

    def _strategize(self, executors: Iterable[Any]) -> None:
        for executor in executors:
            self._strategize_first([executor])
            snapshot = self._snapshot(executor)
            plan = plan_scaling(snapshot)
            if plan.scale_out:
                executor.scale_out_facade(plan.scale_out)
            if plan.scale_in and snapshot.outstanding:
                executor.scale_in_facade(len(plan.scale_in), max_idletime=self.max_idletime)
            elif plan.scale_in:
                executor.scale_in_facade(len(plan.scale_in))

    def _snapshot(self, executor: Any) -> ScalingSnapshot:
        state, provider = self.executors[executor.label], executor.provider
        outstanding, now = number_of(executor.outstanding), time.time()
        if outstanding:
            state["idle_since"] = None
        elif state["idle_since"] is None:
            state["idle_since"] = now
        return ScalingSnapshot(
            strategy=self.strategy,
            min_blocks=provider.min_blocks,
            max_blocks=provider.max_blocks,
            nodes_per_block=provider.nodes_per_block,
            parallelism=provider.parallelism,
            max_idletime_s=self.max_idletime,
            workers_per_node=number_of(executor.workers_per_node),
            outstanding=outstanding,
            idle_s=now - (state["idle_since"] or now),
            blocks={block: _load(job) for block, job in executor.status_facade.items() if _is_active(job)},
        )


def _is_active(job: JobStatus) -> bool:
    return job.state in (JobState.PENDING, JobState.RUNNING)


def _load(job: JobStatus) -> BlockLoad | None:
    """The executor itself knows which of its blocks are idle: here, each that runs may be."""
    return BlockLoad(1, 0, float("inf")) if job.state is JobState.RUNNING else None
