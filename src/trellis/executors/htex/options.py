"""Checks of HighThroughputExecutor's parameters, when it is made. Nothing is opened here."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from trellis.core.kinds import Either, Flag, Instance, Items, OrNone, Path, Text
from trellis.core.parameters import STORAGE_ACCESS, Host, Label
from trellis.core.validation import check, check_all
from trellis.core.values import LONGEST_S, MOST_COUNTED, Duration, Kind, Number, shown
from trellis.errors import ParameterValueError
from trellis.executors.htex.interchange.selection import ManagerSelector

if TYPE_CHECKING:
    from trellis.executors.htex.executor import HighThroughputExecutor

logger = logging.getLogger(__name__)

_PORT = Number(least=1, most=65535, whole=True)
# The upper end of a range does not belong to it.
_PORTS = OrNone(Items(Number(least=1, most=65536, whole=True), "two port numbers"))

_KINDS: dict[str, Kind] = {
    "label": Label(),
    "launch_cmd": Text(empty=False),
    "interchange_launch_cmd": OrNone(Items(Text(), "words of a command", least=1)),
    "address": OrNone(Host()),
    "loopback_address": Host(),
    "worker_ports": _PORTS,
    "worker_port": OrNone(_PORT),
    "worker_port_range": _PORTS,
    "interchange_port_range": _PORTS,
    "storage_access": STORAGE_ACCESS,
    "working_dir": OrNone(Path()),
    "worker_debug": Flag(),
    "cores_per_worker": Number(above=0),
    "mem_per_worker": OrNone(Number(above=0, unit="GB")),
    "max_workers_per_node": OrNone(Number(least=1, infinite=True)),
    "cpu_affinity": Text(),
    "prefetch_capacity": Number(least=0, most=MOST_COUNTED // 2, whole=True),
    "heartbeat_threshold": Duration(above=0),
    "heartbeat_period": Duration(above=0),
    "drain_period": OrNone(Duration(above=0)),
    "poll_period": Number(least=1, most=LONGEST_S, whole=True, unit="milliseconds"),
    "address_probe_timeout": OrNone(Duration(above=0)),
    "worker_logdir_root": OrNone(Path()),
    "manager_selector": Instance("a ManagerSelector", ManagerSelector),
    "encrypted": Flag(),
}


_AFFINITIES = ("none", "block", "block-reverse", "alternating")
_MOST_ACCELERATORS = 1024  # of a node; each has a name in the manager's command
_CORES = r"\d+(-\d+)?(,\d+(-\d+)?)*"
_CORE_LISTS = re.compile(rf"list:{_CORES}(:{_CORES})*")


# Of Parsl's releases before this one.
FORMER_NAMES = {
    "max_workers": "it is max_workers_per_node",
    "workers_per_node": "it is max_workers_per_node",
    "max_workers_per_block": "that is a parameter of MPIExecutor; here it is max_workers_per_node",
    "enable_mpi_mode": "use MPIExecutor",
    "mpi_launcher": "use MPIExecutor, which has it",
    "interchange_address": "it is address",
    "interchange_port": "it is worker_port",
    "suppress_failure": "leave it out",
    "managed": "leave it out",
    "worker_mode": "leave it out",
    "container_image": "start the container in launch_cmd, or by WrappedLauncher",
    "max_blocks": "that is a parameter of the provider",
    "max_threads": "it is max_workers_per_node",
}


def check_parameters(executor: HighThroughputExecutor) -> None:
    """Raises:
    ConfigurationError: a value has a wrong type or cannot work.
    """
    owner = type(executor).__name__
    check_all(executor, _KINDS)
    for name in ("worker_ports", "worker_port_range", "interchange_port_range"):
        _check_ports(owner, name, getattr(executor, name))
    if not executor.heartbeat_period < executor.heartbeat_threshold:
        raise ParameterValueError(
            f"{owner}: heartbeat_period must be above 0 and below heartbeat_threshold, not "
            f"{executor.heartbeat_period!r} and {executor.heartbeat_threshold!r}"
        )
    _check_affinity(owner, executor.cpu_affinity)
    if not executor.enable_mpi_mode:
        _warn_of_idle_nodes(owner, executor.provider)


def _warn_of_idle_nodes(owner: str, provider: Any) -> None:
    nodes = getattr(provider, "nodes_per_launch", 1)  # of a batch system
    if nodes > 1 and provider.launcher.same_host:
        logger.warning(
            "%s: %s uses one of a block's %d nodes; launchers such as SrunLauncher or MpiExecLauncher use them all",
            owner,
            type(provider.launcher).__name__,
            nodes,
        )


def accelerator_names(owner: str, accelerators: Any) -> list[str]:
    """The name of each accelerator: a number of them stands for "0", "1", and so on.

    Raises:
        ConfigurationError: neither a number nor a list of names.
    """
    kind = Either(Number(least=0, most=_MOST_ACCELERATORS, whole=True), Items(Text(), "names"))
    given = check(owner, "available_accelerators", accelerators, kind)
    if isinstance(given, int):
        return [str(number) for number in range(given)]
    for name in given:
        if not re.fullmatch(r"[^\s,]+(,[^\s,]+)*", name):
            raise ParameterValueError(
                f"{owner}: available_accelerators has {name!r}; a name such as '0', or names with commas between "
                "them for a worker with several accelerators, such as '0,1', was expected"
            )
    return list(given)


def _check_affinity(owner: str, affinity: str) -> None:
    if affinity not in _AFFINITIES and not _CORE_LISTS.fullmatch(affinity):
        raise ParameterValueError(
            f"{owner}: cpu_affinity must be one of {', '.join(map(repr, _AFFINITIES))}, or the cores of each worker "
            f"such as 'list:0,1:2-3' (0 and 1 for the first worker, 2 and 3 for the second), not {affinity!r}"
        )


def _check_ports(owner: str, name: str, ports: Sequence[int] | None) -> None:
    if ports is None:
        return
    if len(ports) != 2:
        raise ParameterValueError(f"{owner}: {name} must be two port numbers, not {shown(ports)}")
    if name.endswith("range") and not ports[0] < ports[1]:
        raise ParameterValueError(f"{owner}: {name} must be (low, high) with low < high, not {ports!r}")
