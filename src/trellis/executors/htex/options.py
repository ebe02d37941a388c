"""Parameters of HighThroughputExecutor: what each accepts, and what holds from the start on. Nothing is opened here."""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Sequence
from dataclasses import InitVar, dataclass
from typing import Annotated, Any

from trellis.core.interfaces import Provider
from trellis.core.kinds import Either, Flag, Instance, Items, OrNone, Path, Text
from trellis.core.parameters import MONITORING_RADIO, STORAGE_ACCESS, Host, Label
from trellis.core.radios import RadioConfig
from trellis.core.validation import check, declares_parameters, parameters_of
from trellis.core.values import LONGEST_S, MOST_COUNTED, Duration, Number, ValueRefused, shown
from trellis.errors import ParameterValueError
from trellis.executors.htex.interchange.selection import ManagerSelector

logger = logging.getLogger(__name__)

_MOST_ACCELERATORS = 1024  # of a node; each has a name in the manager's command


# For docstrings of subclasses, under the name that Parsl has for it.
GENERAL_HTEX_PARAM_DOCS = "Parameters are those of HighThroughputExecutor: see its docstring and docs/htex.md."

ANY_PORTS = (0, 0)  # of ranges: as None, whatever port is free


class _Ports(Items):
    """Two port numbers."""

    def __init__(self, ordered: bool) -> None:
        # The upper end of a range does not belong to it.
        super().__init__(Number(least=1, most=65536, whole=True), "two port numbers")
        self.ordered = ordered

    def __call__(self, value: Any) -> Any:
        if self.ordered and isinstance(value, tuple | list) and list(value) == list(ANY_PORTS):
            return value
        ports = super().__call__(value)
        if len(ports) != 2:
            raise ValueRefused("two port numbers")
        if self.ordered and not ports[0] < ports[1]:
            raise ValueRefused("(low, high) with low < high, or (0, 0) for any port")
        return ports


class _Affinity(Text):
    """Which cores each worker may use."""

    _WORDS = ("none", "block", "block-reverse", "alternating")
    _CORES = r"\d+(-\d+)?(,\d+(-\d+)?)*"
    _LISTS = re.compile(rf"list:{_CORES}(:{_CORES})*")

    def __call__(self, value: Any) -> str:
        affinity = super().__call__(value)
        if affinity not in self._WORDS and not self._LISTS.fullmatch(affinity):
            raise ValueRefused(
                f"one of {', '.join(map(repr, self._WORDS))}, or the cores of each worker such as 'list:0,1:2-3' "
                "(0 and 1 for the first worker, 2 and 3 for the second)"
            )
        return affinity


class _Accelerators(Either):
    """Names of accelerators; a number of them stands for "0", "1", and so on."""

    _NAME = re.compile(r"[^\s,]+(,[^\s,]+)*")

    def __init__(self) -> None:
        super().__init__(Number(least=0, most=_MOST_ACCELERATORS, whole=True), Items(Text(), "names"))

    def __call__(self, value: Any) -> list[str]:
        given = super().__call__(value)
        names = [str(number) for number in range(given)] if isinstance(given, int) else list(given)
        for name in names:
            if not self._NAME.fullmatch(name):
                raise ValueRefused(
                    "names such as '0', or names with commas between them for a worker with several accelerators, "
                    f"such as '0,1' ({shown(name)} is none)"
                )
        return names


# Marks a parameter that ``launch_cmd`` may have as a placeholder of the same name.
_IN_COMMAND = "in launch_cmd"


