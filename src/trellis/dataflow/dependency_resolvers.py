"""Finding the futures in an app's arguments, and replacing them by their results. No kernel here.

A ``DependencyResolver`` is a pair of functions; users may give their own in ``Config.dependency_resolver``:

* ``DEEP_DEPENDENCY_RESOLVER`` (what ``None`` stands for) looks, at any depth, into lists, tuples, sets, dictionaries
  (keys and values), and all else that ``dataflow/containers.py`` knows: their subclasses, deques, dataclasses, ....
* ``SHALLOW_DEPENDENCY_RESOLVER`` takes only futures that are arguments themselves, or elements of ``inputs``.

Containers without futures are passed on as they are, not copied.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from types import NoneType
from typing import Any

from trellis.dataflow.containers import kind_of

# Values of these exact types hold no futures and no files; most arguments are such values.
ATOMIC_TYPES = frozenset({int, float, complex, str, bytes, bytearray, bool, NoneType, range, type(Ellipsis)})


@dataclass(frozen=True)
class DependencyResolver:
    """How futures are found in an argument, and how their results are put in their places.

    ``traverse_to_gather(argument)`` gives the futures in an argument. ``traverse_to_unwrap(argument)`` gives the
    argument with each of these futures replaced by its result; it is called when all of them are done. One of a user's
    decides what becomes of a future that has failed: raises what it raises, or puts something else in its place.
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
    if kind_of(type(argument)) is None:
        return ()
    found: list[Future[Any]] = []
    seen: set[int] = set()  # of containers: one may hold itself
    todo: list[Any] = [argument]
    while todo:
        value = todo.pop()
        if isinstance(value, Future):
            found.append(value)
            continue
        kind = kind_of(type(value))
        if kind is not None and id(value) not in seen:
            seen.add(id(value))
            todo.extend(_without_atoms(kind.parts(value)))
    return found


def _without_atoms(parts: Iterable[Any]) -> list[Any]:
    """The parts that may be or hold futures, in reverse order: they are taken from the end of a stack."""
    parts = parts if isinstance(parts, Collection) else list(parts)
    if ATOMIC_TYPES.issuperset(map(type, parts)):  # the quick way through long lists of numbers
        return []
    interesting = [part for part in parts if type(part) not in ATOMIC_TYPES]
    interesting.reverse()
    return interesting


def _deep_unwrap(argument: Any) -> Any:
    if isinstance(argument, Future):
        return argument.result()
    kind = None if type(argument) in ATOMIC_TYPES else kind_of(type(argument))
    # Only what holds futures is made again; everything else keeps its identity.
    return argument if kind is None or not _deep_gather(argument) else kind.again(argument, _deep_unwrap)


SHALLOW_DEPENDENCY_RESOLVER = DependencyResolver(_shallow_gather, _shallow_unwrap)
DEEP_DEPENDENCY_RESOLVER = DependencyResolver(_deep_gather, _deep_unwrap)


def is_users(resolver: DependencyResolver) -> bool:
    """Whether it is none of these: then nobody knows which values stand for futures, or what becomes of failed ones."""
    return resolver is not SHALLOW_DEPENDENCY_RESOLVER and resolver is not DEEP_DEPENDENCY_RESOLVER
