"""Kinds of values that are no numbers (see ``values``): texts, paths, choices, objects, and what holds other kinds."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trellis.core.values import Kind, ValueRefused, shown

# -- texts -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Text(Kind):
    """A text that can be written to a file, and given to a command.

    Args:
        empty: whether nothing is a text.
        lines: whether it may have several lines.
    """

    empty: bool = True
    lines: bool = True

    def __call__(self, value: Any) -> str:
        if not isinstance(value, str):
            raise ValueRefused(self, wrong_type=True)
        text = str.__str__(value)  # of a subclass (numpy's, an enumeration's) the text alone
        if not (text or self.empty):
            raise ValueRefused(self)
        complaint = _complaint(text) or ("" if self.lines or "\n" not in text else "an end of line")
        if complaint:
            raise ValueRefused(f"{self} without {complaint}")
        return text

    def __str__(self) -> str:
        return "a text" if self.empty else "a text that is not empty"


@dataclass(frozen=True)
class Path(Kind):
    """A path, as a text or a ``pathlib`` one; it becomes a text.

    Args:
        any_bytes: also one whose bytes are no text (see ``os.fsdecode``): such paths cannot stand in a script.
    """

    any_bytes: bool = False

    def __call__(self, value: Any) -> str:
        try:
            path = os.fspath(value)
        except Exception:
            raise ValueRefused(self, wrong_type=True) from None
        if not isinstance(path, str):
            raise ValueRefused(self, wrong_type=True)
        complaint = "being empty" if not path else _complaint(path, self.any_bytes)
        if complaint:
            raise ValueRefused(f"{self} without {complaint}" if path else f"{self}, and not empty")
        return str.__str__(path)

    def __str__(self) -> str:
        return "a path (str or os.PathLike)"


def _complaint(text: str, any_bytes: bool = False) -> str:
    if "\0" in text:
        return "a NUL character"
    try:
        _ = os.fsencode(text) if any_bytes else text.encode()
    except UnicodeEncodeError:
        return "characters that cannot be encoded"
    return ""


class Word(Text):
    """A text in one piece: a name in a command, a host."""

    def __call__(self, value: Any) -> str:
        text = super().__call__(value)
        if not text or text.split() != [text]:
            raise ValueRefused(self)
        return text

    def __str__(self) -> str:
        return "a text that is not empty and has no spaces"


# -- choices, and what is made of other kinds ------------------------------------------------------------------


@dataclass(frozen=True)
class Flag(Kind):
    """True or False; also numpy's."""

    def __call__(self, value: Any) -> bool:
        if isinstance(value, bool):
            return value
        if getattr(getattr(value, "dtype", None), "kind", "") == "b" and getattr(value, "ndim", 1) == 0:
            return bool(value)
        raise ValueRefused(self, wrong_type=True)

    def __str__(self) -> str:
        return "True or False (bool)"


class Choice(Kind):
    """Any of some texts."""

    def __init__(self, *choices: str) -> None:
        self.choices = choices

    def __call__(self, value: Any) -> str:
        if not isinstance(value, str):
            raise ValueRefused(self, wrong_type=True)
        if value not in self.choices:
            raise ValueRefused(self)
        return str.__str__(value)

    def __str__(self) -> str:
        return f"one of {', '.join(map(repr, self.choices))}"


class OrNone(Kind):
    """Also None.

    Args:
        kind: what it is otherwise.
        empty: an empty text stands for None.
    """

    def __init__(self, kind: Kind, empty: bool = False) -> None:
        self.kind = kind
        self.empty = empty

    def __call__(self, value: Any) -> Any:
        if value is None or (self.empty and isinstance(value, str) and not value):
            return None
        try:
            return self.kind(value)
        except ValueRefused as refused:
            raise ValueRefused(_or_none(refused.wanted), wrong_type=refused.wrong_type, advice=refused.advice) from None

    def __str__(self) -> str:
        return _or_none(str(self.kind))


def _or_none(wanted: str) -> str:
    return f"{wanted}, or None" if "," in wanted else f"{wanted} or None"


class Either(Kind):
    """Either of two kinds or more; the first that accepts a value makes of it what it likes."""

    def __init__(self, *kinds: Kind) -> None:
        self.kinds = kinds

    def __call__(self, value: Any) -> Any:
        types_fit = False
        for kind in self.kinds:
            try:
                return kind(value)
            except ValueRefused as refused:
                types_fit = types_fit or not refused.wrong_type
        raise ValueRefused(self, wrong_type=not types_fit)

    def __str__(self) -> str:
        return ", or ".join(map(str, self.kinds))


