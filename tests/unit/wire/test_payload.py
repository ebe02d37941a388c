"""Functions, arguments and results: what travels, how, and what is said of what cannot."""

from __future__ import annotations

import functools
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pytest

from tests.unit.wire import samples
from trellis.errors import DeserializationError, SerializationError
from trellis.wire.codec import INLINE_LIMIT_BYTES, Payload, payload_buffers
from trellis.wire.payload import (
    dump_call,
    dump_function,
    dump_result,
    dumps,
    load_call,
    load_function,
    load_result,
    loads,
)


def _received(payload: Payload) -> Payload:
    """As a worker receives it: large buffers in memory that may be written to."""
    buffers = tuple(
        bytearray(buffer) if len(buffer) > INLINE_LIMIT_BYTES else bytes(buffer) for buffer in payload_buffers(payload)
    )
    return buffers[0] if len(buffers) == 1 else buffers


# -- functions -------------------------------------------------------------------------------------------------


def test_a_function_of_a_module_travels_as_a_name() -> None:
    data = dump_function(samples.double)
    assert load_function(data) is samples.double
    assert len(data) < 100


def test_lambdas_closures_and_partials_travel_by_value() -> None:
    base = 10

    def add(value: int) -> int:
        return base + value

    for function in (lambda value: 10 + value, add, functools.partial(add)):
        assert load_function(dump_function(function))(5) == 15


def test_a_function_that_cannot_travel_is_named() -> None:
    culprit = samples.Unpicklable()

    def uses_it() -> object:
        return culprit

    with pytest.raises(SerializationError, match=r"function .*uses_it: TypeError: not this one"):
        dump_function(uses_it)


def test_a_callable_without_a_name_is_told_by_its_type() -> None:
    class Model:
        lock = samples.Unpicklable()

        def __repr__(self) -> str:
            raise AssertionError("nobody should look")

        def __reduce__(self) -> Any:
            raise TypeError("no")

        def __call__(self) -> None: ...

    with pytest.raises(SerializationError, match="Model"):
        dump_function(Model())


# -- arguments -------------------------------------------------------------------------------------------------


def test_arguments_come_back() -> None:
    payload = dump_call((1, "two", samples.Point(3)), {"key": [4.0]}, "app")
    assert load_call(payload) == ((1, "two", samples.Point(3)), {"key": [4.0]})


def test_no_arguments_cost_nothing() -> None:
    assert dump_call((), {}, "app") is dump_call([], {}, "other")
    assert load_call(dump_call((), {}, "app")) == ((), {})


def test_what_pickle_refuses_cloudpickle_takes() -> None:
    (function,), _ = load_call(dump_call((lambda: 42,), {}, "app"))
    assert function() == 42


@pytest.mark.parametrize(
    ("args", "kwargs", "culprit"),
    [
        ((1, samples.Unpicklable(), 3), {}, r"argument 1 of app \(a Unpicklable\): TypeError: not this one"),
        ((1,), {"good": 1, "bad": samples.Unpicklable()}, r"argument bad of app \(a Unpicklable\)"),
        ((samples.nested(100_000),), {}, r"argument 0 of app \(a list\)"),
        ((samples.Unpicklable(samples.NoText()),), {}, r"argument 0 .*NoText: \(its message cannot be shown\)"),
        (
            ({"a": [*range(999), {"b": Lock()}]},),
            {},
            r"; it is \['a'\]\[999\]\['b'\] in it, a lock; pass what it can be",
        ),
        ((samples.Holder({Lock()}),), {}, r"; it is \.held an element in it, a lock; pass what it can be made from"),
        ((sys.stdout.buffer,), {}, r"argument 0 of app \(a \w+\): .*; pass the path, and open the file in the app"),
        (((number for number in ()),), {}, r"; make a list of it with list\(…\)"),
    ],
    ids=[
        "positional",
        "keyword",
        "too deep",
        "error without text",
        "in containers",
        "in an object",
        "file",
        "generator",
    ],
)
def test_the_argument_that_cannot_travel_is_named(args: tuple[Any, ...], kwargs: dict[str, Any], culprit: str) -> None:
    with pytest.raises(SerializationError, match=culprit):
        dump_call(args, kwargs, "app")


# -- results ---------------------------------------------------------------------------------------------------


def test_a_result_that_cannot_travel_is_told_by_its_type() -> None:
    with pytest.raises(SerializationError, match=r"the result \(a Unpicklable\): TypeError: not this one"):
        dump_result(samples.Unpicklable())


def test_a_result_that_cannot_travel_is_told_by_who_made_it() -> None:
    with pytest.raises(
        SerializationError, match=r"the result of len \(a generator\): TypeError: .*; make a list of it"
    ):
        dump_result((number for number in ()), len)


def test_too_deep_a_result_is_an_error_of_its_own() -> None:
    with pytest.raises(SerializationError, match=r"the result \(a list\)"):
        dump_result(samples.nested(100_000))


@pytest.mark.parametrize("error", [ValueError("bad"), samples.NoText(), SystemExit(3), KeyboardInterrupt()], ids=repr)
def test_a_result_that_cannot_be_made_here(error: BaseException) -> None:
    with pytest.raises(DeserializationError, match=f"the result: {type(error).__name__}"):
        load_result(dump_result(samples.CannotBeMade(error)))


