"""Amounts and times in words, for people. Pure but for the clock."""

from __future__ import annotations

import time

_MINUTE_S = 60
_HOUR_S = 3600
_DAY_S = 86400


def duration(seconds: float) -> str:
    """About how long: ``3 ms``, ``0.4 s``, ``12 s``, ``3 min 20 s``, ``2 h 5 min``, ``3 d 4 h``."""
    if seconds < 0:
        seconds = 0.0
    if 0 < seconds < 0.0995:
        return f"{seconds * 1000:.2g} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < _MINUTE_S:
        return f"{whole} s"
    if whole < _HOUR_S:
        return _two(whole, _MINUTE_S, "min", 1, "s")
    if whole < _DAY_S:
        return _two(whole, _HOUR_S, "h", _MINUTE_S, "min")
    return _two(whole, _DAY_S, "d", _HOUR_S, "h")


def _two(whole: int, large: int, large_name: str, small: int, small_name: str) -> str:
    rest = whole % large // small
    return f"{whole // large} {large_name}" + (f" {rest} {small_name}" if rest else "")


def ago(then: float, now: float | None = None) -> str:
    """How long ago something was that happened at ``then``, by a clock that may differ from ours."""
    return duration((time.time() if now is None else now) - then)


def count(number: int, what: str) -> str:
    """A number of things: ``1 task``, ``2,000 tasks``."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def rate(per_s: float) -> str:
    """How many per second, or per minute where it is slow."""
    if per_s >= 100:
        return f"{per_s:,.0f}/s"
    if per_s >= 1 or per_s == 0:
        return f"{per_s:.3g}/s"
    return f"{per_s * 60:.2g}/min"
