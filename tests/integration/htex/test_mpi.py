"""MPIExecutor on a block that pretends to have four nodes: who gets which nodes, and what tasks are told."""

from __future__ import annotations

import os
import sys
import time
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import trellis
from trellis import File
from trellis.core.interfaces import ExecutorContext
from trellis.errors import InvalidResourceSpecification
from trellis.executors import MPIExecutor
from trellis.launchers import SimpleLauncher
from trellis.providers import LocalProvider

WAIT_S = 30
NODES = {"n1", "n2", "n3", "n4"}

Span = tuple[set[str], float, float]  # nodes, begin, end


def mpiexec(directory: Path, version: str) -> str:
    """What puts an ``mpiexec`` of this version in front of that of this computer."""
    command = directory / "bin" / "mpiexec"
    command.parent.mkdir()
    command.write_text(f"#!/bin/sh\necho {version}\n")
    command.chmod(0o755)
    return f"export PATH={command.parent}:$PATH"


@pytest.fixture
def mpi(tmp_path: Path) -> Iterator[MPIExecutor]:
    nodes = tmp_path / "nodes"
    nodes.write_text("n1\nn2\nn2\nn3\nn4\n")  # PBS names a node once for each of its processors
    worker_init = f"export PBS_NODEFILE={nodes}\n{mpiexec(tmp_path, 'HYDRA build details:')}"
    provider = LocalProvider(launcher=SimpleLauncher(), worker_init=worker_init)
    # As it is, but less patient with nodes that may come yet.
    program = "from trellis.executors.htex.interchange import infeasible, service\ninfeasible.INFEASIBLE_S = 0.5\n"
    executor = MPIExecutor(
        provider=provider,
        max_workers_per_block=4,
        mpi_launcher="srun",
        interchange_launch_cmd=[sys.executable, "-c", f"{program}service.main()"],
    )
    executor.start(ExecutorContext(run_dir=str(tmp_path)))
    yield executor
    executor.shutdown()


def occupy(seconds: float) -> Span:
    begin = time.monotonic()
    time.sleep(seconds)
    return set(os.environ["PARSL_MPI_NODELIST"].split(",")), begin, time.monotonic()


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("PARSL_") and "WORKER" not in name}


def test_a_task_is_told_its_nodes_and_how_to_start_there(mpi: MPIExecutor) -> None:
    specification = {"num_nodes": 2, "ranks_per_node": 3, "launcher_options": "--overlap"}
    told = mpi.submit(environment, specification).result(WAIT_S)
    hosts = told["PARSL_MPI_NODELIST"]
    assert len(set(hosts.split(",")) & NODES) == 2
    counts = [told[f"PARSL_{name}"] for name in ("NUM_NODES", "RANKS_PER_NODE", "NUM_RANKS", "LAUNCHER_OPTIONS")]
    assert counts == ["2", "3", "6", "--overlap"]
    srun = f"srun --ntasks 6 --ntasks-per-node 3 --nodelist {hosts} --nodes 2 --overlap"
    assert told["PARSL_MPI_PREFIX"] == told["PARSL_SRUN_PREFIX"] == srun
    assert told["PARSL_MPIEXEC_PREFIX"] == f"mpiexec -n 6 -ppn 3 -hosts {hosts} --overlap"
    assert told["PARSL_APRUN_PREFIX"] == f"aprun -n 6 -N 3 -node-list {hosts} --overlap"
    # Nothing of it stays for another task of the same worker.
    assert mpi.submit(environment, {"num_nodes": 1}).result(WAIT_S)["PARSL_NUM_RANKS"] == "1"


def test_tasks_at_the_same_time_have_different_nodes(mpi: MPIExecutor) -> None:
    spans = [
        future.result(WAIT_S)
        for future in [mpi.submit(occupy, {"num_nodes": n}, 0.15) for n in (2, 1, 3, 1, 2, 4, 1, 1)]
    ]
    assert [len(nodes) for nodes, *_ in spans] == [2, 1, 3, 1, 2, 4, 1, 1]
    for i, (nodes, begin, end) in enumerate(spans):
        for others, first, last in spans[:i]:
            assert not nodes & others or last <= begin or end <= first


