"""Constructors whose parameters are declared by annotations."""

from __future__ import annotations

from typing import Annotated

import pytest

from trellis.core.kinds import Flag, OrNone, Text
from trellis.core.validation import arguments, declares_parameters, keep_arguments, parameters_of
from trellis.core.values import Number
from trellis.errors import ParameterTypeError, ParameterValueError


@declares_parameters
class Shelf:
    boards: Annotated[int, Number(least=1, whole=True)]
    owner: Annotated[str | None, OrNone(Text())]
    height: int

    def __init__(self, boards: int = 1, owner: str | None = None) -> None:
        keep_arguments(self, arguments(locals()))


@declares_parameters
class WallShelf(Shelf):
    owner: Annotated[str, Text(empty=False)]
    screws: Annotated[bool, Flag()]

    def __init__(self, screws: bool = True, **others: object) -> None:
        given = arguments(locals())
        keep_arguments(self, {**given.pop("others"), **given})


def test_arguments_become_attributes() -> None:
    shelf = WallShelf(boards=2, owner="me", screws=False)
    assert vars(shelf) == {"boards": 2, "owner": "me", "screws": False}


def test_parameters_are_those_of_the_bases_too() -> None:
    assert list(parameters_of(Shelf)) == ["boards", "owner"]
    assert list(parameters_of(WallShelf)) == ["boards", "owner", "screws"]
    assert parameters_of(object) == {}


def test_a_class_may_accept_less_than_its_base() -> None:
    assert Shelf(owner=None).owner is None
    with pytest.raises(ParameterTypeError, match="WallShelf: owner must be a text that is not empty, not None"):
        WallShelf(owner=None)


def test_what_cannot_work_is_named() -> None:
    with pytest.raises(ParameterValueError, match="Shelf: boards must be a whole number of at least 1, not 0"):
        Shelf(boards=0)


def test_what_is_not_declared_is_refused() -> None:
    with pytest.raises(TypeError, match="WallShelf declares no parameter depth"):
        WallShelf(depth=3)
