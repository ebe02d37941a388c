"""HighThroughputExecutor: what users configure, and the parts that it starts and ends."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trellis.core.count import CallableCount
from trellis.core.interfaces import Attempt, ExecutorContext, Outcome, PoolLoad
from trellis.core.places import absolute
from trellis.core.radios import RadioConfig
from trellis.core.reports import ExecutorReport, Standing
from trellis.core.validation import arguments, check_type, keep_arguments, knows_former_names
from trellis.errors import (
    BadStateException,
    CommandClientBadError,
    CommandClientTimeoutError,
    ExecutorError,
    TrellisError,
    VersionMismatch,
)
from trellis.executors.block_executor import BlockExecutor
from trellis.executors.common.log_configs import write_log_config
from trellis.executors.common.loopback import check_loopback
from trellis.executors.htex.interchange.selection import ManagerSelector, RandomManagerSelector
from trellis.executors.htex.launch import (
    DEFAULT_LAUNCH_CMD,
    interchange_settings,
    launch_command,
    provide_keys,
)
from trellis.executors.htex.nodes_seen import NodesSeen
from trellis.executors.htex.options import FORMER_NAMES, HtexOptions, HtexParameters, warn_of_idle_nodes
from trellis.executors.htex.parsl_attributes import ParslAttributes
from trellis.executors.htex.parsl_commands import DEFAULT_INTERCHANGE_LAUNCH_CMD, with_our_interchange
from trellis.executors.htex.reporting import executor_report, managers_by_block, task_standing
from trellis.executors.htex.resources import Request, read_specification
from trellis.executors.htex.settings import Ports
from trellis.executors.htex.submit.manager_status import block_loads, describe_manager, workers_of_a_node
from trellis.executors.htex.worker.payload_calls import run_payload
from trellis.transport.shared_directory import make_directory
from trellis.utils import RepresentationMixin
from trellis.wire.messages import HoldManagers, ManagerJoined, ManagerLoss, ManagerPutAside, ManagerRefused
from trellis.wire.questions import StatusReply

if TYPE_CHECKING:
    from trellis.executors.htex.submit.client import InterchangeClient

logger = logging.getLogger(__name__)

# How long introspection waits for the interchange: it answers in a millisecond unless something is very wrong.
_STATUS_TIMEOUT_S = 5.0


class HighThroughputExecutor(HtexParameters, ParslAttributes, BlockExecutor, RepresentationMixin):
    """Runs tasks on workers of many nodes: this process, an interchange, a manager on each node, its workers.

    Args:
        label: name of the executor; also of its log directory.
        provider: where blocks of nodes come from; None: ``LocalProvider()``, this computer.
        launch_cmd: command that starts a manager, with ``{placeholders}`` (see ``htex/launch.py``); ``{{block_id}}`` is
            filled in per block.
        interchange_launch_cmd: command (list of words) that starts the interchange.
        address: how workers reach this host (name or address), and the only one of its addresses that is listened at;
            None: every address of this host, or only ``loopback_address`` when the blocks run on this host.
        loopback_address: what this process and the interchange use between them.
        worker_ports: fixed port for managers; the first of the two is used.
        worker_port: newer spelling of the same: one port.
        worker_port_range: ports (low, high), low <= port < high, for the managers' port; None or (0, 0): any.
        interchange_port_range: the same for the port between this process and the interchange.
        storage_access: staging providers for this executor; None: the default ones.
        working_dir: directory on the workers into which files are staged.
        worker_debug: whether the interchange and managers log details.
        cores_per_worker: cores of a node divided by this gives its workers; below 1 oversubscribes.
        mem_per_worker: GB; limits the workers of a node by its memory.
        max_workers_per_node: limits the workers of a node.
        cpu_affinity: which cores each worker may use: ``"none"`` (all), ``"block"``, ``"block-reverse"``,
            ``"alternating"``, or ``"list:0,1:2,3"`` with the cores of each worker.
        available_accelerators: accelerators of a node: a number, or their names; one for each worker, which limits
            the workers. A name with commas, ``"0,1"``, is several for one worker.
        prefetch_capacity: tasks sent to a manager beyond what its workers run.
        heartbeat_threshold: seconds of silence after which a manager or the interchange counts as lost.
        heartbeat_period: seconds between signs of life.
        drain_period: seconds after its start at which a manager takes no more tasks, finishes, and ends; None: never.
        poll_period: milliseconds; managers measure the memory of tasks that have a limit every ten of them. Nothing
            else is polled.
        address_probe_timeout: seconds to find an address that works; None: 30.
        worker_logdir_root: where managers write their logs; None: the run directory.
        manager_selector: which manager gets the next tasks: ``RandomManagerSelector()`` (the default),
            ``BlockIdManagerSelector()``, or one of your own.
        block_error_handler: True: give up when all blocks fail; False: never; or a function of executor and statuses.
        encrypted: encrypt and authenticate all connections (CURVE); the workers read the keys from the run directory.
        remote_monitoring_radio: a radio of the program's own, for messages of its tasks; what these use is recorded
            without one.

    Raises:
        ConfigurationError: a value cannot work; the message names the parameter.
    """

    enforces_walltime = True
    enable_mpi_mode = False  # tasks that spread over nodes: MPIExecutor
    mpi_launcher = "mpiexec"

    @knows_former_names(**FORMER_NAMES)
    def __init__(
        self,
        label: str = "HighThroughputExecutor",
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
        cores_per_worker: float = 1.0,
        mem_per_worker: float | None = None,
        max_workers_per_node: float | None = None,
        cpu_affinity: str = "none",
        available_accelerators: int | Sequence[str] = (),
        prefetch_capacity: int = 0,
        heartbeat_threshold: int = 120,
        heartbeat_period: int = 30,
        drain_period: int | None = None,
        poll_period: int = 10,
        address_probe_timeout: int | None = None,
        worker_logdir_root: str | None = None,
        manager_selector: ManagerSelector | None = None,
        block_error_handler: bool | Callable[..., None] = True,
        encrypted: bool = True,
        worker_port: int | None = None,
        remote_monitoring_radio: RadioConfig | None = None,
    ) -> None:
        given = arguments(locals())
        del given["provider"], given["block_error_handler"]
        if provider is None:
            from trellis.providers.local import LocalProvider

            provider = LocalProvider()
        super().__init__(provider=provider, block_error_handler=block_error_handler)
        if launch_cmd is None:
            given["launch_cmd"] = DEFAULT_LAUNCH_CMD
        if interchange_launch_cmd is None:
            given["interchange_launch_cmd"] = list(DEFAULT_INTERCHANGE_LAUNCH_CMD)
        if manager_selector is None:
            given["manager_selector"] = RandomManagerSelector()
        keep_arguments(self, given)
        self._cert_dir: str | None = None
        self._log_config_path: str | None = None
        self._started_with: HtexOptions | None = None
        self._ports = Ports(0, 0)
        self._client: InterchangeClient | None = None
        self._joined: dict[str, ManagerJoined] = {}
        self._nodes_seen: NodesSeen | None = None  # when the run is recorded
        self._last_status = StatusReply(0, 0, 0, [], [])
        self._notify: Callable[[str], None] = logger.warning
        launch_command(self.options, 0, "")  # names a placeholder that is not known
        if not self.enable_mpi_mode:
            warn_of_idle_nodes(type(self).__name__, provider)

    # -- configuration -----------------------------------------------------------------------------------------

    @property
    def options(self) -> HtexOptions:
        """All parameters, checked: while it runs as they were at its start, else as they are now.

        Raises:
            ConfigurationError: an attribute was given a value that cannot work.
        """
        return self._started_with or self._read_options()

    def _read_options(self) -> HtexOptions:
        return HtexOptions(
            owner=type(self).__name__,
            provider=self.provider,
            logdir=self.logdir,
            worker_logdir=self.worker_logdir,
            cert_dir=self.cert_dir,
            log_config=self._log_config_path,
            enable_mpi_mode=self.enable_mpi_mode,
            mpi_launcher=self.mpi_launcher,
            parameters=self,
        )

    @property
    def logdir(self) -> str:
        """Directory of this executor's logs, below the run directory."""
        return os.path.join(absolute(self.run_dir), self.label)

    @property
    def worker_logdir(self) -> str:
        """Directory of the managers' logs."""
        if self.worker_logdir_root is None:
            return self.logdir
        return os.path.join(self.worker_logdir_root, self.label)

    @property
    def cert_dir(self) -> str | None:
        """Directory of the keys; None without encryption.

        New ones are made in the run directory, unless a directory that has some is set here before the start.
        """
        return self._cert_dir or (os.path.join(self.logdir, "certificates") if self.encrypted else None)

    @cert_dir.setter
    def cert_dir(self, directory: str | os.PathLike[str] | None) -> None:
        check_type(type(self).__name__, "cert_dir", directory, str, os.PathLike, None)
        self._cert_dir = None if directory is None else os.path.abspath(directory)

    def validate_resource_spec(self, resource_specification: dict[str, Any]) -> None:
        """Raise ``InvalidResourceSpecification`` unless the keys are among these, with values that make sense.

        ``cores``, ``memory`` (MB) and ``gpus`` of the task's node; ``priority``, lower is sooner and 0 is what a task
        without one has; ``walltime_s``, seconds that one attempt may take.
        """
        self._read_specification(resource_specification)

    def _read_specification(self, specification: Mapping[str, Any] | None) -> Request:
        return read_specification(specification)

    # -- start and end -----------------------------------------------------------------------------------------

    def start(self, context: ExecutorContext | None = None) -> None:
        """Start the interchange, and ask for the first blocks.

        Raises:
            ConfigurationError: the keys in ``cert_dir`` cannot be used, or an attribute was given a value that
                cannot work.
            ExecutorError: the interchange does not start.
        """
        from trellis.executors.htex.submit.client import InterchangeCallbacks, InterchangeClient

        if self._client is not None:
            return
        context = self._told(context)
        self._log_config_path = None if context.log_config is None else os.path.join(self.logdir, "log_config.json")
        options = self._started_with = self._read_options()
        self._notify = context.notify or logger.warning
        self._joined = {}
        measurements = context.measurements
        self._nodes_seen = None if measurements is None else NodesSeen(options.label, measurements)
        check_loopback(options.label, options.loopback_address, "; with IPv6 only, give loopback_address='::1'")
        os.makedirs(options.logdir, exist_ok=True)
        if options.log_config is not None:
            write_log_config(Path(options.log_config), context.log_config)
        provide_keys(options, given=self._cert_dir is not None)
        command = with_our_interchange(options.interchange_launch_cmd or DEFAULT_INTERCHANGE_LAUNCH_CMD)
        callbacks = InterchangeCallbacks(
            manager_joined=self._on_manager_joined,
            manager_lost=self._on_manager_lost,
            manager_refused=self._on_manager_refused,
            manager_put_aside=self._on_manager_put_aside,
            interchange_lost=self._on_interchange_lost,
            interchange_restarted=self._on_interchange_restarted,
            user_warned=self._notify,
            tasks_sampled=None if measurements is None else measurements.take,
        )
        settings = interchange_settings(options)
        if options.runs_here:
            settings.shared_dir = make_directory()
        if measurements is not None:
            settings.recorded = True
            settings.sample_every_s = measurements.interval_s if self.monitor_resources() else 0.0
        client = InterchangeClient(options.label, command, settings, callbacks)
        self._ports = client.start()
        self._client = client
        self.initialize_scaling()
        self._started_with = self._read_options()  # a subclass may have changed launch_cmd
        self.start_blocks(context)

    def shutdown(self, timeout: float = 10.0) -> None:
        """End the interchange, the blocks, and what runs in them; outstanding tasks fail. A second call does nothing.

        Args:
            timeout: seconds for the interchange to end by itself; then it is killed.
        """
        client, self._client = self._client, None
        if client is None:
            return
        self.stop_judging_blocks()
        # Managers are dismissed first: they end by themselves while the batch system is told to cancel their jobs.
        client.close(timeout)
        if self._nodes_seen is not None:
            self._nodes_seen.end(time.time())
        self.stop_blocks()
        self._started_with = None

    # -- tasks -------------------------------------------------------------------------------------------------

    def launch(self, attempt: Attempt) -> None:
        client = self._client
        try:
            if client is None:
                raise ExecutorError(self, "it is not running: start it, or load a configuration that has it")
            request = self._read_specification(attempt.resources)
            if request.walltime_s is not None:
                attempt.walltime_s = min(request.walltime_s, attempt.walltime_s or request.walltime_s)
            client.submit(attempt, request.priority, request.demand)
        except TrellisError as error:
            attempt.sink.deliver([(attempt, Outcome(None, error))])

    def submit_payload(self, context: Mapping[str, Any], buffer: bytes) -> Future[Any]:
        """Run a call that is bytes already, and give its future.

        Args:
            context: ``task_executor``: a dictionary with the dotted name ``f`` of a function that is given the buffer,
                and further arguments ``a`` and ``k``; ``resource_spec``: the task's. Both may be left out.
            buffer: what ``trellis.serialize.pack_apply_message`` gives; with a ``task_executor``, what that takes.
        """
        return self.submit(run_payload, context.get("resource_spec") or {}, buffer, context.get("task_executor"))

    def cancel(self, attempt: Attempt) -> bool:
        client = self._client
        if client is None or attempt.executor_id is None:
            return False
        client.cancel(attempt)
        return True

    @property
    def outstanding(self) -> CallableCount:
        """Tasks without a result."""
        return CallableCount(0 if self._client is None else self._client.outstanding)

    @property
    def tasks(self) -> dict[Any, Future[Any]]:
        """The futures of tasks without a result, by number, as they are now."""
        return {} if self._client is None else self._client.futures()

    def _blocks_with_managers(self) -> set[str]:
        return {joined.block for joined in list(self._joined.values())}

    # -- for the block controller ------------------------------------------------------------------------------

    def _get_launch_command(self, block_id: str) -> str:
        return launch_command(self.options, self._ports.worker, block_id)

    def load(self) -> PoolLoad:
        """What there is to do, and with what. When the interchange does not answer: what it said last."""
        return PoolLoad(self.outstanding, self.workers_per_node, block_loads(self._ask_status()))

    def release(self, block_ids: Sequence[str]) -> None:
        """Give these blocks no more tasks."""
        for block_id in block_ids:
            self._hold_block(block_id)

    def _hold_block(self, block_id: str) -> None:
        if self._client is not None:
            self._client.send(HoldManagers([], [block_id]))

    def drain(self, block_ids: Sequence[str]) -> None:
        """Give these blocks no more tasks, take back what has not started; their managers end when idle."""
        if self._client is not None:
            self._client.drain(list(block_ids))

    def fail_outstanding(self, exception: BadStateException) -> None:
        if self._client is not None:
            self._client.fail_all(exception)

    @property
    def workers_per_node(self) -> float:
        """Workers of one node: as registered, or as configured before any manager has come."""
        return workers_of_a_node(
            [joined.workers for joined in list(self._joined.values())],
            maximum=self.max_workers_per_node,
            accelerators=len(self.available_accelerators),
            cores=getattr(self.provider, "cores_per_node", None),
            cores_per_worker=self.cores_per_worker,
            memory_gb=getattr(self.provider, "mem_per_node", None),
            mem_per_worker_gb=self.mem_per_worker,
        )

    # -- callbacks, on the client's thread -----------------------------------------------------------------------

    def _on_manager_joined(self, message: ManagerJoined) -> None:
        self._joined[message.manager] = message
        if self._nodes_seen is not None:
            self._nodes_seen.joined(message, time.time())
        logger.info("manager %s on %s joined, %d workers", message.manager, message.hostname, message.workers)

    def _on_manager_lost(self, message: ManagerLoss) -> None:
        self._joined.pop(message.manager, None)
        if self._nodes_seen is not None:
            self._nodes_seen.lost(message.manager, time.time())
        logger.warning("manager %s on %s is lost: %s", message.manager, message.hostname, message.reason)
        self._look_soon()  # its block's job may have ended

    def _on_manager_refused(self, message: ManagerRefused) -> None:
        text = f"executor {self.label} refused manager {message.manager} on {message.hostname}: {message.reason}"
        if message.versions is not None:
            text += f" ({VersionMismatch(*message.versions)})"
        self._notify(text)

    def _on_manager_put_aside(self, message: ManagerPutAside) -> None:
        self._notify(
            f"executor {self.label} gives no more tasks to manager {message.manager} on {message.hostname} (block "
            f"{message.block}): {message.reason}"
        )

    def _on_interchange_restarted(self, text: str) -> None:
        self._notify(text)

    def _on_interchange_lost(self, error: TrellisError) -> None:
        self.set_bad_state_and_fail_all(error)

    # -- introspection -----------------------------------------------------------------------------------------

    def _ask_status(self) -> StatusReply:
        client = self._client
        if client is not None:
            try:
                self._last_status = client.status(_STATUS_TIMEOUT_S)
                if self._nodes_seen is not None:
                    self._nodes_seen.heard(self._last_status.managers, time.time())
            except (CommandClientTimeoutError, CommandClientBadError) as error:
                logger.debug("no status of executor %s: %s", self.label, error)
        return self._last_status

    def report(self, timeout_s: float = 1.0) -> ExecutorReport:
        """Tell how the executor is now; of managers what was known last, when the interchange does not answer."""
        client = self._client
        status, is_new = self._last_status if client is not None else None, False
        if client is not None:
            with contextlib.suppress(CommandClientTimeoutError, CommandClientBadError):
                status = self._last_status = client.status(timeout_s)
                is_new = True
        error = self._executor_exception
        return executor_report(
            self.label,
            type(self).__name__,
            status,
            is_new,
            self.outstanding(),
            self.block_reports(managers_by_block(status)),
            None if self.provider is None else self.provider.max_blocks,
            ("" if client else "it is not running") if error is None else str(error),
        )

    def standing(self, attempt: Attempt, timeout_s: float = 1.0) -> Standing:
        """Tell where an attempt is that was launched here, and why it does not run."""
        client, id_ = self._client, attempt.executor_id
        if client is None or id_ is None:
            return Standing("unknown", f"executor {self.label} does not have it: it is not running, or refused it")
        if self._executor_exception is not None:
            return Standing("unknown", f"executor {self.label} cannot work any more: {self._executor_exception}")
        known = answer = None
        with contextlib.suppress(CommandClientBadError):
            known, answer = client.standing(id_, timeout_s)
        managers = Counter(joined.block for joined in list(self._joined.values()))
        return task_standing(
            known,
            answer,
            client.where_it_runs(id_),
            self._place_of("" if answer is None else answer.manager),
            self.block_hindrances(managers),
        )

    def _place_of(self, manager: str) -> tuple[str, str]:
        joined = self._joined.get(manager)
        return ("", "") if joined is None else (joined.hostname, joined.block)

    @property
    def connected_workers(self) -> int:
        """Workers of all managers that are connected."""
        return sum(manager.workers for manager in self._ask_status().managers)

    def connected_managers(self) -> list[dict[str, Any]]:
        """A dictionary for each manager that is connected; ``idle_duration`` in seconds."""
        return [describe_manager(manager) for manager in self._ask_status().managers]

    def connected_managers_packages(self) -> dict[str, dict[str, str]]:
        """Python packages and their versions by manager, of all that answer within five seconds."""
        client = self._client
        return {} if client is None else client.packages(_STATUS_TIMEOUT_S).packages

    def connected_blocks(self) -> list[str]:
        """Blocks of which a manager ever connected."""
        return list(self._ask_status().blocks)

    def hold_worker(self, worker_id: str) -> None:
        """Give no more tasks to the manager with this id; what it has goes on."""
        if self._client is not None:
            self._client.send(HoldManagers([worker_id], []))