@pytest.mark.parametrize("payload", [b"", b"garbage", pickle.dumps(1)[:-1], (b"", b""), ()])
def test_garbage_is_no_result(payload: Payload) -> None:
    with pytest.raises(DeserializationError):
        load_result(payload)


# -- arrays ----------------------------------------------------------------------------------------------------


def test_a_large_array_stays_out_of_band() -> None:
    array = np.arange(INLINE_LIMIT_BYTES, dtype=np.float64)
    payload = dump_call((array, "small"), {}, "app")
    assert isinstance(payload, tuple)
    assert len(payload) == 2
    assert len(payload[0]) < 1_000
    (received, _), _ = load_call(_received(payload))
    np.testing.assert_array_equal(received, array)


@pytest.mark.parametrize("size", [10, INLINE_LIMIT_BYTES // 8, INLINE_LIMIT_BYTES], ids=["small", "limit", "large"])
def test_a_task_may_write_to_its_arrays(size: int) -> None:
    (received,), _ = load_call(_received(dump_call((np.zeros(size),), {}, "app")))
    received += 1
    assert received.sum() == size


def test_arguments_are_those_at_the_time_of_the_call() -> None:
    array = np.zeros(INLINE_LIMIT_BYTES)
    payload = dump_call((array,), {}, "app")
    array += 1
    (received,), _ = load_call(_received(payload))
    assert received.sum() == 0


def test_what_nobody_can_write_to_is_not_copied() -> None:
    array = np.zeros(INLINE_LIMIT_BYTES)
    array.flags.writeable = False
    payload = dump_call((array,), {}, "app")
    assert isinstance(payload, tuple)
    assert np.shares_memory(np.frombuffer(payload[1]), array)


def test_a_large_result_is_not_copied() -> None:
    array = np.zeros(INLINE_LIMIT_BYTES)
    payload = dump_result({"a": array})
    assert isinstance(payload, tuple)
    assert np.shares_memory(np.frombuffer(payload[1]), array)
    assert np.shares_memory(load_result(payload)["a"], array)


@pytest.mark.parametrize(
    "array",
    [
        np.asfortranarray(np.arange(40_000.0).reshape(200, 200)),
        np.arange(80_000.0)[::2],
        np.zeros((0, 3)),
        np.array(5.0),
        np.array([samples.Point(1), None], dtype=object),
    ],
    ids=["fortran", "strided", "empty", "scalar", "objects"],
)
def test_any_array_comes_back(array: np.ndarray[Any, Any]) -> None:
    received = load_result(_received(dump_result(array)))
    assert received.dtype == array.dtype
    np.testing.assert_array_equal(received, array)


def test_buffers_are_not_doubled_when_cloudpickle_takes_over() -> None:
    payload = dump_result((np.zeros(INLINE_LIMIT_BYTES), lambda: 1, "__main__"))
    assert isinstance(payload, tuple)
    assert len(payload) == 2
    assert load_result(payload)[1]() == 1


# -- in one piece ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [None, {"a": [1, 2]}, samples.Point(3), "__main__", b"x" * 100_000], ids=type)
def test_any_object_in_one_piece(value: object) -> None:
    data = dumps(value)
    assert type(data) is bytes
    assert loads(data) == value


def test_an_object_that_pickle_refuses_in_one_piece() -> None:
    assert loads(dumps(lambda: 3))() == 3


# -- __main__ --------------------------------------------------------------------------------------------------

# Run as a user's script; a second interpreter, whose __main__ is another module, plays the worker. Both define a
# class of one name, as a user may well call his own class Worker.
_SCRIPT = """
import subprocess, sys
from trellis.errors import RemoteTraceback
from trellis.wire.payload import dump_call, dump_function, load_exception, load_result

WORKER = '''
import pickle, sys
from trellis.wire.payload import dump_exception, dump_result, load_call, load_function
class Worker: pass
function, call = pickle.load(sys.stdin.buffer)
args, kwargs = load_call(call)
try:
    answer = True, dump_result(load_function(function)(*args, **kwargs))
except Exception as error:
    answer = False, dump_exception(error)
pickle.dump(answer, sys.stdout.buffer)
'''

class Worker:
    def __init__(self, value): self.value = value
    def doubled(self): return Worker(2 * self.value)

class MyError(Exception):
    def __init__(self, code): super().__init__(code); self.code = code

def double(worker):
    return worker.doubled()

def fail(code):
    raise MyError(code)

def run(function, *args):
    import pickle
    work = pickle.dumps((dump_function(function), dump_call(args, {}, "app")))
    done = subprocess.run([sys.executable, "-c", WORKER], input=work, stdout=subprocess.PIPE, check=True)
    good, payload = pickle.loads(done.stdout)
    return load_result(payload) if good else load_exception(payload)

result = run(double, Worker(21))
assert type(result) is Worker, type(result)
assert result.value == 42
error = run(fail, 7)
assert type(error) is MyError, repr(error)
assert error.code == 7
assert type(error.__cause__) is RemoteTraceback and "in fail" in str(error.__cause__)
print("good")
"""


def test_classes_of_the_users_script_come_back_as_his_own(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(_SCRIPT)
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "good", done.stderr


def test_a_class_of_an_imported_module_travels_as_a_name() -> None:
    make: Callable[[int], object] = samples.Point
    assert type(load_result(dump_result(make(1)))) is samples.Point
