"""What tasks need, found out by measuring."""

from __future__ import annotations

import pytest

from trellis.executors.taskvine.embedded.manager.categories import Category, best_throughput, least_waste
from trellis.wire.vine import UNKNOWN, Resources


def measured(algorithm: str, *memory_mb: float, steady_tasks: int = 3) -> Category:
    category = Category(algorithm, steady_tasks)
    for value in memory_mb:
        category.note(Resources(1, value, 10, 0), 2.0)
    return category


def test_the_mean_is_of_all_tasks_measured_or_not() -> None:
    assert Category().mean_s is None
    category = Category()
    category.note(UNKNOWN, 1.0)
    category.note(Resources(memory=5), 3.0)
    assert (category.done, category.mean_s) == (2, 2.0)


def test_fixed_learns_nothing() -> None:
    assert measured("fixed", 100, 100, 100, 100).first(Resources(cores=1)) == Resources(cores=1)


def test_max_is_the_largest_seen_rounded_up_once_there_are_enough() -> None:
    assert measured("max", 100, 300).first(Resources()) == Resources()
    assert measured("max", 100, 300, 600).first(Resources()) == Resources(1, 750, 250, 0)


def test_what_the_user_said_stands() -> None:
    category = measured("max", 100, 300, 600)
    assert category.first(Resources(cores=2, memory=100)) == Resources(2, 100, 250, 0)


@pytest.mark.parametrize("algorithm", ["max-xput", "bucketing"])
def test_one_large_task_among_many_small_does_not_make_all_large(algorithm: str) -> None:
    category = measured(algorithm, *[100] * 50, 8_000, *[100] * 9)
    assert category.first(Resources()) == Resources(1, 250, 250, 0)
    assert category.seen == Resources(1, 8_000, 10, 0)


@pytest.mark.parametrize("choose", [best_throughput, least_waste])
def test_when_most_are_large_the_label_is_large(choose: object) -> None:
    samples = [(100.0, 1.0)] * 2 + [(900.0, 1.0)] * 20
    assert callable(choose)
    assert choose(samples, 250.0) == 1_000


def test_short_tasks_that_use_little_weigh_little_in_waste() -> None:
    # A label of 250 would run the long ones twice.
    assert least_waste([(100.0, 0.1)] * 20 + [(900.0, 100.0)] * 5, 250.0) == 1_000


def test_gpus_that_nobody_uses_do_no_harm() -> None:
    assert best_throughput([(0.0, 1.0), (0.0, 1.0)], 1.0) == 0


def test_labels_follow_later_tasks() -> None:
    category = measured("max", *[100] * 9)
    assert category.first(Resources()).memory == 250
    for _ in range(11):
        category.note(Resources(1, 500, 10, 0), 1.0)
    assert category.first(Resources()).memory == 500
