"""What a process has used from one task to the next: each test runs one of its own, so that nothing else counts."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from trellis.executors.common import own_usage
from trellis.executors.common.own_usage import OwnUsage, Used, dump_used, load_used

_BEGIN = "from trellis.executors.common.own_usage import OwnUsage\nusage = OwnUsage()\n"
_MB = 2**20


def _run(code: str) -> list[Used]:
    """What each ``show()`` of this code has taken."""
    show = "def show(duration_s=1.0):\n    print(*usage.take(duration_s))\n"
    done = subprocess.run([sys.executable, "-c", _BEGIN + show + code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    return [Used(float(row[0]), float(row[1]), *map(int, row[2:])) for row in rows]


def test_nothing_was_used_between_two_looks() -> None:
    _, *rest = _run("import sys\nused = [usage.take(1.0) for _ in range(6)]\nfor each in used: print(*each)")
    assert [(used.read_bytes, used.written_bytes) for used in rest] == [(0, 0)] * 5
    assert all(used.user_s + used.system_s < 0.01 for used in rest)


def test_bytes_and_time_are_those_since_the_last_look() -> None:
    first, second = _run(
        "open('/dev/null', 'wb', 0).write(bytes(1_000_000))\n"
        "open('/dev/zero', 'rb', 0).read(500_000)\n"
        "sum(i * i for i in range(2_000_000))\n"
        "a, b = usage.take(1.0), usage.take(1.0)\n"
        "print(*a)\nprint(*b)"
    )
    assert (first.read_bytes, first.written_bytes) == (500_000, 1_000_000)
    assert first.user_s > 0
    assert (second.read_bytes, second.written_bytes) == (0, 0)
    assert second.user_s < first.user_s


def test_the_peak_of_a_task_is_not_that_of_the_one_before() -> None:
    large, small = _run("b = bytearray(200 * 2**20)\ndel b\nshow()\nc = bytearray(50 * 2**20)\ndel c\nshow()")
    assert large.peak_memory_bytes > 200 * _MB
    assert 50 * _MB < small.peak_memory_bytes < 200 * _MB


def test_of_a_short_task_it_is_the_memory_at_its_end() -> None:
    kept, freed = _run("b = bytearray(100 * 2**20)\nshow(0.001)\ndel b\nshow(0.001)")
    assert kept.peak_memory_bytes > 100 * _MB > freed.peak_memory_bytes > 0


def test_the_process_that_started_this_one_does_not_count() -> None:
    ballast = bytearray(300 * _MB)  # the kernel takes it for the peak of a process that is started now
    (used,) = _run("show()")
    assert len(ballast) > used.peak_memory_bytes > 0


def test_children_that_have_ended_count() -> None:
    code = "b = bytearray(120 * 2**20); open('/dev/null', 'wb', 0).write(bytes(2_000_000)); sum(range(9_000_000))"
    first, second = _run(
        f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {code!r}])\nshow()\n"
        "subprocess.run([sys.executable, '-c', ''])\nshow()"
    )
    assert first.peak_memory_bytes > 120 * _MB > second.peak_memory_bytes
    assert first.written_bytes >= 2_000_000 > second.written_bytes
    assert first.user_s > second.user_s


def test_a_task_that_closes_all_files_costs_what_they_would_have_told() -> None:
    (used,) = _run("import os\nos.closerange(3, 100)\nshow()")
    assert (used.read_bytes, used.written_bytes) == (0, 0)
    assert used.peak_memory_bytes > 0  # by the system call


def test_without_proc_there_are_the_times_and_a_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_usage, "_open", lambda name, flags: None)
    usage = OwnUsage()
    end = time.process_time() + 0.05
    while time.process_time() < end:
        pass
    used = usage.take(0.05)
    assert used.user_s + used.system_s > 0.03
    assert used.peak_memory_bytes > 0
    assert (used.read_bytes, used.written_bytes) == (0, 0)


def test_files_are_given_back() -> None:
    before = os.listdir("/proc/self/fd")
    usage = OwnUsage()
    assert len(os.listdir("/proc/self/fd")) == len(before) + 4
    usage.close()
    assert os.listdir("/proc/self/fd") == before


def test_it_travels_as_a_few_bytes() -> None:
    used = Used(1.5, 0.25, 2**40, 3, 4)
    assert load_used(memoryview(dump_used(used))) == used
