"""A user's program with every decorator: mypy --strict must know what each future gives. Never run, only checked."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any, assert_type

import trellis
from trellis import (
    AUTO_LOGNAME,
    Config,
    DataFlowKernel,
    File,
    HighThroughputExecutor,
    ParslPoolExecutor,
    ThreadPoolExecutor,
    bash_app,
    join_app,
    python_app,
)
from trellis.app.futures import AppFuture, DataFuture
from trellis.executors import WorkQueueExecutor
from trellis.launchers import SimpleLauncher
from trellis.monitoring import MonitoringHub
from trellis.providers import LocalProvider


@python_app
def double(x: int) -> int:
    return 2 * x


@python_app(executors=["workers"], cache=True, ignore_for_cache=["verbose"])
def describe(number: float, verbose: bool = False) -> str:
    return f"{number}" + ("!" if verbose else "")


@python_app()
def total(inputs: list[int]) -> int:
    return sum(inputs)


@python_app
def split(text: str) -> dict[str, list[int]]:
    return {word: [len(word)] for word in text.split()}


@bash_app
def pack(inputs: list[File], outputs: list[File]) -> str:
    return f"gzip -c {inputs[0]} > {outputs[0]}"


@bash_app(executors=["workers"], cache=True)
def greet(name: str, stdout: int | str = AUTO_LOGNAME) -> str:
    return f"echo {name}"


@join_app
def fibonacci(n: int) -> Future[int]:
    return double(n) if n < 2 else total(inputs=[fibonacci(n - 1), fibonacci(n - 2)])


@join_app(cache=True)
def doubles(n: int) -> list[AppFuture[int]]:
    return [double(i) for i in range(n)]


def plain(x: int) -> float:
    return x / 2


def use_futures() -> None:
    assert_type(double(2), AppFuture[int])
    assert_type(double(2).result(), int)
    assert_type(double(double(2)).result(timeout=1.5), int)
    assert_type(describe(1.5, verbose=True).result(), str)
    assert_type(total(inputs=[double(i) for i in range(3)]).result(), int)
    assert_type(split("a b").result(), dict[str, list[int]])
    assert_type(split("a b")["a"], AppFuture[Any])

    packed = pack(inputs=[File("a")], outputs=[File("a.gz")])
    assert_type(packed, AppFuture[int])
    assert_type(packed.outputs[0], DataFuture)
    assert_type(packed.outputs[0].result(), File)
    assert_type(greet("you", stdout=("out", "w")).result(), int)

    assert_type(fibonacci(5).result(), int)
    assert_type(doubles(5).result(), list[int])

    assert_type(double(1).tid, int)
    assert_type(double(1).task_status(), str)
    assert_type(double(1).cancel(), bool)
    assert_type([f.result() for f in trellis.as_completed([double(1), double(2)])], list[int])


async def wait_for_it() -> int:
    assert_type(await double(2), int)
    return await double(2)


def settings(monitoring: bool = False, workers: int = 2) -> tuple[MonitoringHub | None, list[WorkQueueExecutor]]:
    """What is not there is a class for checkers too."""
    hub = MonitoringHub(hub_address="localhost") if monitoring else None
    return hub, [WorkQueueExecutor(label="queue", port=9123) for _ in range(workers)]


def run() -> None:
    config = Config(
        executors=[
            ThreadPoolExecutor(label="threads", max_threads=4),
            HighThroughputExecutor(
                label="workers",
                max_workers_per_node=2,
                provider=LocalProvider(init_blocks=1, max_blocks=1, launcher=SimpleLauncher()),
            ),
        ],
        retries=2,
    )
    with trellis.load(config) as kernel:
        assert_type(kernel, DataFlowKernel)
        use_futures()
        trellis.wait_for_current_tasks()
        assert_type(trellis.dfk(), DataFlowKernel)

    remove = trellis.set_stream_logger()
    remove()

    with ParslPoolExecutor(config=Config()) as pool:
        assert_type(pool.submit(plain, 3).result(), float)
        results: Iterator[float] = pool.map(plain, range(10))
        assert_type(next(results), float)
