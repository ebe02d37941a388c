"""Processes that lead groups of their own."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from trellis.executors.common import process as module
from trellis.executors.common.process import GroupLeader, tail
from trellis.transport.service import Loop


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.close()


def shell(text: str, **streams: int) -> GroupLeader:
    return GroupLeader(["/bin/sh", "-c", text], **streams)


def test_its_end_is_told_and_what_it_used(loop: Loop) -> None:
    process = shell("exit 3")
    ends: list[tuple[int, int]] = []
    process.watch(loop, lambda: ends.append(process.reap()))
    loop.run_once(10)
    ((status, peak),) = ends
    assert os.waitstatus_to_exitcode(status) == process.returncode == 3
    assert peak > 100_000
    loop.run_once(0)
    assert len(ends) == 1


def test_it_leads_a_group_which_ends_with_it() -> None:
    process = shell("sleep 600 & echo started; wait", stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"started\n"
    assert os.getpgid(process.pid) == process.pid == os.getsid(process.pid)
    status, _ = process.reap()
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert process.stdout.read() == b""  # nobody has the other end
    process.stdout.close()


def test_one_that_was_waited_for_is_not_signalled(monkeypatch: pytest.MonkeyPatch) -> None:
    process = shell("exit 0")
    process.wait()
    monkeypatch.setattr(os, "killpg", lambda *_: pytest.fail("its number may be another's"))
    process.signal_group(signal.SIGKILL)


def test_one_whose_end_nobody_would_notice_is_ended(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    def too_many(_: int) -> int:
        raise OSError("too many open files")

    process = shell("sleep 600")
    monkeypatch.setattr(module, "open_sentinel", too_many)
    with pytest.raises(OSError, match="too many"):
        process.watch(loop, lambda: None)
    assert process.returncode == -signal.SIGKILL


def test_its_environment_is_what_was_given(tmp_path: Path) -> None:
    with open(tmp_path / "out", "wb") as out:
        process = GroupLeader(["/usr/bin/env"], stdout=out, environment={"ONLY": "this"})
    process.wait()
    assert (tmp_path / "out").read_text() == "ONLY=this\n"


def test_the_end_of_a_text_is_found(tmp_path: Path) -> None:
    path = tmp_path / "out"
    assert tail(path) == ""
    path.write_bytes(b"x" * 5_000 + b"\xff the end\n")
    assert tail(path).endswith("x\N{REPLACEMENT CHARACTER} the end")
    assert len(tail(path)) <= 2_000
    os.mkfifo(tmp_path / "fifo")
    assert tail(tmp_path / "fifo") == ""
