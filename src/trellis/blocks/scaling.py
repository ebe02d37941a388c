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
    may_start: int = 1_000_000  # blocks to start now at most; 0: the last ones have failed, wait


class ScalingPlan(NamedTuple):
    """What to do; doing nothing is the usual plan."""

    scale_out: int = 0
    scale_in: tuple[str, ...] = ()
    reason: str = ""


NOTHING = ScalingPlan()


def plan_scaling(snapshot: ScalingSnapshot) -> ScalingPlan:
    """Decide how many blocks to start, or which ones to end.

    * ``none``: never any; what was there at the start stays.
    * ``simple``: start blocks while there are fewer than ``parallelism`` slots for each outstanding task, and while
      there are fewer than ``min_blocks``; end those beyond ``min_blocks`` when there was no task for
      ``max_idletime_s``.
    * ``htex_auto_scale``: also end single blocks that have been idle for ``max_idletime_s`` while others work.

    A block whose managers take no tasks (they are held, put aside or gone) is none that work can be given to: others
    are started, and to make room for them it is ended after ``max_idletime_s``.
    """
    if snapshot.strategy == "none":
        return NOTHING
    useful = _useful_blocks(snapshot)
    missing = _blocks_wanted(snapshot) - useful
    room = snapshot.max_blocks - len(snapshot.blocks)
    if missing > 0 and room > 0:
        number = min(missing, room, snapshot.may_start)
        reason = f"{snapshot.outstanding} tasks, {useful} blocks"
        return ScalingPlan(number, reason=reason) if number else NOTHING
    return _plan_scale_in(snapshot, useful)


def _blocks_wanted(snapshot: ScalingSnapshot) -> int:
    if snapshot.outstanding == 0:
        return snapshot.min_blocks
    slots = snapshot.outstanding * snapshot.parallelism
    # Without any block nothing would ever run, however small the parallelism.
    wanted = max(1, math.ceil(slots / _slots_per_block(snapshot)))
    return min(max(wanted, snapshot.min_blocks), snapshot.max_blocks)


def _useful_blocks(snapshot: ScalingSnapshot) -> int:
    """Blocks that take tasks, or will when their managers have come; parts of several make one."""
    return math.ceil(sum(map(_useful_part, snapshot.blocks.values())) - 1e-9)


def _useful_part(load: BlockLoad | None) -> float:
    if load is None:
        return 1.0
    if load.managers == 0:
        return 0.0
    return 1.0 if load.active is None else load.active / load.managers


def _slots_per_block(snapshot: ScalingSnapshot) -> float:
    return max(snapshot.workers_per_node * snapshot.nodes_per_block, 1)


def _plan_scale_in(snapshot: ScalingSnapshot, useful: int) -> ScalingPlan:
    there = len(snapshot.blocks)
    limit_s = snapshot.max_idletime_s
    if snapshot.outstanding == 0:
        spare = there - snapshot.min_blocks
        if spare <= 0 or snapshot.idle_s < limit_s:
            return NOTHING
        # A task may have come and gone between two looks: the blocks' own idle times count as well.
        idle = [block for block, load in snapshot.blocks.items() if load is None or load.idle_s >= limit_s]
        reason = f"no tasks for {snapshot.idle_s:.0f} s"
    else:
        idle = [block for block, load in snapshot.blocks.items() if load is not None and _is_idle(load, limit_s)]
        useless = [block for block in idle if _useful_part(snapshot.blocks[block]) == 0]
        spare = len(useless)
        if snapshot.strategy == "htex_auto_scale":
            spare += max(0, useful - _blocks_wanted(snapshot))
        else:
            idle = useless
        reason = f"{snapshot.outstanding} tasks do not need {there} blocks, {there - useful} of which take none"
    chosen = choose_blocks({block: snapshot.blocks[block] for block in idle}, spare)
    return ScalingPlan(scale_in=chosen, reason=reason) if chosen else NOTHING


def _is_idle(load: BlockLoad, for_at_least_s: float) -> bool:
    return load.tasks == 0 and load.idle_s >= for_at_least_s


def is_drained(load: BlockLoad | None) -> bool:
    """Whether a block that shall take no more tasks has none left, so that its end costs nothing."""
    return load is None or load.managers == 0 or (load.tasks == 0 and not load.active)


def choose_blocks(
    blocks: Mapping[str, BlockLoad | None], count: int, *, idle_for_s: float | None = None
) -> tuple[str, ...]:
    """Choose up to ``count`` blocks that are missed least.

    First those without a manager, youngest first; then those with the fewest tasks, among them first those that take
    none any more, then the longest idle. With ``idle_for_s`` only blocks that have a manager and no task since then.
    """
    candidates = list(blocks.items())
    if idle_for_s is not None:
        candidates = [(block, load) for block, load in candidates if load is not None and _is_idle(load, idle_for_s)]
    candidates.reverse()

    def cost(item: tuple[str, BlockLoad | None]) -> tuple[bool, int, bool, float]:
        load = item[1]
        return (False, 0, False, 0.0) if load is None else (True, load.tasks, _useful_part(load) > 0, -load.idle_s)

    return tuple(block for block, _ in sorted(candidates, key=cost)[:count])