def test_a_large_task_is_not_kept_out_by_small_ones(mpi: MPIExecutor) -> None:
    small = [mpi.submit(occupy, {"num_nodes": 1}, 0.1) for _ in range(8)]
    large = mpi.submit(occupy, {"num_nodes": 4}, 0.1)
    later = [mpi.submit(occupy, {"num_nodes": 1}, 0.1) for _ in range(16)]
    _, begin, end = large.result(WAIT_S)
    assert all(future.result(WAIT_S)[1] < begin for future in small)
    assert sum(future.result(WAIT_S)[1] >= end for future in later) >= 12


def test_more_nodes_than_the_block_has(mpi: MPIExecutor) -> None:
    exception = mpi.submit(occupy, {"num_nodes": 5}, 0).exception(WAIT_S)
    assert isinstance(exception, InvalidResourceSpecification)
    assert "fits nowhere" in str(exception)
    assert mpi.submit(occupy, {"num_nodes": 4}, 0).result(WAIT_S)[0] == NODES


def test_a_task_that_says_nothing_is_refused(mpi: MPIExecutor) -> None:
    with pytest.raises(InvalidResourceSpecification, match="num_nodes"):
        mpi.submit(occupy, {}, 0)


def test_as_many_tasks_as_the_block_may_run(tmp_path: Path) -> None:
    nodes = tmp_path / "nodes"
    nodes.write_text("n1\nn2\nn3\nn4\n")
    provider = LocalProvider(launcher=SimpleLauncher(), worker_init=f"export PBS_NODEFILE={nodes}")
    with MPIExecutor(provider=provider, max_workers_per_block=2) as executor:
        executor.start(ExecutorContext(run_dir=str(tmp_path)))
        futures = [executor.submit(occupy, {"num_nodes": 1}, 0.2) for _ in range(6)]
        spans = [future.result(WAIT_S)[1:] for future in futures]
        assert max(sum(begin <= moment < end for begin, end in spans) for moment, _ in spans) == 2


def test_open_mpi_is_found_out(tmp_path: Path) -> None:
    nodes = tmp_path / "nodes"
    nodes.write_text("n1\nn2\n")
    worker_init = f"export PBS_NODEFILE={nodes}\n{mpiexec(tmp_path, 'mpiexec Open MPI 5.0.3')}"
    with MPIExecutor(provider=LocalProvider(launcher=SimpleLauncher(), worker_init=worker_init)) as executor:
        executor.start(ExecutorContext(run_dir=str(tmp_path)))
        told = executor.submit(environment, {"num_nodes": 2, "ranks_per_node": 3}).result(WAIT_S)
        assert told["PARSL_MPI_PREFIX"] == "mpiexec -n 6 --oversubscribe --host n1:3,n2:3"


@trellis.bash_app
def say_nodes(
    parsl_resource_specification: dict[str, int],
    inputs: Sequence[Any] = (),
    outputs: Sequence[Any] = (),
) -> str:
    return f"(cat {inputs[0]}; echo $PARSL_NUM_NODES) > {outputs[0]}"


def test_files_are_staged_beside_the_tasks_and_with_them(tmp_path: Path) -> None:
    nodes = tmp_path / "nodes"
    nodes.write_text("n1\nn2\n")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("words", "as many nodes as\n")
    provider = LocalProvider(launcher=SimpleLauncher(), worker_init=f"export PBS_NODEFILE={nodes}")
    executor = MPIExecutor(provider=provider, working_dir=str(tmp_path / "work"))
    result = File(f"zip:{tmp_path}/b.zip/result")
    with trellis.load(trellis.Config(executors=[executor], run_dir=str(tmp_path / "runinfo"))):
        words = File(f"zip:{tmp_path}/a.zip/words")
        told = say_nodes(parsl_resource_specification={"num_nodes": 2}, inputs=[words], outputs=[result])
        told.outputs[0].result(WAIT_S)
    with zipfile.ZipFile(tmp_path / "b.zip") as archive:
        assert archive.read("result") == b"as many nodes as\n2\n"
