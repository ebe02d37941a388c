"""How workers are started: their command line, and the factory that starts them on this host. Starts none itself."""

from __future__ import annotations

import ipaddress
import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from trellis.addresses import get_all_addresses
from trellis.errors import ConfigurationError
from trellis.executors.common.service_process import ServiceProcess
from trellis.executors.taskvine.embedded.factory.service import FactoryReady, FactorySettings
from trellis.executors.taskvine.engine import FACTORY_SERVICE, REAL_FACTORY_SERVICE, real_worker_command
from trellis.executors.taskvine.factory_config import DEFAULT_EXECUTABLE, TaskVineFactoryConfig
from trellis.executors.taskvine.ndcctools.factory_command import factory_settings

_WORKER = ("-P", "-m", "trellis.executors.taskvine.embedded.worker.main")


@dataclass(frozen=True)
class Surroundings:
    """What workers have to know of the executor that they are for."""

    engine: str
    addresses: list[str]  # of the manager
    port: int
    password_file: Path
    measure: bool  # what tasks use
    near: str = "127.0.0.1"  # address of the manager for what runs on its host


def reachable_addresses() -> list[str]:
    """Of this host, for others: loopback would be their own."""
    addresses = sorted(get_all_addresses())
    return [address for address in addresses if not ipaddress.ip_address(address).is_loopback] or addresses


def worker_command(around: Surroundings, config: TaskVineFactoryConfig) -> list[str]:
    """The words of the command that offers a host to the manager."""
    if around.engine != "embedded":
        words = real_worker_command(around.addresses[0], around.port, around.password_file, config)
        if config.python_env is None:
            return words
        # Where it runs, whose PATH is not known here, its tasks and libraries find their interpreter on PATH.
        return ["sh", "-c", 'PATH="$0:$PATH" exec "$@"', os.path.dirname(interpreter(config)), *words]
    words = [] if config.scratch_dir is None else ["env", f"TMPDIR={os.path.abspath(config.scratch_dir)}"]
    if config.worker_executable == DEFAULT_EXECUTABLE:
        words += [interpreter(config), *_WORKER]
    else:
        words += shlex.split(config.worker_executable)
    words += [",".join(around.addresses), str(around.port), "--timeout", str(config.worker_timeout)]
    words += ["--password-file", str(around.password_file)]
    for name in ("cores", "memory", "disk", "gpus"):
        value = getattr(config, name)
        if value is not None:
            words += [f"--{name}", str(value)]
    if around.measure:
        words.append("--measure")
    return words + shlex.split(config.worker_options or "")


def interpreter(config: TaskVineFactoryConfig) -> str:
    """The Python that workers run with.

    Raises:
        ConfigurationError: there is none in ``python_env``.
    """
    if config.python_env is None:
        return sys.executable
    path = os.path.join(os.path.abspath(config.python_env), "bin", "python")
    if not os.access(path, os.X_OK):
        raise ConfigurationError(
            f"TaskVineFactoryConfig: python_env must be the directory of an environment in which Trellis is installed; "
            f"there is no {path}"
        )
    return path


def factory_process(
    label: str, around: Surroundings, config: TaskVineFactoryConfig, logdir: str
) -> ServiceProcess[FactoryReady]:
    """The factory for workers on this host, not started yet."""
    if around.engine != "embedded":
        # TaskVine's factory itself knows packaged environments only.
        packaged = config.python_env is not None and os.path.isfile(config.python_env)
        python = sys.executable if packaged else interpreter(config)
        real = factory_settings(config, "127.0.0.1", around.port, str(around.password_file), logdir, python)
        command = [sys.executable, "-P", "-m", REAL_FACTORY_SERVICE]
        return ServiceProcess(label, "TaskVine factory", command, real, FactoryReady, "factory.log")
    settings = FactorySettings(
        worker_command(around, config),
        around.near,
        around.port,
        str(around.password_file),
        config.min_workers,
        config.max_workers,
        config.workers_per_cycle,
        float(config.factory_timeout),
        config.scratch_dir or logdir,
        logdir,
    )
    command = [sys.executable, "-P", "-m", FACTORY_SERVICE]
    return ServiceProcess(label, "TaskVine factory", command, settings, FactoryReady, "factory.log")
