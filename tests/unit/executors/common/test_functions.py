"""Functions get numbers: one for each content, as long as anybody uses it."""

from __future__ import annotations

import dataclasses
import functools
import gc
import importlib
import subprocess
import sys
import threading
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from trellis.errors import SerializationError
from trellis.executors.common import fingerprints, functions, users_modules, watch
from trellis.executors.common.functions import FunctionTable
from trellis.executors.common.import_paths import import_paths
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

    def dump(func: Callable[..., Any], prelude: Any) -> bytes:
        done.append(func)
        return real(func, prelude)

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
    for number in range(6):
        numbers.append(told.table.intern(made(number)))
        gc.collect()
    assert numbers == list(range(6))


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


# -- what changes in place -------------------------------------------------------------------------------------


@dataclasses.dataclass
class Settings:
    names: list[str]


class Unpicklable:
    def __init__(self) -> None:
        self.values = [1]
        self.lock = threading.Lock()

    def __reduce__(self) -> Any:
        raise TypeError("not by pickle")


def change_list(value: Any) -> None:
    value.append(5)


@pytest.mark.parametrize(
    ("value", "change"),
    [
        ({"night": 1}, lambda value: value.update(night=2)),
        ({"a": {"b": [1]}}, lambda value: value["a"]["b"].append(2)),
        ([1], change_list),
        ({1}, lambda value: value.add(2)),
        (bytearray(b"ab"), lambda value: value.append(3)),
        (([1],), lambda value: value[0].append(2)),
        (Settings(["a"]), lambda value: value.names.append("b")),
        (types.SimpleNamespace(x=1), lambda value: setattr(value, "x", 2)),
        (list(range(100_000)), change_list),
        (dict.fromkeys(range(100_000)), lambda value: value.update(more=2)),
        (bytearray(1_000_000), lambda value: value.__setitem__(slice(None), b"1" * 1_000_000)),
    ],
)
def test_a_global_that_has_changed_in_place_makes_a_new_function(told: Told, value: Any, change: Any) -> None:
    cell = notebook("def f(): return table", table=value)
    old = told.table.intern(cell.f)
    assert told.table.intern(cell.f) == old
    change(value)
    new = told.table.intern(cell.f)
    assert new != old
    assert told.call(new) == value
    assert told.table.intern(cell.f) == new


def test_what_is_in_a_closure_or_a_default_or_a_partial_may_change_too(told: Told) -> None:
    cell = notebook(
        "def make(table):\n    return lambda: table\n"
        "def default(table=[1]): return table\n"
        "def given(table): return table\n"
    )
    table = [1]
    for function, held in (
        (cell.make(table), table),
        (cell.default, cell.default.__defaults__[0]),
        (functools.partial(cell.given, table), table),
        (functools.partial(cell.given, table=table), table),
    ):
        old = told.table.intern(function)
        assert told.table.intern(function) == old
        held.append(2)
        assert told.call(told.table.intern(function)) == held


def test_new_code_in_an_old_function_counts(told: Told) -> None:  # as IPython's autoreload does it
    cell = notebook("def f(): return 1\ndef g(): return 2")
    assert told.call(told.table.intern(cell.f)) == 1
    cell.f.__code__ = cell.g.__code__
    assert told.call(told.table.intern(cell.f)) == 2


def test_what_cannot_be_pickled_counts_by_its_outline() -> None:
    value = Unpicklable()
    take = fingerprints.fingerprint_of(value)
    assert take is not None
    before = take(value)
    assert take(value) == before
    value.values.append(2)
    assert take(value) != before


@pytest.mark.parametrize("value", [1, "x", None, (1, ("a",)), frozenset({1}), print, int, functools, change_list])
def test_what_cannot_change_in_place_costs_nothing(value: object) -> None:
    assert fingerprints.fingerprint_of(value) is None


# -- modules and paths -----------------------------------------------------------------------------------------


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """On the path of imports; what is imported from there is forgotten."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]
    vars(sys).pop("_trellis_versions", None)


def write(path: Path, text: str) -> None:
    path.write_text(text)
    importlib.invalidate_caches()


def loads_in_worker(told: Told, number: int, directory: Path, *imported: str) -> str:
    """What a process gives that had imported these modules before, when they were as they are in ``old``."""
    code = f"""
