"""TaskVineExecutor: what users configure, and the parts that it starts and ends."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shlex
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from trellis.core.count import CallableCount
from trellis.core.interfaces import Attempt, BlockLoad, ExecutorContext, Outcome, PoolLoad
from trellis.core.kinds import OrNone
from trellis.core.parameters import MONITORING_RADIO, PROVIDER
from trellis.core.places import absolute
from trellis.core.radios import RadioConfig
from trellis.core.reports import ExecutorReport, Hindrance, Standing
from trellis.core.validation import check, check_all, knows_former_names
from trellis.errors import BadStateException, ConfigurationError, ExecutorError, ParameterValueError, TrellisError
from trellis.executors.block_executor import BlockExecutor
from trellis.executors.common import host
from trellis.executors.common.import_paths import import_paths
from trellis.executors.common.listening import EVERYWHERE, listening_address
from trellis.executors.common.loopback import check_loopback
from trellis.executors.common.service_process import ServiceProcess
from trellis.executors.taskvine.batch import provider_of
from trellis.executors.taskvine.block_workers import block_command, bring_along
from trellis.executors.taskvine.engine import Engine, choose_engine
from trellis.executors.taskvine.factory_config import TaskVineFactoryConfig
from trellis.executors.taskvine.factory_keeper import FactoryKeeper, last_worker_end
from trellis.executors.taskvine.front.calls import Calls
from trellis.executors.taskvine.front.client import VineClient
from trellis.executors.taskvine.front.outstanding_tasks import VineCallbacks
from trellis.executors.taskvine.front.specification import check_specification
from trellis.executors.taskvine.library import Library
from trellis.executors.taskvine.manager_config import DEFAULT_PORT, TaskVineManagerConfig
from trellis.executors.taskvine.parameters import FORMER_NAMES, KINDS
from trellis.executors.taskvine.projects import Project, announce, withdraw
from trellis.executors.taskvine.recording import VineRecording
from trellis.executors.taskvine.reporting import (
    executor_report,
    factory_hindrances,
    hand_hindrances,
    silence,
    task_standing,
)
from trellis.executors.taskvine.settings import VinePorts, VineSettings
from trellis.executors.taskvine.staging import taskvine_staging
from trellis.executors.taskvine.worker_command import ManagerAccess, reachable_addresses
from trellis.transport.keys import create_keys, password_weakness, read_password
from trellis.utils import RepresentationMixin
from trellis.wire.vine import VineStatus, WorkerJoined, WorkerLeft

logger = logging.getLogger(__name__)

_STATUS_TIMEOUT_S = 5.0
_ANY_PORT = (1024, 65536)


class TaskVineExecutor(BlockExecutor, RepresentationMixin):
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
        remote_monitoring_radio: a radio of the program's own, for messages of its tasks.

    Raises:
        ConfigurationError: a value cannot work; the message names the parameter.
    """

    radio_mode = "filesystem"
    checks_outputs = True
    enforces_walltime = True
    # Silence of the manager for longer than the threshold is its end; the manager judges its workers by the same.
    _heartbeat_period_s = 30.0
    _heartbeat_threshold_s = 120.0

    @knows_former_names(**FORMER_NAMES)
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
        remote_monitoring_radio: RadioConfig | None = None,
    ) -> None:
        owner = type(self).__name__
        self.label = label
        self.worker_launch_method = worker_launch_method
        self.function_exec_mode = function_exec_mode
        self.manager_config = TaskVineManagerConfig() if manager_config is None else manager_config
        self.factory_config = TaskVineFactoryConfig() if factory_config is None else factory_config
        self.storage_access = taskvine_staging() if storage_access is None else storage_access
        self.engine = engine
        self.libraries = libraries
        check_all(self, KINDS)
        provider = check(owner, "provider", provider, OrNone(PROVIDER))
        if provider is None and worker_launch_method == "provider":
            from trellis.providers.local import LocalProvider

            provider = LocalProvider(init_blocks=1)
        if worker_launch_method != "provider" and provider is not None:
            # As Parsl, for whose programs this is; but not in silence.
            warnings.warn(
                f"{owner}: provider starts no workers with worker_launch_method={worker_launch_method!r} and is not "
                "used; say worker_launch_method='provider' if it is to start them",
                stacklevel=3,  # of the decorator, too
            )
            provider = None
        if worker_launch_method == "factory" and self.factory_config.batch_type != "local":
            provider = provider_of(self.factory_config)
        super().__init__(provider=provider, block_error_handler=True)
        self.remote_monitoring_radio = check(
            owner, "remote_monitoring_radio", remote_monitoring_radio, MONITORING_RADIO
        )
        names = [library.name for library in self.libraries]
        if len(set(names)) < len(names):
            raise ParameterValueError(f"{owner}: libraries must have names of their own, not {', '.join(names)}")
        self._client: VineClient | None = None
        self._last_blocks: dict[str, BlockLoad] = {}
        self._factory: FactoryKeeper | None = None
        self._project: Project | None = None  # as others find it
        self._notify: Callable[[str], None] = logger.warning
        self._workers: dict[str, WorkerJoined] = {}
        self._last_status: VineStatus | None = None
        self._recording: VineRecording | None = None
        self._sample_every_s = 0.0

    # -- start and end -----------------------------------------------------------------------------------------

    @property
    def logdir(self) -> str:
        """Directory of this executor's logs."""
        if self.manager_config.vine_log_dir is not None:
            return os.path.join(os.path.abspath(self.manager_config.vine_log_dir), self.label)
        return os.path.join(absolute(self.run_dir), self.label)

    def start(self, context: ExecutorContext | None = None) -> None:
        """Start the manager, and see to workers.

        Raises:
            ConfigurationError: the engine that was asked for is not there, or a file or name cannot be used.
            ExecutorError: the manager does not start.
        """
        if self._client is not None:
            return
        context = self._told(context)
        measurements = context.measurements
        self._recording = None if measurements is None else VineRecording(self.label, measurements)
        self._sample_every_s = measurements.interval_s if measurements is not None and self.monitor_resources() else 0.0
        self._notify, self._last_blocks = context.notify or logger.warning, {}
        engine, reason = choose_engine(self.engine)
        logger.info("executor %s uses the %s engine of TaskVine: %s", self.label, engine.name, reason)
        check_loopback(self.label, "127.0.0.1", "; this executor needs IPv4 there")
        os.makedirs(self.logdir, exist_ok=True)
        create_keys(Path(self.logdir) / "certificates")
        self._workers, self._last_status = {}, None
        password_file = self._find_password_file()
        client = self._start_manager(engine, password_file)
        self._chosen_engine = engine
        try:
            self._announce()
            self._calls.install(self.libraries)
            self._client = client
            self._start_workers(context)
        except BaseException:
            self._client = client
            self.shutdown()
            raise

    def _start_manager(self, engine: Engine, password_file: Path) -> VineClient:
        config = self.manager_config
        settings = self._settings(engine, password_file)
        command = [sys.executable, "-P", "-m", engine.manager_module]
        process = ServiceProcess(self.label, "TaskVine manager", command, settings, VinePorts, "manager.log")
        callbacks = VineCallbacks(
            self._on_worker_joined,
            self._on_worker_left,
            lambda text: self._notify(f"executor {self.label}: {text}"),
            self.set_bad_state_and_fail_all,
            lambda held, value: self._calls.kept(held, value),
            lambda tasks: self._calls.ended(tasks),
        )
        if self._recording is not None:
            callbacks = callbacks._replace(sampled=self._recording.sampled, files_seen=self._recording.files)
        client = VineClient(self.label, process, settings, callbacks)
        ports = client.start()
        self._calls = Calls(
            client, config, self.function_exec_mode, self.run_dir, self._for_this_host, self._recording is not None
        )
        is_known = config.address is not None or self._for_this_host
        addresses = [config.address or "127.0.0.1"] if is_known else reachable_addresses()
        near = "127.0.0.1" if settings.worker_address == EVERYWHERE else settings.worker_address
        self._access = ManagerAccess(addresses, ports.worker, password_file, config.autolabel, near)
        return client

    def _start_workers(self, context: ExecutorContext) -> None:
        bring_along(self.provider, self._chosen_engine, self._access, self.factory_config)
        self.initialize_scaling()
        self.start_blocks(context)
        if self.worker_launch_method == "manual":
            self._notify(f"executor {self.label} waits for workers; start them with: {self.worker_command}")
        elif self.worker_launch_method == "factory" and self.provider is None:
            factory = FactoryKeeper(
                self.label,
                lambda: self._chosen_engine.factory_process(self.label, self._access, self.factory_config, self.logdir),
                self.set_bad_state_and_fail_all,
            )
            factory.start()
            self._factory = factory

    def _announce(self) -> None:
        name = self.manager_config.project_name
        if name is not None and not self._chosen_engine.announces_projects:
            access = self._access
            self._project = Project(access.addresses, access.port, str(access.password_file), os.getpid())
            announce(name, self._project)

    def _find_password_file(self) -> Path:
        given = self.manager_config.project_password_file
        if given is not None:
            return self._checked_password_file(Path(given))
        path = Path(self.logdir) / "password"
        path.unlink(missing_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
        return path

    def _checked_password_file(self, given: Path) -> Path:
        try:
            weakness = password_weakness(read_password(given))
        except ConfigurationError as error:
            raise ConfigurationError(f"TaskVineManagerConfig: project_password_file: {error}") from None
        if weakness:
            self._notify(
                f"executor {self.label}: the password in {given} is easily guessed ({weakness}), and who guesses it "
                "can run code as you: python -c 'import secrets; print(secrets.token_hex(32))' makes a good one"
            )
        return given.resolve()

    @property
    def _for_this_host(self) -> bool:
        """Whether all workers run on this host, so that nothing has to listen beyond loopback."""
        if self.manager_config.project_name is not None or self.worker_launch_method == "manual":
            return False
        return self.provider is None or bool(getattr(self.provider, "same_host", False))

    @property
    def _listening_address(self) -> str:
        address = self.manager_config.address
        if address is not None:
            return listening_address(address, self._for_this_host)
        return "127.0.0.1" if self._for_this_host else EVERYWHERE

    def _settings(self, engine: Engine, password_file: Path) -> VineSettings:
        config, port = self.manager_config, self.manager_config.port
        tune = dict(config.tune_parameters or {})
        problem = engine.tuning_complaint(tune)
        if problem:
            self._notify(f"executor {self.label}: {problem}")
        return VineSettings(
            client_address="127.0.0.1",
            client_ports=_ANY_PORT,
            worker_address=self._listening_address,
            worker_ports=(port, port + 1) if port else _ANY_PORT,
            any_port=port == DEFAULT_PORT,
            cert_dir=str(Path(self.logdir) / "certificates"),
            password_file=str(password_file),
            logdir=self.logdir,
            debug=False,
            import_paths=import_paths(),
            heartbeat_period_s=self._heartbeat_period_s,
            heartbeat_threshold_s=self._heartbeat_threshold_s,
            worker_timeout_s=self.factory_config.worker_timeout,
            peer_transfers=config.enable_peer_transfers,
            autolabel=config.autolabel_algorithm if config.autolabel else "fixed",
            autolabel_window=config.autolabel_window or 0,
            wait_for_workers=config.wait_for_workers or 0,
            tune=tune,
            project_name=config.project_name,
            scheduler=config.scheduler,
            recorded=self._recording is not None,
            sample_every_s=self._sample_every_s,
            client_name=secrets.token_hex(16),
        )

    @property
    def worker_command(self) -> str:
        """The command that offers a host to this executor; valid once it is started."""
        return shlex.join(self._chosen_engine.worker_command(self._access, self.factory_config))

    def shutdown(self, timeout: float = 10.0) -> None:
        """End the manager, the workers, and what runs there; outstanding tasks fail. A second call does nothing."""
        client, self._client = self._client, None
        if client is None:
            return
        if self._project is not None:
            withdraw(str(self.manager_config.project_name), self._project)
            self._project = None
        self.stop_judging_blocks()
        # Workers are dismissed first: they end by themselves while the batch system is told to cancel their jobs.
        client.close(timeout)
        if self._recording is not None:
            self._recording.close()
        self._calls.close()
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
            client.submit(self._calls.task_of(attempt))
        except Exception as error:  # whatever is wrong with it is its own
            attempt.sink.deliver([(attempt, Outcome(None, error))])

    def cancel(self, attempt: Attempt) -> bool:
        client = self._client
        if client is None or attempt.executor_id is None:
            return False
        client.cancel(attempt.executor_id)
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
        return {joined.block for joined in list(self._workers.values())}

    # -- callbacks, on the client's thread -----------------------------------------------------------------------

    def _on_worker_joined(self, message: WorkerJoined) -> None:
        self._workers[message.worker] = message
        if self._recording is not None:
            self._recording.joined(message)
        logger.info("worker %s on %s joined: %s", message.worker, message.hostname, message.resources)

    def _on_worker_left(self, message: WorkerLeft) -> None:
        self._workers.pop(message.worker, None)
        if self._recording is not None:
            self._recording.left(message.worker)
        logger.info("worker %s on %s is gone: %s", message.worker, message.hostname, message.reason)
        self._look_soon()

    # -- for the block controller, and introspection -------------------------------------------------------------

    def _get_launch_command(self, block_id: str) -> str:
        return block_command(self._chosen_engine, self._access, self.factory_config, self.provider, block_id)

    def load(self) -> PoolLoad:
        """What there is to do, and with what. When the manager does not answer: what it said last."""
        status = self.vine_status()
        if status is None and self._client is not None:
            # Nobody says that the workers have gone: blocks would be replaced for it.
            return PoolLoad(self.outstanding, self.workers_per_node, self._last_blocks)
        blocks: dict[str, BlockLoad] = {}
        for worker in () if status is None else status.workers:
            known = blocks.get(worker.block, BlockLoad(0, 0, worker.idle_s))
            blocks[worker.block] = BlockLoad(
                known.managers + 1, known.tasks + worker.tasks, min(known.idle_s, worker.idle_s)
            )
        self._last_blocks = blocks
        return PoolLoad(self.outstanding, self.workers_per_node, blocks)

    def vine_status(self, timeout_s: float = _STATUS_TIMEOUT_S) -> VineStatus | None:
        """What the manager says of its tasks, workers and files; None when it does not answer."""
        client = self._client
        try:
            status = None if client is None else client.status(timeout_s)
        except (TimeoutError, TrellisError):
            return None
        self._last_status = status
        return status

    def report(self, timeout_s: float = 1.0) -> ExecutorReport:
        """Tell how the executor is now; of workers what was known last, when the manager does not answer."""
        status, error = self.vine_status(timeout_s), self._executor_exception
        known = status if status is not None or self._client is None else self._last_status
        managers = Counter(joined.block for joined in list(self._workers.values()))
        factory = None if self._factory is None else self._factory.trouble()
        return executor_report(
            self.label,
            type(self).__name__,
            known,
            status is not None,
            self.outstanding,
            self.block_reports(managers),
            None if self.provider is None else self.provider.max_blocks,
            ("" if self._client else "it is not running") if error is None else str(error),
            [f"factory: {factory}"] if factory else [],
            "" if status is not None else self._silence(),
        )

    def standing(self, attempt: Attempt, timeout_s: float = 1.0) -> Standing:
        """Tell where an attempt is that was launched here, and why it does not run."""
        client, id_ = self._client, attempt.executor_id
        if client is None or id_ is None:
            return Standing("unknown", f"executor {self.label} does not have it: it is not running, or refused it")
        if not client.has(id_):
            return Standing("unknown", f"executor {self.label} does not have it any more: it has ended")
        answer = None
        with contextlib.suppress(TimeoutError, TrellisError):
            answer = client.standing(id_, timeout_s)
        where = client.place_of("" if answer is None else answer.worker)
        silent = "" if answer is not None else self._silence()
        return task_standing(answer, client.where_it_runs(id_), where, self._why_no_workers(), silent)

    def _silence(self) -> str:
        client = self._client
        return silence(client is not None and host.is_stopped(client.process.pid))

    def _why_no_workers(self) -> list[Hindrance]:
        """Why there are no other workers than those that are connected."""
        connected = list(self._workers.values())
        if self.provider is not None:
            return self.block_hindrances(Counter(joined.block for joined in connected))
        factory = self._factory
        if factory is None:
            return hand_hindrances(self.worker_command, len(connected))
        return factory_hindrances(
            factory.trouble(), len(connected), self.factory_config.max_workers, last_worker_end(self.logdir)
        )

    def release(self, block_ids: Sequence[str]) -> None:
        """Give these blocks no more tasks. What still runs there runs again elsewhere, free of charge."""
        self.drain(block_ids)

    def drain(self, block_ids: Sequence[str]) -> None:
        """Give these blocks no more tasks; their workers end when they are idle."""
        if self._client is not None:
            self._client.drain(block_ids)

    def fail_outstanding(self, exception: BadStateException) -> None:
        if self._client is not None:
            self._client.fail_all(exception)

    @property
    def connected_workers(self) -> int:
        return len(self._workers)

    @property
    def workers_per_node(self) -> float:
        """Tasks that one worker runs at a time, as far as that is known: its cores."""
        cores = [joined.resources.cores or 1 for joined in list(self._workers.values())]
        return sum(cores) / len(cores) if cores else float(self.factory_config.cores or 1)
