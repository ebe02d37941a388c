"""Which manager gets the next tasks."""

from __future__ import annotations

from random import Random

from trellis.executors.htex.selection import (
    BlockIdManagerSelector,
    RandomManagerSelector,
    ReadySet,
    block_order,
)


def test_block_numbers_are_ordered_by_value_and_names_come_last() -> None:
    assert sorted(["10", "9", "b", "", "a", "0"], key=block_order) == ["0", "9", "10", "", "a", "b"]


def test_the_block_selector_puts_the_lowest_block_first() -> None:
    records = {b"x": {"block_id": "10"}, b"y": {"block_id": "2"}, b"z": {"block_id": None}, b"w": {"block_id": "2"}}
    assert BlockIdManagerSelector().sort_managers(records, [b"x", b"y", b"z", b"w"]) == [b"w", b"y", b"x", b"z"]


def test_the_random_selector_keeps_all_and_varies() -> None:
    selector = RandomManagerSelector()
    ids = [bytes([number]) for number in range(20)]
    orders = {tuple(selector.sort_managers({}, set(ids))) for _ in range(5)}
    assert all(sorted(order) == ids for order in orders)
    assert len(orders) > 1


def test_selectors_print_as_they_are_made() -> None:
    assert [repr(RandomManagerSelector()), repr(BlockIdManagerSelector())] == [
        "RandomManagerSelector()",
        "BlockIdManagerSelector()",
    ]


def test_the_ready_set_is_a_set() -> None:
    ready = ReadySet()
    for name in "abca":
        ready.put(name, True)
    ready.put("b", False)
    ready.discard("never there")
    assert (sorted(ready), len(ready), "a" in ready, "b" in ready) == (["a", "c"], 2, True, False)
    ready.put("c", False)
    ready.put("a", False)
    assert not ready


def test_picking_gives_each_the_same_chance() -> None:
    ready = ReadySet()
    for name in "abcd":
        ready.put(name, True)
    ready.discard("a")
    rng = Random(1)
    counts = dict.fromkeys("bcd", 0)
    for _ in range(3_000):
        counts[ready.pick(rng)] += 1
    assert all(900 < count < 1_100 for count in counts.values())
