"""What a tree of real processes uses."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from trellis.executors.common.memory_use import memory_mb

SHARED_MB, CHILDREN = 64, 4
# Pages from before a fork, or of a mapping that is common to all of them.
FAMILIES = {
    "forked": f"data = b'x' * ({SHARED_MB} << 20)",
    "mapped": f"import mmap; data = mmap.mmap(-1, {SHARED_MB} << 20); data.write(b'x' * ({SHARED_MB} << 20))",
}
FORK = f"""
import os, sys
for _ in range({CHILDREN}):
    if not os.fork():
        sum(data[::4096])
        print(flush=True)
        sys.stdin.read()
        os._exit(0)
sys.stdin.read()
"""


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> Iterator[int]:
    """A process and its children, which have the same memory."""
    command = [sys.executable, "-c", FAMILIES[request.param] + FORK]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for _ in range(CHILDREN):
            process.stdout.readline()
        yield process.pid
        process.stdin.close()
        process.stdout.read()  # until the last child has ended


def test_what_processes_share_counts_once_when_it_matters(family: int) -> None:
    assert memory_mb(family, suspicious_mb=math.inf) > (CHILDREN + 1) * SHARED_MB
    assert SHARED_MB <= memory_mb(family, suspicious_mb=2 * SHARED_MB) < 2 * SHARED_MB


def test_memory_of_this_process_is_about_what_others_say() -> None:
    measured = memory_mb(os.getpid(), suspicious_mb=math.inf)
    assert measured == pytest.approx(psutil.Process().memory_info().rss / 2**20, rel=0.3)
    assert 0 < memory_mb(os.getpid(), suspicious_mb=0) <= measured * 1.1


def test_a_process_that_has_ended_uses_nothing() -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    assert memory_mb(child.pid, suspicious_mb=math.inf) == 0
