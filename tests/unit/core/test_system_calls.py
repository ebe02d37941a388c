"""What some Pythons do not know of Linux is had all the same."""

from __future__ import annotations

import errno
import os
import select
import subprocess

import pytest

from trellis.core import system_calls
from trellis.core.system_calls import memory_file, open_pidfd, open_sentinel


def ended(descriptor: int, timeout_s: float) -> bool:
    return bool(select.select([descriptor], [], [], timeout_s)[0])


def no_such_call(pid: int) -> int:
    raise OSError(errno.ENOSYS, "as Linux 4.18 says")


@pytest.fixture(params=["known", "not known to Python", "not known to Linux"])
def pidfds(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Who knows of pidfds."""
    if request.param == "not known to Python":
        monkeypatch.delattr(os, "pidfd_open")
    elif request.param == "not known to Linux":
        monkeypatch.setattr(os, "pidfd_open", no_such_call)
    return str(request.param)


def test_the_end_of_a_child_is_told(pidfds: str) -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as child:
        sentinel = open_sentinel(child.pid)
        assert not os.get_inheritable(sentinel)
        assert not ended(sentinel, 0)
        assert child.stdin is not None
        child.stdin.close()
        assert ended(sentinel, 20)
        assert child.wait() == 0  # it was left to whoever started it
    os.close(sentinel)


def test_a_child_that_was_waited_for_has_ended() -> None:
    with subprocess.Popen(["true"]) as child:
        child.wait()
    reading, writing = os.pipe()
    system_calls._tell_end(child.pid, writing)
    assert ended(reading, 0)
    os.close(reading)


def test_a_process_that_is_not_there_has_no_pidfd(monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen(["true"]) as child:
        child.wait()
    monkeypatch.delattr(os, "pidfd_open")
    with pytest.raises(ProcessLookupError):
        open_pidfd(child.pid)


@pytest.mark.parametrize("known", [True, False])
def test_files_in_memory(known: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not known:
        monkeypatch.delattr(os, "memfd_create")
    one, other = memory_file("test"), memory_file("test")
    try:
        os.write(one, b"content")
        os.ftruncate(one, 4)
        assert os.pread(one, 100, 0) == b"cont"
        assert os.fstat(other).st_size == os.fstat(one).st_nlink == 0
        assert not os.get_inheritable(one)
    finally:
        os.close(one)
        os.close(other)
