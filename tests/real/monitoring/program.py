"""A program for Parsl that does a bit of everything, one after the other: task numbers are the same in each run."""

import sys
import time
from typing import Any

import parsl
from parsl import Config, File, bash_app, join_app, python_app
from parsl.executors import HighThroughputExecutor, ThreadPoolExecutor
from parsl.monitoring import MonitoringHub
from parsl.providers import LocalProvider


@python_app(executors=["htex"])
def add(x: int, y: int = 1) -> int:
    return x + y


@python_app(executors=["threads"])
def quick(x: Any, inputs: Any = (), outputs: Any = ()) -> Any:
    return x


@python_app(executors=["htex"], cache=True)
def memo(x: int) -> int:
    return x


@python_app(executors=["threads"])
def bad(x: int) -> None:
    raise ValueError(f"no good: {x}")


@bash_app(executors=["htex"])
def shell(code: int, stdout: Any = None, stderr: Any = None, outputs: Any = ()) -> str:
    return f"echo {code}; touch {outputs[0]}; exit {code}"


@python_app(executors=["threads"])
def inner(x: int) -> int:
    time.sleep(0.2)
    return x


@join_app
def several(x: int) -> Any:
    return [inner(x), inner(x + 1)]


@join_app
def one(x: int) -> Any:
    return inner(x)


@join_app
def none() -> Any:
    return bad(3)


def main(run_dir: str) -> None:
    provider = LocalProvider(init_blocks=1, max_blocks=1, min_blocks=1)
    workers = {"max_workers_per_node": 2, "cores_per_worker": 0.5}
    htex = HighThroughputExecutor(label="htex", address="127.0.0.1", provider=provider, **workers)
    names = {"workflow_name": "everything", "workflow_version": "1"}
    hub = MonitoringHub(hub_address="127.0.0.1", resource_monitoring_interval=1, **names)
    executors = [htex, ThreadPoolExecutor(label="threads", max_threads=2)]
    with parsl.load(Config(executors=executors, retries=1, run_dir=run_dir, monitoring=hub)):
        first = add(1)
        add(2, y=first).result()  # 1
        memo(3).result()
        memo(3).result()  # 3
        failed = bad(4)
        dependent = quick(failed)
        quick(dependent).exception()  # 6
        shell(0, stdout="out.txt", stderr=("err.txt", "w"), outputs=[File("made.txt")]).result()
        quick(1, inputs=[first, 5, "t"], outputs=[File("x.txt")]).exception()  # 8
        shell(3, outputs=[File("y.txt")]).exception()
        several(1).result()  # 10, and 11, 12
        one(1).result()  # 13, 14
        none().exception()  # 15, 16
        quick(first).result()


if __name__ == "__main__":
    main(sys.argv[1])
