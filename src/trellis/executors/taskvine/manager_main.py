"""How the process of a manager begins and ends, whichever engine it is of. Decides nothing."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from trellis.executors.common.process_title import show_as
from trellis.executors.common.service_main import announce, open_log, read_settings
from trellis.executors.taskvine.settings import VinePorts, VineSettings
from trellis.version import VERSION

logger = logging.getLogger("trellis.vine.manager")


class ManagerService(Protocol):
    """What serves tasks."""

    def bind(self) -> VinePorts: ...

    def run(self, lifeline: int) -> None: ...


def run_manager(title: str, make: Callable[[VineSettings], ManagerService]) -> int:
    """Read the settings, serve until told to end, and give the exit code."""
    show_as(title)
    settings = read_settings(sys.stdin.fileno(), VineSettings)
    open_log(Path(settings.logdir) / "manager.log", settings.debug)
    try:
        service = make(settings)
        ports = service.bind()
        logger.info("Trellis %s; submit side at port %d, workers at port %d", VERSION, ports.client, ports.worker)
        announce(ports)
        service.run(sys.stdin.fileno())
    except Exception as error:
        logger.exception("the manager failed")
        print(f"the manager failed: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    logger.info("the manager ends")
    return 0
