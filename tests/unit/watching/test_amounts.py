from __future__ import annotations

import pytest

from trellis.watching.amounts import ago, count, duration, rate


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-3.0, "0.0 s"),
        (0.0, "0.0 s"),
        (0.00001, "0.01 ms"),
        (0.0124, "12 ms"),
        (0.0994, "99 ms"),
        (0.0999, "0.1 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (200.0, "3 min 20 s"),
        (3599.9, "1 h"),
        (7500.0, "2 h 5 min"),
        (90_000.0, "1 d 1 h"),
    ],
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_ago_is_of_the_clock_that_is_given() -> None:
    assert ago(100.0, now=112.0) == "12 s"


def test_counts() -> None:
    assert (count(1, "task"), count(0, "task"), count(2000, "task")) == ("1 task", "0 tasks", "2,000 tasks")


@pytest.mark.parametrize(
    ("per_s", "words"), [(0.0, "0/s"), (0.1, "6/min"), (3.14159, "3.14/s"), (99.99, "100/s"), (41234.5, "41,234/s")]
)
def test_rates(per_s: float, words: str) -> None:
    assert rate(per_s) == words
