"""Which reports have come: each counts once, and is acknowledged only together with all before it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trellis.executors.htex.submit.acknowledgements import LONGEST_S, MOST_REPORTS, Acknowledgements
from trellis.wire.messages import Received


def test_reports_are_acknowledged_up_to_the_last() -> None:
    acknowledgements = Acknowledgements()
    assert acknowledgements.next_deadline() is None
    assert all(acknowledgements.note("m", sequence, now=10.0 + sequence) for sequence in (1, 2, 3))
    assert acknowledgements.next_deadline() == 11.0 + LONGEST_S
    assert acknowledgements.take() == Received(["m"], [3])
    assert acknowledgements.next_deadline() is None
    assert acknowledgements.take() == Received([], [])


def test_many_reports_are_acknowledged_at_once() -> None:
    acknowledgements = Acknowledgements()
    for sequence in range(1, MOST_REPORTS + 1):
        assert acknowledgements.next_deadline() != 0.0
        acknowledgements.note("m", sequence, now=0.0)
    assert acknowledgements.next_deadline() == 0.0


def test_a_report_that_comes_again_does_not_count_but_is_acknowledged_again() -> None:
    acknowledgements = Acknowledgements()
    assert acknowledgements.note("m", 1, now=0.0)
    acknowledgements.take()
    assert not acknowledgements.note("m", 1, now=5.0)
    assert acknowledgements.next_deadline() == 5.0 + LONGEST_S
    assert acknowledgements.take() == Received(["m"], [1])


def test_nothing_is_acknowledged_beyond_a_report_that_is_missing() -> None:
    acknowledgements = Acknowledgements()
    assert acknowledgements.note("m", 3, now=0.0)
    assert acknowledgements.take() == Received([], [])
    assert acknowledgements.note("m", 1, now=0.0)
    assert acknowledgements.take() == Received(["m"], [1])
    assert not acknowledgements.note("m", 3, now=0.0)
    assert acknowledgements.note("m", 2, now=0.0)
    assert acknowledgements.take() == Received(["m"], [3])


def test_managers_are_counted_apart_and_forgotten() -> None:
    acknowledgements = Acknowledgements()
    for manager in ("a", "b", "b"):
        acknowledgements.note(manager, 1, now=0.0)
    acknowledgements.forget("a")
    assert acknowledgements.take() == Received(["b"], [1])
    assert acknowledgements.note("a", 1, now=0.0)


@given(sequences=st.lists(st.integers(1, 9)))
def test_whatever_the_order_each_counts_once(sequences: list[int]) -> None:
    acknowledgements = Acknowledgements()
    seen: set[int] = set()
    for sequence in sequences:
        assert acknowledgements.note("m", sequence, now=0.0) == (sequence not in seen)
        seen.add(sequence)
        complete = next(number for number in range(1, 11) if number not in seen) - 1
        assert acknowledgements.take() == (Received(["m"], [complete]) if complete else Received([], []))
