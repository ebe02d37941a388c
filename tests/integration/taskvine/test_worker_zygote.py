"""Tasks as copies of an interpreter that has just started: they find what they would find in one of their own."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.integration.taskvine.worker_bed import Bed, bed, wait_until
from trellis.executors.common.lifeline import Lifeline
from trellis.executors.taskvine.embedded.worker import zygotes
from trellis.executors.taskvine.embedded.worker.workspace import Workspace
from trellis.executors.taskvine.embedded.worker.zygotes import Zygotes
from trellis.transport.service import Loop
from trellis.wire.vine import Resources, TaskShape


@pytest.fixture
def it() -> Iterator[Bed]:
    with bed() as made:
        made.start()
        yield made


def shape(**variables: str) -> TaskShape:
    return TaskShape("regular", "c", Resources(), variables=tuple(variables.items()))


def is_copy() -> bool:
    return sys.orig_argv[-4:-2] == ["-m", "trellis.executors.taskvine.remote.zygote"]


def zygote_of(it: Bed) -> psutil.Process:
    it.result(it.run(os.getpid))
    (found,) = (
        child
        for worker in psutil.Process().children()
        for child in worker.children()
        if "trellis.executors.taskvine.remote.zygote" in child.cmdline()
    )
    return found


def test_each_task_is_a_copy_of_its_own(it: Bed) -> None:
    def mark() -> tuple[int, bool]:
        import sys

        seen = hasattr(sys, "mark")
        sys.mark = True  # type: ignore[attr-defined]
        return os.getpid(), seen

    marks = [it.result(it.run(mark)) for _ in range(3)]
    assert [seen for _, seen in marks] == [False, False, False]
    assert len({pid for pid, _ in marks}) == 3
    assert it.result(it.run(is_copy))


def test_packages_that_a_task_brings_meet_no_others(it: Bed) -> None:
    def foreign() -> list[str]:
        standard = {*sys.stdlib_module_names, "trellis", "__main__", "_distutils_hack", "sitecustomize"}
        return sorted({name.partition(".")[0] for name in sys.modules} - standard)

    assert it.result(it.run(foreign)) == []


def test_environment_is_the_tasks_own(it: Bed) -> None:
    def tell(name: str) -> tuple[str | None, bool, bool]:
        here = os.environ["VINE_SANDBOX"] == os.getcwd()
        return os.environ.get(name), here, os.system(f'test -n "${name}"') == 0

    assert it.result(it.run(tell, "MINE", shape=shape(MINE="x"))) == ("x", True, True)
    assert it.result(it.run(tell, "MINE")) == (None, True, False)
    assert it.result(it.run(tell, "HOME", shape=shape(HOME="/elsewhere")))[0] == "/elsewhere"
    assert it.result(it.run(tell, "TRELLIS_IMPORT_PATHS"))[0] is None


def test_what_it_prints_is_its_own(it: Bed) -> None:
    def leave(words: str) -> None:
        print(words)
        sys.stdout.flush()
        os.system(f"echo also {words}")
        os._exit(1)

    first, second = it.run(leave, "one"), it.run(leave, "two")
    assert "one" in it.result(first).reason
    assert "also one" in it.result(first).reason
    assert "two" not in it.result(first).reason
    assert "also two" in it.result(second).reason


@pytest.mark.parametrize("name", ["PYTHONHASHSEED", "PYTHONPATH", "LD_LIBRARY_PATH", "LC_ALL"])
def test_what_an_interpreter_reads_when_it_starts_needs_one_that_starts(it: Bed, name: str) -> None:
    value = {"PYTHONHASHSEED": "7", "LC_ALL": "C"}.get(name, "/nowhere")
    assert not it.result(it.run(is_copy, shape=shape(**{name: value})))
    assert it.result(it.run(os.getenv, name, shape=shape(**{name: value}))) == value
    assert it.result(it.run(is_copy))


def test_an_environment_that_is_too_large_for_a_message_needs_one_that_starts(it: Bed) -> None:
    assert it.result(it.run(lambda: (is_copy(), len(os.environ["MINE"])), shape=shape(MINE="x" * 40_000))) == (
        False,
        40_000,
    )


def test_a_zygote_that_dies_takes_its_tasks_along_and_is_replaced(it: Bed, tmp_path: Path) -> None:
    def wait(path: str) -> None:
        Path(path).touch()
        time.sleep(600)

    zygote = zygote_of(it)
    lost = it.run(wait, str(tmp_path / "begun"))
    wait_until((tmp_path / "begun").exists)
    (task,) = zygote.children()
    zygote.kill()
    failed = it.result(lost)
    assert (failed.status, failed.exit_code) == ("signal", -signal.SIGKILL)
    assert "the process that it was a copy of has ended: killed by signal 9" in failed.reason
    wait_until(lambda: not task.is_running() or task.status() == psutil.STATUS_ZOMBIE)
    assert it.result(it.run(is_copy))
    assert zygote_of(it).pid != zygote.pid


def test_tasks_of_one_that_cannot_start_are_started_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zygotes, "_MODULE", "no.such.module")
    again: list[int] = []
    loop, lifeline, workspace = Loop(), Lifeline(), Workspace(tmp_path / "workspace")
    it = Zygotes(loop, workspace, lifeline, os.environ, again.append)

    def start(id_: int) -> object:
        return it.start(id_, [], tmp_path / "output", lambda code: None, tmp_path, os.environ)

    assert start(1) is not None
    assert start(2) is not None
    while not again:
        loop.run_once(10)
    assert again == [1, 2]
    assert start(3) is None
    it.close()
    lifeline.close()
    workspace.close()
    loop.close()
