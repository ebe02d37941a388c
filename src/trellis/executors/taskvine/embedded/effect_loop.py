"""Performs what a protocol object asks for, in that order, be it asked while something else is performed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

E = TypeVar("E")


class EffectLoop(Generic[E]):
    """Call it after each event; a call from within ``perform`` leaves the work to the one that is under way.

    Args:
        effects: gives what is asked for, each effect once.
        perform: does it.
    """

    def __init__(self, effects: Callable[[], Sequence[E]], perform: Callable[[E], None]) -> None:
        self._effects = effects
        self._perform = perform
        self._is_performing = False

    def __call__(self) -> None:
        if self._is_performing:
            return
        self._is_performing = True
        try:
            while asked := self._effects():
                for effect in asked:
                    self._perform(effect)
        finally:
            self._is_performing = False
