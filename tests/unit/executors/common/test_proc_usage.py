"""What processes use with their descendants, as /proc says it: compared with psutil, and with what they did."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest

from trellis.executors.common import proc_usage
from trellis.executors.common.proc_usage import uses_of

# Says that it is ready, and ends with its input.
_WAIT = "print('ready', flush=True); input()"
_FILL = f"data = bytearray(64 * 2**20); open('/dev/null', 'wb').write(bytes(3_000_000)); {_WAIT}"
_SPIN = f"sum(i * i for i in range(3_000_000)); {_WAIT}"


@contextmanager
def _python(code: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    while psutil.Process(process.pid).status() != "sleeping":  # it is about to wait
        time.sleep(0.001)
    try:
        yield process
    finally:
        process.communicate(b"\n")


def _parent_of(code: str) -> str:
    return f"import subprocess, sys; subprocess.run([sys.executable, '-c', {code!r}])"


def test_a_process_is_what_psutil_says_of_it() -> None:
    with _python(_FILL) as process:
        use = uses_of([process.pid])[process.pid]
        told = psutil.Process(process.pid)
        memory = told.memory_info()
        assert use.pid == process.pid
        assert use.children == 0
        assert use.virtual_bytes == memory.vms
        assert use.resident_bytes == pytest.approx(memory.rss, rel=0.01)
        assert use.memory_percent == pytest.approx(told.memory_percent(), rel=0.02)
        assert (use.read_bytes, use.written_bytes) == (told.io_counters().read_chars, told.io_counters().write_chars)
        assert use.written_bytes >= 3_000_000
        assert use.status == told.status() == "sleeping"
        assert use.cpu.isdecimal()
        switches = told.num_ctx_switches()
        assert (use.voluntary_switches, use.involuntary_switches) == (switches.voluntary, switches.involuntary)
        times = told.cpu_times()
        assert (use.user_s, use.system_s) == (times.user, times.system)


def test_children_and_their_children_are_summed_up() -> None:
    with _python(_parent_of(_parent_of(_FILL))) as process:
        use = uses_of([process.pid])[process.pid]
    assert use.children == 2
    assert use.resident_bytes > 64 * 2**20
    assert use.written_bytes >= 3_000_000


def test_children_that_have_ended_are_in_the_times() -> None:
    ended = _parent_of("sum(i for i in range(6_000_000))") + f"; {_WAIT}"
    with _python(ended) as process:
        use = uses_of([process.pid])[process.pid]
        alone = psutil.Process(process.pid).cpu_times()
    assert use.children == 0
    assert use.user_s > alone.user


def test_many_are_looked_at_together_and_the_dead_are_left_out() -> None:
    with _python(_SPIN) as first, _python(_SPIN) as second:
        gone = subprocess.Popen([sys.executable, "-c", ""])
        gone.wait()
        uses = uses_of([first.pid, gone.pid, second.pid])
    assert [*uses] == [first.pid, second.pid]
    assert all(use.user_s > 0 for use in uses.values())


def test_nothing_is_read_when_nobody_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proc_usage, "_all_stats", lambda: pytest.fail("it was read"))
    assert uses_of([]) == {}


def test_a_name_with_parentheses_and_blanks_confuses_nobody() -> None:
    rename = "open('/proc/self/comm', 'w').write('a) R 1 (b'); "
    with _python(rename + _WAIT) as process:
        use = uses_of([process.pid])[process.pid]
    assert use.status == "sleeping"


def test_without_proc_psutil_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with _python(_parent_of(_FILL)) as process:
        with_proc = uses_of([process.pid])[process.pid]
        monkeypatch.setattr(os.path, "exists", lambda path: False)
        without = uses_of([process.pid, 2**22 + 1])
    assert [*without] == [process.pid]
    assert without[process.pid].children == with_proc.children == 1
    assert without[process.pid].virtual_bytes == with_proc.virtual_bytes
