"""Kinds of values that users give: what each accepts, and what becomes of it. Pure. Numbers here, others in ``kinds``.

A kind is called with a value and gives it back as a plain object of Python: numbers of numpy and other libraries become
``int`` or ``float``, a path a ``str``, a time its seconds. So nothing behind the checks, least of all a message, meets
a type that it does not know. What a kind does not accept is ``ValueRefused``, and ``str(kind)`` says what it accepts;
who calls it adds whose value that was (``check`` in ``validation`` for parameters).
"""

from __future__ import annotations

import math
import numbers
import operator
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

# Beyond any resource there is, and what messages can carry (see wire/numbers.py).
LARGEST = 1e15
# 31 years. Timers of the operating system end at 292.
LONGEST_S = 1e9
# Larger bounds are only told to who oversteps them.
_TELLING = 1e6
# Longer values are cut in messages: who gave it knows it.
_SHOWN_CHARACTERS = 200
_NUMBER = re.compile(r"\s*(-?\d{1,15}(?:\.\d+)?)\s*([A-Za-z]*)\s*", re.ASCII)
_TIME = re.compile(r"(?:(?P<days>\d{1,9})[-:])?(?P<hours>\d{1,9}):(?P<minutes>\d{1,2}):(?P<seconds>\d{1,2})", re.ASCII)


class ValueRefused(Exception):
    """A kind does not accept a value.

    Args:
        wanted: what is accepted.
        wrong_type: no value of this type would do.
        advice: what to write instead, if that is known.
    """

    def __init__(self, wanted: object, *, wrong_type: bool = False, advice: str = "") -> None:
        super().__init__(wanted)
        self.wanted = str(wanted)
        self.wrong_type = wrong_type
        self.advice = advice

    def words(self, value: object) -> str:
        """What follows the name of the parameter in a message."""
        return f"must be {self.wanted}, not {shown(value)}" + (f": {self.advice}" if self.advice else "")


def shown(value: object) -> str:
    """A value in a message: never long, and whatever its ``repr`` does."""
    try:
        text = repr(value)
    except Exception:  # also an int of more digits than Python likes to write
        text = f"<a {type(value).__name__} that cannot be shown>"
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"


class Kind(ABC):
    """What a parameter accepts."""

    @abstractmethod
    def __call__(self, value: Any) -> Any:
        """The value as a plain object.

        Raises:
            ValueRefused: it is none of this kind.
        """

    @abstractmethod
    def __str__(self) -> str:
        """What is accepted, for people."""


# -- numbers ---------------------------------------------------------------------------------------------------


def plain_number(value: object) -> int | float | None:
    """The value as an int or a float; None when it is no number. Times of numpy are none, and neither are truth values.

    Raises:
        OverflowError: it is too large for a float, and no int.
    """
    if isinstance(value, bool) or getattr(getattr(value, "dtype", None), "kind", "") in ("m", "b"):
        return None
    try:
        return int(operator.index(value))  # type: ignore[arg-type]
    except OverflowError:
        raise
    except Exception:  # of another's ``__index__`` anything may come
        pass
    if not isinstance(value, numbers.Real | Decimal):
        return None
    try:
        return float(value)
    except OverflowError:
        raise
    except Exception:
        return None


