"""What Parsl's programs find in ``trellis.executors.high_throughput`` beside the executor."""

from __future__ import annotations

import importlib
import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from trellis.errors import (
    ConfigurationError,
    DeserializationError,
    InvalidResourceSpecification,
    NotInTrellis,
    ParameterTypeError,
)
from trellis.executors.execute_task import execute_task
from trellis.executors.high_throughput import mpi_prefix_composer as composer
from trellis.executors.high_throughput import mpi_resource_management as management
from trellis.executors.high_throughput.executor import (
    DEFAULT_INTERCHANGE_LAUNCH_CMD,
    DEFAULT_LAUNCH_CMD,
    HighThroughputExecutor,
)
from trellis.serialize import pack_apply_message, pack_res_spec_apply_message

HOSTS = ["h1", "h2"]
SPECIFICATION = {"num_nodes": 2, "num_ranks": 8, "ranks_per_node": 4, "launcher_options": "-x"}
PREFIXES = {
    "mpiexec": "mpiexec -n 8 -ppn 4 -hosts h1,h2 -x",
    "srun": "srun --ntasks 8 --ntasks-per-node 4 --nodelist h1,h2 --nodes 2 -x",
    "aprun": "aprun -n 8 -N 4 -node-list h1,h2 -x",
}


def test_the_default_commands_are_the_executors() -> None:
    assert HighThroughputExecutor().launch_cmd == DEFAULT_LAUNCH_CMD
    assert HighThroughputExecutor().interchange_launch_cmd == DEFAULT_INTERCHANGE_LAUNCH_CMD == ["interchange.py"]
    assert HighThroughputExecutor().interchange_launch_cmd is not DEFAULT_INTERCHANGE_LAUNCH_CMD


# -- MPI -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("launcher", "compose"),
    [
        ("mpiexec", composer.compose_mpiexec_launch_cmd),
        ("srun", composer.compose_srun_launch_cmd),
        ("aprun", composer.compose_aprun_launch_cmd),
    ],
)
def test_each_launcher_has_a_prefix(
    launcher: str, compose: Callable[[dict[str, Any], Sequence[str]], tuple[str, str]]
) -> None:
    assert compose(SPECIFICATION, HOSTS) == (f"PARSL_{launcher.upper()}_PREFIX", PREFIXES[launcher])
    prefixes = {f"PARSL_{name.upper()}_PREFIX": prefix for name, prefix in PREFIXES.items()}
    assert composer.compose_all(launcher, SPECIFICATION, HOSTS) == {**prefixes, "PARSL_MPI_PREFIX": PREFIXES[launcher]}


def test_counts_that_are_not_said_are_worked_out() -> None:
    _, prefix = composer.compose_srun_launch_cmd({"num_nodes": 2, "num_ranks": "8"}, HOSTS)
    assert prefix == PREFIXES["srun"].removesuffix(" -x")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (("ssh", SPECIFICATION, HOSTS), "mpi_launcher must be .*'mpiexec', 'srun'.*, not 'ssh'"),
        (("srun", SPECIFICATION, []), "node_hostnames must be .*names of nodes"),
        (("srun", SPECIFICATION, "h1"), "node_hostnames must be .*names of nodes"),
        (("srun", {"num_ranks": "many"}, HOSTS), "resource_spec: num_ranks must be a whole number"),
        (("srun", {"ranks_per_node": 0}, HOSTS), "resource_spec: ranks_per_node must be a whole number"),
        (("srun", {"launcher_options": 3}, HOSTS), "resource_spec: launcher_options must be a text"),
        (("srun", None, HOSTS), "resource_spec must be "),
    ],
)
def test_prefixes_that_cannot_be(values: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=f"compose_all: {message}"):
        composer.compose_all(*values)


def test_a_specification_gets_the_count_that_is_missing() -> None:
    specification: dict[str, Any] = {"num_nodes": 2, "ranks_per_node": 3}
    composer.validate_resource_spec(specification)
    assert specification == {"num_nodes": 2, "ranks_per_node": 3, "num_ranks": "6"}
    with pytest.raises(InvalidResourceSpecification):
        composer.validate_resource_spec({"num_nodes": 2, "colour": "red"})


