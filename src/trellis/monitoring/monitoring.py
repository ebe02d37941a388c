"""Public path of a stand-in; it is made in ``trellis.monitoring.missing``."""

from trellis.monitoring.missing import MonitoringHub

__all__ = ["MonitoringHub"]
