"""What each kind of value accepts, what it makes of it, and what it says of others."""

from __future__ import annotations

import enum
import math
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pytest

from trellis.core.kinds import Choice, Either, Flag, Instance, Items, OrNone, Path, Set, Table, Text
from trellis.core.parameters import Label
from trellis.core.validation import check
from trellis.core.values import Count, Duration, Kind, Number, ValueRefused, shown
from trellis.errors import ParameterTypeError, ParameterValueError, TrellisError


def refusal(kind: Kind, value: Any) -> str:
    with pytest.raises(ValueRefused) as caught:
        kind(value)
    return caught.value.words(value)


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (3, 3),
        (2.5, 2.5),
        (np.float64(2.5), 2.5),
        (np.float32(2.5), 2.5),
        (np.int8(3), 3),
        (np.array(3), 3),
        (Fraction(5, 2), 2.5),
        (Decimal("2.5"), 2.5),
        (enum.IntEnum("Some", {"A": 3})(3), 3),
    ],
)
def test_numbers_of_all_libraries_become_plain_ones(value: Any, plain: float) -> None:
    number = Number()(value)
    assert (number, type(number)) == (plain, type(plain))


class Broken:
    def __index__(self) -> int:
        raise RuntimeError("no")

    def __repr__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    "value",
    [
        "3",
        None,
        True,
        np.True_,
        1j,
        math.nan,
        math.inf,
        -math.inf,
        1e300,
        10**1000,
        -(10**1000),
        Fraction(10**1000),
        Decimal("NaN"),
        Decimal("sNaN"),
        Decimal("1e99999"),
        np.timedelta64(3, "s"),
        np.datetime64("2020"),
        np.array([3, 4]),
        timedelta(seconds=3),
        [3],
        int,
        Broken(),
    ],
)
def test_what_is_no_number_that_messages_can_carry_is_refused(value: Any) -> None:
    assert refusal(Number(), value).startswith("must be a number")


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        (Number(above=0, unit="MB"), 0, "must be a number above 0 (MB), not 0"),
        (Number(least=0), -1, "must be a number of at least 0, not -1"),
        (Number(least=1, whole=True), 1.0, "must be a whole number of at least 1, not 1.0"),
        (Number(least=0, most=9), 10, "must be a number of at least 0 and at most 9, not 10"),
        (Number(least=0), 1e300, "must be a number of at least 0 and at most 1e+15, not 1e+300"),
        (Count(), "1.5", "must be a whole number of at least 1, not '1.5'"),
        (Count(), "9" * 30, f"must be a whole number of at least 1 and at most 2147483648, not '{'9' * 30}'"),
        (Text(), "a\0", r"must be a text without a NUL character, not 'a\x00'"),
        (Text(empty=False), "", "must be a text that is not empty, not ''"),
        (Text(), "\ud800", r"must be a text without characters that cannot be encoded, not '\ud800'"),
        (Text(lines=False), "a\nb", r"must be a text without an end of line, not 'a\nb'"),
        (Text(), b"a", "must be a text, not b'a'"),
        (Path(), b"a", "must be a path (str or os.PathLike), not b'a'"),
        (Path(), "", "must be a path (str or os.PathLike), and not empty, not ''"),
        (Path(), "a\0", r"must be a path (str or os.PathLike) without a NUL character, not 'a\x00'"),
        (Flag(), 1, "must be True or False (bool), not 1"),
        (Choice("a", "b"), "c", "must be one of 'a', 'b', not 'c'"),
        (Choice("a", "b"), np.array([1, 2]), "must be one of 'a', 'b', not array([1, 2])"),
        (OrNone(Text()), 3, "must be a text or None, not 3"),
        (Either(Number(), Text()), (), "must be a number, or a text, not ()"),
        (Items(Text(), "names"), "abc", "must be a list of names, not 'abc': write ['abc']"),
        (
            Items(Text(), "names"),
            ["a", 3],
            "must be a list of names, of which each is a text (3 is none), not ['a', 3]",
        ),
        (Items(Text(), "names", least=1), [], "must be a list of names that is not empty, not []"),
        (Set(Text(), "names"), ["a"], "must be a set of names, not ['a']"),
        (Table(Text(), "texts"), {"a": 3}, "must be a dict of texts, and for 'a' a text (3 is none), not {'a': 3}"),
        (Table(Text(), "texts"), [3], "must be a dict of texts, not [3]"),
        (Instance("a Path", PurePosixPath), PurePosixPath, "write PurePosixPath()"),
        (Instance("a thing", methods=("submit",)), 3, "must be a thing, not 3: it has no submit"),
    ],
)
def test_a_refusal_says_what_is_accepted_and_what_was_given(kind: Kind, value: Any, words: str) -> None:
    assert refusal(kind, value).endswith(words)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (90, 90),
        (timedelta(minutes=1.5), 90),
        (np.timedelta64(90, "s"), 90),
        (np.timedelta64(2, "m"), 120),
        ("00:01:30", 90),
        ("1-00:00:01", 86401),
        (" 100:00:00 ", 360_000),
    ],
)
def test_a_time_is_seconds_however_it_is_given(value: Any, seconds: float) -> None:
    assert Duration(above=0, texts=True)(value) == seconds


