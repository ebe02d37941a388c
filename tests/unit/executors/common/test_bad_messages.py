"""A flood of bad messages fills no disk."""

from __future__ import annotations

import logging

import pytest

from trellis.executors.common.bad_messages import BadMessages


def test_bad_messages_are_counted_and_told_ever_more_rarely(caplog: pytest.LogCaptureFixture) -> None:
    bad_messages = BadMessages(logging.getLogger("trellis.test"), "%s says nonsense: %s")
    for number in range(100):
        bad_messages.note("m1", ValueError(number))
    assert bad_messages.count == 100
    assert [record.getMessage() for record in caplog.records] == [
        f"m1 says nonsense: {count - 1} (bad messages so far: {count})" for count in (1, 2, 4, 8, 16, 32, 64)
    ]
