"""Public path of stand-ins; they are made in ``trellis.monitoring.missing``."""

from trellis.monitoring.errors import MonitoringRouterStartError
from trellis.monitoring.missing import MonitoringRouter, ZMQRadioReceiver, start_zmq_receiver, zmq_router_starter

__all__ = [
    "MonitoringRouter",
    "MonitoringRouterStartError",
    "ZMQRadioReceiver",
    "start_zmq_receiver",
    "zmq_router_starter",
]
