"""Public path of stand-ins; they are made in ``trellis.monitoring.missing``."""

from trellis.monitoring.errors import MonitoringHubStartError
from trellis.monitoring.hub import MonitoringHub
from trellis.monitoring.missing import filesystem_receiver
from trellis.monitoring.types import TaggedMonitoringMessage

__all__ = ["MonitoringHub", "MonitoringHubStartError", "TaggedMonitoringMessage", "filesystem_receiver"]