class Items(Kind):
    """A list or a tuple (it stays what it is) of one kind.

    Args:
        kind: of each element.
        of: what the elements are, for people.
        least: fewer elements are refused.
    """

    def __init__(self, kind: Kind, of: str, least: int = 0) -> None:
        self.kind = kind
        self.of = of
        self.least = least

    def __call__(self, value: Any) -> Any:
        if not isinstance(value, list | tuple):
            advice = f"write [{shown(value)}]" if isinstance(value, str) else ""
            raise ValueRefused(self, wrong_type=True, advice=advice)
        if len(value) < self.least:
            raise ValueRefused(f"{self} that is not empty")
        found = []
        for element in value:
            try:
                found.append(self.kind(element))
            except ValueRefused as refused:
                wanted = f"{self}, of which each is {refused.wanted} ({shown(element)} is none)"
                raise ValueRefused(wanted, wrong_type=refused.wrong_type, advice=refused.advice) from None
        return tuple(found) if isinstance(value, tuple) else found

    def __str__(self) -> str:
        return f"a list of {self.of}"


class Set(Kind):
    """A set of one kind.

    Args:
        kind: of each element.
        of: what the elements are, for people.
    """

    def __init__(self, kind: Kind, of: str) -> None:
        self.kind = kind
        self.of = of

    def __call__(self, value: Any) -> Any:
        if not isinstance(value, set | frozenset):
            raise ValueRefused(self, wrong_type=True)
        return frozenset(Items(self.kind, self.of)(list(value)))

    def __str__(self) -> str:
        return f"a set of {self.of}"


class Table(Kind):
    """A dictionary (or another mapping) whose keys are texts; it becomes a dictionary of one's own.

    Args:
        kind: of each value.
        of: what it says by what, for people.
        key: of each key.
    """

    def __init__(self, kind: Kind, of: str, key: Kind = Text(empty=False)) -> None:
        self.kind = kind
        self.of = of
        self.key = key

    def __call__(self, value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise ValueRefused(self, wrong_type=True)
        found = {}
        for key, element in value.items():
            try:
                key = self.key(key)
            except ValueRefused as refused:
                wanted = f"{self} whose keys are each {refused.wanted} ({shown(key)} is none)"
                raise ValueRefused(wanted, wrong_type=refused.wrong_type) from None
            try:
                found[key] = self.kind(element)
            except ValueRefused as refused:
                wanted = f"{self}, and for {key!r} {refused.wanted} ({shown(element)} is none)"
                raise ValueRefused(wanted, wrong_type=refused.wrong_type) from None
        return found

    def __str__(self) -> str:
        return f"a dict of {self.of}"


class Anything(Kind):
    """Whatever it is."""

    def __call__(self, value: Any) -> Any:
        return value

    def __str__(self) -> str:
        return "anything"


class Function(Kind):
    """What can be called."""

    def __call__(self, value: Any) -> Any:
        if not callable(value):
            raise ValueRefused(self, wrong_type=True)
        return value

    def __str__(self) -> str:
        return "a callable"


class Instance(Kind):
    """An object of a class, or one that looks like it. A class in its place is a forgotten pair of brackets.

    Args:
        wanted: what it is, for people: "a Launcher".
        types: of which class it is.
        methods: or what it must have, where programs bring objects of their own.
    """

    def __init__(self, wanted: str, *types: type, methods: tuple[str, ...] = ()) -> None:
        self.wanted = wanted
        self.types = types
        self.methods = methods

    def __call__(self, value: Any) -> Any:
        if isinstance(value, type):
            advice = f"this is the class; write {value.__name__}()"
            raise ValueRefused(f"{self.wanted} object", wrong_type=True, advice=advice)
        if self.types and not isinstance(value, self.types):
            raise ValueRefused(self, wrong_type=True)
        missing = [name for name in self.methods if not has(value, name)]
        if missing:
            more = f" and {len(missing) - 3} others" if len(missing) > 4 else ""
            shown = ", ".join(missing[:3] if more else missing)
            raise ValueRefused(self, wrong_type=True, advice=f"it has no {shown}{more}")
        return value

    def __str__(self) -> str:
        return self.wanted


def has(value: object, name: str) -> bool:
    """Whether a value has an attribute, whatever it does when it is asked."""
    try:
        return hasattr(value, name)
    except Exception:  # a property that fails
        return False
