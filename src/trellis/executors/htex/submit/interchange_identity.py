"""Which process an interchange is. Starts none."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from trellis.executors.common.service_process import ServiceProcess
from trellis.executors.htex.settings import Ports, Settings


def interchange_command() -> list[str]:
    """How the interchange is started unless the user says otherwise."""
    return [sys.executable, "-P", "-m", "trellis.executors.htex.interchange.service"]


def interchange_process(label: str, command: Sequence[str], settings: Settings) -> ServiceProcess[Ports]:
    """Not started yet."""
    return ServiceProcess(label, "interchange", command, settings, Ports, "interchange.log")
