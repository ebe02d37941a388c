from __future__ import annotations

import dataclasses
import enum
import logging
import pathlib
import threading
from collections import OrderedDict, namedtuple
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.dataflow_memo.fakes import Task
from trellis.dataflow.memo_keys import id_for_memo, memo_key, task_key
from trellis.errors import SerializationError
from trellis.staging.files import File
from trellis.staging.transfer import FetchFirst


def key(func: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    return task_key(Task(func, *args, **kwargs))


def define(source: str, name: str = "f", module: str = "script") -> Any:
    """The function that a script defines."""
    namespace: dict[str, Any] = {"__name__": module}
    exec(compile(source, f"/somewhere/{len(source)}.py", "exec"), namespace)
    return namespace[name]


def f(*args: Any, **kwargs: Any) -> None: ...


# -- functions -------------------------------------------------------------------------------------------------


def test_the_same_source_elsewhere_in_a_file_gives_the_same_key() -> None:
    source = "def f(x):\n    def g(y):\n        return lambda z: {y, 'a', 'b'}\n    return [g(i) for i in x]\n"
    assert key(define(source)) == key(define("\n\n# a remark\n" + source))


def test_a_class_inside_a_function_does_not_tell_its_line() -> None:
    source = "def f(x):\n    class C:\n        y = 5\n    return C\n"
    assert key(define(source)) == key(define("\n\n\n" + source))


@pytest.mark.parametrize(
    "edited",
    [
        "def f(x, n=2): return x + 1",  # a default
        "def f(x, n=1): return x + 2",  # a constant
        "def f(x, n=1): return x - 1",  # an operation
        "def f(x, n=1): return y + 1",  # a name
        "def f(x, n=1): return x + True",  # equal, but not the same
        "def f(x, *, n=1): return x + 1",
        "def f(x, n=1): return (lambda: x + 1)()",
        "def g(x, n=1): return x + 1\nf = g",
    ],
)
def test_edited_code_has_another_key(edited: str) -> None:
    assert key(define(edited)) != key(define("def f(x, n=1): return x + 1"))


def test_a_keyword_default_counts() -> None:
    assert key(define("def f(*, n=1): return n")) != key(define("def f(*, n=2): return n"))


def test_a_nested_constant_counts() -> None:
    assert key(define("def f(): return lambda: 1")) != key(define("def f(): return lambda: 2"))


def test_an_edited_helper_of_the_same_module_counts() -> None:
    source = "def h(): return {}\ndef g(): return h()\ndef f(): return [g() for _ in 'ab']\n"
    assert key(define(source.format(1))) != key(define(source.format(2)))


def test_a_redefined_helper_counts() -> None:
    function = define("def g(): return 1\ndef f(): return g()\n")
    before = key(function)
    function.__globals__["g"] = define("def g(): return 2\n", "g")
    assert key(function) != before


def test_functions_that_call_each_other_have_keys() -> None:
    source = "def g(n): return f(n - {})\ndef f(n): return g(n) + f(n - 1)\n"
    assert key(define(source.format(1))) == key(define(source.format(1)))
    assert key(define(source.format(1))) != key(define(source.format(2)))


def test_a_captured_variable_counts() -> None:
    def make(n: Any) -> Callable[[], Any]:
        return lambda: n

    assert key(make(1)) == key(make(1))
    assert key(make(1)) != key(make(2))
    assert key(make(make(1))) != key(make(make(2)))


def test_a_set_of_functions_that_refer_to_each_other_has_one_key() -> None:
    source = "def g(): return f()\ndef h(): return g()\ndef f(): return h()\n"
    orders = [("f", "g", "h"), ("h", "g", "f"), ("g", "f", "h")]
    namespace = define(source).__globals__

    def keys(order: tuple[str, ...]) -> str:
        chosen = {name: namespace[name] for name in order}

        def run() -> Any:
            return chosen

        return key(run)

    assert len({keys(order) for order in orders}) == 1


def test_a_function_that_captures_itself_has_a_key() -> None:
    def countdown(n: int) -> Any:
        return countdown(n - 1) if n else registry

    registry = [countdown]
    assert key(countdown, 1) == key(countdown, 1)


def test_what_cannot_be_pickled_counts_by_type_when_captured(caplog: pytest.LogCaptureFixture) -> None:
    def make(guard: Any) -> Callable[[], Any]:
        def guarded() -> Any:
            return guard

        return guarded

    with caplog.at_level(logging.WARNING):
        assert key(make(threading.Lock())) == key(make(threading.Lock()))
    assert [record.getMessage() for record in caplog.records if "guard of" in record.getMessage()] == [
        f"Variable guard of {make.__module__}.{make.__qualname__}.<locals>.guarded is a _thread.lock, "
        "which cannot be pickled: for memoization only its type counts"
    ]


def test_by_name_only_edits_do_not_matter() -> None:
    old, new = define("def f(x): return 1"), define("def f(x): return 2")
    other = define("def g(x): return 1", "g")
    assert task_key(Task(old, 1, old), hash_code=False) == task_key(Task(new, 1, new), hash_code=False)
    assert task_key(Task(old), hash_code=False) != task_key(Task(other), hash_code=False)
    assert key(old) != key(new)  # the opt-out ends with the call


def test_memo_key_stands_for_the_code() -> None:
    old, new = define("def f(x): return 1"), define("def f(x): return 2")
    assert key(memo_key("1")(old)) == key(memo_key("1")(new))
    assert key(memo_key("1")(old)) != key(memo_key("2")(new))


def test_partials_and_methods_count_with_what_is_bound() -> None:
    class Scale:
        def __init__(self, factor: int) -> None:
            self.factor = factor

        def __call__(self, x: int) -> int:
            return self.factor * x

        def apply(self, x: int) -> int:
            return self.factor * x

    assert key(partial(f, 1)) == key(partial(f, 1)) != key(partial(f, 2))
    assert key(Scale(2).apply) == key(Scale(2).apply) != key(Scale(3).apply)
    assert key(Scale(2)) == key(Scale(2)) != key(Scale(3))
    assert key(print) != key(len)


def test_wrappers_of_staging_do_not_matter() -> None:
    assert key(FetchFirst(FetchFirst(f, print, File("a")), print, File("b"))) == key(f)


def test_a_wrapper_can_name_the_function_to_count() -> None:
    class Runner:
        def __init__(self, function: Callable[..., Any]) -> None:
            self.memo_function = function
            self.lock = threading.Lock()

        def __call__(self) -> None: ...

    one, two = define("def f(): return 1"), define("def f(): return 2")
    assert key(Runner(one)) == key(Runner(one)) != key(Runner(two))
    assert key(Runner(one)) != key(one)  # it makes something else of it


def test_looking_at_a_global_future_does_not_touch_its_attributes() -> None:
    class Lifting:
        __module__ = "trellis.futures"

        def __getattr__(self, name: str) -> Any:
            raise AssertionError(f"asked for {name}")

    function = define("def f(): return future\n")
    function.__globals__["future"] = Lifting()
    assert key(function)


# -- arguments -------------------------------------------------------------------------------------------------


def test_position_name_and_value_of_arguments_count() -> None:
    calls = [
        key(f),
        key(f, 1),
        key(f, 2),
        key(f, 1, 1),
        key(f, x=1),
        key(f, y=1),
        key(f, [1]),
        key(f, (1,)),
        key(f, "1"),
    ]
    assert len(set(calls)) == len(calls)
    assert key(f, x=1, y=2) == key(f, y=2, x=1)


def test_ignored_arguments_do_not_count_and_may_be_absent() -> None:
    assert key(f, 1, log=1, ignore=["log", "absent"]) == key(f, 1, log=2, ignore=["log"]) == key(f, 1)


def test_unpicklable_arguments_are_named() -> None:
    with pytest.raises(
        SerializationError, match=r"argument guard of f for its memo key.*_thread.lock.*ignore_for_cache"
    ):
        key(f, 1, guard=threading.Lock())
    with pytest.raises(SerializationError, match="argument 1 of f"):
        key(f, 1, [threading.Lock()])
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(SerializationError, match="argument 0 of f"):
        key(f, endless)


@pytest.mark.parametrize("failure", [KeyError("mine")])
def test_what_a_registered_handler_raises_comes_through(failure: Exception) -> None:
    class Refuses: ...

    @id_for_memo.register(Refuses)
    def _(obj: Refuses, output_ref: bool = False) -> bytes:
        raise failure

    with pytest.raises(KeyError, match="mine"):
        key(f, [Refuses()])


def test_a_registered_handler_learns_of_outputs() -> None:
    class Target: ...

    seen = []

    @id_for_memo.register(Target)
    def _(obj: Target, output_ref: bool = False) -> bytes:
        seen.append(output_ref)
        return b""

    key(f, Target(), inputs=[Target()], outputs=[{"a": (Target(),)}], stdout=Target())
    assert seen == [False, False, True, True]


def test_input_files_count_with_their_content(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "in.txt"
    file = File(path)
    absent = key(f, inputs=[file])
    path.write_text("one")
    one = key(f, inputs=[file])
    path.write_text("three")
    assert len({absent, one, key(f, inputs=[file])}) == 3
    path.write_text("one")
    assert key(f, inputs=[file]) == one


def test_large_input_files_count_with_size_and_time(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trellis.dataflow.memo_values._FILE_CONTENT_LIMIT_BYTES", 2)
    path = tmp_path / "in.txt"
    path.write_text("one")
    before = id_for_memo(File(path))
    path.write_text("three")
    assert id_for_memo(File(path)) != before


def test_output_files_count_by_name_only(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "out.txt"
    before = key(f, outputs=[File(path)], stdout=File(path))
    path.write_text("made")
    assert key(f, outputs=[File(path)], stdout=File(path)) == before
    assert key(f, outputs=[File(tmp_path / "other.txt")], stdout=File(path)) != before


def test_output_files_in_defaults_count_by_name_only(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "out.txt"

    file = File(path)

    def g(outputs: Any = (file,), *, stdout: Any = file) -> None: ...

    before = key(g)
    path.write_text("made")
    assert key(g) == before


def test_a_staged_copy_of_a_file_is_the_same_file(tmp_path: pathlib.Path) -> None:
    (tmp_path / "a").write_text("content")
    staged = File("http://host/a")
    staged.local_path = str(tmp_path / "a")
    moved = File("http://host/a")
    (tmp_path / "b").write_text("content")
    moved.local_path = str(tmp_path / "b")
    assert id_for_memo(staged) == id_for_memo(moved) != id_for_memo(File("http://host/a"))


# -- values ----------------------------------------------------------------------------------------------------

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(VALUES, VALUES)
def test_ids_are_equal_just_for_the_same_values(a: Any, b: Any) -> None:
    if repr(a) == repr(b):
        assert id_for_memo(a) == id_for_memo(b)
    elif a != b:
        assert id_for_memo(a) != id_for_memo(b)


def test_equal_values_of_different_types_differ() -> None:
    values = [1, 1.0, True, 1 + 0j, "1", b"1", 0, 0.0, -0.0, False, None, "", b"", [], (), {}, set(), frozenset([()])]
    assert len({id_for_memo(value) for value in values}) == len(values)


def test_order_of_sets_and_dicts_does_not_count() -> None:
    assert id_for_memo({"a": 1, "b": [2]}) == id_for_memo({"b": [2], "a": 1})
    assert id_for_memo({"x", "y", 1}) == id_for_memo({1, "y", "x"})
    assert id_for_memo({1: "a", "1": "b"}) != id_for_memo({1: "b", "1": "a"})


def test_huge_integers_have_ids() -> None:
    assert id_for_memo(10**10_000) != id_for_memo(10**10_000 + 1)


Pair = namedtuple("Pair", "x y")


class Colour(enum.IntEnum):
    RED = 1


@dataclasses.dataclass
class Sample:
    name: str
    tags: Any
    parent: Any = None


def test_subclasses_of_builtins_are_not_their_bases() -> None:
    values = [Pair(1, 2), (1, 2), Colour.RED, 1, OrderedDict(a=1), {"a": 1}]
    assert len({id_for_memo(value) for value in values}) == len(values)
    assert id_for_memo(Pair(1, 2)) == id_for_memo(Pair(1, 2))


def test_objects_count_by_their_state() -> None:
    assert id_for_memo(Sample("a", {"x", "y"})) == id_for_memo(Sample("a", {"y", "x"}))
    assert id_for_memo(Sample("a", 1)) != id_for_memo(Sample("b", 1))


def test_one_string_twice_is_as_good_as_two_equal_strings() -> None:
    text = "".join(["some ", "text"])
    assert id_for_memo(Sample(text, text)) == id_for_memo(Sample(text, "".join(["some", " text"])))


def test_objects_in_circles_have_ids() -> None:
    def make(name: str) -> Sample:
        sample = Sample(name, [])
        sample.tags.append(sample)
        return sample

    assert id_for_memo(make("a")) == id_for_memo(make("a")) != id_for_memo(make("b"))


def test_classes_lambdas_and_modules_within_objects_count() -> None:
    def make(n: int) -> Sample:
        class Local: ...

        return Sample("a", [Local, lambda: n, dataclasses, Sample.__init__])

    assert id_for_memo(make(1)) == id_for_memo(make(1)) != id_for_memo(make(2))
    assert id_for_memo(ModuleType("a")) != id_for_memo(ModuleType("b"))
    assert id_for_memo(Pair) != id_for_memo(Sample)


def test_registered_types_count_by_their_handler_within_objects() -> None:
    class Token:
        def __init__(self) -> None:
            self.lock = threading.Lock()

    @id_for_memo.register(Token)
    def _(obj: Token, output_ref: bool = False) -> bytes:
        return b"token"

    assert id_for_memo(Sample("a", Token())) == id_for_memo(Sample("a", Token()))


def test_paths_count_by_name() -> None:
    assert id_for_memo(pathlib.Path("a/b")) == id_for_memo(pathlib.Path("a") / "b") != id_for_memo("a/b")


# -- handlers of users -----------------------------------------------------------------------------------------


class Labelled:
    def __init__(self, label: object) -> None:
        self.label = label


@id_for_memo.register(Labelled)
def label_of(value: Labelled, output_ref: bool = False) -> Any:
    return value.label


@pytest.mark.parametrize("wrap", [lambda value: value, lambda value: [value], lambda value: {"x": {"y": (value,)}}])
def test_a_handler_may_give_text(wrap: Callable[[Any], Any]) -> None:
    assert key(f, wrap(Labelled("a"))) == key(f, wrap(Labelled("a")))
    assert key(f, wrap(Labelled("a"))) != key(f, wrap(Labelled("b")))


def test_a_handler_that_gives_something_else_is_named() -> None:
    with pytest.raises(TypeError, match=r"label_of, the handler of id_for_memo for Labelled, must give bytes or str"):
        key(f, [Labelled(5)])
