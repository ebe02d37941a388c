from __future__ import annotations

import dataclasses
import threading
from collections import ChainMap, Counter, OrderedDict, UserDict, UserList, defaultdict, deque, namedtuple
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import partial
from types import MappingProxyType, SimpleNamespace
from typing import Any

import pytest

from trellis.dataflow.arguments import are_plain, gather_futures, unwrap_arguments
from trellis.dataflow.dependency_resolvers import DEEP_DEPENDENCY_RESOLVER as DEEP
from trellis.dataflow.dependency_resolvers import SHALLOW_DEPENDENCY_RESOLVER as SHALLOW
from trellis.dataflow.spec import AppSpec
from trellis.errors import ParameterTypeError

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


class Names(dict[str, Any]):
    def __init__(self, needed: str) -> None:
        self.needed = needed


class Pair(tuple[Any, ...]):
    label = "none"


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    item: Any
    more: Any = dataclasses.field(init=False, default=5)


@dataclasses.dataclass
class Plain:
    item: Any
    checked: dataclasses.InitVar[int] = 0

    def __post_init__(self, checked: int) -> None:
        assert isinstance(self.item, Future)  # it is not called again


@dataclasses.dataclass
class Holder:
    inner: Any
    lock: Any = None


class Attrs:
    """As classes of attrs are."""

    __attrs_attrs__ = (SimpleNamespace(name="item"), SimpleNamespace(name="unset"))

    def __init__(self, item: Any) -> None:
        self.item = item


def contents(value: Any) -> Any:
    if hasattr(value, "item"):
        return value.item
    if isinstance(value, Mapping):
        return dict(value)
    return value.args if isinstance(value, partial) else list(value)


@pytest.mark.parametrize(
    ("make", "unwrapped"),
    [
        (lambda future: OrderedDict(a=future), {"a": 1}),
        (lambda future: defaultdict(list, a=[future]), {"a": [1]}),
        (lambda future: Counter({future: 2}), {1: 2}),
        (lambda future: UserDict(a=future), {"a": 1}),
        (lambda future: ChainMap({"a": future}, {"b": 2}), {"a": 1, "b": 2}),
        (lambda future: MappingProxyType({"a": future}), {"a": 1}),
        (lambda future: deque([0, future], maxlen=2), [0, 1]),
        (lambda future: UserList([future]), [1]),
        (lambda future: type("Mine", (list,), {})([future]), [1]),
        (lambda future: type("Mine", (set,), {})([future]), [1]),
        (lambda future: type("Mine", (frozenset,), {})([future]), [1]),
        (lambda future: Pair([future, 2]), [1, 2]),
        (lambda future: partial(print, future, 2), (1, 2)),
        (Frozen, 1),
        (Plain, 1),
        (Attrs, 1),
        (lambda future: SimpleNamespace(item=future), 1),
    ],
)
def test_the_deep_resolver_knows_many_containers(make: Callable[[Any], Any], unwrapped: Any) -> None:
    box = make(ONE)
    assert list(DEEP.traverse_to_gather([box])) == [ONE]
    (result,) = DEEP.traverse_to_unwrap([box])  # type: ignore[misc]
    assert type(result) is type(box)
    assert contents(result) == unwrapped
    assert list(DEEP.traverse_to_gather(box)) == [ONE]  # the user's stays as it is


def test_what_a_container_has_beside_its_parts_stays() -> None:
    names = Names("x")
    names["a"] = ONE
    found: Any = DEEP.traverse_to_unwrap(names)
    assert (found, found.needed) == ({"a": 1}, "x")
    pair = Pair([ONE])
    pair.label = "some"
    assert DEEP.traverse_to_unwrap(pair).label == "some"  # type: ignore[attr-defined]
    factory: Any = DEEP.traverse_to_unwrap(defaultdict(list, a=ONE))
    assert factory["b"] == []
    assert DEEP.traverse_to_unwrap(deque([ONE], maxlen=3)).maxlen == 3  # type: ignore[attr-defined]


def test_only_what_holds_futures_is_made_again() -> None:
    kept = Holder([1], lock=threading.Lock())
    found: Any = DEEP.traverse_to_unwrap([ONE, kept])
    assert found[0] == 1
    assert found[1] is kept


def test_an_array_of_objects_is_looked_into() -> None:
    numpy = pytest.importorskip("numpy")
    found: Any = DEEP.traverse_to_unwrap(numpy.array([[ONE, 2]], dtype=object))
    assert found.tolist() == [[1, 2]]
    assert list(DEEP.traverse_to_gather(numpy.zeros(3))) == []


class CannotBeCopied(list[Any]):
    def __reduce_ex__(self, protocol: Any) -> Any:
        raise ValueError("no")


@pytest.mark.parametrize(
    ("argument", "told"),
    [
        ({"a": ONE}.values(), r"argument x: .* a future in a dict_values: write list"),
        (CannotBeCopied([ONE]), r"argument x: .* a CannotBeCopied with a future in it cannot be copied"),
        ({done([1])}, r"argument x: .* unhashable"),
    ],
)
def test_where_no_result_can_be_put_the_argument_is_named(argument: Any, told: str) -> None:
    with pytest.raises(TypeError, match=told):
        unwrap_arguments(DEEP, (), {"x": argument})


def test_a_container_that_holds_itself_and_a_future_is_refused() -> None:
    circle: list[Any] = [ONE]
    circle.append(circle)
    with pytest.raises(TypeError, match="argument 0"):
        unwrap_arguments(DEEP, (circle,), {})


def test_futures_as_defaults_are_arguments_that_were_not_given() -> None:
    def takes(x: Any, y: Any = ONE, *rest: Any, z: Any = (TWO,)) -> None: ...

    spec = AppSpec(takes)
    assert spec.bind((5,), {}) == ((5,), {"y": ONE, "z": (TWO,)})
    assert spec.bind((5, 6), {"z": 7}) == ((5,), {"y": 6, "z": 7})
    assert spec.bind((5, 6, 7), {}) == ((5, 6, 7), {"z": (TWO,)})
    assert AppSpec(partial(takes, z=ONE)).bind((5, 6, 7), {})[1]["z"] is ONE


def test_futures_that_no_argument_can_take_the_place_of_are_refused() -> None:
    def positional(x: Any = ONE, /) -> None: ...

    with pytest.raises(ParameterTypeError, match="positional: the default of x is a future"):
        AppSpec(positional)
    with pytest.raises(ParameterTypeError, match="partial function whose arguments hold a future"):
        AppSpec(partial(print, [ONE]))


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
