"""Checks of HighThroughputExecutor's parameters, when it is made. Nothing is opened here."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from trellis.core.validation import check_at_least, check_type
from trellis.errors import ConfigurationError, ParameterTypeError
from trellis.executors.htex.selection import ManagerSelector

if TYPE_CHECKING:
    from trellis.executors.htex.executor import HighThroughputExecutor

logger = logging.getLogger(__name__)

_TYPES: dict[str, tuple[type | None, ...]] = {
    "label": (str,),
    "launch_cmd": (str,),
    "interchange_launch_cmd": (list, tuple, None),
    "address": (str, None),
    "loopback_address": (str,),
    "worker_ports": (tuple, list, None),
    "worker_port": (int, None),
    "worker_port_range": (tuple, list, None),
    "interchange_port_range": (tuple, list, None),
    "storage_access": (list, tuple, None),
    "working_dir": (str, None),
    "worker_debug": (bool,),
    "cores_per_worker": (int, float),
    "mem_per_worker": (int, float, None),
    "max_workers_per_node": (int, float, None),
    "cpu_affinity": (str,),
    "prefetch_capacity": (int,),
    "heartbeat_threshold": (int, float),
    "heartbeat_period": (int, float),
    "drain_period": (int, float, None),
    "poll_period": (int,),
    "address_probe_timeout": (int, float, None),
    "worker_logdir_root": (str, None),
    "manager_selector": (ManagerSelector,),
    "encrypted": (bool,),
}


_AFFINITIES = ("none", "block", "block-reverse", "alternating")
_CORES = r"\d+(-\d+)?(,\d+(-\d+)?)*"
_CORE_LISTS = re.compile(rf"list:{_CORES}(:{_CORES})*")


def check_parameters(executor: HighThroughputExecutor) -> None:
    """Raises:
    ConfigurationError: a value has a wrong type or cannot work.
    """
    owner = type(executor).__name__
    for name, types in _TYPES.items():
        check_type(owner, name, getattr(executor, name), *types)
    for name in ("worker_ports", "worker_port_range", "interchange_port_range"):
        _check_ports(owner, name, getattr(executor, name))
    for name in ("cores_per_worker", "mem_per_worker", "drain_period", "address_probe_timeout"):
        _check_above_zero(owner, name, getattr(executor, name))
    if executor.max_workers_per_node is not None:
        check_at_least(owner, "max_workers_per_node", executor.max_workers_per_node, 1)
    check_at_least(owner, "prefetch_capacity", executor.prefetch_capacity, 0)
    check_at_least(owner, "poll_period", executor.poll_period, 1)
    if not 0 < executor.heartbeat_period < executor.heartbeat_threshold:
        raise ConfigurationError(
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
    if isinstance(accelerators, int) and not isinstance(accelerators, bool):
        check_at_least(owner, "available_accelerators", accelerators, 0)
        return [str(number) for number in range(accelerators)]
    if not isinstance(accelerators, list | tuple) or not all(isinstance(name, str) for name in accelerators):
        raise ParameterTypeError(
            f"{owner}: available_accelerators must be a number or a list of names, not {accelerators!r}"
        )
    for name in accelerators:
        if not re.fullmatch(r"[^\s,]+(,[^\s,]+)*", name):
            raise ConfigurationError(
                f"{owner}: available_accelerators has {name!r}; a name such as '0', or names with commas between "
                "them for a worker with several accelerators, such as '0,1', was expected"
            )
    return list(accelerators)


def _check_affinity(owner: str, affinity: str) -> None:
    if affinity not in _AFFINITIES and not _CORE_LISTS.fullmatch(affinity):
        raise ConfigurationError(
            f"{owner}: cpu_affinity must be one of {', '.join(map(repr, _AFFINITIES))}, or the cores of each worker "
            f"such as 'list:0,1:2-3' (0 and 1 for the first worker, 2 and 3 for the second), not {affinity!r}"
        )


def _check_above_zero(owner: str, name: str, value: float | None) -> None:
    if value is not None and not 0 < value < math.inf:
        unit = " GB" if name == "mem_per_worker" else ""
        raise ConfigurationError(f"{owner}: {name} must be above 0{unit}, not {value!r}")


def _check_ports(owner: str, name: str, ports: Sequence[int] | None) -> None:
    if ports is None:
        return
    if len(ports) != 2 or not all(isinstance(port, int) and 0 < port < 65537 for port in ports):
        raise ConfigurationError(f"{owner}: {name} must be two port numbers, not {ports!r}")
    if name.endswith("range") and not ports[0] < ports[1]:
        raise ConfigurationError(f"{owner}: {name} must be (low, high) with low < high, not {ports!r}")
