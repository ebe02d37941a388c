"""Workers that die between two steps which belong together, where a kill from outside hits once in a million times."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.integration.htex.conftest import StartExecutor
from trellis.errors import WorkerLost

WAIT_S = 20

# Every process of the executor runs this first. The worker that is about to take the step for the third time dies,
# the first one only.
_DIE = """
import os, signal
from trellis.executors.htex.worker import {module}

step, calls = {module}.{owner}.{name}, []

def die(self, *args):
    calls.append(1)
    if len(calls) == 3:
        try:
            os.close(os.open({mark!r}, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            pass
        else:
            {after}
            os.kill(os.getpid(), signal.SIGKILL)
    return step(self, *args)

{module}.{owner}.{name} = die
"""


def _let_a_worker_die(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: str, name: str, after: str = "pass"
) -> Path:
    mark = tmp_path / "died"
    program = _DIE.format(module="board", owner=owner, name=name, mark=str(mark), after=after)
    (tmp_path / "sitecustomize.py").write_text(program)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ['PYTHONPATH']}")
    return mark


def test_a_task_that_was_taken_but_not_yet_on_the_board_is_lost_with_its_worker(
    start_htex: StartExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = _let_a_worker_die(tmp_path, monkeypatch, "Board", "started")
    executor = start_htex(max_workers_per_node=2, prefetch_capacity=10)
    futures = [executor.submit(abs, {}, -n) for n in range(100)]
    exceptions = [future.exception(WAIT_S) for future in futures]
    assert mark.exists()
    (lost,) = [exception for exception in exceptions if exception is not None]
    assert isinstance(lost, WorkerLost)
    assert "a worker died when it had just taken it" in str(lost)
    assert all(f.result(0) == n for n, (f, e) in enumerate(zip(futures, exceptions, strict=True)) if e is None)
    assert executor.outstanding == 0


def test_a_task_whose_worker_dies_when_it_is_just_on_the_board_is_lost(
    start_htex: StartExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = _let_a_worker_die(tmp_path, monkeypatch, "Board", "started", after="step(self, *args)")
    executor = start_htex(max_workers_per_node=2)
    futures = [executor.submit(abs, {}, -n) for n in range(100)]
    exceptions = [future.exception(WAIT_S) for future in futures]
    assert mark.exists()
    (lost,) = [exception for exception in exceptions if exception is not None]
    assert isinstance(lost, WorkerLost)
    assert "SIGKILL" in str(lost)


@pytest.mark.parametrize("after", ["pass", "step(self, *args)"], ids=["before it is off the board", "after"])
def test_a_result_counts_when_its_worker_dies_after_it(
    start_htex: StartExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: str
) -> None:
    mark = _let_a_worker_die(tmp_path, monkeypatch, "Board", "finished", after=after)
    executor = start_htex(max_workers_per_node=2)
    futures = [executor.submit(abs, {}, -n) for n in range(100)]
    assert [future.result(WAIT_S) for future in futures] == list(range(100))
    assert mark.exists()
    assert executor.submit(abs, {}, -7).result(WAIT_S) == 7
