"""What HighThroughputExecutor makes of its parameters, without starting anything."""

from __future__ import annotations

import math
import os
import shlex
import sys
import threading
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest

from trellis.core.interfaces import ExecutorContext
from trellis.errors import ConfigurationError, ParameterTypeError, SerializationError
from trellis.executors.htex.executor import HighThroughputExecutor
from trellis.executors.htex.interchange.selection import BlockIdManagerSelector, ManagerSelector, RandomManagerSelector
from trellis.executors.htex.launch import DEFAULT_LAUNCH_CMD, interchange_settings
from trellis.executors.htex.manager.options import parse_arguments
from trellis.executors.htex.options import PLACEHOLDERS
from trellis.launchers import WrappedLauncher
from trellis.providers import LocalProvider
from trellis.wire.payload import loads


class Timed(LocalProvider):
    walltime_s = 600


def command(**parameters: Any) -> str:
    return HighThroughputExecutor(**parameters).launch_command("7")


def manager_options(**parameters: Any) -> Any:
    """The launch command, as the manager understands it."""
    words = shlex.split(command(**parameters))
    assert words[:4] == [sys.executable, "-P", "-m", "trellis.executors.htex.manager.service"]
    return parse_arguments(words[4:])


@pytest.mark.parametrize(
    ("parameters", "option", "value"),
    [
        ({}, "block_id", "7"),
        ({}, "debug", False),
        ({"worker_debug": True}, "debug", True),
        ({}, "addresses", "127.0.0.1"),
        ({"loopback_address": "127.0.0.2"}, "addresses", "127.0.0.2"),
        ({"address": "login1"}, "addresses", "login1"),
        ({}, "cores_per_worker", 1.0),
        ({"cores_per_worker": 0.5}, "cores_per_worker", 0.5),
        ({}, "mem_per_worker", None),
        ({"mem_per_worker": 4}, "mem_per_worker", 4),
        ({}, "max_workers_per_node", math.inf),
        ({"max_workers_per_node": 3}, "max_workers_per_node", 3),
        ({}, "prefetch_capacity", 0),
        ({"prefetch_capacity": 20}, "prefetch_capacity", 20),
        ({}, "hb_period", 30),
        ({"heartbeat_period": 5}, "hb_period", 5),
        ({}, "hb_threshold", 120),
        ({"heartbeat_threshold": 60}, "hb_threshold", 60),
        ({}, "drain_period", None),
        ({"drain_period": 600}, "drain_period", 600),
        ({}, "address_probe_timeout", 30),
        ({"address_probe_timeout": 3}, "address_probe_timeout", 3),
        ({}, "poll_period", 10),
        ({"poll_period": 500}, "poll_period", 500),
        ({}, "cpu_affinity", "none"),
        ({"cpu_affinity": "list:0,1:2-3"}, "cpu_affinity", "list:0,1:2-3"),
        ({}, "available_accelerators", []),
        ({"available_accelerators": 2}, "available_accelerators", ["0", "1"]),
        ({"available_accelerators": ["0,1", "a'b"]}, "available_accelerators", ["0,1", "a'b"]),
        ({}, "enable_mpi_mode", False),
        ({}, "mpi_launcher", "mpiexec"),
        ({}, "walltime_s", None),
        ({"provider": Timed()}, "walltime_s", 600),
        ({"encrypted": False}, "cert_dir", "None"),
        ({"label": "a b"}, "logdir", os.path.abspath("a b")),
        ({}, "logdir", os.path.abspath("HighThroughputExecutor")),
        ({"label": "big"}, "logdir", os.path.abspath("big")),
        ({"worker_logdir_root": "/scratch"}, "logdir", "/scratch/HighThroughputExecutor"),
    ],
)
def test_parameters_reach_the_manager(parameters: dict[str, Any], option: str, value: object) -> None:
    assert getattr(manager_options(**parameters), option) == value


