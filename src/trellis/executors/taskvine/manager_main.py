"""How the process of a manager begins, whichever engine it is of. Decides nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from trellis.executors.common.service_main import announce, run_service
from trellis.executors.taskvine.settings import VinePorts, VineSettings
from trellis.version import VERSION

logger = logging.getLogger("trellis.vine.manager")


class VineManager(Protocol):
    """What serves tasks."""

    def bind(self) -> VinePorts: ...

    def run(self, lifeline: int) -> None: ...


def run_manager(title: str, make: Callable[[VineSettings], VineManager]) -> int:
    """Serve until told to end, and give the exit code."""

    def serve(settings: VineSettings, lifeline: int) -> str:
        service = make(settings)
        ports = service.bind()
        logger.info("Trellis %s; submit side at port %d, workers at port %d", VERSION, ports.client, ports.worker)
        announce(ports)
        service.run(lifeline)
        return ""

    return run_service(title, "manager", VineSettings, serve)
