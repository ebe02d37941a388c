"""Public path of stand-ins; they are made in ``trellis.monitoring.missing``."""

from trellis.monitoring.missing import MonitoringRouter, ZMQRadioReceiver

__all__ = ["MonitoringRouter", "ZMQRadioReceiver"]
