"""How many blocks there should be. A function from what is known to a plan: no I/O, threads or clock here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from trellis.core.interfaces import BlockLoad


@dataclass(frozen=True)
class ScalingSnapshot:
    """What a plan is made from."""

    strategy: str  # "none", "simple" or "htex_auto_scale"
    min_blocks: int
    max_blocks: int
    nodes_per_block: int
    parallelism: float  # worker slots wanted per outstanding task
    max_idletime_s: float
    workers_per_node: float
    outstanding: int  # tasks without a result
    idle_s: float  # since when there is no outstanding task; 0 when there is one
    # Blocks that wait, run or do not answer, oldest first; the load is None for those without a manager so far.
    blocks: Mapping[str, BlockLoad | None]
    may_start: bool = True  # False: the last blocks have failed, wait


class ScalingPlan(NamedTuple):
    """What to do; doing nothing is the usual plan."""

    scale_out: int = 0
    scale_in: tuple[str, ...] = ()
    reason: str = ""


NOTHING = ScalingPlan()


def plan_scaling(snapshot: ScalingSnapshot) -> ScalingPlan:
    """Decide how many blocks to start, or which ones to end.

    * ``none``: never any; what was there at the start stays.
    * ``simple``: start blocks while there are fewer than ``parallelism`` slots for each outstanding task; end those
      beyond ``min_blocks`` when there was no task for ``max_idletime_s``.
    * ``htex_auto_scale``: also end single blocks that have been idle for ``max_idletime_s`` while others work.
    """
    if snapshot.strategy == "none":
        return NOTHING
    there = len(snapshot.blocks)
    wanted = _blocks_wanted(snapshot)
    if there < wanted:
        if not snapshot.may_start:
            return NOTHING
        return ScalingPlan(wanted - there, reason=f"{snapshot.outstanding} tasks, {there} blocks")
    return _plan_scale_in(snapshot)


def _blocks_wanted(snapshot: ScalingSnapshot) -> int:
    if snapshot.outstanding == 0:
        return snapshot.min_blocks
    slots = snapshot.outstanding * snapshot.parallelism
    # Without any block nothing would ever run, however small the parallelism.
    wanted = max(1, math.ceil(slots / _slots_per_block(snapshot)))
    return min(max(wanted, snapshot.min_blocks), snapshot.max_blocks)


def _slots_per_block(snapshot: ScalingSnapshot) -> float:
    return max(snapshot.workers_per_node * snapshot.nodes_per_block, 1)


def _plan_scale_in(snapshot: ScalingSnapshot) -> ScalingPlan:
    there = len(snapshot.blocks)
    limit_s = snapshot.max_idletime_s
    if snapshot.outstanding == 0:
        spare = there - snapshot.min_blocks
        if spare <= 0 or snapshot.idle_s < limit_s:
            return NOTHING
        # A task may have come and gone between two looks: the blocks' own idle times count as well.
        idle = [block for block, load in snapshot.blocks.items() if load is None or load.idle_s >= limit_s]
        reason = f"no tasks for {snapshot.idle_s:.0f} s"
    elif snapshot.strategy == "htex_auto_scale":
        spare = there - _blocks_wanted(snapshot)
        if spare <= 0:
            return NOTHING
        idle = [block for block, load in snapshot.blocks.items() if load is not None and _is_idle(load, limit_s)]
        reason = f"{snapshot.outstanding} tasks do not need {there} blocks"
    else:
        return NOTHING
    chosen = choose_blocks({block: snapshot.blocks[block] for block in idle}, spare)
    return ScalingPlan(scale_in=chosen, reason=reason) if chosen else NOTHING


def _is_idle(load: BlockLoad, for_at_least_s: float) -> bool:
    return load.tasks == 0 and load.idle_s >= for_at_least_s


def choose_blocks(
    blocks: Mapping[str, BlockLoad | None], count: int, *, idle_for_s: float | None = None
) -> tuple[str, ...]:
    """Choose up to ``count`` blocks that are missed least.

    First those without a manager, youngest first; then those with the fewest tasks, the longest idle first. With
    ``idle_for_s`` only blocks that have a manager and no task since then.
    """
    candidates = list(blocks.items())
    if idle_for_s is not None:
        candidates = [(block, load) for block, load in candidates if load is not None and _is_idle(load, idle_for_s)]
    candidates.reverse()

    def cost(item: tuple[str, BlockLoad | None]) -> tuple[bool, int, float]:
        load = item[1]
        return (False, 0, 0.0) if load is None else (True, load.tasks, -load.idle_s)

    return tuple(block for block, _ in sorted(candidates, key=cost)[:count])
