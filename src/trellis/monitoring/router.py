"""Public path of stand-ins; they are made in ``trellis.monitoring.missing``."""

from trellis.monitoring.missing import MonitoringRouter, router_starter

__all__ = ["MonitoringRouter", "router_starter"]
