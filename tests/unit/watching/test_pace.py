from __future__ import annotations

from trellis.watching.pace import Pace


def test_nothing_is_known_of_one_look() -> None:
    pace = Pace()
    pace.note(0.0, 0, 0)
    assert (pace.per_s, pace.mean_per_s) == (None, None)


def test_the_rate_is_that_of_the_last_seconds_and_the_mean_that_since_there_were_tasks() -> None:
    pace = Pace()
    for second in range(100):
        pace.note(float(second), 0, 0)
    for second in range(100, 120):
        pace.note(float(second), 1000, 10 * (second - 99))
    for second in range(120, 131):
        pace.note(float(second), 1000, 200 + second - 119)
    assert pace.per_s == 1.0
    assert pace.mean_per_s == 211 / 31


def test_looks_that_are_close_together_replace_each_other() -> None:
    pace = Pace()
    for look in range(1000):
        pace.note(look / 1000, 5000, look)
    assert pace.per_s == 1000.0


def test_who_does_nothing_any_more_has_the_rate_zero() -> None:
    pace = Pace()
    pace.note(0.0, 5, 0)
    pace.note(1.0, 5, 5)
    for second in range(2, 20):
        pace.note(float(second), 5, 5)
    assert pace.per_s == 0.0
