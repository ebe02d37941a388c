# ruff: noqa: E501 (tables of values)
"""Values that users give by mistake, by other libraries' types, or in malice: for any parameter of anything."""

from __future__ import annotations

import enum
import math
from collections import OrderedDict, UserDict, UserString, deque
from collections.abc import Iterator
from concurrent.futures import Future
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from trellis.executors.threads import ThreadPoolExecutor
from trellis.launchers import SimpleLauncher
from trellis.staging.files import File


class Hostile:
    """Whatever is asked of it, it fails."""

    def _fail(self, *_: object) -> Any:
        raise RuntimeError("on purpose")

    __repr__ = __str__ = __bool__ = __len__ = __iter__ = __index__ = __float__ = __fspath__ = __eq__ = __hash__ = _fail
    __contains__ = __lt__ = __gt__ = __le__ = __ge__ = __add__ = __getitem__ = _fail


class Number(float):
    """A number that is not what it says."""

    def __repr__(self) -> str:
        return "0"


class Name(str):
    """A text of a class of its own."""

    __slots__ = ()


class Colour(enum.StrEnum):
    RED = "red"


class Size(enum.IntEnum):
    SMALL = 1


class BytesPath:
    def __fspath__(self) -> bytes:
        return b"path"


def _endless() -> Iterator[int]:
    while True:
        yield 1


def _resolved(value: object) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_result(value)
    return future


NUMBERS: list[Any] = [
    0, 1, -1, 2, 2**31, 2**63, 2**64, 10**400, 10**5000, -(10**400), 0.5, 1.0, -0.0, 1e-320, 1e16, 1e300, -1e300, math.nan, math.inf,
    -math.inf, 1j, True, False, Decimal(2), Decimal("NaN"), Decimal("sNaN"), Decimal("-Infinity"), Decimal("1e999999"),
    Fraction(1, 3), Fraction(10**400), Number(3), Number("nan"), Size.SMALL, np.float64(30), np.float32("nan"),
    np.int8(1), np.uint64(2**64 - 1), np.True_, np.array(3), np.array([1, 2]), np.array([]), np.complex128(1j),
    np.timedelta64(1, "m"), np.timedelta64("NaT"), np.datetime64("2020"), timedelta(minutes=1), timedelta(-1), timedelta.max,
]  # fmt: skip
TEXTS: list[Any] = [
    "", " ", "abc", "1", "1m", "00:01:00", "99:99:99", "999999999:00:00", "a b", "dir/b", "..", "/", "a\0b", "\n", "x" * 5000, "\ud800", "caf\udce9",
    "ä€𝄞", "{", "{}", "{0}", "{block_id}", "%s", "$(false)", "'", '"', "`", "all", "http://[::1", "file:///a%20b", "file://", "::",
    "-x", "auto", "slurm", "none", "list:", "٣", np.str_("abc"), Name("abc"), Colour.RED, UserString("abc"),
]  # fmt: skip
OTHERS: list[Any] = [
    None, b"", b"abc", bytearray(b"abc"), memoryview(b"abc"), Path("abc"), PurePosixPath("a\0b"), BytesPath(), File("abc"), object(), object,
    int, type, Hostile(), Hostile, SimpleNamespace(label="x"), len, (lambda: None), ThreadPoolExecutor, ThreadPoolExecutor(),
    SimpleLauncher, SimpleLauncher(), [], (), {}, set(), frozenset({"a"}), [1], ["a"], ["a", 1], ["a\0"], [None], [[]], ("a", "w"),
    ("a", None), (1, 2), (1, 70000), (2.5, 3), ("1", "2"), [Hostile()], {"a": 1}, {"a": "b"}, {1: 2}, {None: None}, {"a": Hostile()},
    {"a\0": "b\0"}, OrderedDict(a=1), UserDict(a=1), deque([1]), range(3), date(2026, 1, 1), Exception("x"), Exception, ..., NotImplemented,
    np.array(["a"]), np.array([None], dtype=object),
]  # fmt: skip
# Made anew each time: they can be used but once.
MADE = {
    "a generator": lambda: (n for n in range(2)),
    "an endless one": _endless,
    "a future": lambda: _resolved(Hostile()),
}

ODD: list[Any] = [*NUMBERS, *TEXTS, *OTHERS]


def _one_of(values: list[Any]) -> st.SearchStrategy[Any]:
    # By number: hypothesis writes down what it samples from, and not all of these can be written.
    return st.integers(0, len(values) - 1).map(values.__getitem__)


_scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.complex_numbers(), st.decimals(), st.fractions(), st.text(), st.binary(),
    st.timedeltas(), st.dates(), _one_of(NUMBERS), _one_of(TEXTS),
)  # fmt: skip
# For a test with ``@given(odd)``.
odd: st.SearchStrategy[Any] = st.one_of(
    _one_of(ODD),
    _scalars,
    st.lists(_scalars, max_size=3),
    st.lists(_scalars, max_size=3).map(tuple),
    st.dictionaries(st.text(max_size=3), _scalars, max_size=3),
    st.sampled_from(sorted(MADE)).map(lambda name: MADE[name]()),
)


def name_of(value: object) -> str:
    """For the name of a test."""
    try:
        text = repr(value)
    except Exception:
        text = type(value).__name__
    return text.encode("ascii", "backslashreplace").decode()[:40]
