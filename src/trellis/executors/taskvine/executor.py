"""TaskVineExecutor: what users configure, and the parts that it starts and ends."""

from __future__ import annotations

import logging
import os
import secrets
import shlex
import sys
import threading
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from trellis.addresses import get_all_addresses
from trellis.core.interfaces import Attempt, BlockLoad, ExecutorContext, Outcome, PoolLoad
from trellis.core.validation import check_type
from trellis.errors import BadStateException, ConfigurationError, ExecutorError, TrellisError
from trellis.executors.common.functions import FunctionTable
from trellis.executors.common.service_process import ServiceProcess
from trellis.executors.scalable import BlockProviderExecutor
from trellis.executors.taskvine.client import Held, Notices, VineClient, VineTask
from trellis.executors.taskvine.embedded.factory_service import FactoryReady, FactorySettings
from trellis.executors.taskvine.engines import ENGINES, FACTORY_SERVICE, choose_engine, manager_command, worker_command
from trellis.executors.taskvine.factory_config import TaskVineFactoryConfig
from trellis.executors.taskvine.factory_keeper import FactoryKeeper
from trellis.executors.taskvine.file_table import FileTable
from trellis.executors.taskvine.library import Library
from trellis.executors.taskvine.manager_config import DEFAULT_PORT, TaskVineManagerConfig
from trellis.executors.taskvine.settings import VinePorts, VineSettings
from trellis.executors.taskvine.specification import check_specification, parse_specification
from trellis.executors.taskvine.staging import taskvine_staging
from trellis.executors.taskvine.temps import ResultHere, TempResult
from trellis.transport.keys import create_keys
from trellis.utils import RepresentationMixin
from trellis.wire.payload import dump_call
from trellis.wire.vine import Amount, LibrarySpec, Mount, TaskShape, VineStatus, WorkerJoined, WorkerLeft

logger = logging.getLogger(__name__)

METHODS = ("factory", "provider", "manual")
# The library that serverless apps run in when they name none.
DEFAULT_LIBRARY = "trellis-library"
_STATUS_TIMEOUT_S = 5.0
_HEARTBEAT_S = 30.0
_ANY_PORT = (1024, 65536)


