"""How the processes of the real TaskVine are started. Starts none itself."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Iterable

from trellis.executors.common.service_process import ServiceProcess
from trellis.executors.taskvine.factory_config import TaskVineFactoryConfig
from trellis.executors.taskvine.ndcctools.factory_command import factory_settings
from trellis.executors.taskvine.settings import FactoryReady
from trellis.executors.taskvine.worker_command import ManagerAccess, amounts, interpreter

_FACTORY = "trellis.executors.taskvine.ndcctools.factory"


class NdcctoolsEngine:
    """The real TaskVine, which is driven through its Python interface."""

    name = "ndcctools"
    manager_module = "trellis.executors.taskvine.ndcctools.service"
    announces_projects = True

    def tuning_complaint(self, names: Iterable[str]) -> str:
        return ""  # its manager tells of those itself

    def worker_command(self, access: ManagerAccess, config: TaskVineFactoryConfig) -> list[str]:
        words = [*shlex.split(config.worker_executable), "--timeout", str(config.worker_timeout)]
        words += ["--password", str(access.password_file), *amounts(config)]
        words += [*shlex.split(config.worker_options or ""), access.addresses[0], str(access.port)]
        if config.python_env is None:
            return words
        # Where it runs, whose PATH is not known here, its tasks and libraries find their interpreter on PATH.
        return ["sh", "-c", 'PATH="$0:$PATH" exec "$@"', os.path.dirname(interpreter(config)), *words]

    def worker_program(self, config: TaskVineFactoryConfig) -> str | None:
        return shutil.which(shlex.split(config.worker_executable)[0])

    def block_options(self, block_id: str, walltime_s: float | None) -> list[str]:
        # It knows a worker's factory, but not its block: the one takes the other's place.
        return ["--from-factory", block_id]

    def factory_process(
        self, label: str, access: ManagerAccess, config: TaskVineFactoryConfig, logdir: str
    ) -> ServiceProcess[FactoryReady]:
        # TaskVine's factory itself knows packaged environments only.
        packaged = config.python_env is not None and os.path.isfile(config.python_env)
        python = sys.executable if packaged else interpreter(config)
        settings = factory_settings(config, "127.0.0.1", access.port, str(access.password_file), logdir, python)
        command = [sys.executable, "-P", "-m", _FACTORY]
        return ServiceProcess(label, "TaskVine factory", command, settings, FactoryReady, "factory.log")