@dataclass(frozen=True)
class Number(Kind):
    """A number with limits.

    Args:
        above: it must be larger than that.
        least, most: it may be as small, or as large, as that.
        whole: only integers, and what Python takes for one (``__index__``).
        infinite: infinity stands for no limit.
        unit: what it counts.
    """

    above: float | None = None
    least: float | None = None
    most: float = LARGEST
    whole: bool = False
    infinite: bool = False
    unit: str = ""

    def __call__(self, value: Any) -> int | float:
        try:
            number = plain_number(value)
        except OverflowError:
            raise ValueRefused(self._with_most()) from None
        if number is None or (self.whole and isinstance(number, float)):
            raise ValueRefused(self, wrong_type=True, advice=self._as_number(value))
        if self.infinite and number == math.inf:
            return math.inf
        if number > self.most:
            raise ValueRefused(self._with_most())
        lowest = -LARGEST if self.least is None else self.least
        if not number >= lowest or (self.above is not None and not number > self.above):
            raise ValueRefused(self)
        return number

    def _as_number(self, value: object) -> str:
        """What to write instead of a text that has a number."""
        match = _NUMBER.fullmatch(value) if isinstance(value, str) else None
        if match is None or (self.whole and "." in match[1]):
            return ""
        if match[2] and not (self.unit and match[2].lower().replace("ib", "b") == self.unit.lower()):
            return ""
        return f"write {match[1]}, without quotes"

    def __str__(self) -> str:
        return self._words() if self.most > _TELLING else self._with_most()

    def _words(self) -> str:
        text = "a whole number" if self.whole else "a number"
        unit = f" ({self.unit})" if self.unit else ""
        if self.above is not None:
            return f"{text} above {self.above:g}{unit}"
        return text + unit if self.least is None else f"{text} of at least {self.least:g}{unit}"

    def _with_most(self) -> str:
        bounded = self.above is not None or self.least is not None
        return f"{self._words()}{' and' if bounded else ' of'} at most {self.most:.10g}"


# What messages can carry as a count (see wire/numbers.py).
MOST_COUNTED = 2**31


@dataclass(frozen=True)
class Count(Number):
    """A whole number of things, also written as a text of digits."""

    least: float | None = 1
    most: float = MOST_COUNTED
    whole: bool = True

    def __call__(self, value: Any) -> int | float:
        if isinstance(value, str) and value.isascii() and value.isdecimal():
            value = int(value[:20])  # longer ones are too large as well
        return super().__call__(value)


@dataclass(frozen=True)
class Duration(Number):
    """Seconds, also as a ``timedelta`` (of numpy as well).

    Args:
        texts: also as ``"HH:MM:SS"`` or ``"D-HH:MM:SS"``, as batch systems have walltimes.
    """

    most: float = LONGEST_S
    unit: str = "seconds"
    texts: bool = False

    def __call__(self, value: Any) -> int | float:
        if isinstance(value, timedelta):
            value = value.total_seconds()
        elif self.texts and isinstance(value, str):
            value = self._of_text(value)
        elif getattr(getattr(value, "dtype", None), "kind", "") == "m":
            value = _seconds_of_numpy(value)
        return super().__call__(value)

    def __str__(self) -> str:
        number = super().__str__()
        return f"{number}, a timedelta, or a text 'HH:MM:SS'" if self.texts else f"{number} or a timedelta"

    def _of_text(self, text: str) -> int:
        seconds = parse_time(text)
        if seconds is None:
            raise ValueRefused(self)
        return seconds


class Span(Kind):
    """Whole seconds as ``"HH:MM:SS"``, ``"D-HH:MM:SS"`` or a ``timedelta``; a bare number might mean minutes."""

    def __call__(self, value: Any) -> int:
        if not isinstance(value, str | timedelta):
            raise ValueRefused(self, wrong_type=True)
        if isinstance(value, str) and parse_time(value) is None:
            raise ValueRefused(self)
        try:
            return int(Duration(least=1, texts=True)(value))
        except ValueRefused:
            raise ValueRefused(self) from None

    def __str__(self) -> str:
        return "HH:MM:SS or D-HH:MM:SS and above zero (for example '01:30:00', 31 years at most), or a timedelta"


def parse_time(text: str) -> int | None:
    """The seconds of ``HH:MM:SS`` or ``D-HH:MM:SS``; None when it is neither."""
    match = _TIME.fullmatch(text.strip())
    if match is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    if minutes > 59 or seconds > 59:
        return None
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def _seconds_of_numpy(value: Any) -> Any:
    try:
        return value / type(value)(1, "s")
    except Exception:  # an array of times, or months, which have no length in seconds
        return value
