"""What MPIExecutor makes of its parameters, without starting anything."""

from __future__ import annotations

import inspect
import logging
from typing import Any

import pytest

from trellis.errors import ConfigurationError, InvalidResourceSpecification
from trellis.executors import HighThroughputExecutor, MPIExecutor
from trellis.launchers import SimpleLauncher, SingleNodeLauncher, SrunLauncher
from trellis.monitoring.radios.configs import HTEXRadio
from trellis.providers import LocalProvider, SlurmProvider

# Parameters that make no sense when a worker has whole nodes.
NOT_THERE = {
    "available_accelerators",
    "cores_per_worker",
    "cpu_affinity",
    "manager_selector",
    "max_workers_per_node",
    "mem_per_worker",
}


def test_the_manager_is_told_to_spread_tasks_over_nodes() -> None:
    command = MPIExecutor(mpi_launcher="srun", max_workers_per_block=3).launch_command("0")
    assert " --enable_mpi_mode --mpi_launcher srun " in command
    assert "--max_workers_per_node=3" in command
    assert "--enable_mpi_mode" not in HighThroughputExecutor().launch_command("0")


def test_parameters_are_those_of_its_base_but_for_a_few() -> None:
    own = inspect.signature(MPIExecutor).parameters
    base = inspect.signature(HighThroughputExecutor).parameters
    assert set(own) == set(base) - NOT_THERE | {"max_workers_per_block", "mpi_launcher"}
    assert [name for name in own if name in base and own[name].default != base[name].default] == ["label"]


def test_parameters_reach_its_base() -> None:
    provider = LocalProvider(launcher=SimpleLauncher())
    values: dict[str, Any] = {
        "label": "big",
        "provider": provider,
        "launch_cmd": "start {worker_port}",
        "interchange_launch_cmd": ["interchange"],
        "address": "login1",
        "loopback_address": "127.0.0.2",
        "worker_ports": (50001, 50002),
        "worker_port_range": (40000, 41000),
        "interchange_port_range": (41000, 42000),
        "storage_access": [],
        "working_dir": "files",
        "worker_debug": True,
        "max_workers_per_block": 7,
        "prefetch_capacity": 2,
        "heartbeat_threshold": 60,
        "heartbeat_period": 10,
        "drain_period": 100,
        "poll_period": 20,
        "address_probe_timeout": 5,
        "worker_logdir_root": "scratch",
        "mpi_launcher": "aprun",
        "block_error_handler": False,
        "encrypted": False,
        "worker_port": 50003,
        "remote_monitoring_radio": HTEXRadio(),
    }
    assert set(values) == set(inspect.signature(MPIExecutor).parameters)
    executor = MPIExecutor(**values)
    del values["block_error_handler"]  # kept as the function that it stands for
    assert {name: getattr(executor, name) for name in values} == values
    assert executor.max_workers_per_node == 7
    assert executor.logdir.endswith("/big")
    assert executor.block_error_handler.__name__ == "noop_error_handler"


def test_only_a_simple_launcher_will_do() -> None:
    with pytest.raises(ConfigurationError, match=r"MPIExecutor: .*launcher=SimpleLauncher\(\).*SingleNodeLauncher"):
        MPIExecutor(provider=LocalProvider(launcher=SingleNodeLauncher()))
    assert isinstance(MPIExecutor().provider.launcher, SimpleLauncher)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"mpi_launcher": "mpirun"}, "mpi_launcher must be one of 'mpiexec', 'srun', 'aprun', not 'mpirun'"),
        ({"max_workers_per_block": 0}, "max_workers_per_block must be a whole number of at least 1, not 0"),
        ({"max_workers_per_block": 1.5}, "max_workers_per_block must be a whole number of at least 1, not 1.5"),
        ({"heartbeat_period": 500}, "MPIExecutor: heartbeat_period"),
    ],
)
def test_wrong_values_are_told_at_once(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        MPIExecutor(**parameters)


def test_the_launcher_may_be_set_before_the_start() -> None:
    executor = MPIExecutor()
    executor.mpi_launcher = "aprun"
    assert " --mpi_launcher aprun " in executor.launch_command("0")
    executor.mpi_launcher = "mpirun"
    with pytest.raises(ConfigurationError, match=r"MPIExecutor: mpi_launcher must be one of .*, not 'mpirun'"):
        executor.launch_command("0")


def test_each_task_has_to_say_how_many_nodes() -> None:
    MPIExecutor().validate_resource_spec({"num_nodes": 2, "ranks_per_node": 4})
    with pytest.raises(InvalidResourceSpecification, match="has to say num_nodes"):
        MPIExecutor().validate_resource_spec({})


def test_a_block_has_the_workers_of_one_manager_whatever_its_nodes() -> None:
    provider = LocalProvider(nodes_per_block=4, launcher=SimpleLauncher())
    assert MPIExecutor(provider=provider, max_workers_per_block=2).workers_per_node * 4 == 2


def test_resources_of_the_worker_say_nothing() -> None:
    assert not MPIExecutor().monitor_resources()


@pytest.mark.parametrize(
    ("executor", "launcher", "nodes", "warned"),
    [
        (HighThroughputExecutor, SimpleLauncher(), 2, True),
        (HighThroughputExecutor, SrunLauncher(), 2, False),
        (HighThroughputExecutor, None, 1, False),
        (MPIExecutor, SimpleLauncher(), 2, False),  # its tasks use the other nodes
    ],
)
def test_nodes_that_the_launcher_leaves_idle_are_told_of(
    executor: type[HighThroughputExecutor], launcher: Any, nodes: int, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    provider = SlurmProvider(nodes_per_block=nodes, launcher=launcher)
    with caplog.at_level(logging.WARNING):
        executor(provider=provider)
        provider.launcher("true", 1, nodes)
    assert ("one of a block's 2 nodes" in caplog.text) is warned
