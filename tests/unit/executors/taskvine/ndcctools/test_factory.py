"""The process that runs the real factory, with a stand-in for that: it ends it with what it has started."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from trellis.executors.taskvine.ndcctools import factory
from trellis.executors.taskvine.ndcctools.factory_command import RealFactorySettings

WAIT_S = 20


class Stage:
    """A directory, a lifeline, and what became of ``run``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lifeline, self.program = os.pipe()
        self.reasons: list[str] = []

    def start(self, script: str) -> None:
        """Run a factory that is this shell script, which writes its workers' process id to ``worker``."""
        command = self.path / "vine_factory"
        command.write_text(f"#!/bin/sh\necho $1 > {self.path}/options\n{script}\n")
        command.chmod(0o755)
        settings = RealFactorySettings([str(command), "more"], str(self.path / "scratch"), str(self.path), "/first")
        self.thread = threading.Thread(target=lambda: self.reasons.append(factory.run(settings, self.lifeline)))
        self.thread.start()

    def worker(self) -> psutil.Process:
        note = self.path / "worker"
        while not note.exists() or not note.read_text().strip():
            assert self.thread.is_alive()
            self.thread.join(0.01)
        return psutil.Process(int(note.read_text()))

    def end(self) -> str:
        self.thread.join(WAIT_S)
        (reason,) = self.reasons
        return reason


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    yield made
    os.close(made.lifeline)
    if made.program >= 0:
        os.close(made.program)


def close_lifeline(stage: Stage) -> None:
    os.close(stage.program)
    stage.program = -1


WORKER = "sleep 600 & echo $! > {}/worker; wait"


def test_the_factory_ends_with_the_program_and_takes_its_workers_along(
    stage: Stage, capfd: pytest.CaptureFixture[str]
) -> None:
    stage.start(WORKER.format(stage.path))
    worker = stage.worker()
    close_lifeline(stage)
    assert stage.end() == ""
    worker.wait(WAIT_S)
    assert os.listdir(stage.path / "scratch") == []
    assert (stage.path / "options").read_text().startswith(f"--scratch-dir={stage.path}/scratch/trellis-factory-")
    assert '"pid":' in capfd.readouterr().out


def test_a_factory_that_does_not_want_to_end_is_killed(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(factory, "_END_GRACE_S", 0.1)
    stage.start(f"trap '' TERM; {WORKER.format(stage.path)}")
    worker = stage.worker()
    close_lifeline(stage)
    assert stage.end() == ""
    worker.wait(WAIT_S)


def test_a_factory_that_ends_by_itself_is_told_of_and_leaves_nobody(stage: Stage) -> None:
    stage.start(WORKER.format(stage.path))
    worker = stage.worker()
    worker.parent().send_signal(signal.SIGKILL)  # type: ignore[union-attr]
    assert stage.end().startswith("vine_factory: killed by signal 9 (SIGKILL)")
    worker.wait(WAIT_S)


def test_a_factory_that_cannot_be_started_leaves_nothing(tmp_path: Path) -> None:
    settings = RealFactorySettings([str(tmp_path / "none")], str(tmp_path / "scratch"), str(tmp_path), "/first")
    with pytest.raises(FileNotFoundError):
        factory.run(settings, 0)
    assert os.listdir(tmp_path / "scratch") == []
