"""LightFuture does what the standard Future does: each story is told of both."""

from __future__ import annotations

import concurrent.futures
import threading
from concurrent.futures import CancelledError, Future, InvalidStateError
from typing import Any

import pytest

from trellis.core.light_future import LightFuture

WAIT_S = 10


@pytest.fixture(params=[Future, LightFuture])
def make(request: pytest.FixtureRequest) -> Any:
    return request.param


def test_a_new_future_is_pending(make: Any) -> None:
    future = make()
    assert (future.done(), future.running(), future.cancelled()) == (False, False, False)
    with pytest.raises(TimeoutError):
        future.result(0)
    with pytest.raises(TimeoutError):
        future.exception(0.001)
    assert "pending" in repr(future)


def test_a_result(make: Any) -> None:
    future = make()
    future.set_result(5)
    assert (future.result(0), future.exception(0), future.done()) == (5, None, True)
    assert "finished returned int" in repr(future)


def test_an_exception(make: Any) -> None:
    future = make()
    error = ValueError("no")
    future.set_exception(error)
    assert future.exception() is error
    with pytest.raises(ValueError, match="no"):
        future.result()
    assert "raised ValueError" in repr(future)


def test_it_is_final_once(make: Any) -> None:
    future = make()
    future.set_result(1)
    with pytest.raises(InvalidStateError):
        future.set_result(2)
    with pytest.raises(InvalidStateError):
        future.set_exception(ValueError())
    assert not future.cancel()
    assert future.result() == 1


def test_cancelling(make: Any) -> None:
    future = make()
    assert future.cancel()
    assert future.cancel()
    assert future.cancelled()
    assert future.done()
    for ask in (future.result, future.exception):
        with pytest.raises(CancelledError):
            ask(0)
    assert not future.set_running_or_notify_cancel()
    with pytest.raises(InvalidStateError):
        future.set_result(1)


def test_running(make: Any) -> None:
    future = make()
    assert future.set_running_or_notify_cancel()
    assert future.running()
    assert not future.cancel()
    with pytest.raises(RuntimeError):
        future.set_running_or_notify_cancel()
    future.set_result(3)
    assert (future.result(), future.running()) == (3, False)


@pytest.mark.parametrize("ending", ["set_result", "set_exception", "cancel"])
def test_callbacks_come_once_in_order_before_and_after_the_end(make: Any, ending: str) -> None:
    future = make()
    calls: list[Any] = []
    future.add_done_callback(lambda f: calls.append(("first", f)))
    future.add_done_callback(lambda f: calls.append(("second", f)))
    getattr(future, ending)(*([] if ending == "cancel" else [ValueError()]))
    future.add_done_callback(lambda f: calls.append(("late", f)))
    assert calls == [("first", future), ("second", future), ("late", future)]


def test_a_callback_that_raises_is_logged_and_the_others_are_called(
    make: Any, caplog: pytest.LogCaptureFixture
) -> None:
    future = make()
    calls: list[str] = []
    future.add_done_callback(lambda f: 1 // 0)
    future.add_done_callback(lambda f: calls.append("called"))
    future.set_result(None)
    assert calls == ["called"]
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("ending", ["set_result", "set_exception", "cancel"])
def test_threads_that_wait_are_woken(make: Any, ending: str) -> None:
    future = make()
    seen: list[str] = []

    def wait() -> None:
        try:
            seen.append(f"result {future.result(WAIT_S)}")
        except BaseException as error:
            seen.append(type(error).__name__)

    threads = [threading.Thread(target=wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    getattr(future, ending)(*{"set_result": [7], "set_exception": [KeyError()], "cancel": []}[ending])
    for thread in threads:
        thread.join(WAIT_S)
    assert seen == [{"set_result": "result 7", "set_exception": "KeyError", "cancel": "CancelledError"}[ending]] * 3


def test_a_wait_for_one_is_not_ended_by_another(make: Any) -> None:
    one, other = make(), make()
    threading.Timer(0.01, other.set_result, [None]).start()
    with pytest.raises(TimeoutError):
        one.result(0.1)
    other.result(WAIT_S)


def test_wait_and_as_completed_of_the_standard_library(make: Any) -> None:
    futures = [make() for _ in range(4)]
    futures[0].set_result(0)
    starter = threading.Timer(0.01, lambda: (futures[1].set_result(1), futures[2].set_exception(KeyError())))
    starter.start()
    done, open_ = concurrent.futures.wait(futures[:3], WAIT_S)
    assert (done, open_) == (set(futures[:3]), set())
    starter.join()
    threading.Timer(0.01, lambda: (futures[3].cancel(), futures[3].set_running_or_notify_cancel())).start()
    assert set(concurrent.futures.as_completed(futures, WAIT_S)) == set(futures)
    done, _ = concurrent.futures.wait(futures, WAIT_S, concurrent.futures.FIRST_EXCEPTION)
    assert futures[2] in done


def test_many_threads_many_futures(make: Any) -> None:
    futures = [make() for _ in range(2_000)]
    calls: list[int] = []
    for future in futures:
        future.add_done_callback(lambda f: calls.append(f.result()))
    halves = [
        threading.Thread(target=lambda part: [f.set_result(1) for f in part], args=(futures[n::2],)) for n in (0, 1)
    ]
    for thread in halves:
        thread.start()
    assert sum(future.result(WAIT_S) for future in futures) == 2_000
    for thread in halves:
        thread.join()
    assert len(calls) == 2_000


def test_it_is_light() -> None:
    import sys

    future = LightFuture[int]()
    future.set_result(1)
    assert sum(sys.getsizeof(value) for value in future.__dict__.values()) < 200
    assert not isinstance(future.__dict__.get("_condition"), threading.Condition)
