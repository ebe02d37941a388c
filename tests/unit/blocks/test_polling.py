"""Tables of times."""

from __future__ import annotations

import pytest

from trellis.blocks.polling import LONGEST_BACKOFF_S, PollSchedule


@pytest.mark.parametrize(
    ("interval_s", "young_since", "soon", "expected"),
    [
        (60, None, False, 160),
        (60, 80, False, 106),
        (60, 103, False, 109),  # it was submitted after the last question
        (60, 159, False, 160),
        (20, 100, False, 105),
        (4, 100, False, 104),
        (600, 100, False, 160),
        (60, None, True, 106),
        (60, 103, True, 106),
    ],
)
def test_the_next_question(interval_s: float, young_since: float | None, soon: bool, expected: float) -> None:
    polls = PollSchedule(interval_s, 0)
    polls.asked(100, answered=True)
    assert polls.next(young_since, soon=soon) == expected


def test_before_the_first_question_news_are_looked_at_at_once() -> None:
    polls = PollSchedule(3600, 50)
    assert polls.next(None, soon=False) == 3650
    assert polls.next(None, soon=True) < 50


def test_questions_that_are_not_answered_are_put_less_and_less() -> None:
    polls = PollSchedule(10, 0)
    waits = []
    for _ in range(7):
        polls.asked(100, answered=False)
        assert polls.next(99, soon=True) == polls.next(None, soon=False)
        waits.append(polls.next(None, soon=False) - 100)
    assert waits == [20, 40, 80, 160, LONGEST_BACKOFF_S, LONGEST_BACKOFF_S, LONGEST_BACKOFF_S]
    polls.asked(200, answered=True)
    assert polls.next(None, soon=False) == 210


def test_a_long_interval_is_not_shortened_by_the_limit() -> None:
    polls = PollSchedule(3600, 0)
    polls.asked(0, answered=False)
    assert polls.next(None, soon=False) == 3600
