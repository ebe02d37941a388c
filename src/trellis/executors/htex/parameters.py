"""Checks of HighThroughputExecutor's parameters, when it is made. Nothing is opened here."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

from trellis.core.validation import check_at_least, check_type
from trellis.errors import ConfigurationError
from trellis.executors.htex.selection import BlockIdManagerSelector, ManagerSelector, RandomManagerSelector

if TYPE_CHECKING:
    from trellis.executors.htex.executor import HighThroughputExecutor

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
    "available_accelerators": (int, list, tuple),
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


def check_parameters(executor: HighThroughputExecutor) -> None:
    """Raises:
    ConfigurationError: a value has a wrong type or cannot work.
    NotImplementedError: a value asks for something that is not there yet.
    """
    owner = type(executor).__name__
    for name, types in _TYPES.items():
        check_type(owner, name, getattr(executor, name), *types)
    for name in ("worker_ports", "worker_port_range", "interchange_port_range"):
        _check_ports(owner, name, getattr(executor, name))
    if not executor.cores_per_worker > 0:
        raise ConfigurationError(f"{owner}: cores_per_worker must be above 0, not {executor.cores_per_worker!r}")
    if executor.mem_per_worker is not None and not executor.mem_per_worker > 0:
        raise ConfigurationError(f"{owner}: mem_per_worker must be above 0 GB, not {executor.mem_per_worker!r}")
    if executor.max_workers_per_node is not None:
        check_at_least(owner, "max_workers_per_node", executor.max_workers_per_node, 1)
    check_at_least(owner, "prefetch_capacity", executor.prefetch_capacity, 0)
    if not 0 < executor.heartbeat_period < executor.heartbeat_threshold:
        raise ConfigurationError(
            f"{owner}: heartbeat_period must be above 0 and below heartbeat_threshold, not "
            f"{executor.heartbeat_period!r} and {executor.heartbeat_threshold!r}"
        )
    _refuse_what_is_missing(executor)


def _refuse_what_is_missing(executor: HighThroughputExecutor) -> None:
    owner = type(executor).__name__
    if executor.cpu_affinity != "none":
        raise NotImplementedError(f"{owner}: cpu_affinity={executor.cpu_affinity!r} is not implemented yet")
    if executor.available_accelerators:
        raise NotImplementedError(f"{owner}: available_accelerators is not implemented yet")
    if type(executor.manager_selector) not in (RandomManagerSelector, BlockIdManagerSelector):
        raise NotImplementedError(f"{owner}: a manager_selector of your own is not implemented yet")
    if executor.poll_period != 10:
        warnings.warn(f"{owner}: poll_period has no effect, nothing is polled: Trellis waits for events", stacklevel=5)


def _check_ports(owner: str, name: str, ports: Sequence[int] | None) -> None:
    if ports is None:
        return
    if len(ports) != 2 or not all(isinstance(port, int) and 0 < port < 65537 for port in ports):
        raise ConfigurationError(f"{owner}: {name} must be two port numbers, not {ports!r}")
    if name.endswith("range") and not ports[0] < ports[1]:
        raise ConfigurationError(f"{owner}: {name} must be (low, high) with low < high, not {ports!r}")
