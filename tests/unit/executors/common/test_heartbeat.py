"""When a heartbeat is due, and which silence is too long."""

from __future__ import annotations

import pytest

from trellis.executors.common.heartbeat import WAKE_UP_S, Liveness

PERIOD_S, THRESHOLD_S = 10.0, 40.0


@pytest.fixture
def it() -> Liveness:
    return Liveness(PERIOD_S, THRESHOLD_S, 0.0)


def test_a_heartbeat_is_due_each_period_whatever_the_peer_says(it: Liveness) -> None:
    assert it.due == PERIOD_S
    assert not it.beat(PERIOD_S - 1)
    it.heard(PERIOD_S - 1)
    assert it.beat(PERIOD_S)
    assert not it.beat(PERIOD_S)
    assert it.due == 2 * PERIOD_S


def test_a_peer_is_silent_from_the_threshold_on(it: Liveness) -> None:
    it.heard(5)
    it.beat(THRESHOLD_S)
    assert it.due == 5 + THRESHOLD_S
    assert it.silence(4 + THRESHOLD_S) == ""
    assert it.silence(5 + THRESHOLD_S) == "40 s"
    it.heard(6)
    assert it.silence(5 + THRESHOLD_S) == ""


@pytest.mark.parametrize("now", [0.1, 1.1, 12345.678])
@pytest.mark.parametrize("threshold_s", [0.1, 0.3, 7.7])
def test_silence_is_too_long_when_it_is_due(now: float, threshold_s: float) -> None:
    it = Liveness(1e9, threshold_s, now)
    assert it.silence(it.due)


@pytest.mark.parametrize("heard", [True, False])
def test_who_has_said_or_heard_nothing_for_the_threshold_is_held_for_a_while(it: Liveness, heard: bool) -> None:
    if heard:
        it.heard(THRESHOLD_S - 1)
    else:
        it.beat(THRESHOLD_S - 1)
    assert not it.has_overslept(THRESHOLD_S - 1)
    assert not it.is_held(THRESHOLD_S - 1)
    assert it.has_overslept(THRESHOLD_S)
    it.heard(THRESHOLD_S)
    next_beat = THRESHOLD_S + PERIOD_S if it.beat(THRESHOLD_S) else THRESHOLD_S - 1 + PERIOD_S
    until = THRESHOLD_S + WAKE_UP_S
    assert it.due == until
    assert not it.has_overslept(until - 0.1)
    assert it.is_held(until - 0.1)
    assert not it.is_held(until)
    assert it.due == next_beat