def test_managers_on_other_hosts_try_every_address() -> None:
    executor = HighThroughputExecutor(provider=LocalProvider(launcher=WrappedLauncher("ssh node1")))
    addresses = executor.launch_command("0").split(" -a ")[1].split()[0].split(",")
    assert addresses != ["127.0.0.1"]
    assert interchange_settings(executor.options).worker_address == "*"


def test_only_loopback_listens_when_the_managers_run_here() -> None:
    assert interchange_settings(HighThroughputExecutor().options).worker_address == "127.0.0.1"
    assert interchange_settings(HighThroughputExecutor(loopback_address="::1").options).worker_address == "::1"


def test_keys_are_set_before_the_start(tmp_path: Path) -> None:
    executor = HighThroughputExecutor(encrypted=False)
    executor.cert_dir = str(tmp_path)
    with pytest.raises(ConfigurationError, match=r"cert_dir is .*, but encrypted is False"):
        executor.start(ExecutorContext(run_dir=str(tmp_path), run_id="keys"))
    executor.cert_dir = None
    assert executor.cert_dir is None
    with pytest.raises(ParameterTypeError, match="cert_dir"):
        executor.cert_dir = 3  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("parameters", "ports"),
    [
        ({}, (54000, 55000)),
        ({"worker_port_range": (40000, 41000)}, (40000, 41000)),
        ({"worker_port_range": None}, (1024, 65536)),
        ({"worker_port_range": (0, 0)}, (1024, 65536)),
        ({"worker_port": 50123}, (50123, 50124)),
        ({"worker_ports": (50001, 50002)}, (50001, 50002)),
    ],
)
def test_ports_for_managers(parameters: dict[str, Any], ports: tuple[int, int]) -> None:
    assert interchange_settings(HighThroughputExecutor(**parameters).options).worker_ports == ports


def test_any_port_for_the_program() -> None:
    executor = HighThroughputExecutor(interchange_port_range=(0, 0))
    assert interchange_settings(executor.options).client_ports == (1024, 65536)


def test_settings_of_the_interchange(tmp_path: Path) -> None:
    executor = HighThroughputExecutor(
        interchange_port_range=(45000, 45010),
        heartbeat_threshold=77,
        manager_selector=BlockIdManagerSelector(),
        worker_debug=True,
        encrypted=False,
    )
    executor.run_dir = str(tmp_path)
    settings = interchange_settings(executor.options)
    assert settings.client_ports == (45000, 45010)
    assert settings.heartbeat_threshold_s == 77
    assert settings.selection == "block_id"
    assert settings.debug
    assert settings.cert_dir is None
    assert settings.logdir == str(tmp_path / "HighThroughputExecutor")
    defaults = interchange_settings(HighThroughputExecutor().options)
    assert (defaults.selection, defaults.debug) == ("random", False)
    assert defaults.cert_dir is not None


@pytest.mark.parametrize("name", PLACEHOLDERS)
def test_what_a_launch_command_may_have_stands_in_the_default_one(name: str) -> None:
    assert f"{{{name}}}" in DEFAULT_LAUNCH_CMD


def test_a_launch_command_of_ones_own() -> None:
    template = "start --port {worker_port} --also {task_port} {result_port} -b {{block_id}} -B {block_id} {logdir}"
    assert command(launch_cmd=template, label="x") == f"start --port 0 --also 0 0 -b 7 -B 7 {os.path.abspath('x')}"


def test_placeholders_mean_what_they_mean_in_parsl() -> None:
    template = (
        "{debug}|{max_workers_per_node}|{accelerators}|{cpu_affinity}|{enable_mpi_mode}|{mpi_launcher}|{logconf}|"
    )
    template += (
        "{address_probe_timeout_string}|{poll_period}|{nodes_per_block}|{drain_period}|{mem_per_worker}|{cert_dir}"
    )
    assert (
        command(launch_cmd=template, encrypted=False)
        == "|||none||mpiexec|None|--address_probe_timeout=30|10|1|None|None|None"
    )
    given = command(
        launch_cmd=template,
        worker_debug=True,
        max_workers_per_node=3,
        available_accelerators=2,
        address_probe_timeout=4,
        encrypted=False,
    )
    assert given.startswith("--debug|--max_workers_per_node=3|0 1|none||mpiexec|None|--address_probe_timeout=4|")


