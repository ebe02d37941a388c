"""A join app makes tasks while the program runs: here, a tree that nobody drew beforehand.

python fibonacci.py [--executor threads|htex]
"""

import sys

import trellis
from trellis import AppFuture, Config, HighThroughputExecutor, ThreadPoolExecutor, join_app, python_app


@python_app
def constant(n: int) -> int:
    return n


@python_app
def add(a: int, b: int) -> int:
    return a + b


@join_app
def fibonacci(n: int) -> AppFuture[int]:
    """A join app runs in this process, calls other apps, and returns a future; its result is that future's."""
    if n < 2:
        return constant(n)
    return add(fibonacci(n - 1), fibonacci(n - 2))


def main() -> None:
    executor = HighThroughputExecutor() if "htex" in sys.argv else ThreadPoolExecutor()
    with trellis.load(Config(executors=[executor])):
        print("fibonacci(10) is", fibonacci(10).result())


if __name__ == "__main__":
    main()