class TaskVineExecutor(BlockProviderExecutor, RepresentationMixin):
    """Runs functions through TaskVine: files live at the workers, and functions stay loaded there.

    Args:
        label: name of the executor; also of its log directory.
        worker_launch_method: "factory": a factory keeps as many workers as tasks need; "provider": the provider's
            blocks run workers; "manual": the user starts workers with ``executor.worker_command``.
        function_exec_mode: "regular": each task has an interpreter of its own; "serverless": tasks are calls of
            libraries, which stay loaded. ``exec_mode`` of a resource specification says otherwise for one task.
        manager_config: how tasks are managed; None: ``TaskVineManagerConfig()``.
        factory_config: how workers are started; None: ``TaskVineFactoryConfig()``.
        provider: where blocks come from with ``worker_launch_method="provider"``; None: this computer.
        storage_access: staging providers for this executor; None: the default ones.
        engine: "ndcctools" drives the real TaskVine, "embedded" is part of Trellis, "auto" takes the real one where
            it is installed.
        libraries: libraries that serverless apps may name, with contexts of their own.

    Raises:
        ConfigurationError: a value cannot work; the message names the parameter.
    """

    enforces_walltime = True

    def __init__(
        self,
        label: str = "TaskVineExecutor",
        worker_launch_method: str = "factory",
        function_exec_mode: str = "regular",
        manager_config: TaskVineManagerConfig | None = None,
        factory_config: TaskVineFactoryConfig | None = None,
        provider: Any = None,
        storage_access: Sequence[Any] | None = None,
        engine: str = "auto",
        libraries: Sequence[Library] = (),
    ) -> None:
        owner = type(self).__name__
        check_type(owner, "label", label, str)
        for name, value, known in (
            ("worker_launch_method", worker_launch_method, METHODS),
            ("function_exec_mode", function_exec_mode, ("regular", "serverless")),
            ("engine", engine, ENGINES),
        ):
            if value not in known:
                raise ConfigurationError(f"{owner}: {name} must be one of {', '.join(known)}, not {value!r}")
        if provider is None and worker_launch_method == "provider":
            from trellis.providers.local import LocalProvider

            provider = LocalProvider(init_blocks=1)
        super().__init__(provider=provider if worker_launch_method == "provider" else None, block_error_handler=True)
        self.label = label
        self.worker_launch_method = worker_launch_method
        self.function_exec_mode = function_exec_mode
        self.manager_config = TaskVineManagerConfig() if manager_config is None else manager_config
        self.factory_config = TaskVineFactoryConfig() if factory_config is None else factory_config
        check_type(owner, "manager_config", self.manager_config, TaskVineManagerConfig)
        check_type(owner, "factory_config", self.factory_config, TaskVineFactoryConfig)
        self.storage_access = taskvine_staging() if storage_access is None else storage_access
        self.engine = engine
        self.libraries = libraries
        self._client: VineClient | None = None
        self._factory: FactoryKeeper | None = None
        self._notify: Callable[[str], None] = logger.warning
        self._workers: dict[str, WorkerJoined] = {}
        self._shapes: dict[TaskShape, int] = {}
        self._shape_lock = threading.Lock()

    # -- start and end -----------------------------------------------------------------------------------------

    @property
    def logdir(self) -> str:
        """Directory of this executor's logs."""
        if self.manager_config.vine_log_dir is not None:
            return os.path.join(os.path.abspath(self.manager_config.vine_log_dir), self.label)
        return os.path.join(os.path.abspath(self.run_dir), self.label)

    def start(self, context: ExecutorContext | None = None) -> None:
        """Start the manager, and see to workers.

        Raises:
            ConfigurationError: the engine that was asked for is not there.
            ExecutorError: the manager does not start.
        """
        if self._client is not None:
            return
        context = context or ExecutorContext(run_dir=self.run_dir, run_id=self.run_id)
        self.run_dir, self.run_id = context.run_dir, context.run_id
        self._notify = context.notify or logger.warning
        self._engine, reason = choose_engine(self.engine)
        logger.info("executor %s uses the %s engine of TaskVine: %s", self.label, self._engine, reason)
        os.makedirs(self.logdir, exist_ok=True)
        create_keys(Path(self.logdir) / "certificates")
        self._password_file = self._find_password_file()
        self._workers, self._shapes = {}, {}
        settings = self._settings()
        process = ServiceProcess(
            self.label, "TaskVine manager", manager_command(self._engine), settings, VinePorts, "manager.log"
        )
        notices = Notices(
            self._on_worker_joined,
            self._on_worker_left,
            lambda text: self._notify(f"executor {self.label}: {text}"),
            self.set_bad_state_and_fail_all,
            self._on_ended,
            self._on_released,
        )
        client = VineClient(self.label, process, settings, notices)
        self._ports = client.start()
        self._functions = FunctionTable(client.define, client.forget)
        config = self.manager_config
        self._files = FileTable(client.declare, shared_fs=config.shared_fs, peer_transfers=config.enable_peer_transfers)
        self._client = client
        self._install_libraries(client)
        self.start_blocks(context)
        if self.worker_launch_method == "factory":
            self._factory = FactoryKeeper(self.label, self._factory_process, self.set_bad_state_and_fail_all)
            self._factory.start()
        if self.worker_launch_method == "manual":
            self._notify(f"executor {self.label} waits for workers; start them with: {self.worker_command}")

    def _factory_process(self) -> ServiceProcess[FactoryReady]:
        config = self.factory_config
        settings = FactorySettings(
            shlex.split(self.worker_command),
            self._addresses()[0],
            self._ports.worker,
            str(self._password_file),
            config.min_workers,
            config.max_workers,
            config.workers_per_cycle,
            float(config.factory_timeout),
            config.scratch_dir or self.logdir,
            self.logdir,
        )
        command = [sys.executable, "-P", "-m", FACTORY_SERVICE]
        return ServiceProcess(self.label, "TaskVine factory", command, settings, FactoryReady, "factory.log")

    def _find_password_file(self) -> Path:
        given = self.manager_config.project_password_file
        if given is not None:
            if not os.access(given, os.R_OK):
                raise ConfigurationError(f"TaskVineManagerConfig: project_password_file {given} cannot be read")
            return Path(given).resolve()
        path = Path(self.logdir) / "password"
        path.unlink(missing_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
        return path

    @property
    def _runs_here(self) -> bool:
        """Whether all workers run on this host, so that nothing has to listen beyond loopback."""
        if self.manager_config.address is not None or self.worker_launch_method == "manual":
            return False
        if self.worker_launch_method == "provider":
            return bool(getattr(self.provider, "same_host", False))
        return self.factory_config.batch_type == "local"

    def _addresses(self) -> list[str]:
        if self.manager_config.address is not None:
            return [self.manager_config.address]
        return ["127.0.0.1"] if self._runs_here else sorted(get_all_addresses())

    def _settings(self) -> VineSettings:
        config, port = self.manager_config, self.manager_config.port
        return VineSettings(
            client_address="127.0.0.1",
            client_ports=_ANY_PORT,
            worker_address="127.0.0.1" if self._runs_here else "*",
            worker_ports=(port, port + 1) if port else _ANY_PORT,
            any_port=port == DEFAULT_PORT,
            cert_dir=str(Path(self.logdir) / "certificates"),
            password_file=str(self._password_file),
            logdir=self.logdir,
            debug=False,
            import_paths=[os.path.abspath(path) for path in sys.path if os.path.isdir(path or ".")],
            heartbeat_period_s=_HEARTBEAT_S,
            heartbeat_threshold_s=4 * _HEARTBEAT_S,
            worker_timeout_s=self.factory_config.worker_timeout,
            peer_transfers=config.enable_peer_transfers,
            autolabel=config.autolabel_algorithm if config.autolabel else "fixed",
            autolabel_window=config.autolabel_window or 0,
            wait_for_workers=config.wait_for_workers or 0,
            tune=dict(config.tune_parameters or {}),
            project_name=config.project_name,
        )

    def _install_libraries(self, client: VineClient) -> None:
        config = dict(self.manager_config.library_config or {})
        default = Library(DEFAULT_LIBRARY, **config)
        variables = tuple((self.manager_config.env_vars or {}).items())
        for library in (default, *self.libraries):
            number = -1 if library.context is None else self._functions.intern(library.context)
            spec = LibrarySpec(
                library.name,
                library.exec_mode,
                library.num_slots or 0,
                Amount(library.cores, library.memory, library.disk, library.gpus),
                self._files.files_of((), {"inputs": list(library.inputs)}).inputs,
                -1,
                variables,
                number,
            )
            client.install(spec, dump_call(library.args, library.kwargs, f"the context of library {library.name}"))

    @property
    def worker_command(self) -> str:
        """The command that offers a host to this executor; valid once it is started."""
        words = worker_command(
            self._engine, self._addresses(), self._ports.worker, self._password_file, self.factory_config
        )
        return shlex.join(words)

    def shutdown(self, timeout: float = 10.0) -> None:
        """End the manager, the workers, and what runs there; outstanding tasks fail. A second call does nothing."""
        client, self._client = self._client, None
        if client is None:
            return
        # Workers are dismissed first: they end by themselves while the batch system is told to cancel their jobs.
        client.close(timeout)
        if self._factory is not None:
            self._factory.close(timeout)
            self._factory = None
        self.stop_blocks()

    # -- tasks -------------------------------------------------------------------------------------------------

    def validate_resource_spec(self, resource_specification: dict[str, Any]) -> None:
        check_specification(resource_specification)

    def launch(self, attempt: Attempt) -> None:
        client = self._client
        try:
            if client is None:
                raise ExecutorError(self, "it is not running: start it, or load a configuration that has it")
            self._launch(client, attempt)
        except (TrellisError, OSError) as error:
            attempt.sink.deliver([(attempt, Outcome(None, error))])

    def _launch(self, client: VineClient, attempt: Attempt) -> None:
        resources = attempt.resources or {}
        shape = self._shape(client, attempt, resources)
        files = self._files.files_of(attempt.args, dict(attempt.kwargs))
        args, kwargs = self._mount_results(files.args, files.kwargs, files.inputs)
        number = self._functions.intern(attempt.func)
        try:
            arguments = dump_call(args, kwargs, attempt.name)
        except BaseException:
            self._functions.release((number,))
            raise
        result_file = self._files.new("temp") if resources.get("temp_output") else -1
        attempt.executor_id = client.next_id()
        client.submit(
            VineTask(attempt.executor_id, number, shape, arguments, files.inputs, files.outputs, result_file, attempt)
        )

    def _shape(self, client: VineClient, attempt: Attempt, resources: dict[str, Any] | Any) -> int:
        config = self.manager_config
        category = getattr(attempt.func, "__name__", attempt.name) if config.autocategory else "default"
        limit = resources.get("running_time_max")
        if attempt.walltime_s is not None and (limit is None or attempt.walltime_s < limit):
            resources = {**resources, "running_time_max": attempt.walltime_s}
        shape = parse_specification(
            resources,
            default_mode=self.function_exec_mode,
            default_category=category,
            default_library=DEFAULT_LIBRARY,
            max_retries=config.max_retries,
            variables=tuple((config.env_vars or {}).items()),
            init_command=config.init_command,
        )
        with self._shape_lock:
            number = self._shapes.get(shape)
            if number is None:
                number = self._shapes[shape] = len(self._shapes)
                client.define_shape(number, shape)
        return number

    def _mount_results(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], mounts: list[Mount]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Results that stay at the workers are read there."""

        def placed(value: Any) -> Any:
            if not isinstance(value, TempResult):
                return value
            path = f".result-{value.number}"
            mounts.append(Mount(value.number, path))
            return ResultHere(path)

        return tuple([placed(value) for value in args]), {name: placed(value) for name, value in kwargs.items()}

    def cancel(self, attempt: Attempt) -> bool:
        client = self._client
        if client is None or attempt.executor_id is None:
            return False
        client.cancel(attempt.executor_id)
        return True

    @property
    def outstanding(self) -> int:
        """Tasks without a result."""
        return 0 if self._client is None else self._client.outstanding

    # -- notices, on the client's thread -----------------------------------------------------------------------

    def _on_ended(self, held: Held, value: Any) -> Any:
        self._files.came_home(held.outputs)
        if held.result_file < 0:
            return value
        client = self._client
        if client is None:
            return value
        result = TempResult(held.result_file, self._fetch)
        weakref.finalize(result, client.drop_file, held.result_file).atexit = False
        return result

    def _fetch(self, number: int) -> Future[bytes]:
        if self._client is None:
            raise ExecutorError(self, "it is not running, and what was at its workers is gone")
        return self._client.fetch(number)

    def _on_released(self, numbers: list[int]) -> None:
        self._functions.release(numbers)

    def _on_worker_joined(self, message: WorkerJoined) -> None:
        self._workers[message.worker] = message
        logger.info("worker %s on %s joined: %s", message.worker, message.hostname, message.amount)

    def _on_worker_left(self, message: WorkerLeft) -> None:
        self._workers.pop(message.worker, None)
        logger.info("worker %s on %s is gone: %s", message.worker, message.hostname, message.reason)
        self.poll_facade()

    # -- for the block controller, and introspection -------------------------------------------------------------

    def launch_command(self, block_id: str) -> str:
        """The command that starts a worker of this block."""
        return f"{self.worker_command} --block {block_id}"

    def load(self) -> PoolLoad:
        """What there is to do, and with what."""
        blocks: dict[str, BlockLoad] = {}
        status = self.vine_status()
        if status is not None:
            for worker in status.workers:
                known = blocks.get(worker.block, BlockLoad(0, 0, worker.idle_s))
                blocks[worker.block] = BlockLoad(
                    known.managers + 1, known.tasks + worker.tasks, min(known.idle_s, worker.idle_s)
                )
        return PoolLoad(self.outstanding, self.workers_per_node, blocks)

    def vine_status(self) -> VineStatus | None:
        """What the manager says of its tasks, workers and files; None when it does not answer."""
        client = self._client
        try:
            return None if client is None else client.status(_STATUS_TIMEOUT_S)
        except (TimeoutError, TrellisError):
            return None

    def release(self, block_ids: Sequence[str]) -> None:
        """Nothing: tasks of a worker that goes run elsewhere, free of charge."""

    def drain(self, block_ids: Sequence[str]) -> None:
        """Nothing, as ``release``."""

    def fail_outstanding(self, exception: BadStateException) -> None:
        if self._client is not None:
            self._client.fail_all(exception)

    @property
    def connected_workers(self) -> int:
        return len(self._workers)

    @property
    def workers_per_node(self) -> float:
        """Tasks that one worker runs at a time, as far as that is known: its cores."""
        cores = [joined.amount.cores or 1 for joined in self._workers.values()]
        return sum(cores) / len(cores) if cores else float(self.factory_config.cores or 1)
