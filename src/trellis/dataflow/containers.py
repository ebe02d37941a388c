"""What may hold futures: how its parts are found, and how it is made again with others. No futures here.

Beside lists, tuples, sets and dictionaries these are their subclasses, deques, dataclasses, objects of attrs,
namespaces, partial functions, and arrays of objects. What is made again is a copy: no constructor runs, and frozen
ones work too.
"""

from __future__ import annotations

import copy
import dataclasses
from collections import ChainMap, UserDict, UserList, deque
from collections.abc import Callable, ItemsView, Iterable, KeysView, ValuesView
from functools import partial
from types import MappingProxyType, SimpleNamespace
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

Replace = Callable[[Any], Any]


class ContainerKind(NamedTuple):
    """``parts`` of a value, and the value made again with ``replace(part)`` in the place of each."""

    parts: Callable[[Any], Iterable[Any]]
    again: Callable[[Any, Replace], Any]


def _copy(value: Any) -> Any:
    try:
        return copy.copy(value)
    except Exception as error:
        raise TypeError(
            f"a {type(value).__qualname__} with a future in it cannot be copied, to put the result there "
            f"({type(error).__name__}: {error}): give what is in it as a list or a dictionary"
        ) from error


def _itself(value: Any) -> Any:
    return value


# -- containers ------------------------------------------------------------------------------------------------


def _dict_parts(value: Any) -> list[Any]:
    return [*value.keys(), *value.values()]


def _dict_again(value: Any, replace: Replace) -> Any:
    new = _copy(value)
    new.clear()
    for key, item in value.items():
        new[replace(key)] = replace(item)
    return new


def _list_again(value: Any, replace: Replace) -> Any:
    new = _copy(value)
    new.clear()
    new.extend([replace(item) for item in value])
    return new


def _set_again(value: Any, replace: Replace) -> Any:
    new = _copy(value)
    new.clear()
    new.update([replace(item) for item in value])
    return new


def _fixed_again(value: Any, replace: Replace) -> Any:
    """Make a subclass of tuple or frozenset again."""
    base = tuple if isinstance(value, tuple) else frozenset
    new = base.__new__(type(value), [replace(item) for item in value])
    if hasattr(value, "__dict__"):
        vars(new).update(vars(value))
    return new


def _no_view(value: Any, replace: Replace) -> Any:
    raise TypeError(f"there is a future in a {type(value).__name__}: write list(…) around it")


_DICT = ContainerKind(_dict_parts, _dict_again)
_LIST = ContainerKind(_itself, _list_again)
_SET = ContainerKind(_itself, _set_again)
_FIXED = ContainerKind(_itself, _fixed_again)
_NAMED = ContainerKind(_itself, lambda value, replace: type(value)._make([replace(item) for item in value]))
_VIEW = ContainerKind(_itself, _no_view)
_PROXY = ContainerKind(
    _dict_parts,
    lambda value, replace: MappingProxyType({replace(key): replace(item) for key, item in value.items()}),
)
_PARTIAL = ContainerKind(
    lambda value: (*value.args, *value.keywords.values()),
    lambda value, replace: type(value)(
        value.func, *map(replace, value.args), **{name: replace(item) for name, item in value.keywords.items()}
    ),
)


# -- objects ---------------------------------------------------------------------------------------------------


def _attributes(names_of: Callable[[Any], Iterable[str]]) -> ContainerKind:
    """The kind of objects that hold values under these names. Frozen classes refuse writing: that is passed by."""

    def parts(value: Any) -> list[Any]:
        return [getattr(value, name) for name in names_of(value) if hasattr(value, name)]

    def again(value: Any, replace: Replace) -> Any:
        new = _copy(value)
        for name in names_of(value):
            if hasattr(value, name):
                object.__setattr__(new, name, replace(getattr(value, name)))
        return new

    return ContainerKind(parts, again)


_DATACLASS = _attributes(lambda value: [field.name for field in dataclasses.fields(value)])
_ATTRS = _attributes(lambda value: [attribute.name for attribute in type(value).__attrs_attrs__])
_NAMESPACE = _attributes(lambda value: list(vars(value)))
_USERS = _attributes(lambda value: ["data"])
_CHAIN = _attributes(lambda value: ["maps"])


def _array_again(value: Any, replace: Replace) -> Any:
    new = value.copy()
    for place, item in enumerate(value.flat):
        new.flat[place] = replace(item)
    return new


_ARRAY = ContainerKind(lambda value: value.flat if value.dtype.hasobject else (), _array_again)

_BY_TYPE: tuple[tuple[type | tuple[type, ...], ContainerKind], ...] = (
    (dict, _DICT),
    ((list, deque), _LIST),
    (set, _SET),
    ((tuple, frozenset), _FIXED),
    ((UserDict, UserList), _USERS),
    (ChainMap, _CHAIN),
    (MappingProxyType, _PROXY),
    ((KeysView, ValuesView, ItemsView), _VIEW),
    (SimpleNamespace, _NAMESPACE),
    (partial, _PARTIAL),
)


# Weak: a program may make classes by the thousand.
_known: WeakKeyDictionary[type[Any], ContainerKind | None] = WeakKeyDictionary()


def kind_of(type_: type[Any]) -> ContainerKind | None:
    """How values of a type are looked into; None: they are not."""
    try:
        return _known[type_]
    except KeyError:
        kind = _known[type_] = _find_kind(type_)
        return kind


def _find_kind(type_: type[Any]) -> ContainerKind | None:
    if issubclass(type_, tuple) and hasattr(type_, "_make"):
        return _NAMED
    for types, kind in _BY_TYPE:
        if issubclass(type_, types):
            return kind
    if dataclasses.is_dataclass(type_):
        return _DATACLASS
    if hasattr(type_, "__attrs_attrs__"):
        return _ATTRS
    if type_.__module__ == "numpy" and type_.__name__ == "ndarray":
        return _ARRAY
    return None
