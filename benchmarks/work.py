"""The tasks that are measured. Importable by workers, so that every system can send them by name.

Loads nothing but the standard library: what a worker imports for a task would be measured with it.
"""

from __future__ import annotations

import os
import time
from typing import Any, TypeVar

T = TypeVar("T")

# What BashRunner of Trellis runs too, for a fair comparison.
_SHELL = "/bin/bash"
_made: dict[tuple[str, int], Any] = {}


def identity(x: T) -> T:
    """No work: what is left is the system's own cost."""
    return x


def add_one(x: int) -> int:
    return x + 1


def add_all(values: list[int]) -> int:
    return sum(values)


def one_above(*values: int) -> int:
    return max(values) + 1


def measure_bytes(payload: bytes) -> int:
    return len(payload)


def measure_array(payload: Any) -> int:
    return int(payload.nbytes)


def make_bytes(size: int) -> bytes:
    """Made once in each worker: its making is not measured."""
    if ("bytes", size) not in _made:
        _made["bytes", size] = os.urandom(size)
    payload: bytes = _made["bytes", size]
    return payload


def make_array(size: int) -> Any:
    """An array of ``size`` bytes; made once in each worker."""
    import numpy as np

    if ("array", size) not in _made:
        _made["array", size] = np.frombuffer(os.urandom(size), dtype=np.float64).copy()
    return _made["array", size]


def nap(seconds: float) -> tuple[str, float, float]:
    """Leave the core to others for a while; gives the worker, the start (seconds since the epoch) and the duration."""
    started = time.time()
    time.sleep(seconds)
    return str(os.getpid()), started, time.time() - started


def wait_for_file(path: str) -> None:
    """Keep a worker busy until there is a file."""
    while not os.path.exists(path):
        time.sleep(0.1)


def true_command() -> str:
    return "true"


def spawn_true(count: int) -> int:
    """The command of ``true_command`` as often as that, one after the other, by nothing but the operating system."""
    for _ in range(count):
        pid = os.posix_spawn(_SHELL, [_SHELL, "-c", true_command()], os.environ)
        _, status = os.waitpid(pid, 0)
        if status != 0:
            raise RuntimeError(f"the command ended with status {status}")
    return count