@declares_parameters
class HtexParameters:
    """What users say of an executor, as attributes: each with its type, and what it accepts."""

    label: Annotated[str, Label()]
    launch_cmd: Annotated[str, Text(empty=False)]
    interchange_launch_cmd: Annotated[Sequence[str] | None, OrNone(Items(Text(), "words of a command", least=1))]
    address: Annotated[str | None, OrNone(Host())]
    loopback_address: Annotated[str, Host()]
    worker_ports: Annotated[tuple[int, int] | None, OrNone(_Ports(ordered=False))]
    worker_port: Annotated[int | None, OrNone(Number(least=1, most=65535, whole=True))]
    worker_port_range: Annotated[tuple[int, int] | None, OrNone(_Ports(ordered=True))]
    interchange_port_range: Annotated[tuple[int, int] | None, OrNone(_Ports(ordered=True))]
    storage_access: Annotated[Sequence[Any] | None, STORAGE_ACCESS]
    working_dir: Annotated[str | None, OrNone(Path())]
    worker_debug: Annotated[bool, Flag()]
    cores_per_worker: Annotated[float, Number(above=0), _IN_COMMAND]
    mem_per_worker: Annotated[float | None, OrNone(Number(above=0, unit="GB")), _IN_COMMAND]
    max_workers_per_node: Annotated[float | None, OrNone(Number(least=1, infinite=True))]
    cpu_affinity: Annotated[str, _Affinity(), _IN_COMMAND]
    available_accelerators: Annotated[list[str], _Accelerators()]
    prefetch_capacity: Annotated[int, Number(least=0, most=MOST_COUNTED // 2, whole=True), _IN_COMMAND]
    heartbeat_threshold: Annotated[float, Duration(above=0), _IN_COMMAND]
    heartbeat_period: Annotated[float, Duration(above=0), _IN_COMMAND]
    drain_period: Annotated[float | None, OrNone(Duration(above=0)), _IN_COMMAND]
    poll_period: Annotated[int, Number(least=1, most=LONGEST_S, whole=True, unit="milliseconds"), _IN_COMMAND]
    address_probe_timeout: Annotated[float | None, OrNone(Duration(above=0))]
    worker_logdir_root: Annotated[str | None, OrNone(Path())]
    manager_selector: Annotated[ManagerSelector, Instance("a ManagerSelector", ManagerSelector)]
    encrypted: Annotated[bool, Flag()]
    remote_monitoring_radio: Annotated[RadioConfig | None, MONITORING_RADIO]


PLACEHOLDERS = [
    name
    for name, hint in inspect.get_annotations(HtexParameters, eval_str=True).items()
    if _IN_COMMAND in hint.__metadata__
]


@dataclass(frozen=True)
class HtexOptions(HtexParameters):
    """What holds from an executor's start to its end: its parameters, checked, and what it makes of them.

    Raises:
        ConfigurationError: a value has a wrong type or cannot work; the message names the parameter.
    """

    owner: str  # the executor's class, for messages
    provider: Provider | None
    logdir: str
    worker_logdir: str
    cert_dir: str | None  # None: no encryption
    log_config: str | None  # file with a user's own way of logging
    enable_mpi_mode: bool
    mpi_launcher: str
    parameters: InitVar[HtexParameters]

    def __post_init__(self, parameters: HtexParameters) -> None:
        for name, kind in parameters_of(type(parameters)).items():  # also those of a subclass
            object.__setattr__(self, name, check(self.owner, name, getattr(parameters, name), kind))
        if not self.heartbeat_period < self.heartbeat_threshold:
            raise ParameterValueError(
                f"{self.owner}: heartbeat_period must be above 0 and below heartbeat_threshold, not "
                f"{self.heartbeat_period!r} and {self.heartbeat_threshold!r}"
            )

    @property
    def runs_here(self) -> bool:
        """Whether the blocks run on this host, so that nothing has to listen beyond loopback."""
        return bool(getattr(self.provider, "same_host", False))


def warn_of_idle_nodes(owner: str, provider: Any) -> None:
    """Tell of a launcher that starts a manager on one node only of each block."""
    nodes = getattr(provider, "nodes_per_launch", 1)  # of a batch system
    if nodes > 1 and provider.launches_on_one:
        logger.warning(
            "%s: %s uses one of a block's %d nodes; launchers such as SrunLauncher or MpiExecLauncher use them all",
            owner,
            type(provider.launcher).__name__,
            nodes,
        )


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
