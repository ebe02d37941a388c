"""How the processes of the embedded engine are started. Starts none itself."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterable

from trellis.executors.common.service_process import ServiceProcess
from trellis.executors.taskvine.embedded.factory.service import FactorySettings
from trellis.executors.taskvine.factory_config import DEFAULT_EXECUTABLE, TaskVineFactoryConfig
from trellis.executors.taskvine.settings import FactoryReady
from trellis.executors.taskvine.tuning import complaint
from trellis.executors.taskvine.worker_command import ManagerAccess, amounts, interpreter

_FACTORY = "trellis.executors.taskvine.embedded.factory.service"
_WORKER = "trellis.executors.taskvine.embedded.worker.main"


class EmbeddedEngine:
    """The engine that is part of Trellis."""

    name = "embedded"
    manager_module = "trellis.executors.taskvine.embedded.manager.service"
    announces_projects = False

    def tuning_complaint(self, names: Iterable[str]) -> str:
        return complaint(names)

    def worker_command(self, access: ManagerAccess, config: TaskVineFactoryConfig) -> list[str]:
        words = [] if config.scratch_dir is None else ["env", f"TMPDIR={os.path.abspath(config.scratch_dir)}"]
        if config.worker_executable == DEFAULT_EXECUTABLE:
            words += [interpreter(config), "-P", "-m", _WORKER]
        else:
            words += shlex.split(config.worker_executable)
        words += [",".join(access.addresses), str(access.port), "--timeout", str(config.worker_timeout)]
        words += ["--password-file", str(access.password_file), *amounts(config)]
        if access.measure:
            words.append("--measure")
        return words + shlex.split(config.worker_options or "")

    def worker_program(self, config: TaskVineFactoryConfig) -> str | None:
        return None

    def block_options(self, block_id: str, walltime_s: float | None) -> list[str]:
        limit = [] if walltime_s is None else ["--job-walltime", f"{walltime_s:g}"]
        return ["--block", block_id, *limit]

    def factory_process(
        self, label: str, access: ManagerAccess, config: TaskVineFactoryConfig, logdir: str
    ) -> ServiceProcess[FactoryReady]:
        settings = FactorySettings(
            self.worker_command(access, config),
            access.near,
            access.port,
            str(access.password_file),
            config.min_workers,
            config.max_workers,
            config.workers_per_cycle,
            float(config.factory_timeout),
            config.scratch_dir or logdir,
            logdir,
        )
        command = [sys.executable, "-P", "-m", _FACTORY]
        return ServiceProcess(label, "TaskVine factory", command, settings, FactoryReady, "factory.log")
