"""Processes that a worker talks with, and that stand still."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.taskvine.vines import wait_for
from trellis.executors.common import host
from trellis.executors.common.lifeline import Lifeline
from trellis.executors.taskvine.embedded.worker.helper_process import AWAY_S, STOPPED_S, HelperProcess
from trellis.transport.service import Loop


@pytest.fixture
def ends() -> list[str]:
    return []


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.close()


@pytest.fixture
def helper(tmp_path: Path, ends: list[str], loop: Loop) -> Iterator[HelperProcess]:
    lifeline = Lifeline()
    made = HelperProcess(
        loop,
        lifeline,
        lambda _: ["sleep", "600"],
        tmp_path,
        tmp_path / "output",
        lambda _: None,
        ends.append,
        cwd=tmp_path,
        environment=os.environ,
    )
    yield made
    if not ends:
        made.end()
    lifeline.close()


def stop(helper: HelperProcess) -> None:
    os.kill(helper.child.pid, signal.SIGSTOP)
    wait_for(lambda: host.is_stopped(helper.child.pid))


def test_one_that_is_stopped_for_long_is_ended(helper: HelperProcess, loop: Loop, ends: list[str]) -> None:
    helper.look(0.0)
    stop(helper)
    helper.look(1.0)
    helper.look(1.0 + STOPPED_S)
    while not ends:  # its socket closes before it has ended
        loop.run_once(10.0)
    assert len(ends) == 1
    assert f"it was stopped (SIGSTOP) for {STOPPED_S:.0f} s" in ends[0]


def test_one_that_was_stopped_together_with_its_worker_is_left_alone(
    helper: HelperProcess, loop: Loop, ends: list[str]
) -> None:
    stop(helper)
    helper.look(1.0)
    helper.look(1.5 + AWAY_S)
    loop.run_once(0.0)
    assert ends == []


def test_one_that_goes_on_is_left_alone(helper: HelperProcess, loop: Loop, ends: list[str]) -> None:
    for now in (0.0, 2 * STOPPED_S):
        stop(helper)
        helper.look(now)
        os.kill(helper.child.pid, signal.SIGCONT)
        wait_for(lambda: not host.is_stopped(helper.child.pid))
        helper.look(now + 1.0)
    loop.run_once(0.0)
    assert ends == []
