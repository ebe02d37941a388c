"""Tables of plans."""

from __future__ import annotations

from typing import Any

import pytest

from trellis.blocks.scaling import NOTHING, ScalingSnapshot, choose_blocks, is_drained, plan_scaling
from trellis.core.interfaces import BlockLoad

BUSY = BlockLoad(managers=1, tasks=1, idle_s=0)
IDLE = BlockLoad(managers=1, tasks=0, idle_s=100)
JUST_IDLE = BlockLoad(managers=1, tasks=0, idle_s=5)
# Its managers are held, or put aside.
USELESS = BlockLoad(managers=2, tasks=0, idle_s=100, active=0)
USELESS_BUSY = BlockLoad(managers=2, tasks=3, idle_s=0, active=0)
HALF = BlockLoad(managers=2, tasks=3, idle_s=0, active=1)
GONE = BlockLoad(managers=0, tasks=0, idle_s=0, active=0)


def blocks(*loads: BlockLoad | None) -> dict[str, BlockLoad | None]:
    return {str(n): load for n, load in enumerate(loads)}


def snapshot(**settings: Any) -> ScalingSnapshot:
    defaults: dict[str, Any] = {
        "strategy": "simple",
        "min_blocks": 0,
        "max_blocks": 10,
        "nodes_per_block": 1,
        "parallelism": 1,
        "max_idletime_s": 60,
        "workers_per_node": 1,
        "outstanding": 0,
        "idle_s": 0,
        "blocks": {},
    }
    return ScalingSnapshot(**{**defaults, **settings})


@pytest.mark.parametrize("strategy", ["simple", "htex_auto_scale"])
@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"outstanding": 0}, 0),
        ({"outstanding": 3}, 3),
        ({"outstanding": 30}, 10),  # max_blocks
        ({"outstanding": 3, "blocks": blocks(BUSY, None)}, 1),  # one that waits in the queue counts
        ({"outstanding": 2, "blocks": blocks(BUSY, BUSY)}, 0),
        ({"outstanding": 9, "workers_per_node": 4}, 3),
        ({"outstanding": 9, "workers_per_node": 4, "nodes_per_block": 2}, 2),
        ({"outstanding": 9, "workers_per_node": 4, "nodes_per_block": 2, "blocks": blocks(BUSY)}, 1),
        ({"outstanding": 8, "workers_per_node": 4, "nodes_per_block": 2, "blocks": blocks(BUSY)}, 0),
        ({"outstanding": 10, "parallelism": 0.5}, 5),
        ({"outstanding": 10, "parallelism": 0.5, "blocks": blocks(BUSY)}, 4),
        ({"outstanding": 10, "parallelism": 0}, 1),  # never none while tasks wait
        ({"outstanding": 10, "parallelism": 0, "blocks": blocks(BUSY)}, 0),
        ({"outstanding": 1, "max_blocks": 0}, 0),
        ({"outstanding": 5, "workers_per_node": 0}, 5),  # not known: one is as good a guess as any
        ({"outstanding": 5, "workers_per_node": float("inf")}, 1),
        ({"outstanding": 0, "min_blocks": 2}, 2),  # lost ones are replaced
        ({"outstanding": 0, "min_blocks": 2, "blocks": blocks(IDLE)}, 1),
        ({"outstanding": 1, "min_blocks": 2, "blocks": blocks(BUSY)}, 1),
        ({"outstanding": 3, "may_start": 0}, 0),
        ({"outstanding": 3, "may_start": 2}, 2),
        ({"outstanding": 0, "min_blocks": 2, "may_start": 0}, 0),
        # What takes no tasks is no capacity, but it takes room.
        ({"outstanding": 1, "blocks": blocks(USELESS_BUSY)}, 1),
        ({"outstanding": 1, "blocks": blocks(GONE)}, 1),
        ({"outstanding": 1, "blocks": blocks(USELESS_BUSY), "max_blocks": 1}, 0),
        ({"outstanding": 1, "blocks": blocks(HALF)}, 0),
        ({"outstanding": 2, "blocks": blocks(HALF, HALF)}, 1),
        ({"outstanding": 0, "min_blocks": 1, "blocks": blocks(USELESS)}, 1),
    ],
)
def test_scaling_out(strategy: str, settings: dict[str, Any], expected: int) -> None:
    plan = plan_scaling(snapshot(strategy=strategy, **settings))
    assert (plan.scale_out, plan.scale_in) == (expected, ())
    assert bool(plan.reason) == bool(expected)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"idle_s": 59, "blocks": blocks(IDLE)}, ()),
        ({"idle_s": 60, "blocks": blocks(IDLE)}, ("0",)),
        ({"idle_s": 60, "blocks": blocks(IDLE, None)}, ("1", "0")),
        ({"idle_s": 60, "blocks": blocks(IDLE, JUST_IDLE)}, ("0",)),  # it worked since we looked
        ({"idle_s": 60, "min_blocks": 1, "blocks": blocks(IDLE, IDLE)}, ("1",)),
        ({"idle_s": 60, "min_blocks": 2, "blocks": blocks(IDLE, IDLE)}, ()),
        ({"idle_s": 0, "max_idletime_s": 0, "blocks": blocks(JUST_IDLE)}, ("0",)),
        ({"idle_s": 60, "min_blocks": 1, "blocks": blocks(USELESS, IDLE)}, ("0",)),
    ],
)
@pytest.mark.parametrize("strategy", ["simple", "htex_auto_scale"])
def test_scaling_in_without_tasks(strategy: str, settings: dict[str, Any], expected: tuple[str, ...]) -> None:
    plan = plan_scaling(snapshot(strategy=strategy, **settings))
    assert (plan.scale_out, plan.scale_in) == (0, expected)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"outstanding": 1, "blocks": blocks(BUSY, IDLE)}, ("1",)),
        ({"outstanding": 1, "blocks": blocks(BUSY, JUST_IDLE)}, ()),
        ({"outstanding": 1, "blocks": blocks(BUSY, None)}, ()),  # it has had no chance yet
        ({"outstanding": 1, "blocks": blocks(IDLE, IDLE, BUSY)}, ("1", "0")),
        ({"outstanding": 2, "blocks": blocks(IDLE, IDLE, BUSY)}, ("1",)),  # one task waits, one block for it
        ({"outstanding": 3, "parallelism": 0.3, "blocks": blocks(IDLE, IDLE, BUSY)}, ("1", "0")),
        ({"outstanding": 1, "min_blocks": 2, "blocks": blocks(BUSY, IDLE, IDLE)}, ("2",)),
        ({"outstanding": 4, "workers_per_node": 4, "blocks": blocks(BUSY, IDLE)}, ("1",)),
        ({"outstanding": 5, "workers_per_node": 4, "blocks": blocks(BUSY, IDLE)}, ()),
    ],
)
def test_scaling_in_while_others_work(settings: dict[str, Any], expected: tuple[str, ...]) -> None:
    assert plan_scaling(snapshot(strategy="htex_auto_scale", **settings)).scale_in == expected
    assert plan_scaling(snapshot(strategy="simple", **settings)) == NOTHING