def test_nodes_of_a_job_of_pbs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "nodes").write_text("n1\nn1\nn2\n")
    monkeypatch.setenv("PBS_NODEFILE", str(tmp_path / "nodes"))
    assert management.identify_scheduler() is management.Scheduler.PBS
    assert management.get_nodes_in_batchjob(management.Scheduler.PBS) == ["n1", "n2"]
    monkeypatch.setenv("PBS_NODEFILE", str(tmp_path / "none"))
    with pytest.raises(ConfigurationError, match="cannot be read"):
        management.get_pbs_hosts_list()


@pytest.mark.parametrize("variable", ["SLURM_JOB_NODELIST", "SLURM_NODELIST"])
def test_nodes_of_a_job_of_slurm(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PBS_NODEFILE", "SLURM_JOB_NODELIST", "SLURM_NODELIST"):
        monkeypatch.delenv(name, raising=False)
    assert management.identify_scheduler() is management.Scheduler.Unknown
    with pytest.raises(RuntimeError, match="not known"):
        management.get_nodes_in_batchjob(management.Scheduler.Unknown)
    with pytest.raises(ParameterTypeError, match="scheduler must be Scheduler"):
        management.get_nodes_in_batchjob("PBS")  # type: ignore[arg-type]
    monkeypatch.setenv(variable, "n[1-2]")
    assert management.identify_scheduler() is management.Scheduler.Slurm
    with mock.patch("subprocess.check_output", return_value=b"n1\nn2\n") as asked:
        assert management.get_nodes_in_batchjob(management.Scheduler.Slurm) == ["n1", "n2"]
    assert asked.call_args.args == (["scontrol", "show", "hostnames", "n[1-2]"],)
    with (
        mock.patch("subprocess.check_output", side_effect=subprocess.CalledProcessError(1, "scontrol")),
        pytest.raises(ConfigurationError, match="scontrol show hostnames"),
    ):
        management.get_slurm_hosts_list()


def test_too_few_nodes() -> None:
    error = management.MPINodesUnavailable(requested=3, available=2)
    assert (error.requested, error.available, str(error)) == (3, 2, "3 nodes are wanted, and 2 are free")


# -- the rest --------------------------------------------------------------------------------------------------


def add(*numbers: int, unit: str = "apples") -> str:
    return f"{sum(numbers)} {unit}"


def test_a_call_that_is_bytes_runs_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARSL_NUM_NODES", "1")  # so that it is as it was afterwards
    packed = pack_res_spec_apply_message(add, (1, 2), {}, {"num_nodes": 2})
    assert execute_task(packed) == "3 apples"
    assert os.environ["PARSL_NUM_NODES"] == "2"
    assert execute_task(pack_apply_message(add, (1, 2), {"unit": "boots"})) == "3 boots"
    with pytest.raises(DeserializationError):
        execute_task(packed[:-1])
    with pytest.raises(DeserializationError, match="0 parts"):
        execute_task(b"")


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("interchange", "Interchange"),
        ("process_worker_pool", "Manager"),
        ("process_worker_pool", "worker"),
        ("mpi_resource_management", "TaskScheduler"),
        ("mpi_resource_management", "MPITaskScheduler"),
        ("zmq_pipes", "CommandClient"),
        ("zmq_pipes", "TasksOutgoing"),
        ("zmq_pipes", "ResultsIncoming"),
        ("probe", "probe_addresses"),
    ],
)
def test_what_is_not_there_says_so(module: str, name: str) -> None:
    stand_in = getattr(importlib.import_module(f"trellis.executors.high_throughput.{module}"), name)
    with pytest.raises(NotInTrellis, match=name):
        stand_in("127.0.0.1", (1, 2))


def test_fields_of_a_managers_record() -> None:
    from trellis.executors.high_throughput.manager_record import ManagerRecord

    assert {"block_id", "tasks", "worker_count", "max_capacity", "active", "draining"} <= set(
        ManagerRecord.__annotations__
    )


def test_there_is_no_queue_for_monitoring() -> None:
    from trellis.executors.high_throughput import monitoring_info

    assert monitoring_info.result_queue is None
