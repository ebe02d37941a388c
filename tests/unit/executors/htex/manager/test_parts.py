"""The parts of the manager's machine that can be looked at alone: nodes, limits, look-ahead."""

from __future__ import annotations

from trellis.executors.common.lookahead import AHEAD_S, MOST_AHEAD_PER_WORKER, LookAhead
from trellis.executors.htex.manager.limits import Limits
from trellis.executors.htex.manager.node_pool import MOST_OVERTAKEN, NodePool

# -- nodes -------------------------------------------------------------------------------------------------------


def test_nodes_are_given_in_order_and_come_back() -> None:
    pool = NodePool(("a", "b", "c"))
    pool.wait(1, 2)
    pool.wait(2, 1)
    assert (len(pool), pool.waiting, 1 in pool) == (2, [1, 2], True)
    assert pool.take() == (1, ("a", "b"))
    assert pool.take() == (2, ("c",))
    assert pool.take() is None
    pool.put_back(("c",))
    pool.put_back(("a", "b"))
    pool.wait(3, 3)
    assert pool.take() == (3, ("a", "b", "c"))


def test_a_large_task_is_overtaken_some_times_and_then_nobody_passes() -> None:
    pool = NodePool(("a", "b"))
    pool.wait(0, 1)
    assert pool.take() == (0, ("a",))
    pool.wait(100, 2)
    for task in range(1, MOST_OVERTAKEN + 5):
        pool.wait(task, 1)
    for task in range(1, MOST_OVERTAKEN + 1):
        assert pool.take() == (task, ("b",))
        pool.put_back(("b",))
    assert pool.take() is None
    pool.put_back(("a",))
    assert pool.take() == (100, ("a", "b"))


def test_what_does_not_wait_any_more_gets_nothing() -> None:
    pool = NodePool(("a",))
    pool.wait(1, 1)
    pool.remove(1)
    assert (pool.take(), len(pool), pool.free) == (None, 0, 1)


# -- limits ------------------------------------------------------------------------------------------------------


def test_a_limit_of_nothing_is_none() -> None:
    limits = Limits(0.1)
    limits.watch(1, 0, 0, now=5.0)
    assert (bool(limits), limits.tasks, limits.next_deadline()) == (False, set(), None)


def test_memory_is_measured_every_period_while_somebody_has_a_limit() -> None:
    limits = Limits(0.5)
    limits.watch(1, 0, 300, now=5.0)
    limits.watch(2, 0, 400, now=5.4)
    assert limits.next_deadline() == 5.5
    assert limits.to_measure({1: (0, 5.0), 7: (1, 5.0)}, 5.4) == {}
    assert limits.to_measure({1: (0, 5.0), 7: (1, 5.0)}, 5.5) == {1: (0, 300)}
    assert limits.next_deadline() == 6.0
    limits.remove(1)
    limits.remove(2)
    assert limits.next_deadline() is None
    assert limits.to_measure({1: (0, 5.0)}, 9.0) == {}


def test_a_walltime_counts_from_the_start() -> None:
    limits = Limits(0.5)
    limits.watch(1, 10.0, 0, now=0.0)
    assert limits.overdue({1: (3, 4.0)}, 10.0) == {}
    assert limits.next_deadline() == 14.0
    assert limits.overdue({1: (3, 4.0)}, 14.0) == {1: (3, 10.0)}


# -- look-ahead --------------------------------------------------------------------------------------------------


def test_nothing_is_kept_ready_while_nothing_is_known() -> None:
    assert LookAhead().ahead(8) == 0


def test_as_many_are_kept_ready_as_run_in_a_moment() -> None:
    look_ahead = LookAhead()
    look_ahead.note(10, 10 * AHEAD_S / 4)
    assert (look_ahead.ahead(1), look_ahead.ahead(3)) == (4, 12)
    look_ahead = LookAhead()
    look_ahead.note(10, 0.0)
    assert (look_ahead.ahead(1), look_ahead.ahead(128)) == (MOST_AHEAD_PER_WORKER, 128 * MOST_AHEAD_PER_WORKER)


def test_there_may_be_a_bound_for_all_workers_together() -> None:
    look_ahead = LookAhead(100)
    look_ahead.note(10, 0.0)
    assert (look_ahead.ahead(1), look_ahead.ahead(2)) == (MOST_AHEAD_PER_WORKER, 100)


def test_a_long_task_counts_at_once_and_short_ones_one_by_one() -> None:
    look_ahead = LookAhead()
    look_ahead.note(100, 0.0)
    look_ahead.note(1, 1.0)
    assert look_ahead.ahead(1) == 0
    look_ahead.note(10, 0.0)
    assert look_ahead.ahead(1) == 0
    look_ahead.note(100, 0.0)
    assert look_ahead.ahead(1) > 0
