"""Answers are kept the longer, the longer they took."""

from __future__ import annotations

from trellis.dashboard.kept import Kept


def test_a_slow_answer_is_kept_for_longer() -> None:
    now = [0.0]
    kept, asked = Kept(lambda: now[0]), []

    def ask() -> int:
        now[0] += 2
        asked.append(now[0])
        return len(asked)

    assert kept.get("key", ask) == 1
    now[0] = 21.9
    assert kept.get("key", ask) == 1
    now[0] = 22.1
    assert kept.get("key", ask) == 2
    assert kept.get("other", ask) == 3


def test_answers_of_ended_runs_are_kept_for_minutes() -> None:
    now = [0.0]
    kept = Kept(lambda: now[0])
    assert kept.get("key", lambda: 1, ended=True) == 1
    now[0] = 299.0
    assert kept.get("key", lambda: 2, ended=True) == 1
    now[0] = 301.0
    assert kept.get("key", lambda: 2, ended=True) == 2


def test_what_is_kept_is_bounded() -> None:
    kept = Kept(lambda: 0.0)
    for number in range(1000):
        kept.get(number, lambda: b"x")
    assert len(kept._answers) <= 200
    assert len(kept._asking) <= 201
