"""What names of temporary files mean."""

from __future__ import annotations

import itertools

import pytest

from trellis.executors.taskvine.front.temp_names import TempNames


@pytest.fixture
def dropped() -> list[int]:
    return []


@pytest.fixture
def names(dropped: list[int]) -> TempNames:
    numbers = itertools.count()
    return TempNames(lambda _: next(numbers), dropped.append)


def test_who_reads_gets_what_is_made_before_or_afterwards(names: TempNames) -> None:
    assert [names.make("a"), names.read("a"), names.read("a")] == [0, 0, 0]
    assert [names.read("b"), names.make("b"), names.read("b")] == [1, 1, 1]


def test_what_is_made_anew_is_another_file(names: TempNames, dropped: list[int]) -> None:
    assert [names.make("a"), names.make("b"), names.make("a"), names.read("a"), names.read("b")] == [0, 1, 2, 2, 1]
    assert dropped == []


def test_the_one_before_is_kept_for_the_task_that_makes_the_next_of_it(names: TempNames, dropped: list[int]) -> None:
    for expected in ([], [], [0], [0, 1]):
        names.make("a")
        assert dropped == expected
