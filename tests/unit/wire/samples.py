"""Things of users: functions, classes and exceptions of an importable module, among them nasty ones."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any


def double(value: int) -> int:
    return 2 * value


class Point:
    def __init__(self, x: int) -> None:
        self.x = x

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Point) and other.x == self.x

    __hash__ = None  # type: ignore[assignment]


class OwnConstructor(Exception):
    """Can be pickled, but not made again: its constructor takes other arguments than ``args`` has."""

    def __init__(self, code: int, detail: str) -> None:
        super().__init__(f"code {code}: {detail}")


class Charged(OwnConstructor):
    """With an attribute, a slot, and a name that is private to its class."""

    __slots__ = ("__secret", "weight")

    def __init__(self, code: int, detail: str) -> None:
        super().__init__(code, detail)
        self.code, self.weight, self.__secret = code, 2.5, "s"

    def secret(self) -> str:
        return self.__secret


class Missing(FileNotFoundError):
    def __init__(self, path: str) -> None:
        super().__init__(2, "not there", path)
        self.path = path


class Several(ExceptionGroup):
    def __new__(cls, errors: list[Exception], where: str) -> Several:
        self = super().__new__(cls, "several", errors)
        self.where = where
        return self

    where: str


class Coded(UnicodeDecodeError):
    def __init__(self, data: bytes) -> None:
        super().__init__("ascii", data, 0, 1, "odd")


class DoublesItsWords(Exception):
    """Made again by its constructor, it would say it twice."""

    def __init__(self, words: str) -> None:
        super().__init__(f"bad: {words}")


class InterruptsWhenShown(Exception):
    def __str__(self) -> str:
        raise KeyboardInterrupt

    __repr__ = __str__


class InterruptsAlways(InterruptsWhenShown):
    def __reduce__(self) -> Any:
        raise SystemExit(3)


class ForgetsItsArguments(Exception):
    """Its own way of being pickled does not lead back."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(one)
        self.two = two

    def __reduce__(self) -> Any:
        return (ForgetsItsArguments, (1,))


class WithAttributes(Exception):
    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.code = 0


class HoldsLock(Exception):
    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.lock = threading.Lock()


class NoText(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class NoTextNoPickle(NoText):
    def __reduce__(self) -> Any:
        raise NoText


class TextOfItsOwn(str):
    """Cannot be pickled."""

    def __reduce__(self) -> Any:
        raise TypeError("not this text")


class OddText(HoldsLock):
    def __str__(self) -> str:
        return TextOfItsOwn("odd")


class CannotBeShown(Exception):
    @property
    def __notes__(self) -> list[str]:  # type: ignore[override]
        raise SystemError("notes")

    def __reduce__(self) -> Any:
        raise TypeError("not me")


class BecomesText(Exception):
    """Comes back as something that cannot be raised."""

    def __reduce__(self) -> Any:
        return (str, ("text",))


class ExitsWhenMade(Exception):
    """Like one whose module ends in ``sys.exit()`` when it is imported."""

    def __reduce__(self) -> Any:
        return (_exit, ())


class ExitsWhenPickled(Exception):
    def __reduce__(self) -> Any:
        raise SystemExit(3)


def _exit() -> None:
    raise SystemExit(3)


@dataclass(frozen=True)
class Frozen(Exception):
    """Its attributes cannot be set, not even ``__cause__``."""

    def __reduce__(self) -> Any:
        return (Frozen, ())


class Unpicklable:
    def __init__(self, error: Exception | None = None) -> None:
        self._error = error or TypeError("not this one")

    def __reduce__(self) -> Any:
        raise self._error


class CannotBeMade:
    """Can be pickled; making it raises ``error``."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __reduce__(self) -> Any:
        return (raise_, (self._error,))


def raise_(error: BaseException) -> None:
    raise error


def nested(depth: int) -> list[Any]:
    """A list in a list in a list …"""
    outer: list[Any] = []
    for _ in range(depth):
        outer = [outer]
    return outer


class Holder:
    """Has something as an attribute."""

    def __init__(self, held: object) -> None:
        self.held = held
