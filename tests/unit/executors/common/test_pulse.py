"""A silent peer is asked once; only one that does not answer hangs."""

from __future__ import annotations

from trellis.executors.common.pulse import Pulse, asking_period


def test_a_peer_that_talks_is_not_asked() -> None:
    pulse = Pulse(period_s=10, threshold_s=25, now=0)
    assert pulse.next_deadline() == 10
    assert pulse.look(now=9.9) == "fine"
    for now in (10, 20, 30):
        pulse.heard()
        assert pulse.look(now) == "fine"
        assert pulse.next_deadline() == now + 10


def test_a_silent_peer_is_asked_and_hangs_when_it_does_not_answer() -> None:
    pulse = Pulse(period_s=10, threshold_s=25, now=0)
    assert pulse.look(now=10) == "ask"
    assert pulse.look(now=20) == "fine"
    assert pulse.look(now=30) == "fine"
    assert pulse.next_deadline() == 35
    assert pulse.look(now=35) == "hangs"


def test_an_answer_is_enough() -> None:
    pulse = Pulse(period_s=10, threshold_s=25, now=0)
    assert pulse.look(now=10) == "ask"
    pulse.heard()
    assert pulse.look(now=20) == "fine"
    assert pulse.look(now=30) == "ask"


def test_time_without_a_question_does_not_count() -> None:
    pulse = Pulse(period_s=10, threshold_s=25, now=0)
    assert pulse.look(now=1_000) == "ask"  # it was this side that slept
    assert pulse.look(now=1_010) == "fine"


def test_who_has_slept_asks_anew() -> None:
    pulse = Pulse(period_s=10, threshold_s=25, now=0)
    assert pulse.look(now=10) == "ask"
    assert pulse.look(now=1_000) == "ask"  # both may have been suspended, and the answer be still to come
    assert pulse.look(now=1_010) == "fine"
    assert pulse.look(now=1_020) == "fine"
    assert pulse.look(now=1_025) == "hangs"


def test_who_is_a_little_late_does_not_ask_anew() -> None:
    pulse = Pulse(period_s=10, threshold_s=25, now=0)
    assert pulse.look(now=10) == "ask"
    assert pulse.look(now=29) == "fine"
    assert pulse.look(now=44) == "hangs"
    assert pulse.verdict == "did not answer for 25 s, and was killed"


def test_a_silent_peer_is_asked_several_times_before_it_counts_as_hanging() -> None:
    assert asking_period(heartbeat_period_s=30, heartbeat_threshold_s=120) == 15
    assert asking_period(heartbeat_period_s=1, heartbeat_threshold_s=120) == 1


def test_a_threshold_below_the_period_counts_too() -> None:
    pulse = Pulse(period_s=10, threshold_s=1, now=0)
    assert pulse.look(now=10) == "ask"
    assert pulse.next_deadline() == 11
    assert pulse.look(now=11) == "hangs"
