"""Jobs that do not start or stand still, programs that are jobs themselves, and paths that Grid Engine misreads."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from tests.real.gridengine import cluster
from tests.real.programs import Load, Told, run, starts, wait_for
from trellis.errors import BadStateException


def test_a_job_that_cannot_be_started_fails_with_grid_engines_reason(load: Load, notes: Path) -> None:
    load(scheduler_options="#$ -o /nonexistent/output")
    error = run(notes, 0).exception(timeout=60)
    assert isinstance(error, BadStateException)
    assert "state Eqw" in str(error)
    assert "can't open output file" in str(error)
    wait_for("it is deleted", lambda: not cluster.jobs())


@pytest.mark.parametrize("reason", ["hqw", "disabled"])
def test_a_reason_that_may_pass_is_told_once(
    reason: str, load: Load, notes: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trellis.blocks.pool.WAITING_S", 3.0)
    if reason == "disabled":
        cluster.command("qmod", "-d", "all.q")
    try:
        load(scheduler_options="#$ -h" if reason == "hqw" else "")
        future = run(notes, 0)
        said = "hold state" if reason == "hqw" else reason
        wait_for("it is told", lambda: told(said))
    finally:
        cluster.command("qmod", "-e", "all.q")
    if reason == "hqw":
        cluster.command("qrls", *cluster.jobs())
    assert future.result(timeout=60) == 0
    assert len(told(said)) == 1


def test_a_suspended_job_is_told_once(load: Load, notes: Path, told: Told) -> None:
    load(htex={"max_workers_per_node": 1})
    future = run(notes, 0, 5.0)
    wait_for("it runs", lambda: starts(notes))
    job = cluster.the_running_job()
    cluster.command("qmod", "-sj", job)
    wait_for("it is told", lambda: told("has been suspended"))
    cluster.command("qmod", "-usj", job)
    assert future.result(timeout=60) == 0
    assert len(told("has been suspended")) == 1


def test_a_path_with_a_host_and_a_variable_for_grid_engine_is_a_path(load: Load, notes: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "host:$HOME \\ 'runs'"
    htex = load(config={"run_dir": str(run_dir)})
    assert run(notes, 0).result(timeout=60) == 0
    (error,) = Path(htex.provider.script_dir).glob("*.err")
    assert "SingleNodeLauncher" in error.read_text()


PROGRAM = """
import os
import trellis
from trellis import Config, HighThroughputExecutor
from trellis.providers import GridEngineProvider

@trellis.python_app
def surroundings():
    import os
    return os.environ["JOB_NAME"], os.environ.get("REQUEST"), os.environ.get("OF_THE_USER")

provider = GridEngineProvider(scheduler_options="#$ -V")
with trellis.load(Config(executors=[HighThroughputExecutor(provider=provider)], run_dir={run_dir!r})):
    name, request, own = surroundings().result(timeout=60)
    with open({output!r} + ".new", "w") as file:
        print(os.environ["JOB_NAME"], name.startswith("parsl."), own, file=file)
os.rename({output!r} + ".new", {output!r})
"""


def test_a_program_that_is_a_job_has_blocks(tmp_path: Path) -> None:
    program, output, script = tmp_path / "driver.py", tmp_path / "answer", tmp_path / "driver.sh"
    program.write_text(PROGRAM.format(run_dir=str(tmp_path / "runinfo"), output=str(output)))
    script.write_text(f"export OF_THE_USER=1\nexec {shlex.quote(sys.executable)} {shlex.quote(str(program))}\n")
    logs = ["-o", str(tmp_path / "driver.out"), "-e", str(tmp_path / "driver.err")]
    cluster.command("qsub", "-V", "-N", "driver", *logs, str(script))
    wait_for(f"the program has answered; its words are in {tmp_path}/driver.err", output.exists)
    assert output.read_text() == "driver True 1\n"
