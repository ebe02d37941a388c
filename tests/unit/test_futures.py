from __future__ import annotations

import asyncio
import pickle
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from trellis.dataflow.spec import AppSpec
from trellis.dataflow.taskrecord import TaskRecord
from trellis.futures import AppFuture, DataFuture, as_completed
from trellis.staging.files import File


class FakeKernel:
    """Notes what futures ask of their kernel."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def cancel_task(self, record: TaskRecord) -> bool:
        self.asked.append(("cancel", record.id))
        return True

    def lift_getitem(self, future: Any, key: Any) -> Any:
        self.asked.append(("item", key))
        return Future()

    def lift_getattr(self, future: Any, name: str) -> Any:
        self.asked.append(("attr", name))
        return Future()


@pytest.fixture
def kernel() -> FakeKernel:
    return FakeKernel()


@pytest.fixture
def future(kernel: Any) -> AppFuture[Any]:
    return AppFuture(TaskRecord(kernel, 7, AppSpec(len), (), {}))


def test_it_tells_of_its_task(future: AppFuture[Any]) -> None:
    assert (future.tid, future.task_status(), future.stdout, future.stderr) == (7, "pending", None, None)
    assert future.outputs == []
    assert future.run_info is None


def test_items_and_attributes_are_lifted(future: AppFuture[Any], kernel: FakeKernel) -> None:
    future["a"]
    future.real  # noqa: B018
    assert kernel.asked == [("item", "a"), ("attr", "real")]


def test_names_with_an_underscore_are_not_lifted(future: AppFuture[Any], kernel: FakeKernel) -> None:
    assert not hasattr(future, "_private")
    assert not hasattr(future, "__array__")
    assert kernel.asked == []


def test_it_cannot_be_iterated(future: AppFuture[Any]) -> None:
    with pytest.raises(TypeError, match=r"future\.result\(\)"):
        list(future)
    with pytest.raises(TypeError, match="cannot be iterated"):
        _a, _b = future


def test_it_cannot_be_pickled(future: AppFuture[Any]) -> None:
    with pytest.raises(TypeError, match="Pass it as an argument of an app"):
        pickle.dumps(future)
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(DataFuture(future, File("a")))


def test_cancelling_is_up_to_the_kernel(future: AppFuture[Any], kernel: FakeKernel) -> None:
    assert future.cancel()
    assert kernel.asked == [("cancel", 7)]
    future._set_cancelled()
    assert future.cancelled()
    assert future.cancel()
    assert len(kernel.asked) == 1


def test_a_future_that_is_done_cannot_be_cancelled(future: AppFuture[Any], kernel: FakeKernel) -> None:
    future.set_result(1)
    assert not future.cancel()
    assert kernel.asked == []


def test_it_can_be_awaited(future: AppFuture[Any]) -> None:
    async def wait_for_it() -> Any:
        asyncio.get_running_loop().call_soon(future.set_result, 5)
        return await future

    assert asyncio.run(wait_for_it()) == 5


class TestDataFuture:
    def test_it_gives_the_file_when_the_task_is_done(self) -> None:
        parent: Future[int] = Future()
        file = File("/tmp/x")
        future = DataFuture(parent, file, 3)
        assert (future.tid, future.filepath, future.filename, future.file_obj) == (3, "/tmp/x", "/tmp/x", file)
        assert not future.done()
        parent.set_running_or_notify_cancel()
        assert future.running()
        parent.set_result(0)
        assert future.result() is file

    def test_it_fails_as_the_task_fails(self) -> None:
        parent: Future[int] = Future()
        future = DataFuture(parent, File("x"))
        parent.set_exception(ValueError("no"))
        with pytest.raises(ValueError, match="no"):
            future.result()

    def test_cancelling_it_cancels_the_task(self) -> None:
        parent: Future[int] = Future()
        future = DataFuture(parent, File("x"))
        assert future.cancel()
        assert parent.cancelled()
        assert future.cancelled()


class TestAsCompleted:
    def test_futures_come_in_the_order_of_their_ends(self) -> None:
        a, b, c = Future[int](), Future[int](), Future[int]()
        b.set_result(2)
        iterator = as_completed([a, b, c, b])
        assert next(iterator) is b
        c.set_result(3)
        assert next(iterator) is c
        a.set_exception(ValueError())
        assert list(iterator) == [a]

    def test_an_iterator_is_read_while_futures_are_taken(self) -> None:
        made: list[Future[int]] = []

        def make() -> Iterator[Future[int]]:
            for i in range(3):
                made.append(Future())
                made[-1].set_result(i)
                yield made[-1]

        iterator = as_completed(make())
        assert next(iterator).result() == 0
        assert len(made) == 1
        assert [future.result() for future in iterator] == [1, 2]

    def test_it_does_not_wait_for_ever(self) -> None:
        with pytest.raises(TimeoutError, match="1 futures are not done"):
            list(as_completed([Future[int]()], timeout=0))