@pytest.mark.parametrize(
    "value",
    ["1m", "90", "00:60:00", "00:00:00", "-1:00:00", "٠٠:٠١:٠٠", timedelta(-1), timedelta.max, 0, -1, 1e16, math.nan,
     np.timedelta64("NaT"), np.timedelta64(1, "M"), "999999999:00:00", math.inf, True],
)  # fmt: skip
def test_what_is_no_time_is_refused(value: Any) -> None:
    assert "(seconds)" in refusal(Duration(above=0, texts=True), value)


@pytest.mark.parametrize("label", ["a", "htex_local", "my exec", "_internal", "Ä-1", "a.b", "7", "x" * 100])
def test_labels(label: str) -> None:
    assert Label()(label) == label


@pytest.mark.parametrize(
    "label", ["", " a", ".", "..", ".a", "a/b", "a\n", "a'b", "$x", "all", "ä" * 51, 3, None, b"a"]
)
def test_what_is_no_label(label: Any) -> None:
    assert "a name of letters, digits, spaces" in refusal(Label(), label)


def test_texts_and_paths_become_plain_ones() -> None:
    colour = enum.StrEnum("Colour", {"RED": "red"})
    for made in (
        Text()(np.str_("red")),
        Text()(colour("red")),
        Path()(PurePosixPath("red")),
        Choice("red")(colour("red")),
    ):
        assert (made, type(made)) == ("red", str)


def test_lists_stay_lists_with_plain_elements() -> None:
    assert Items(Number(), "numbers")((np.int8(1),)) == (1,)
    assert Items(Number(), "numbers")([np.int8(1)]) == [1]
    given = {"a": np.int8(1)}
    made = Table(Number(), "numbers")(given)
    assert made == {"a": 1}
    assert made is not given


def test_a_parameter_has_an_error_for_types_and_one_for_values() -> None:
    assert check("Config", "retries", np.int8(1), Number()) == 1
    with pytest.raises(ParameterTypeError, match="Config: retries must be a number, not 'x'") as wrong_type:
        check("Config", "retries", "x", Number())
    with pytest.raises(ParameterValueError, match="Config: retries must be a number of at least 0, not -1") as wrong:
        check("Config", "retries", -1, Number(least=0))
    assert isinstance(wrong_type.value, TypeError)
    assert isinstance(wrong.value, ValueError)
    assert isinstance(wrong.value, TrellisError)


def test_what_is_shown_is_short_and_harmless() -> None:
    assert shown("x" * 1000) == "'" + "x" * 199 + "…"
    assert shown(Broken()) == "<a Broken that cannot be shown>"
    assert shown(10**5000) == "<a int that cannot be shown>"


@pytest.mark.parametrize(
    ("kind", "value", "advice"),
    [
        (Number(), "3", ": write 3, without quotes"),
        (Number(), " -2.5 ", ": write -2.5, without quotes"),
        (Number(whole=True), "2.5", "not '2.5'"),
        (Number(unit="GB"), "4 GiB", ": write 4, without quotes"),
        (Number(unit="GB"), "4000MB", "not '4000MB'"),
        (Number(), "4GB", "not '4GB'"),
        (Number(), "three", "not 'three'"),
    ],
)
def test_a_number_in_quotes_is_told_as_one_writes_it(kind: Number, value: str, advice: str) -> None:
    with pytest.raises(ValueRefused) as caught:
        kind(value)
    assert caught.value.words(value).endswith(advice)
