from __future__ import annotations

from collections import OrderedDict, namedtuple
from concurrent.futures import Future
from typing import Any

import pytest

from trellis.dataflow.arguments import are_plain, gather_futures, unwrap_arguments
from trellis.dataflow.dependency_resolvers import DEEP_DEPENDENCY_RESOLVER as DEEP
from trellis.dataflow.dependency_resolvers import SHALLOW_DEPENDENCY_RESOLVER as SHALLOW

Point = namedtuple("Point", "x y")


def done(value: Any) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_result(value)
    return future


ONE, TWO = done(1), done(2)


@pytest.mark.parametrize(
    ("argument", "futures", "unwrapped"),
    [
        (ONE, [ONE], 1),
        ([ONE, 5, TWO], [ONE, TWO], [1, 5, 2]),
        ((ONE, "x"), [ONE], (1, "x")),
        ({ONE}, [ONE], {1}),
        (frozenset({TWO}), [TWO], frozenset({2})),
        ({"a": ONE, TWO: [3]}, [TWO, ONE], {"a": 1, 2: [3]}),
        ([[({"deep": [ONE]},)]], [ONE], [[({"deep": [1]},)]]),
        (Point(ONE, 2), [ONE], Point(1, 2)),
    ],
)
def test_the_deep_resolver_looks_into_containers(argument: Any, futures: list[Any], unwrapped: Any) -> None:
    assert list(DEEP.traverse_to_gather(argument)) == futures
    result = DEEP.traverse_to_unwrap(argument)
    assert result == unwrapped
    assert type(result) is type(unwrapped)


@pytest.mark.parametrize("argument", [[1, 2], {"a": (1, 2)}, {3}, Point(1, 2), [[]], [object()], "text"])
def test_what_holds_no_future_is_passed_on_as_it_is(argument: Any) -> None:
    assert DEEP.traverse_to_gather(argument) in ([], ())
    assert DEEP.traverse_to_unwrap(argument) is argument


def test_only_exact_types_are_looked_into() -> None:
    assert list(DEEP.traverse_to_gather(OrderedDict(a=ONE))) == []


def test_a_list_that_holds_itself_is_no_trap() -> None:
    circle: list[Any] = [1, ONE]
    circle.append(circle)
    assert list(DEEP.traverse_to_gather(circle)) == [ONE]


def test_a_very_deep_list_is_searched_without_recursion() -> None:
    deep: Any = ONE
    for _ in range(10_000):
        deep = [deep]
    assert list(DEEP.traverse_to_gather(deep)) == [ONE]


def test_the_shallow_resolver_takes_only_the_argument_itself() -> None:
    assert list(SHALLOW.traverse_to_gather(ONE)) == [ONE]
    assert SHALLOW.traverse_to_unwrap(ONE) == 1
    assert list(SHALLOW.traverse_to_gather([ONE])) == []
    assert SHALLOW.traverse_to_unwrap([ONE]) == [ONE]


@pytest.mark.parametrize("resolver", [SHALLOW, DEEP])
def test_elements_of_inputs_are_futures_for_every_resolver(resolver: Any) -> None:
    kwargs = {"inputs": [ONE, TWO, 3], "n": ONE}
    assert gather_futures(resolver, (), kwargs) == [ONE, TWO]
    assert unwrap_arguments(resolver, (), kwargs) == ((), {"inputs": [1, 2, 3], "n": 1})


def test_a_future_that_is_used_twice_is_gathered_once() -> None:
    assert gather_futures(DEEP, (ONE, [ONE]), {"again": ONE}) == [ONE]


def test_plain_arguments_are_known_by_their_types() -> None:
    assert are_plain((1, "a", None, 1.5), {"b": b"", "c": True})
    assert not are_plain(([],), {})
    assert not are_plain((), {"f": ONE})
