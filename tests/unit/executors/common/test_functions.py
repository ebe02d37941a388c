"""Functions get numbers: one for each content, as long as anybody uses it."""

from __future__ import annotations

import functools
import gc
import threading
import types
from collections.abc import Callable
from typing import Any

import pytest

from trellis.errors import SerializationError
from trellis.executors.common import functions
from trellis.executors.common.functions import FunctionTable
from trellis.wire.payload import load_function


class Told:
    """A table, and what it said."""

    def __init__(self) -> None:
        self.defined: dict[int, bytes] = {}
        self.forgotten: list[int] = []
        self.table = FunctionTable(self._define, self.forgotten.extend)

    def _define(self, number: int, data: bytes) -> None:
        assert number not in self.defined
        self.defined[number] = data

    def call(self, number: int, *args: Any) -> Any:
        return load_function(self.defined[number])(*args)


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def serialized(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Functions that were serialized, in order."""
    done: list[object] = []
    real = functions.dump_function

    def dump(func: Callable[..., Any]) -> bytes:
        done.append(func)
        return real(func)

    monkeypatch.setattr(functions, "dump_function", dump)
    return done


def notebook(source: str, **names: object) -> types.SimpleNamespace:
    """What a cell of a notebook defines: functions that travel by value, and their globals."""
    namespace: dict[str, Any] = {"__name__": "__main__", **names}
    exec(source, namespace)
    return types.SimpleNamespace(space=namespace, **{k: v for k, v in namespace.items() if callable(v)})


def made(number: int) -> Callable[[], int]:
    return lambda: number


# -- one number --------------------------------------------------------------------------------------------------


def test_the_same_function_has_one_number_and_is_serialized_once(told: Told, serialized: list[object]) -> None:
    func = made(1)
    assert [told.table.intern(func) for _ in range(3)] == [0, 0, 0]
    assert serialized == [func]
    assert list(told.defined) == [0]


def test_functions_of_the_same_content_have_one_number(told: Told) -> None:
    one, other, different = made(1), made(1), made(2)
    assert [told.table.intern(func) for func in (one, other, different)] == [0, 0, 1]
    assert (told.call(0), told.call(1)) == (1, 2)


def test_imported_functions_are_serialized_once_too(told: Told, serialized: list[object]) -> None:
    assert [told.table.intern(func) for func in (made, made, len, len)] == [0, 0, 1, 1]
    assert serialized == [made, len]


def test_a_function_is_defined_before_anybody_has_its_number() -> None:
    order: list[str] = []
    table = FunctionTable(lambda number, data: order.append("defined"), lambda numbers: None)
    table.intern(made(1))
    order.append("interned")
    assert order == ["defined", "interned"]


def test_a_new_function_at_the_address_of_a_dead_one_is_another(told: Told) -> None:
    numbers = []
    for number in range(20):
        numbers.append(told.table.intern(made(number)))
        gc.collect()
    assert numbers == list(range(20))


def test_what_cannot_be_serialized_is_an_error_and_leaves_nothing(told: Told) -> None:
    lock = threading.Lock()
    with pytest.raises(SerializationError):
        told.table.intern(lambda: lock)
    assert told.defined == {}
    assert told.table.intern(made(1)) == 0


# -- a new number ------------------------------------------------------------------------------------------------


def test_a_global_that_is_set_anew_makes_a_new_function(told: Told) -> None:
    cell = notebook("def f(): return K", K=1)
    assert told.table.intern(cell.f) == 0
    cell.space["K"] = 2
    assert told.table.intern(cell.f) == 1
    assert (told.call(0), told.call(1)) == (1, 2)


def test_a_global_that_was_missing_makes_a_new_function(told: Told) -> None:
    cell = notebook("def f(): return K")
    told.table.intern(cell.f)
    cell.space["K"] = 2
    assert told.call(told.table.intern(cell.f)) == 2


def test_a_global_of_a_nested_function_counts(told: Told) -> None:
    cell = notebook("def f(): return [K for _ in range(2)] + (lambda: [L])()", K=1, L=1)
    told.table.intern(cell.f)
    cell.space["L"] = 2
    assert told.call(told.table.intern(cell.f)) == [1, 1, 2]


def test_a_global_of_a_function_that_it_calls_counts(told: Told) -> None:
    cell = notebook("def g(): return f() if K > 9 else K\ndef f(): return g()", K=1)
    told.table.intern(cell.f)
    cell.space["K"] = 2
    assert told.call(told.table.intern(cell.f)) == 2


def test_a_changed_closure_makes_a_new_function(told: Told) -> None:
    value = 1

    def f() -> int:
        return value

    assert told.table.intern(f) == 0
    value = 2
    assert told.call(told.table.intern(f)) == 2


def test_a_changed_closure_of_a_decorated_function_counts(told: Told) -> None:
    factor = 1

    def inner() -> int:
        return factor

    @functools.wraps(inner)
    def outer() -> int:
        return inner() * 10

    told.table.intern(outer)
    factor = 2
    assert told.call(told.table.intern(outer)) == 20


def test_a_wrapper_is_watched_through_its_function(told: Told, serialized: list[object]) -> None:
    cell = notebook("def f(x): return x + K", K=1)
    wrapper = functools.partial(cell.f, 10)
    assert [told.table.intern(wrapper), told.table.intern(wrapper)] == [0, 0]
    cell.space["K"] = 2
    assert told.call(told.table.intern(wrapper)) == 12
    assert serialized == [wrapper, wrapper]


class Counter:
    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> int:
        return self.count

    def method(self) -> int:
        return self.count


@pytest.mark.parametrize("take", [lambda counter: counter, lambda counter: counter.method], ids=["object", "method"])
def test_an_object_with_a_state_is_serialized_each_time(told: Told, take: Callable[[Counter], Any]) -> None:
    counter = Counter()
    func = take(counter)
    assert [told.table.intern(func), told.table.intern(func)] == [0, 0]
    counter.count = 7
    assert told.call(told.table.intern(func)) == 7


# -- forgetting --------------------------------------------------------------------------------------------------


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(functions, "MAX_IDLE_FUNCTIONS", 4)


@pytest.mark.usefixtures("few")
def test_the_older_half_of_the_idle_is_forgotten_when_there_are_too_many(told: Told) -> None:
    numbers = [told.table.intern(made(value)) for value in range(5)]
    told.table.release(numbers[:4])
    assert told.forgotten == []
    told.table.release(numbers[4:])
    assert told.forgotten == [0, 1]


@pytest.mark.usefixtures("few")
def test_a_function_in_use_is_never_forgotten(told: Told) -> None:
    func = made(1)
    used = told.table.intern(func)
    for value in range(100, 150):
        told.table.release([told.table.intern(made(value))])
    assert len(told.forgotten) > 40
    assert used not in told.forgotten
    assert told.table.intern(func) == used
    told.table.release([used])  # one of two uses
    for value in range(200, 250):
        told.table.release([told.table.intern(made(value))])
    assert used not in told.forgotten


@pytest.mark.usefixtures("few")
def test_a_forgotten_function_gets_a_new_number(told: Told) -> None:
    func = made(1)
    told.table.release([told.table.intern(func)])
    for value in range(10, 15):
        told.table.release([told.table.intern(made(value))])
    assert 0 in told.forgotten
    number = told.table.intern(func)
    assert number not in told.forgotten
    assert told.call(number) == 1


@pytest.mark.usefixtures("few")
def test_threads_may_intern_and_release_at_once() -> None:
    defined: list[int] = []
    forgotten: list[int] = []
    table = FunctionTable(lambda number, data: defined.append(number), forgotten.extend)
    shared = [made(value) for value in range(8)]
    failures: list[BaseException] = []

    def work(first: int) -> None:
        try:
            for turn in range(200):
                held = [table.intern(shared[(first + turn) % 8]), table.intern(made(1000 + turn % 30))]
                assert set(held) <= set(defined)
                assert not set(held) & set(forgotten)
                table.release(held)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(defined) == len(set(defined))
    assert len(set(defined) - set(forgotten)) <= 5  # all are idle now


def test_all_that_is_not_forgotten_can_be_defined_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(functions, "MAX_IDLE_FUNCTIONS", 1)
    defined: dict[int, bytes] = {}
    table = FunctionTable(lambda number, data: defined.update({number: data}), lambda numbers: None)
    first, second, third = (table.intern(make) for make in (len, max, min))
    assert table.definitions() == defined
    table.release([first, second])
    assert set(table.definitions()) == {second, third}
    assert table.definitions() == {number: defined[number] for number in (second, third)}
