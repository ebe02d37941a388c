"""Launch commands as Parsl's programs write them: with Parsl's placeholders, options and names of programs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.integration.htex.conftest import StartExecutor
from trellis.core.alias_path import ALIAS_PATH
from trellis.core.interfaces import ExecutorContext
from trellis.curvezmq import create_certificates
from trellis.executors.htex.executor import HighThroughputExecutor
from trellis.executors.htex.mpi import MPIExecutor
from trellis.launchers import SimpleLauncher
from trellis.providers import LocalProvider

WAIT_S = 30

OPTIONS = (
    "{debug} {max_workers_per_node} -a {addresses} -p {prefetch_capacity} -c {cores_per_worker} -m {mem_per_worker} "
    "--poll {poll_period} PORTS --cert_dir {cert_dir} --logdir={logdir} --block_id={{block_id}} "
    "--hb_period={heartbeat_period} {address_probe_timeout_string} --hb_threshold={heartbeat_threshold} "
    "--drain_period={drain_period} --cpu-affinity {cpu_affinity} {enable_mpi_mode} --mpi-launcher={mpi_launcher} "
    "--available-accelerators {accelerators}"
)
OF_2025 = OPTIONS.replace("PORTS", "--task_port={task_port} --result_port={result_port}")
OF_2026 = OPTIONS.replace("PORTS", "--port={worker_port}").replace("--block_id", "--logconf={logconf} --block_id")
# As a program does that rewrites the commands of its executor.
AS_MODULE = f"env PYTHONPATH={ALIAS_PATH} TRELLIS_AS_PARSL=1 {sys.executable} -m parsl.executors.high_throughput."


@pytest.mark.parametrize("options", [OF_2025, OF_2026], ids=["2025.1.13", "2026.10.26"])
@pytest.mark.parametrize("program", ["process_worker_pool.py", AS_MODULE + "process_worker_pool"])
def test_parsls_default_launch_command(program: str, options: str, start_htex: StartExecutor) -> None:
    executor = start_htex(launch_cmd=f"{program} {options}", max_workers_per_node=1, available_accelerators=["7"])
    names = ("PARSL_WORKER_BLOCK_ID", "PARSL_WORKER_COUNT", "CUDA_VISIBLE_DEVICES")
    assert [executor.submit(os.getenv, {}, name).result(WAIT_S) for name in names] == ["0", "1", "7"]


@pytest.mark.parametrize("program", ["interchange.py", AS_MODULE + "interchange"])
def test_parsls_default_command_for_the_interchange(program: str, start_htex: StartExecutor) -> None:
    executor = start_htex(interchange_launch_cmd=program.split(), max_workers_per_node=1)
    assert executor.submit(len, {}, "abc").result(WAIT_S) == 3


@pytest.mark.parametrize("options", [OF_2025, OF_2026], ids=["2025.1.13", "2026.10.26"])
def test_the_same_for_tasks_over_many_nodes(options: str, tmp_path: Path) -> None:
    (tmp_path / "nodes").write_text("n1\nn2\n")
    provider = LocalProvider(launcher=SimpleLauncher(), worker_init=f"export PBS_NODEFILE={tmp_path}/nodes")
    executor = MPIExecutor(provider=provider, launch_cmd=f"process_worker_pool.py {options}", mpi_launcher="srun")
    executor.start(ExecutorContext(run_dir=str(tmp_path)))
    try:
        specification = {"num_nodes": 2, "ranks_per_node": 1}
        prefix = executor.submit(os.getenv, specification, "PARSL_MPI_PREFIX").result(WAIT_S)
        assert prefix == "srun --ntasks 2 --ntasks-per-node 1 --nodelist n1,n2 --nodes 2"
        assert executor.worker_task_port == executor.worker_result_port > 0
    finally:
        executor.shutdown()


def test_a_name_for_the_manager(start_htex: StartExecutor) -> None:
    command = f"process_worker_pool.py --uid the-one {OF_2026}"
    executor = start_htex(launch_cmd=command, max_workers_per_node=1)
    assert executor.submit(os.getenv, {}, "PARSL_WORKER_POOL_ID").result(WAIT_S) == "the-one"
    assert [manager["manager"] for manager in executor.connected_managers()] == ["the-one"]
    assert os.path.exists(os.path.join(executor.logdir, "block-0", "the-one", "manager.log"))


def test_certificates_that_a_program_has_made(tmp_path: Path) -> None:
    executor = HighThroughputExecutor(max_workers_per_node=1)
    executor.cert_dir = create_certificates(tmp_path / "mine")
    executor.start(ExecutorContext(run_dir=str(tmp_path)))
    try:
        assert executor.submit(len, {}, "abc").result(WAIT_S) == 3
    finally:
        executor.shutdown()