def test_a_path_that_looks_like_a_placeholder_is_a_path() -> None:
    assert command(launch_cmd="start -l {logdir} -b {{block_id}}", worker_logdir_root="/{block_id}", label="x") == (
        "start -l '/{block_id}/x' -b 7"
    )


def test_braces_of_the_shell() -> None:
    assert command(launch_cmd="echo ${{HOME}} {{block_id}}") == "echo ${HOME} 7"


def test_an_unknown_placeholder_is_named_when_the_executor_is_made() -> None:
    with pytest.raises(ConfigurationError, match=r"launch_cmd.*'worker_count'.*prefetch_capacity"):
        HighThroughputExecutor(launch_cmd="start {worker_count}")


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"label": 3}, "label must be a name of letters, .*, not 3"),
        ({"cores_per_worker": "1"}, "cores_per_worker must be a number above 0, not '1'"),
        ({"max_workers_per_node": "2"}, "max_workers_per_node must be a number of at least 1 or None, not '2'"),
        ({"prefetch_capacity": 1.5}, "prefetch_capacity must be a whole number of at least 0, not 1.5"),
        ({"encrypted": "yes"}, "encrypted must be True or False .*, not 'yes'"),
        ({"address": 127}, "address must be the name or address of a host or None, not 127"),
        ({"manager_selector": "random"}, "manager_selector must be a ManagerSelector, not .random"),
        (
            {"available_accelerators": "01"},
            "available_accelerators must be a whole number .* or a list of names, not '01'",
        ),
        ({"available_accelerators": [0, 1]}, "available_accelerators must be a whole number .* or a list of names"),
        ({"available_accelerators": True}, "available_accelerators must be a whole number .* or a list of names"),
        ({"block_error_handler": 5}, "block_error_handler must be True or False .* or a callable"),
    ],
)
def test_wrong_types_are_told_at_once(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterTypeError, match=message):
        HighThroughputExecutor(**parameters)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"cores_per_worker": 0}, "cores_per_worker must be a number above 0"),
        ({"mem_per_worker": -1}, "mem_per_worker must be a number above 0 .GB."),
        ({"max_workers_per_node": 0}, "max_workers_per_node must be a number of at least 1"),
        ({"prefetch_capacity": -1}, "prefetch_capacity must be a whole number of at least 0"),
        ({"heartbeat_period": 120}, "heartbeat_period must be above 0 and below heartbeat_threshold"),
        ({"worker_port_range": (55000, 54000)}, "worker_port_range must be"),
        ({"worker_port_range": (0, 54000)}, "worker_port_range must be"),
        ({"interchange_port_range": (1,)}, "interchange_port_range must be .*two port numbers"),
        ({"poll_period": 0}, "poll_period must be a whole number of at least 1"),
        ({"drain_period": 0}, "drain_period must be a number above 0"),
        ({"address_probe_timeout": 0}, "address_probe_timeout must be a number above 0"),
        ({"cpu_affinity": "blocks"}, "cpu_affinity must be one of 'none', 'block', 'block-reverse', 'alternating'"),
        ({"cpu_affinity": "list:0:a"}, "such as 'list:0,1:2-3'.* not 'list:0:a'"),
        ({"cpu_affinity": "list:"}, "cpu_affinity must be"),
        ({"available_accelerators": -1}, "available_accelerators must be a whole number of at least 0"),
        ({"available_accelerators": ["0", ""]}, r"available_accelerators must be names .* \('' is none\)"),
        ({"available_accelerators": ["0 1"]}, r"available_accelerators must be names .* \('0 1' is none\)"),
        ({"interchange_port_range": ("1", "2")}, "interchange_port_range must be .*two port numbers"),
    ],
)
def test_wrong_values_are_told_at_once(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        HighThroughputExecutor(**parameters)


class OwnSelector(ManagerSelector):
    def __init__(self, kept: object = None) -> None:
        self.kept = kept

    def sort_managers(self, ready_managers: Any, manager_list: Any) -> list[bytes]:
        return list(manager_list)


class OwnRandomSelector(RandomManagerSelector):
    pass


def test_a_selector_of_ones_own_goes_to_the_interchange() -> None:
    assert interchange_settings(HighThroughputExecutor().options).selector is None
    assert (
        interchange_settings(HighThroughputExecutor(manager_selector=BlockIdManagerSelector()).options).selector is None
    )
    for selector in (OwnSelector(), OwnRandomSelector()):
        sent = interchange_settings(HighThroughputExecutor(manager_selector=selector).options).selector
        assert sent is not None
        assert type(loads(sent)) is type(selector)


def test_a_selector_that_cannot_be_sent_is_told() -> None:
    executor = HighThroughputExecutor(manager_selector=OwnSelector(threading.Lock()))
    with pytest.raises(SerializationError, match="cannot serialize the manager_selector"):
        interchange_settings(executor.options)


def test_attributes_may_be_set_before_the_start(tmp_path: Path) -> None:
    executor = HighThroughputExecutor()
    executor.address = "login1"
    executor.worker_debug = True
    executor.available_accelerators = 2  # type: ignore[assignment]
    assert " --debug -a login1 " in executor.launch_command("7")
    assert "--available_accelerators 0 1 " in executor.launch_command("7")
    assert interchange_settings(executor.options).debug
    executor.prefetch_capacity = "many"  # type: ignore[assignment]
    with pytest.raises(ParameterTypeError, match=r"prefetch_capacity must be a whole number .* not 'many'"):
        executor.start(ExecutorContext(run_dir=str(tmp_path), run_id="set"))


def test_nothing_changes_the_options() -> None:
    options = HighThroughputExecutor().options
    with pytest.raises(FrozenInstanceError):
        options.poll_period = 3
    with pytest.raises(FrozenInstanceError):
        options.logdir = "/tmp"  # type: ignore[misc]


@pytest.mark.parametrize("affinity", ["none", "block", "block-reverse", "alternating", "list:0", "list:0,1:2-3:4"])
def test_affinities_that_there_are(affinity: str) -> None:
    assert manager_options(cpu_affinity=affinity).cpu_affinity == affinity


def test_accelerators_by_number_and_by_name() -> None:
    assert HighThroughputExecutor(available_accelerators=3).available_accelerators == ["0", "1", "2"]
    assert HighThroughputExecutor(available_accelerators=("0,1", "2,3")).available_accelerators == ["0,1", "2,3"]
    assert HighThroughputExecutor().available_accelerators == []


def test_defaults_are_of_each_executor_alone() -> None:
    one, other = HighThroughputExecutor(), HighThroughputExecutor()
    assert one.provider is not other.provider
    assert isinstance(one.manager_selector, RandomManagerSelector)
    assert one.encrypted


def test_workers_per_node_before_any_manager_has_come() -> None:
    assert HighThroughputExecutor().workers_per_node == 1
    assert HighThroughputExecutor(max_workers_per_node=8).workers_per_node == 8
    assert HighThroughputExecutor(max_workers_per_node=8, available_accelerators=4).workers_per_node == 4
    provider = LocalProvider()
    provider.cores_per_node = 16
    provider.mem_per_node = 64
    assert HighThroughputExecutor(provider=provider, cores_per_worker=2).workers_per_node == 8
    assert HighThroughputExecutor(provider=provider, mem_per_worker=32).workers_per_node == 2