@pytest.mark.parametrize("strategy", ["simple", "htex_auto_scale"])
def test_idle_blocks_that_take_no_tasks_make_room(strategy: str) -> None:
    there = blocks(BUSY, USELESS, USELESS_BUSY)
    assert plan_scaling(snapshot(strategy=strategy, outstanding=9, max_blocks=3, blocks=there)).scale_in == ("1",)


def test_a_block_is_drained_when_its_end_costs_nothing() -> None:
    assert [is_drained(load) for load in (None, GONE, USELESS)] == [True] * 3
    assert [is_drained(load) for load in (BUSY, HALF, USELESS_BUSY)] == [False] * 3
    assert is_drained(BlockLoad(managers=1, tasks=0, idle_s=9))  # all that is known of executors that tell no more
    assert not is_drained(BlockLoad(managers=1, tasks=0, idle_s=9, active=1))  # it has not heard of it yet


def test_strategy_none_does_nothing() -> None:
    assert plan_scaling(snapshot(strategy="none", outstanding=100, min_blocks=2)) == NOTHING
    assert plan_scaling(snapshot(strategy="none", idle_s=1000, blocks=blocks(IDLE))) == NOTHING


def test_blocks_that_are_missed_least_are_chosen_first() -> None:
    there = blocks(BlockLoad(1, 2, 0), BUSY, JUST_IDLE, None, IDLE, None)
    assert choose_blocks(there, 99) == ("5", "3", "4", "2", "1", "0")
    assert choose_blocks(there, 3) == ("5", "3", "4")
    assert choose_blocks(blocks(USELESS_BUSY, IDLE, USELESS), 9) == ("2", "1", "0")


def test_choosing_can_be_limited_to_idle_blocks() -> None:
    there = blocks(BUSY, JUST_IDLE, None, IDLE)
    assert choose_blocks(there, 99, idle_for_s=0) == ("3", "1")
    assert choose_blocks(there, 99, idle_for_s=50) == ("3",)
