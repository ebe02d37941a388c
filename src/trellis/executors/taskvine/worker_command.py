"""What the command of a worker is made of, whichever engine it is for. Starts none."""

from __future__ import annotations

import ipaddress
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from trellis.addresses import get_all_addresses
from trellis.errors import ConfigurationError
from trellis.executors.taskvine.factory_config import TaskVineFactoryConfig


@dataclass(frozen=True)
class ManagerAccess:
    """What workers and factories have to know of the manager that they are for."""

    addresses: list[str]
    port: int
    password_file: Path
    measure: bool  # what tasks use
    near: str = "127.0.0.1"  # its address for what runs on its host


def reachable_addresses() -> list[str]:
    """The addresses of this host, for others: loopback would be their own."""
    addresses = sorted(get_all_addresses())
    return [address for address in addresses if not ipaddress.ip_address(address).is_loopback] or addresses


def amounts(config: TaskVineFactoryConfig) -> list[str]:
    """The words that say how much a worker offers; both engines' workers have the same."""
    given = [(name, getattr(config, name)) for name in ("cores", "memory", "disk", "gpus")]
    return [word for name, value in given if value is not None for word in (f"--{name}", str(value))]


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
