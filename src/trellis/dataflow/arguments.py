"""Futures in the arguments of a call: finding them, replacing them by results, naming the ones that failed.

No kernel here, and no waiting: results are taken only from futures that are done.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from typing import Any

from trellis.core.light_future import exception_of
from trellis.core.values import shown
from trellis.dataflow.dependency_resolvers import ATOMIC_TYPES, DependencyResolver, is_users
from trellis.futures import AppFuture, DataFuture


def are_plain(args: Sequence[Any], kwargs: dict[str, Any]) -> bool:
    """True when no argument can be or hold a future or a file. The quick way for most calls."""
    return ATOMIC_TYPES.issuperset(map(type, args)) and (
        not kwargs or ATOMIC_TYPES.issuperset(map(type, kwargs.values()))
    )


def gather_futures(resolver: DependencyResolver, args: Sequence[Any], kwargs: dict[str, Any]) -> list[Future[Any]]:
    """All futures that a call waits for, each once."""
    gather = resolver.traverse_to_gather
    passed_over = _passed_over(resolver)
    found: list[Future[Any]] = []
    for value in args:
        if type(value) not in passed_over:
            found.extend(gather(value))
    for name, value in kwargs.items():
        if type(value) not in passed_over:
            found.extend(gather(value))
            if name == "inputs" and type(value) in (list, tuple):  # looked into whatever the resolver
                for element in value:
                    found.extend(gather(element))
    return list(dict.fromkeys(found)) if len(found) > 1 else found


def _passed_over(resolver: DependencyResolver) -> frozenset[Any]:
    """Types that a resolver need not see; one of a user's may take a text for a future's name."""
    return frozenset() if is_users(resolver) else ATOMIC_TYPES


def unwrap_arguments(
    resolver: DependencyResolver, args: Sequence[Any], kwargs: dict[str, Any]
) -> tuple[Sequence[Any], dict[str, Any]]:
    """The arguments with results in place of futures, all of which are done.

    Raises:
        TypeError: a result cannot be put where its future was; the message names the argument.
    """
    new_args = tuple([_unwrapped(resolver, str(place), value) for place, value in enumerate(args)])
    new_kwargs = {name: _unwrapped(resolver, name, value) for name, value in kwargs.items()}
    inputs = new_kwargs.get("inputs")
    if isinstance(inputs, list | tuple) and (
        is_users(resolver) or any(isinstance(element, Future) for element in inputs)
    ):
        new_kwargs["inputs"] = type(inputs)([resolver.traverse_to_unwrap(element) for element in inputs])
    return new_args, new_kwargs


def _unwrapped(resolver: DependencyResolver, name: str, value: Any) -> Any:
    if type(value) in _passed_over(resolver):
        return value
    try:
        return resolver.traverse_to_unwrap(value)
    except (TypeError, RecursionError) as error:  # a list as a key, a container that holds itself
        raise TypeError(
            f"argument {name}: the results cannot be put into its {type(value).__name__}: {error}"
        ) from error


def has_failed(future: Future[Any]) -> bool:
    """Whether a future that is done has no result."""
    return future.cancelled() or exception_of(future) is not None


def failures(
    futures: Iterable[Future[Any]], places: Mapping[Future[Any], str], task_id: int
) -> list[tuple[BaseException, str]]:
    """Why futures (all done) have no result: pairs of the exception and a description of its future.

    ``places``: where the futures were given to the task ``task_id``, as ``places_in_call`` says.
    """
    found: list[tuple[BaseException, str]] = []
    for future in futures:
        exception = CancelledError("it was cancelled") if future.cancelled() else exception_of(future)
        if exception is not None:
            place = f", {places[future]} of task {task_id}" if future in places else ""
            found.append((exception, (describe(future) or shown(future)) + place))
    return found


def places_in_call(
    resolver: DependencyResolver, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> dict[Future[Any], str]:
    """Which argument each future of a call is or is in: ``argument 0``, ``argument x``."""
    found: dict[Future[Any], str] = {}
    for name, value in (*enumerate(args), *kwargs.items()):
        for future in gather_futures(resolver, (), {str(name): value}):
            found.setdefault(future, f"argument {name}")
    return found


def tasks_behind(futures: Iterable[Future[Any]], kernel: object) -> tuple[int, ...]:
    """Ids of the tasks of a kernel that make what these futures stand for."""
    found: dict[int, None] = {}
    for future in futures:
        while isinstance(future, DataFuture):
            future = future.parent
        if isinstance(future, AppFuture) and future.task_record.dfk is kernel:
            found[future.task_record.id] = None
    return tuple(found)


def places_in_join(value: Any) -> dict[Future[Any], str]:
    """Which element of what the body of a join app gave each future is."""
    return {} if isinstance(value, Future) else {future: f"element {place}" for place, future in enumerate(value)}


def describe(future: Future[Any]) -> str | None:
    """Which future this is, for messages; None for one that is not of Trellis."""
    if isinstance(future, AppFuture):
        return future.task_record.describe()
    if isinstance(future, DataFuture):
        return f"file {future.file_obj.url}"
    return None


def futures_of_join(value: Any, app: str = "") -> Sequence[Future[Any]]:
    """What the body of the join app ``app`` gave, as a list.

    Raises:
        TypeError: it is neither a future nor a list of futures.
    """
    if isinstance(value, Future):
        return (value,)
    if isinstance(value, list | tuple) and all(isinstance(element, Future) for element in value):
        return value
    shown = f"a {type(value).__name__}"
    if isinstance(value, list | tuple):
        shown += " with elements that are no futures"
    raise TypeError(
        f"join app {app} must return a future or a list of futures, not {shown}: return the futures of the apps that "
        "it calls, without result(), or make it a python_app"
    )


def result_of_join(value: Any) -> Any:
    """The result of a join app whose body gave ``value``, when all these futures have results."""
    return value.result() if isinstance(value, Future) else [future.result() for future in value]
