"""Finding the futures in an app's arguments, and replacing them by their results. No kernel here.

A ``DependencyResolver`` is a pair of functions; users may give their own in ``Config.dependency_resolver``:

* ``DEEP_DEPENDENCY_RESOLVER`` (what ``None`` stands for) looks into lists, tuples, named tuples, sets, frozensets and
  dictionaries (keys and values), at any depth. Only these exact types: a subclass may mean something by being one.
* ``SHALLOW_DEPENDENCY_RESOLVER`` takes only futures that are arguments themselves, or elements of ``inputs``.

Containers without futures are passed on as they are, not copied.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from types import NoneType
from typing import Any

# Values of these exact types hold no futures and no files; most arguments are such values.
ATOMIC_TYPES = frozenset({int, float, complex, str, bytes, bytearray, bool, NoneType, range, type(Ellipsis)})

_CONTAINERS = frozenset({list, tuple, set, frozenset, dict})


@dataclass(frozen=True)
class DependencyResolver:
    """How futures are found in an argument, and how their results are put in their places.

    ``traverse_to_gather(argument)`` gives the futures in an argument. ``traverse_to_unwrap(argument)`` gives the
    argument with each of these futures replaced by its result; it is called when all of them are done, and may raise
    what a failed future raises.
    """

    traverse_to_gather: Callable[[object], Sequence[Future[Any]]]
    traverse_to_unwrap: Callable[[object], object]


def _shallow_gather(argument: object) -> Sequence[Future[Any]]:
    return (argument,) if isinstance(argument, Future) else ()


def _shallow_unwrap(argument: object) -> object:
    return argument.result() if isinstance(argument, Future) else argument


def _deep_gather(argument: object) -> Sequence[Future[Any]]:
    if isinstance(argument, Future):
        return (argument,)
    if not _is_container(argument):
        return ()
    found: list[Future[Any]] = []
    seen: set[int] = set()  # of containers: one may hold itself
    todo: list[Any] = [argument]
    while todo:
        value = todo.pop()
        if isinstance(value, Future):
            found.append(value)
        elif _is_container(value) and id(value) not in seen:
            seen.add(id(value))
            todo.extend(_interesting_elements(value))
    return found


def _is_container(value: object) -> bool:
    return type(value) in _CONTAINERS or (isinstance(value, tuple) and hasattr(type(value), "_fields"))


def _interesting_elements(container: Any) -> list[Any]:
    """The elements that may be or hold futures, in reverse order: they are taken from the end of a stack."""
    if type(container) is dict:
        interesting = _without_atoms(container.values())
        interesting.extend(_without_atoms(container))
        return interesting
    return _without_atoms(container)


def _without_atoms(elements: Any) -> list[Any]:
    if set(map(type, elements)) <= ATOMIC_TYPES:  # the quick way through long lists of numbers
        return []
    interesting = [element for element in elements if type(element) not in ATOMIC_TYPES]
    interesting.reverse()
    return interesting


def _deep_unwrap(argument: Any) -> Any:
    if isinstance(argument, Future):
        return argument.result()
    # Only what holds futures is rebuilt; everything else keeps its identity.
    if not _deep_gather(argument):
        return argument
    return _rebuilt(argument)


def _rebuilt(value: Any) -> Any:
    if isinstance(value, Future):
        return value.result()
    if not _is_container(value):
        return value
    if type(value) is dict:
        return {_rebuilt(key): _rebuilt(item) for key, item in value.items()}
    if type(value) in _CONTAINERS:
        return type(value)([_rebuilt(item) for item in value])
    return type(value)._make([_rebuilt(item) for item in value])


SHALLOW_DEPENDENCY_RESOLVER = DependencyResolver(_shallow_gather, _shallow_unwrap)
DEEP_DEPENDENCY_RESOLVER = DependencyResolver(_deep_gather, _deep_unwrap)
