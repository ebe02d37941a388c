"""Which process an interchange is, and one that takes another's place. Starts none."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from trellis.executors.common.service_process import ServiceProcess
from trellis.executors.htex.settings import Ports, Settings


def interchange_process(label: str, command: Sequence[str], settings: Settings) -> ServiceProcess[Ports]:
    """Not started yet."""
    return ServiceProcess(label, "interchange", command, settings, Ports, "interchange.log")


def successor_settings(settings: Settings, ports: Ports) -> Settings:
    """What an interchange has to know that takes the place of one which listened at these ports."""
    client, worker = (ports.client, ports.client + 1), (ports.worker, ports.worker + 1)
    return msgspec.structs.replace(settings, client_ports=client, worker_ports=worker, resuming=True)
