"""Estimate pi with random points: many tasks count, one adds up.

python monte_carlo_pi.py [--executor threads|htex]
"""

import random
import sys

import trellis
from trellis import Config, HighThroughputExecutor, ThreadPoolExecutor, python_app

TASKS, POINTS = 20, 50_000


@python_app
def count_hits(points: int, seed: int) -> int:
    """How many of so many random points in the unit square lie in the quarter circle."""
    rng = random.Random(seed)
    return sum(rng.random() ** 2 + rng.random() ** 2 <= 1 for _ in range(points))


@python_app
def estimate_pi(hits: list[int], points: int) -> float:
    return 4 * sum(hits) / (len(hits) * points)


def main() -> None:
    executor = HighThroughputExecutor() if "htex" in sys.argv else ThreadPoolExecutor()
    with trellis.load(Config(executors=[executor])):
        hits = [count_hits(POINTS, seed) for seed in range(TASKS)]  # map
        pi = estimate_pi(hits, POINTS)  # reduce: futures may stand inside lists
        print(f"pi is about {pi.result():.3f}")


if __name__ == "__main__":
    main()
