"""How a function begins and ends, in the log."""

from __future__ import annotations

import logging

import pytest

from trellis.process_loggers import wrap_with_logs


@wrap_with_logs
def half(number: int) -> float:
    """Divide by two."""
    return number / 2


@wrap_with_logs(target="mine")
def inverse(number: int) -> float:
    return 1 / number


def test_a_function_that_returns(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    assert half(3) == 1.5
    assert half.__name__ == "half"
    assert half.__doc__ == "Divide by two."
    assert [(record.name, record.levelname, record.getMessage()) for record in caplog.records] == [
        ("trellis.process_loggers", "DEBUG", "Normal beginning of half in thread MainThread"),
        ("trellis.process_loggers", "DEBUG", "Normal ending of half in thread MainThread"),
    ]


def test_a_function_that_raises(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ZeroDivisionError):
        inverse(0)
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("mine", "ERROR")
    assert record.getMessage() == "Exceptional ending of inverse in thread MainThread"
    assert record.exc_info is not None
