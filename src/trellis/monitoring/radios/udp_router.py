"""Public path of stand-ins; they are made in ``trellis.monitoring.missing``."""

from trellis.monitoring.errors import MonitoringRouterStartError
from trellis.monitoring.missing import MonitoringRouter, UDPRadioReceiver, start_udp_receiver, udp_router_starter

__all__ = [
    "MonitoringRouter",
    "MonitoringRouterStartError",
    "UDPRadioReceiver",
    "start_udp_receiver",
    "udp_router_starter",
]
