"""Which manager gets the next tasks."""

from __future__ import annotations

from random import Random

from trellis.executors.htex.interchange.selection import (
    BlockIdManagerSelector,
    OrderedReadySet,
    RandomManagerSelector,
    ReadySet,
    block_order,
)


def test_block_numbers_are_ordered_by_value_and_names_come_last() -> None:
    assert sorted(["10", "9", "b", "", "a", "0"], key=block_order) == ["10", "9", "0", "", "a", "b"]


def test_the_block_selector_puts_its_favourite_the_newest_block_last() -> None:
    records = {b"x": {"block_id": "10"}, b"y": {"block_id": "2"}, b"z": {"block_id": None}, b"w": {"block_id": "2"}}
    assert BlockIdManagerSelector().sort_managers(records, [b"x", b"y", b"z", b"w"]) == [b"z", b"y", b"w", b"x"]
    records = {b"x": {"block_id": 10}, b"y": {"block_id": 2}, b"z": {"block_id": 0}}  # as tests of programs have it
    assert BlockIdManagerSelector().sort_managers(records, [b"x", b"y", b"z"]) == [b"z", b"y", b"x"]


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


def test_the_ordered_set_picks_the_lowest_that_is_in_it() -> None:
    order = {"a": 3, "b": 1, "c": 2, "d": 1}
    ready = OrderedReadySet(order.__getitem__)
    rng = Random(1)
    for name in "acdbb":
        ready.put(name, True)
    assert (len(ready), sorted(ready), "c" in ready) == (4, ["a", "b", "c", "d"], True)
    picked = []
    while ready:
        picked.append(ready.pick(rng))
        assert ready.pick(rng) == picked[-1]  # picking takes nothing out
        ready.put(picked[-1], False)
    assert picked == ["b", "d", "c", "a"]


def test_the_ordered_set_forgets_the_former_place_of_an_id() -> None:
    order = {"a": 1, "b": 2}
    ready = OrderedReadySet(order.__getitem__)
    ready.put("a", True)
    ready.put("b", True)
    ready.discard("a")
    order["a"] = 3  # it came back in another block
    ready.put("a", True)
    assert ready.pick(Random(1)) == "b"


def test_the_ordered_set_keeps_nothing_of_the_many_that_came_and_went() -> None:
    ready = OrderedReadySet(int)
    ready.put("-1", True)
    for number in range(10_000):
        ready.put(str(number), True)
        ready.discard(str(number))
    assert ready.pick(Random(1)) == "-1"
    assert len(ready._heap) == len(ready._in_heap) < 200