import sys, pickle
sys.dont_write_bytecode = True
sys.path.insert(0, {str(directory / "old")!r})
for name in {imported!r}: __import__(name)
sys.path[0] = {str(directory)!r}
sys.path_importer_cache.clear()
print(pickle.loads({told.defined[number]!r})())
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    return ran.stdout.strip() or ran.stderr


@pytest.mark.parametrize("how", ["module", "helper", "script", "in the body"])
def test_workers_run_what_was_reloaded(told: Told, directory: Path, how: str) -> None:
    sources = {
        "edited.py": "def answer(): return 'version 1'\n",
        "helping.py": "import edited\ndef answer(): return edited.answer()\n",
    }
    (directory / "old").mkdir()
    for name, text in sources.items():
        write(directory / name, text)
        write(directory / "old" / name, text)
    edited, helping = importlib.import_module("edited"), importlib.import_module("helping")
    cell = notebook("def call(): return edited.answer()\ndef imports():\n    import edited; return edited.answer()")
    cell.space["edited"] = edited
    functions = {
        "module": lambda: edited.answer,
        "helper": lambda: helping.answer,
        "script": lambda: cell.call,
        "in the body": lambda: cell.imports,
    }
    old = told.table.intern(functions[how]())
    write(directory / "edited.py", "def answer(): return 'version 22'\n")
    importlib.reload(edited)
    new = told.table.intern(functions[how]())
    assert new != old
    assert told.table.intern(functions[how]()) == new
    assert loads_in_worker(told, old, directory, "edited", "helping") == "version 1"
    assert loads_in_worker(told, new, directory, "edited", "helping") == "version 22"
    assert loads_in_worker(told, new, directory) == "version 22"


def test_modules_of_installed_packages_are_not_watched() -> None:
    assert users_modules.used_by([pytest, functools, sys.modules[__name__]])[-1].name == __name__
    assert users_modules.used_by([pytest, functools]) == []


def test_paths_that_were_added_travel_with_the_function(told: Told, directory: Path) -> None:
    cell = notebook("def f():\n    import found_later; return found_later.x")
    old = told.table.intern(cell.f)
    assert told.table.intern(cell.f) == old
    (directory / "later").mkdir()
    write(directory / "later" / "found_later.py", "x = 5\n")
    sys.path.append(str(directory / "later"))
    new = told.table.intern(cell.f)
    assert new != old
    assert loads_in_worker(told, new, directory / "later") == "5"
    sys.path.append(str(directory / "not there"))
    assert told.table.intern(cell.f) == new


def test_what_stands_for_parsl_comes_before_what_is_installed(told: Told, directory: Path) -> None:
    cell = notebook("def f():\n    import parsl; return parsl.x")
    for name, value in (("installed", 1), ("trellis/as_parsl/on_path", 2)):
        (directory / name).mkdir(parents=True)
        write(directory / name / "parsl.py", f"x = {value}\n")
    sys.path.append(str(directory / "trellis/as_parsl/on_path"))
    number = told.table.intern(cell.f)
    assert loads_in_worker(told, number, directory / "installed") == "2"


def test_archives_are_import_paths_and_what_is_not_there_is_none(directory: Path) -> None:
    (directory / "program.pyz").touch()
    sys.path += [str(directory / "program.pyz"), str(directory / "not there")]
    assert str(directory / "program.pyz") in import_paths()
    assert str(directory / "not there") not in import_paths()


def test_the_working_directory_may_be_gone(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = directory / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    sys.path.insert(0, "")
    assert str(directory) in import_paths()


class Proxy:
    """As frameworks have them: it is what it stands for, and at the moment that is nothing."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError("working outside of context")


class Lifting:
    """As futures are: asking for an attribute has consequences."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} was asked for") if not name.startswith("_") else AttributeError(name)


@pytest.mark.parametrize("kind", [Proxy, Lifting])
def test_odd_globals_are_watched_without_harm(kind: Callable[[], Any]) -> None:
    cell = notebook("def f(): return odd")
    cell.space["odd"] = kind()
    assert watch.Watch(cell.f).is_current()


def test_a_module_may_hold_odd_things(directory: Path) -> None:
    write(directory / "holds_odd.py", "def f(): pass\nclass Odd:\n    __module__ = 5\n")
    module: Any = importlib.import_module("holds_odd")
    module.proxy = Proxy()
    assert [known.name for known in watch.Watch(module.f).modules] == ["holds_odd"]
