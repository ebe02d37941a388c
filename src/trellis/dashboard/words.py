"""How the pages say numbers, times and states. Pure; what comes from a database is only cut, never made safe here."""

from __future__ import annotations

from trellis.monitoring.queries.pages_source import to_time

STATE_WORDS = {
    "pending": "waiting for others",
    "launched": "queued",
    "running": "running",
    "joining": "waiting for its inner tasks",
    "exec_done": "done",
    "memo_done": "done (from a memo)",
    "failed": "failed",
    "dep_fail": "not run: others failed",
    "cancelled": "cancelled",
    "fail_retryable": "to be tried again",
    "running_ended": "left the worker",
}
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def state_words(state: str) -> str:
    return STATE_WORDS.get(state, state)


def count(number: float | None) -> str:
    """A whole number, with thin spaces between thousands."""
    return "–" if number is None else f"{int(number):,}".replace(",", "\u202f")


def size(bytes_: float | None) -> str:
    if bytes_ is None:
        return "–"
    value, unit = float(bytes_), 0
    while abs(value) >= 1000 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.0f} {_UNITS[unit]}" if unit == 0 or value >= 100 else f"{value:.3g} {_UNITS[unit]}"


def duration(seconds: float | None) -> str:
    """A time span in at most two units: ``3 h 4 min``."""
    if seconds is None:
        return "–"
    seconds = max(seconds, 0.0)
    if seconds < 0.9995e-1:
        return f"{seconds * 1000:.3g} ms" if seconds else "0 s"
    if seconds < 59.95:
        return f"{seconds:.3g} s"
    whole = round(seconds)
    for large, large_name, small, small_name in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= large:
            rest = whole % large // small
            return f"{whole // large} {large_name}" + (f" {rest} {small_name}" if rest else "")
    return f"{whole} s"


def moment(seconds: float | None) -> str:
    return "–" if seconds is None else to_time(seconds).strftime("%Y-%m-%d %H:%M:%S")


def precise(seconds: float | None) -> str:
    """A time of the day, with milliseconds."""
    return "–" if seconds is None else to_time(seconds).strftime("%H:%M:%S.%f")[:-3]


def percent(share: float | None) -> str:
    if share is None:
        return "–"
    return f"{100 * share:.0f} %" if share >= 0.0995 or share == 0 else f"{100 * share:.1f} %"


def cut(text: object, most: int = 160) -> str:
    """A text in a line, shortened."""
    line = " ".join(str(text).split())
    return line if len(line) <= most else f"{line[: most - 1]}…"
