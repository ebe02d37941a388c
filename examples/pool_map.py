"""Code that was written for ``concurrent.futures`` runs on any executor of Trellis.

python pool_map.py [--executor threads|htex]
"""

import sys
from concurrent.futures import Executor

from trellis import Config, HighThroughputExecutor, ParslPoolExecutor, ThreadPoolExecutor


def collatz_steps(n: int) -> int:
    steps = 0
    while n != 1:
        n = n // 2 if n % 2 == 0 else 3 * n + 1
        steps += 1
    return steps


def longest(pool: Executor, below: int) -> tuple[int, int]:
    """Knows nothing of Trellis: any pool will do."""
    return max((steps, n) for n, steps in zip(range(1, below), pool.map(collatz_steps, range(1, below)), strict=True))


def main() -> None:
    executor = HighThroughputExecutor() if "htex" in sys.argv else ThreadPoolExecutor()
    with ParslPoolExecutor(Config(executors=[executor])) as pool:
        steps, n = longest(pool, 1000)
    print(f"{n} takes {steps} steps to reach 1")


if __name__ == "__main__":
    main()
