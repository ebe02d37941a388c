"""A flood of bad messages fills no disk."""

from __future__ import annotations

import logging

import pytest

from trellis.executors.common.bad_messages import Complaints


def test_complaints_are_counted_and_told_ever_more_rarely(caplog: pytest.LogCaptureFixture) -> None:
    complaints = Complaints(logging.getLogger("trellis.test"), "%s says nonsense: %s")
    for number in range(100):
        complaints.note("m1", ValueError(number))
    assert complaints.count == 100
    assert [record.getMessage() for record in caplog.records] == [
        f"m1 says nonsense: {count - 1} (bad messages so far: {count})" for count in (1, 2, 4, 8, 16, 32, 64)
    ]
