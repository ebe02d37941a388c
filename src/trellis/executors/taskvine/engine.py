"""What differs between the engines of TaskVine for those who start their processes. Starts nothing."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from typing import Protocol

from trellis.errors import ConfigurationError
from trellis.executors.common.service_process import ServiceProcess
from trellis.executors.taskvine.embedded.engine import EmbeddedEngine
from trellis.executors.taskvine.factory_config import TaskVineFactoryConfig
from trellis.executors.taskvine.ndcctools.engine import NdcctoolsEngine
from trellis.executors.taskvine.settings import FactoryReady
from trellis.executors.taskvine.worker_command import ManagerAccess

ENGINES = ("auto", "embedded", "ndcctools")


class Engine(Protocol):
    """An implementation of TaskVine. What its manager is told, and says, is the same for all."""

    @property
    def name(self) -> str:
        """The word by which users ask for it."""

    @property
    def manager_module(self) -> str:
        """Which module is the manager's process."""

    @property
    def announces_projects(self) -> bool:
        """Whether its manager itself lets others find it by the project's name."""

    def tuning_complaint(self, names: Iterable[str]) -> str:
        """What to tell the user of tuning parameters that do nothing; empty when there are none."""

    def worker_command(self, access: ManagerAccess, config: TaskVineFactoryConfig) -> list[str]:
        """The words of the command that offers a host to the manager.

        Raises:
            ConfigurationError: there is no Python in ``python_env``.
        """

    def worker_program(self, config: TaskVineFactoryConfig) -> str | None:
        """The program that jobs bring along, if the worker is one of one file."""

    def block_options(self, block_id: str, walltime_s: float | None) -> list[str]:
        """Further words of a worker's command: of which block it is, and when that ends if it is known."""

    def factory_process(
        self, label: str, access: ManagerAccess, config: TaskVineFactoryConfig, logdir: str
    ) -> ServiceProcess[FactoryReady]:
        """The factory for workers on this host, not started yet.

        Raises:
            ConfigurationError: there is no Python in ``python_env``.
        """


EMBEDDED: Engine = EmbeddedEngine()
NDCCTOOLS: Engine = NdcctoolsEngine()


def is_installed() -> bool:
    """Whether the real TaskVine can be imported."""
    try:
        return importlib.util.find_spec("ndcctools.taskvine") is not None
    except ModuleNotFoundError:
        return False


def choose_engine(name: str) -> tuple[Engine, str]:
    """The engine that is used, and why.

    Raises:
        ConfigurationError: the real TaskVine was asked for and is not there.
    """
    if name == EMBEDDED.name:
        return EMBEDDED, "it was asked for"
    installed = is_installed()
    if name == NDCCTOOLS.name:
        if not installed:
            raise ConfigurationError(
                "TaskVineExecutor: engine='ndcctools' needs the package ndcctools (conda: ndcctools; Debian 13: "
                "python3-workqueue and coop-computing-tools), which cannot be imported; engine='embedded' needs nothing"
            )
        return NDCCTOOLS, "it was asked for"
    return (NDCCTOOLS, "it is installed") if installed else (EMBEDDED, "ndcctools is not installed")
