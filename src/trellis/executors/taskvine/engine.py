"""Which engine there is, and how its processes are started. Starts nothing."""

from __future__ import annotations

import importlib.util
import shlex
import sys
from pathlib import Path

from trellis.errors import ConfigurationError
from trellis.executors.taskvine.factory_config import TaskVineFactoryConfig

ENGINES = ("auto", "embedded", "ndcctools")
_SERVICES = {
    "embedded": "trellis.executors.taskvine.embedded.manager.service",
    "ndcctools": "trellis.executors.taskvine.ndcctools.service",
}

FACTORY_SERVICE = "trellis.executors.taskvine.embedded.factory.service"
REAL_FACTORY_SERVICE = "trellis.executors.taskvine.ndcctools.factory"


def is_installed() -> bool:
    """Whether the real TaskVine can be imported."""
    try:
        return importlib.util.find_spec("ndcctools.taskvine") is not None
    except ModuleNotFoundError:
        return False


def choose_engine(engine: str) -> tuple[str, str]:
    """The engine that is used, and why.

    Raises:
        ConfigurationError: the real TaskVine was asked for and is not there.
    """
    if engine == "embedded":
        return engine, "it was asked for"
    installed = is_installed()
    if engine == "ndcctools":
        if not installed:
            raise ConfigurationError(
                "TaskVineExecutor: engine='ndcctools' needs the package ndcctools (conda: ndcctools; Debian 13: "
                "python3-workqueue and coop-computing-tools), which cannot be imported; engine='embedded' needs nothing"
            )
        return engine, "it was asked for"
    return ("ndcctools", "it is installed") if installed else ("embedded", "ndcctools is not installed")


def manager_command(engine: str) -> list[str]:
    return [sys.executable, "-P", "-m", _SERVICES[engine]]


def real_worker_command(
    address: str, port: int, password_file: Path | None, factory: TaskVineFactoryConfig
) -> list[str]:
    """The words of the command that offers a host to the real TaskVine's manager."""
    words = [*shlex.split(factory.worker_executable), "--timeout", str(factory.worker_timeout)]
    if password_file is not None:
        words += ["--password", str(password_file)]
    for name in ("cores", "memory", "disk", "gpus"):
        value = getattr(factory, name)
        if value is not None:
            words += [f"--{name}", str(value)]
    return [*words, *shlex.split(factory.worker_options or ""), address, str(port)]
