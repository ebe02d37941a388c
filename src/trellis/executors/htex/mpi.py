"""MPIExecutor: HighThroughputExecutor for tasks that spread over the nodes of a block.

What is different is here: which parameters there are, and what a task's specification says. How a task gets its
nodes, and the words that start it there, is the manager's business.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

from trellis.core.kinds import Choice, OrNone
from trellis.core.parameters import PROVIDER
from trellis.core.radios import RadioConfig
from trellis.core.validation import arguments, check, declares_parameters, keep_arguments, knows_former_names
from trellis.core.values import MOST_COUNTED, Number
from trellis.errors import ParameterTypeError
from trellis.executors.htex.executor import HighThroughputExecutor
from trellis.executors.htex.manager.mpi_environment import MPI_LAUNCHERS
from trellis.executors.htex.resources import Request, read_mpi_specification


@declares_parameters
class MPIExecutor(HighThroughputExecutor):
    """Runs tasks that start MPI programs: each gets some nodes of a block for itself, and is told which.

    One manager runs on a block, started by a ``SimpleLauncher``. Every task says what it needs with
    ``parsl_resource_specification``: ``num_nodes``, ``ranks_per_node``, ``num_ranks`` (two of the three are enough) and
    ``launcher_options``. A bash app begins its command with ``$PARSL_MPI_PREFIX``.

    Args:
        label: name of the executor; also of its log directory.
        provider: where blocks come from, with ``launcher=SimpleLauncher()``; None: this computer.
        max_workers_per_block: tasks that a block runs at a time, at most.
        mpi_launcher: the command behind ``PARSL_MPI_PREFIX``: ``"mpiexec"``, ``"srun"`` or ``"aprun"``.

    The others are those of ``HighThroughputExecutor``.

    Raises:
        ConfigurationError: a value cannot work, or the launcher is another one; the message names the parameter.
    """

    enable_mpi_mode = True
    max_workers_per_block: Annotated[int, Number(least=1, most=MOST_COUNTED // 2, whole=True)]
    mpi_launcher: Annotated[str, Choice(*MPI_LAUNCHERS)]

    @knows_former_names(
        max_workers="it is max_workers_per_block",
        max_workers_per_node="it is max_workers_per_block",
        cores_per_worker="tasks of MPIExecutor take whole nodes",
    )
    def __init__(
        self,
        label: str = "MPIExecutor",
        provider: Any = None,
        launch_cmd: str | None = None,
        interchange_launch_cmd: Sequence[str] | None = None,
        address: str | None = None,
        loopback_address: str = "127.0.0.1",
        worker_ports: tuple[int, int] | None = None,
        worker_port_range: tuple[int, int] | None = (54000, 55000),
        interchange_port_range: tuple[int, int] | None = (55000, 56000),
        storage_access: Sequence[Any] | None = None,
        working_dir: str | None = None,
        worker_debug: bool = False,
        max_workers_per_block: int = 1,
        prefetch_capacity: int = 0,
        heartbeat_threshold: int = 120,
        heartbeat_period: int = 30,
        drain_period: int | None = None,
        poll_period: int = 10,
        address_probe_timeout: int | None = None,
        worker_logdir_root: str | None = None,
        mpi_launcher: str = "mpiexec",
        block_error_handler: bool | Callable[..., None] = True,
        encrypted: bool = True,
        worker_port: int | None = None,
        remote_monitoring_radio: RadioConfig | None = None,
    ) -> None:
        given = arguments(locals())
        keep_arguments(self, {name: given.pop(name) for name in ("max_workers_per_block", "mpi_launcher")})
        given["provider"] = _provider_with_one_manager(provider)
        # A worker only waits for the program that it has started on the nodes: it takes no core.
        super().__init__(**given, cores_per_worker=1e-9, max_workers_per_node=self.max_workers_per_block)

    def validate_resource_spec(self, resource_specification: dict[str, Any]) -> None:
        """Raise ``InvalidResourceSpecification`` unless it says how many nodes and ranks the task needs."""
        self._read_specification(resource_specification)

    def _read_specification(self, specification: Mapping[str, Any] | None) -> Request:
        return read_mpi_specification(specification)

    @property
    def workers_per_node(self) -> float:
        """The workers of a block, shared among its nodes: a block has one manager."""
        return super().workers_per_node / (1 if self.provider is None else self.provider.nodes_per_block)

    def monitor_resources(self) -> bool:
        """No: what the worker uses says nothing about the program that runs on the nodes."""
        return False


def _provider_with_one_manager(provider: Any) -> Any:
    from trellis.launchers.single_node import SimpleLauncher
    from trellis.providers.local import LocalProvider

    check("MPIExecutor", "provider", provider, OrNone(PROVIDER))
    if provider is None:
        return LocalProvider(launcher=SimpleLauncher())
    if not isinstance(getattr(provider, "launcher", None), SimpleLauncher):
        raise ParameterTypeError(
            "MPIExecutor: the provider must have launcher=SimpleLauncher(), as one manager serves all nodes of a "
            f"block; it has {getattr(provider, 'launcher', None)!r}"
        )
    return provider
